"""The server of desks: who it answers, what it carries, and that nothing stays of a page."""

import asyncio
import gc
import json
import socket
from dataclasses import replace

import anywidget
import pytest
import traitlets
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from evalbench.errors import LabelError
from evalbench.store.workspace import open_workspace
from evalbench.widgets import server


class Bell(anywidget.AnyWidget):
    _esm = "export default { render() {} }"
    _css = ".bell {}"
    rung = traitlets.List().tag(sync=True)
    by = traitlets.Unicode().tag(sync=True)


def make_bell(ws, *, tone="high"):
    if tone == "cracked":
        raise LabelError("the bell is cracked")
    bell = Bell(by=ws.user)

    def ring(_, message, __):
        bell.send({"tell": "heard"})
        bell.rung = [*bell.rung, f"{tone} {message['how']}"]

    bell.on_msg(ring)
    return bell


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
UPGRADE |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
PAGES = {"bell": server.Page("Bell", Bell, make_bell)}


@pytest.fixture
def talk(tmp_path):
    """Run a coroutine beside a server: it is given the address and what is served."""
    ws = open_workspace(tmp_path / "ws", user="ana")

    async def serve(act):
        listener = socket.create_server(("127.0.0.1", 0))
        home, served = f"127.0.0.1:{listener.getsockname()[1]}", server.Served(ws, PAGES)
        answering = asyncio.create_task(server._answer(listener, served, lambda: None))
        await act(home, served)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)

    return lambda act: asyncio.run(serve(act))


def key(served, user="ana"):
    return server.make_key(served.ws, user)


async def hear(line):
    return json.loads(await asyncio.wait_for(line.read_message(), 20))


async def wait_until(true):
    while not true():
        await asyncio.sleep(0.01)


def test_only_this_computer_and_who_has_a_key_is_answered(talk):
    async def act(home, served):
        client, mine = AsyncHTTPClient(), f"http://{home}/bell?key={key(served)}"
        page = await client.fetch(mine)
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        refused = [
            f"http://{home}/bell",
            f"http://{home}/bell?key={key(served).replace('ana', 'ben')}",
            HTTPRequest(mine, headers={"Host": "evil.example"}),
            HTTPRequest(f"http://{home}/bell.js", headers={"Host": "evil.example:80"}),
        ]
        for asked in refused:
            with pytest.raises(HTTPClientError, match="403"):
                await client.fetch(asked)
        for name in ("bull", "bull.js", "../server.py", "page.py"):
            with pytest.raises(HTTPClientError, match="404"):
                await client.fetch(f"http://{home}/{name}?key={key(served)}")
        line = f"http://{home}/bell/line"
        foreign = {**UPGRADE, "Origin": "http://evil.example"}
        for asked, headers in ((line, UPGRADE), (f"{line}?key={key(served)}", foreign)):
            with pytest.raises(HTTPClientError, match="403"):
                await client.fetch(HTTPRequest(asked, headers=headers))

    talk(act)


def test_a_key_is_the_same_after_a_restart_and_another_for_each_person_and_workspace(tmp_path):
    ws, other = (open_workspace(tmp_path / name, user="ana") for name in "ab")
    assert server.make_key(ws, "ana") == server.make_key(open_workspace(tmp_path / "a"), "ana")
    assert len({server.make_key(*of) for of in ((ws, "ana"), (ws, "ben"), (other, "ana"))}) == 3


def test_a_widget_and_its_page_hear_each_other_and_people_have_their_own(talk):
    async def act(home, served):
        ana, ben = [
            await websocket_connect(f"ws://{home}/bell/line?key={key(served, user)}&tone={tone}")
            for user, tone in (("ana", "low"), ("ben", "high"))
        ]
        assert await hear(ana) == {"method": "update", "state": {"rung": [], "by": "ana"}}
        assert (await hear(ben))["state"]["by"] == "ben"
        await ana.write_message(json.dumps({"method": "custom", "content": {"how": "softly"}}))
        assert await hear(ana) == {"method": "custom", "content": {"tell": "heard"}}
        assert (await hear(ana))["state"] == {"rung": ["low softly"]}
        await ben.write_message(json.dumps({"method": "update", "state": {"rung": ["x"]}}))
        await wait_until(lambda: ["x"] in [line.desk.rung for line in served.lines])
        ana.close()
        ben.close()

    talk(act)


def test_nothing_stays_of_a_page_that_is_gone_or_idle(talk, monkeypatch):
    async def act(home, served):
        address = f"ws://{home}/bell/line?key={key(served)}"
        for _ in range(5):
            line = await websocket_connect(address)
            await hear(line)
            line.close()
            await wait_until(lambda: not served.lines)
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, Bell)]
        line = await websocket_connect(address)
        await hear(line)
        server._end_idle(served)
        assert len(served.lines) == 1
        monkeypatch.setattr(server, "IDLE_MINUTES", -1)
        server._end_idle(served)
        assert await line.read_message() is None
        assert line.close_code == server.IDLE
        line.close()

    talk(act)


@pytest.mark.parametrize(
    ("given", "said"), [("tone=cracked", "the bell is cracked"), ("size=3", "size")]
)
def test_what_cannot_be_shown_is_said_once(talk, given, said):
    async def act(home, served):
        line = await websocket_connect(f"ws://{home}/bell/line?key={key(served)}&{given}")
        refused = await hear(line)
        assert refused["method"] == "refused"
        assert said in refused["why"]
        assert await line.read_message() is None
        assert line.close_code == server.REFUSED
        line.close()

    talk(act)


def test_a_server_that_runs_already_is_used_and_another_workspace_gets_a_port_of_its_own(
    tmp_path, monkeypatch
):
    ws, other = (open_workspace(tmp_path / name, user="ana") for name in "ab")
    taken = socket.create_server(("127.0.0.1", 0))
    port, opened = taken.getsockname()[1], []
    how = {"port": port, "opened": opened.append, "queue": 3}
    monkeypatch.setattr(server, "_is_ours", lambda number, asked: asked == ws)
    server.serve(PAGES, "bell", workspace=ws, **how)
    assert opened == [f"http://127.0.0.1:{port}/bell?key={server.make_key(ws, 'ana')}&queue=3"]

    async def end(listener, served, ready):
        ready()
        listener.close()

    monkeypatch.setattr(server, "_answer", end)
    server.serve(PAGES, "bell", workspace=replace(other, user="ben"), **how)
    assert opened[1].startswith("http://127.0.0.1:")
    assert f":{port}/" not in opened[1]
    taken.close()
