"""Workspaces to label, the servers that show them, and what a person does at the keyboard."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import nbformat
import psutil

from evalbench.observe.ingestion import ingest
from evalbench.report.runbook import NOTEBOOKS
from evalbench.session import read_session
from evalbench.store.workspace import open_workspace

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
MODES = ("invents a policy", "ignores the question", "wrong tool")
WIDGET = ".evalbench-annotator"
PASS = ("p", "Enter")
WAYS = (
    (PASS, "pass", []),
    (("1", "Enter"), "fail", ["ignores the question"]),
    (("u", "Enter"), "unsure", []),
    (("2", "3", "Enter"), "fail", ["invents a policy", "wrong tool"]),
    (("f", "o", "d", "d", "Escape", "Enter"), "fail", []),
)
"""Keys, and the verdict and modes that they stand for."""
SHOWN = f"{WIDGET}[data-session]:not([data-session=''])"
RUN_ALL = """async () => {
  const { shell, commands } = window.jupyterapp;
  while (!shell.currentWidget?.context) await new Promise((go) => setTimeout(go, 50));
  const { context, sessionContext } = shell.currentWidget;
  await context.ready;
  await sessionContext.ready;
  await sessionContext.session.kernel.info;
  await commands.execute("notebook:run-all-cells");
}"""


@contextmanager
def opened(chromium):
    """Open a page; whatever it asks of another computer fails."""
    asked = []
    # What a page must not do, it must not do without its own policy either; Playwright needs eval.
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    context.on("request", lambda request: asked.append(request.url))
    context.on("page", lambda page: page.on("websocket", lambda line: asked.append(line.url)))
    yield context.new_page()
    context.close()
    here = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")
    assert [url for url in asked if not url.startswith(here)] == []


def fill(path, chats):
    """A workspace with these chats, three failure modes, and a queue of every session in order."""
    ws = open_workspace(path, user="ana")
    traces = path / "chats.jsonl"
    traces.write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    ingest(ws, traces, surface="shop", columns={"session_id": "id"}, redact=False)
    (path / "evalbench.toml").write_text(
        '[surfaces.shop]\npolicies = ["Refunds **within 30 days**.", "Never promise a date."]\n'
    )
    for mode in MODES:
        body = {"mode": mode, "surface": "shop", "name": mode.capitalize(), "owner": "ana"}
        about = {"definition": f"The assistant {mode}.", "example": "That is always so."}
        kind = {"severity": "user impact", "failure_class": "answer quality"}
        ws.ledger.append("mode.defined", mode, body | about | kind)
    chance = {"stratum": "all", "inclusion_probability": 1.0, "reason": "random"}
    items = [{"session_id": chat["id"], **chance} for chat in chats]
    drawn = {"surface": "shop", "seed": 1, "design": {}, "lake_versions": ws.lake.versions()}
    ws.ledger.append("queue.drawn", "shop/all", drawn | {"items": items})
    return open_workspace(path, user="ana")


def chat(name, *texts, turns=2):
    """A chat about a refund, with a tool call; ``texts`` are answers after the first ones."""
    messages = [{"role": "system", "content": "You are the shop's assistant."}]
    for turn in range(turns):
        messages += [
            {"role": "user", "content": f"Question {turn} of {name}: may I return the kettle?"},
            {"role": "assistant", "content": f"Let me **look** at order {turn}.", "tool_calls": [
                {"id": f"c{turn}", "type": "function", "function": {
                    "name": "find_order", "arguments": json.dumps({"order": turn})}}]},
            {"role": "tool", "tool_call_id": f"c{turn}", "content": '{"status": "delivered"}'},
            {"role": "assistant", "content": "Yes:\n\n- within 30 days\n- with the receipt\n\n"
             + "It costs nothing. " * 10},
        ]  # fmt: skip
    for text in texts:
        messages += [{"role": "user", "content": "And?"}, {"role": "assistant", "content": text}]
    return {"id": name, "messages": messages}


def do(page, act, widget=WIDGET):
    """Do an act, or press keys; give the session that was shown, and the number of the event."""
    root = page.locator(widget)
    session, before = (root.get_attribute(f"data-{name}") for name in ("session", "saved"))
    if callable(act):
        act()
    else:
        for key in act:
            page.keyboard.press(key)
    page.wait_for_function(
        "([widget, before]) => (document.querySelector(widget).dataset.saved ?? null) !== before",
        arg=[widget, before],
        polling=5,
    )
    return session, int(root.get_attribute("data-saved"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command, folder, log, **environment):
    """Run a server in its own process group; give its process, and end both with the test."""
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTERLAB_SETTINGS_DIR": "config/lab"}
    places |= {"JUPYTERLAB_WORKSPACES_DIR": "spaces", "IPYTHONDIR": "ipython"}
    (folder / "jupyter").mkdir(exist_ok=True)
    own = {name: str(folder / "jupyter" / place) for name, place in places.items()}
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **own, **environment, "PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield server
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def wait_for(found, log, seconds=60):
    """Call until it gives something; fail with what the server said."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError(f"nothing after {seconds} s: {log.read_text()[-2000:]}")


def disagree(ws, sessions):
    """Let ana and ben label these sessions, and differ on each; give who said what of each."""
    said = {}
    for number, session in enumerate(sessions):
        about = {"surface": "shop", "session_id": session}
        span = read_session(ws, "shop", session).turns[2].span_id
        modes = [MODES[number % 3], MODES[(number + 1) % 3]]
        given = {"ana": ("fail", modes[:1]), "ben": ("fail", modes) if number % 2 else ("pass", [])}
        for annotator, (verdict, seen) in given.items():
            quote = [{"span_id": span, "quote": "within 30 days", "mode": mode} for mode in seen]
            label = {**about, "verdict": verdict, "modes": seen, "anchors": quote}
            note = {**about, "text": f"It says {number} days, the policy says otherwise."}
            events = [("note.added", session, note), ("label.set", session, label)]
            ws.ledger.extend(events[seen == [] :], actor=annotator)
        said[session] = given
    return said


@contextmanager
def serving_page(ws, command="annotate"):
    """``evalbench annotate``; gives the server and the address that it prints."""
    log = ws.path / "server.log"
    main = ("-c", "from evalbench.cli import main; main()", command, "--no-browser")
    where = ("--workspace", ws.path, "--user", ws.user, "--port", free_port())
    with running([str(part) for part in (*main, *where)], ws.path, log) as server:

        def address():
            return [line for line in log.read_text().splitlines() if line.startswith("http")]

        yield server, wait_for(address, log)[0]


@contextmanager
def serving_lab(ws, name="04_annotate", **parameters):
    """JupyterLab on a copy of a notebook; gives the server and the notebook's address."""
    folder = ws.path / "lab"
    settings = ws.path / "jupyter/config/lab/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    folder.mkdir()
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    given = {"workspace": str(ws.path), "folder": str(folder), **parameters}
    lines = [f"\n{key} = {value!r}" for key, value in given.items()]
    notebook.cells[1].source += "".join(lines)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    port, log = free_port(), ws.path / "lab.log"
    quiet = ("--no-browser", "--allow-root", "--LabApp.expose_app_in_browser=True")
    place = (f"--ServerApp.root_dir={folder}", f"--port={port}", "--ip=127.0.0.1")
    home = f"http://127.0.0.1:{port}"
    with running(
        ["-m", "jupyterlab", *quiet, *place, "--IdentityProvider.token="], ws.path, log
    ) as server:

        def answers():
            try:
                return urllib.request.urlopen(f"{home}/api", timeout=1).status == 200
            except OSError:
                return False

        wait_for(answers, log)
        yield server, f"{home}/lab/tree/{name}.ipynb"


def open_lab(page, address, shown=SHOWN):
    page.goto(address)
    page.wait_for_function("window.jupyterapp?.started")
    page.evaluate(RUN_ALL)
    page.wait_for_selector(shown)


def open_page(page, address):
    page.goto(address)
    page.wait_for_selector(SHOWN)


def label_twenty(page, reopen, end):
    """Label 20 sessions, with a reload midway; ``end`` kills what serves them at the last tick.

    Gives what the ledger must hold: number, session, verdict and modes of each label.
    """
    expected = []
    for turn in range(20):
        if turn == 10:
            before = page.locator(WIDGET).get_attribute("data-session")
            reopen()
            assert page.locator(WIDGET).get_attribute("data-session") == before
        keys, verdict, modes = WAYS[turn % len(WAYS)]
        session, seq = do(page, keys)
        expected.append((seq, session, verdict, modes))
    end()
    return expected


def check_labels(ws, expected):
    labels = ws.ledger.bodies("label.set")
    assert labels.select("seq", "session_id", "verdict", "modes").rows() == expected
    assert labels["actor"].unique().to_list() == ["ana"]
    assert labels["queue"].unique().to_list() == ws.ledger.bodies("queue.drawn")["seq"].to_list()
    assert labels["seconds"].is_between(0, 60).all()
    assert ws.ledger.bodies("note.added")["text"].to_list() == ["odd"] * 4
    assert ws.ledger.verify() is None


def kill_kernels(server):
    """End the kernels of a server the hard way."""
    children = psutil.Process(server.pid).children(recursive=True)
    kernels = [child for child in children if "ipykernel_launcher" in " ".join(child.cmdline())]
    assert kernels
    for kernel in kernels:
        os.kill(kernel.pid, signal.SIGKILL)
