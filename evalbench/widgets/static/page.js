// A widget's page without a kernel: anywidget's model over one websocket, which comes back by itself.

const IDLE = 4001, REFUSED = 4002; // as in server.py
const SOONEST = 250, LATEST = 4000; // milliseconds between two tries
const line = document.querySelector("#line");
const { default: widget } = await import(`/${document.body.dataset.desk}.js`);

class Model {
  constructor(ready) {
    this.state = {};
    this.changed = new Set();
    this.heard = new Map();
    this.waiting = [];
    this.wait = SOONEST;
    this.ready = ready;
    this.connect();
  }

  get(name) {
    return this.state[name];
  }

  set(name, value) {
    this.state[name] = value;
    this.changed.add(name);
    this.tell(`change:${name}`);
  }

  save_changes() {
    const state = Object.fromEntries([...this.changed].map((name) => [name, this.state[name]]));
    this.changed.clear();
    this.put({ method: "update", state, buffer_paths: [] });
  }

  send(content) {
    this.put({ method: "custom", content });
  }

  on(name, act) {
    this.heard.set(name, [...(this.heard.get(name) ?? []), act]);
  }

  off(name, act) {
    this.heard.set(name, (this.heard.get(name) ?? []).filter((each) => act && each !== act));
  }

  // Where a file of the workspace's folder exports is fetched from; a notebook has no such place.
  address(name) {
    return `/exports/${name}${location.search}`;
  }

  tell(name, ...what) {
    for (const act of this.heard.get(name) ?? []) act(...what);
  }

  // What is said while the line is cut waits for the next one, each thing once.
  put(message) {
    const text = JSON.stringify(message);
    if (this.open) this.socket.send(text);
    else if (!this.waiting.includes(text)) this.waiting.push(text);
  }

  connect() {
    const { host, pathname, search } = location;
    this.socket = new WebSocket(`ws://${host}${pathname}/line${search}`);
    this.socket.onmessage = ({ data }) => this.hear(JSON.parse(data));
    this.socket.onclose = ({ code }) => this.lose(code);
  }

  hear({ method, state, content, why }) {
    if (method === "refused") line.textContent = why;
    else if (method === "custom") this.tell("msg:custom", content, []);
    else if (method === "update") this.update(state);
  }

  update(state) {
    const before = this.state;
    this.state = { ...before, ...state };
    const changed = Object.keys(state).filter((name) => JSON.stringify(before[name]) !== JSON.stringify(state[name]));
    if (this.open === undefined) this.ready(this);
    else for (const name of changed) this.tell(`change:${name}`);
    if (!this.open) this.recover();
  }

  recover() {
    const lost = this.open === false;
    this.open = true;
    this.wait = SOONEST;
    line.textContent = "";
    for (const text of this.waiting.splice(0)) this.socket.send(text);
    if (lost) this.tell("msg:custom", { tell: "back" }, []);
  }

  lose(code) {
    if (this.open) {
      this.open = false;
      this.tell("msg:custom", { tell: "gone" }, []);
    }
    if (code === REFUSED) return;
    if (code === IDLE) return this.sleep();
    line.textContent = "The server does not answer. This page tries again by itself.";
    setTimeout(() => this.connect(), this.wait);
    this.wait = Math.min(LATEST, 2 * this.wait);
  }

  sleep() {
    line.textContent = "This page was let go, as nothing was done here for long. Press a key to go on.";
    const wake = () => {
      for (const name of ["keydown", "pointerdown"]) removeEventListener(name, wake, true);
      this.connect();
    };
    for (const name of ["keydown", "pointerdown"]) addEventListener(name, wake, true);
  }
}

new Model((model) => {
  document.body.className = "shown";
  const el = document.createElement("div");
  document.querySelector("main").append(el);
  widget.render({ model, el });
});
