"""One server for the desks of several people: a widget's own page, without a kernel behind it.

What a widget says to its browser and hears from it goes over one websocket a page; the page is the
widget's files in ``static`` and nothing beside them. The server answers this computer alone, and
only who has a key: each person has one of their own, in the address.
"""

import asyncio
import hashlib
import hmac
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

import orjson
from anywidget import AnyWidget
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from evalbench.errors import EvalbenchError
from evalbench.store.workspace import Workspace, open_workspace
from evalbench.widgets.page import read_static

IDLE_MINUTES = 120
"""A page from which nothing came for so long is let go; a key brings it back."""
IDLE, REFUSED = 4001, 4002
"""Codes by which a page knows that it was let go, and that there is nothing to show."""
PORTS = 50
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="/{name}.css">
<link rel="modulepreload" href="/{name}.js"><script type="module" src="/page.js"></script></head>
<body data-desk="{name}"><p id="line" role="status">Opening\u2026</p><main></main></body></html>
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A desk that is served: its ``title``, its ``widget``, and what makes one for a workspace.

    ``make`` takes the rest of the address as keywords, each a text.
    """

    title: str
    widget: type[AnyWidget]
    make: Callable[..., AnyWidget]


@dataclass(frozen=True)
class Served:
    """What all requests to a server are answered from."""

    ws: Workspace
    pages: Mapping[str, Page]
    lines: "set[_Line]" = field(default_factory=set)

    def read_file(self, name: str) -> tuple[str, str] | None:
        """Give the media type and the text of a script or a style sheet."""
        stem, _, kind = name.rpartition(".")
        if name == "page.js":
            return "text/javascript", read_static(name)
        if stem not in self.pages:
            return None
        widget: Any = self.pages[stem].widget
        if kind == "js":
            return "text/javascript", str(widget._esm)
        return "text/css", read_static("page.css") + str(widget._css)


def make_key(ws: Workspace, user: str) -> str:
    """Make the key of a user of the workspace: the same whenever the server starts again."""
    sign = hmac.new(ws.secret.encode(), f"desk {user}".encode(), hashlib.sha256).hexdigest()
    return f"{sign[:32]}.{user}"


def serve(
    pages: Mapping[str, Page],
    first: str,
    *,
    workspace: Workspace,
    port: int,
    opened: Callable[[str], None],
    **options: object,
) -> None:
    """Serve desks to this computer alone until it is interrupted.

    Where a server of this workspace runs already, at this port or one near it, that one is used and
    nothing is started. ``opened`` is called with the address of the page ``first``, as the
    workspace's user has it; ``options`` are for what makes the page. EvalbenchError where no port
    is free.
    """
    query = urlencode({"key": make_key(workspace, workspace.user), **options})
    for number in range(port, port + PORTS):
        address = f"http://127.0.0.1:{number}/{first}?{query}"
        try:
            listener = socket.create_server(("127.0.0.1", number))
        except OSError:
            if _is_ours(number, workspace):
                return opened(address)
            continue
        with suppress(KeyboardInterrupt):
            asyncio.run(_answer(listener, Served(workspace, pages), partial(opened, address)))
        return None
    raise EvalbenchError(f"no port from {port} to {port + PORTS - 1} is free: name another")


def _is_ours(port: int, ws: Workspace) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/workspace", timeout=2) as answer:
            return bool(answer.read().decode() == ws.identity)
    except (OSError, ValueError):
        return False


async def _answer(listener: socket.socket, served: Served, ready: Callable[[], None]) -> None:
    routes = [
        (r"/workspace", _Identity),
        (r"/([\w.]+\.(?:js|css))", _File),
        (r"/exports/(\w[\w.-]*)", _Export),
        (r"/(\w+)/line", _Line),
        (r"/(\w+)", _Document),
    ]
    rules = [(route, handler, {"served": served}) for route, handler in routes]
    server = HTTPServer(Application(rules, websocket_ping_interval=30))
    listener.setblocking(False)
    server.add_socket(listener)
    watch = PeriodicCallback(lambda: _end_idle(served), 60_000)
    watch.start()
    ready()
    try:
        # The first page waits less where the lake's reader is loaded.
        await asyncio.to_thread(served.ws.lake.sessions().head(1).collect)
        await asyncio.Event().wait()
    finally:
        watch.stop()
        server.stop()
        await server.close_all_connections()


def _end_idle(served: Served) -> None:
    for line in list(served.lines):
        if time.monotonic() - line.heard > 60 * IDLE_MINUTES:
            line.close(IDLE)


class _Guarded(RequestHandler):
    """Answers only under the names of this computer: no other site's name may lead here."""

    def initialize(self, served: Served) -> None:
        self.served = served

    def set_default_headers(self) -> None:
        self.set_header("Content-Security-Policy", POLICY.format(host=self.request.host))
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        if urlsplit(f"//{self.request.host}").hostname not in ("127.0.0.1", "localhost"):
            raise HTTPError(403)

    def find_user(self) -> str:
        """Find whose key was given; HTTPError 403 where it is nobody's."""
        key = self.get_query_argument("key", "")
        user = key.partition(".")[2]
        if not hmac.compare_digest(make_key(self.served.ws, user).encode(), key.encode()):
            raise HTTPError(403)
        return user

    def find_page(self, name: str) -> tuple[Page, str]:
        """Find a page and whose key was given; HTTPError 404 or 403 where there is none."""
        user = self.find_user()
        if name not in self.served.pages:
            raise HTTPError(404)
        return self.served.pages[name], user

    def write_error(self, status_code: int, **_: Any) -> None:
        why = {403: "This address has no valid key: evalbench annotate prints yours."}
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(why.get(status_code, "There is no such page."))


class _Identity(_Guarded):
    def get(self) -> None:
        self.finish(self.served.ws.identity or "")


class _File(_Guarded):
    def get(self, name: str) -> None:
        file = self.served.read_file(name)
        if file is None:
            raise HTTPError(404)
        self.set_header("Content-Type", f"{file[0]}; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")  # kept, and asked for again by its Etag
        self.finish(file[1])


class _Export(_Guarded):
    async def get(self, name: str) -> None:
        self.find_user()
        path = self.served.ws.path / "exports" / name
        if not path.is_file():
            raise HTTPError(404)
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        with path.open("rb") as file:
            while piece := file.read(2**20):
                self.write(piece)
                await self.flush()


class _Document(_Guarded):
    def get(self, name: str) -> None:
        page, _ = self.find_page(name)
        self.finish(PAGE.format(title=page.title, name=name))


class _Line(_Guarded, WebSocketHandler):
    """The line of one open page: it stands for the kernel's comm of the page's widget.

    What a widget does is done in a thread of its own: people do not wait for each other.
    """

    kernel = comm_id = "line"

    async def get(self, *names: str) -> None:
        self.find_page(*names)
        await super().get(*names)

    async def open(self, name: str) -> None:
        page, user = self.find_page(name)
        self.heard, self.loop = time.monotonic(), IOLoop.current()
        self.thread = ThreadPoolExecutor(1)
        self.served.lines.add(self)
        given = {each: self.get_query_argument(each) for each in self.request.query_arguments}
        del given["key"]
        try:
            self.desk = await asyncio.wrap_future(self.thread.submit(self.begin, page, user, given))
        except Exception as error:
            # Whatever the address names, or befalls the disk, the page says it.
            why = str(error) if isinstance(error, EvalbenchError) else repr(error)
            self.tell(orjson.dumps({"method": "refused", "why": why}).decode())
            self.close(REFUSED)

    def begin(self, page: Page, user: str, given: dict[str, str]) -> AnyWidget:
        """Make the widget, put this line in the place of its comm, and say all that it shows."""
        desk = page.make(open_workspace(self.served.ws.path, user=user), **given)
        desk.layout.close()
        desk.close()
        desk.comm = self
        own = set(desk.class_trait_names(sync=True)) - set(AnyWidget.class_trait_names())
        state = desk.get_state([name for name in own if not name.startswith("_")])
        self.send({"method": "update", "state": state})
        return desk

    async def on_message(self, message: str | bytes) -> None:
        self.heard = time.monotonic()
        data = {"content": {"data": orjson.loads(message)}, "buffers": []}
        await asyncio.wrap_future(self.thread.submit(self.receive, data))

    def on_close(self) -> None:
        self.served.lines.discard(self)
        if desk := getattr(self, "desk", None):
            desk.close()
        self.thread.shutdown(wait=False)

    # What ipywidgets asks of a comm.

    def on_msg(self, callback: Callable[[dict[str, Any]], None]) -> None:
        """Give what comes to the widget."""
        self.receive = callback

    def send(self, data: Mapping[str, Any], **_: Any) -> None:
        """Send from the widget's thread."""
        self.loop.add_callback(self.tell, orjson.dumps(data).decode())

    def tell(self, text: str) -> None:
        """Write to the page, if it is there."""
        with suppress(WebSocketClosedError):
            self.write_message(text)
