"""A desk in a real browser with Python behind it but no server: a test does what a server does."""

from anywidget import AnyWidget
from playwright.sync_api import Page

HOME = "http://127.0.0.1:9/"
PAGE = "<!doctype html><html lang=en><title>Desk</title><body style='margin:0'>"
MOUNT = """async ([esm, css, packed]) => {
  const unpack = (it) => (it?.bytes ? new DataView(new Uint8Array(it.bytes).buffer) : it);
  const read = (told) => Object.fromEntries(Object.entries(told).map(([k, v]) => [k, unpack(v)]));
  const state = read(packed);
  const sheet = document.createElement("style");
  sheet.textContent = css;
  document.head.append(sheet);
  document.body.style.setProperty("--annotator-height", "100vh");
  const heard = new Map();
  const tell = (name, ...told) => [...(heard.get(name) ?? [])].forEach((each) => each(...told));
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const server = { delay: 0, stopped: false, lost: 0, sent: [], turn: Promise.resolve() };
  window.server = server;
  server.say = (told) => tell("msg:custom", { tell: told });
  const carry = async (message) => {
    while (server.stopped) await sleep(5);
    if (server.delay) await sleep(server.delay);
    const answers = await window.askPython(message);
    if (server.lost > 0) return void (server.lost -= 1);
    for (const [kind, told] of answers) {
      if (kind === "msg") tell("msg:custom", told);
      else {
        Object.assign(state, read(told));
        for (const name of Object.keys(told)) tell(`change:${name}`);
      }
      await sleep(0);
    }
  };
  const model = {
    get: (name) => state[name],
    set: (name, value) => (state[name] = value),
    save_changes: () => {},
    on: (name, act) => heard.set(name, [...(heard.get(name) ?? []), act]),
    off: (name, act) => heard.set(name, (heard.get(name) ?? []).filter((each) => each !== act)),
    send: (message) => {
      server.sent.push(message);
      server.turn = server.turn.then(() => carry(JSON.parse(JSON.stringify(message))));
    },
  };
  const place = document.body.appendChild(document.createElement("div"));
  const source = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
  const widget = (await import(source)).default;
  window.leave = widget.render({ model, el: place });
}"""


def pack(value):
    return {"bytes": [*value]} if isinstance(value, bytes) else value


def mount(page: Page, widget: AnyWidget) -> None:
    """Show a widget in a page of its own; ``window.server`` slows and stops what is behind it.

    ``delay`` is in milliseconds a message; ``stopped`` holds them; the answers to the next ``lost``
    messages are done in Python, and never arrive; ``say("gone")`` and ``say("back")`` are what the
    page of the server says of its line.
    """
    out = []
    widget.send = lambda message: out.append(("msg", message))
    base = AnyWidget.class_trait_names(sync=True)
    names = sorted({*widget.trait_names(sync=True)} - {*base, "_esm", "_css", "_anywidget_id"})

    def change(changes):
        out.append(("state", {changes["name"]: pack(changes["new"])}))

    widget.observe(change, names)

    def ask(message):
        out.clear()
        widget._handle_custom_msg(message, [])
        return list(out)

    page.route(f"{HOME}**", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto(HOME)
    page.expose_function("askPython", ask)
    state = {name: pack(getattr(widget, name)) for name in names}
    page.evaluate(MOUNT, [widget._esm, widget._css, state])
