// A desk that is built by hand, without components.

const ANSWER_WITHIN = 10_000; // milliseconds
const SILENCE =
  "No answer from the kernel: nothing was saved, and what you entered is still here. " +
  "Restart the kernel, run the notebook and try again.";

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "text") element.textContent = value;
    else if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const makeButton = (attributes, ...children) => make("button", { type: "button", ...attributes }, ...children);
const makeKey = (name) => make("kbd", { text: name, "aria-hidden": "true" });
const makeCommand = (name, hint, click, extra = "") =>
  makeButton({ class: `command ${extra}`, "aria-keyshortcuts": hint, click }, name, makeKey(hint));

// A desk sends one act at a time, and says what came of it: keys wait until then. It has root, model and
// notice, and knows what a key does (find) and what to do with what Python says (hear).
class Desk {
  sent = 0;

  // Gives what ends it. Keys go to the desk once it was clicked, wherever that was: home takes them.
  /** @this {any} */
  join(home, changes) {
    const { root, model } = this;
    this.typed = new Keys(root, { find: (key) => this.find(key), isBusy: () => this.saving });
    // The mouse leaves focus and selection where they are, so that the keys go on as before.
    root.addEventListener("mousedown", (event) => event.target.closest("button") && event.preventDefault());
    root.addEventListener("click", () => root.contains(document.activeElement) || home.focus({ preventScroll: true }));
    const leaveTheme = followTheme(root);
    const hear = (message) => {
      if (message.id === this.saving) this.settle();
      this.hear(message);
      if (!this.saving) this.typed.replay();
    };
    const handlers = Object.entries({ "msg:custom": hear });
    for (const [name, act] of Object.entries(changes)) handlers.push([`change:${name}`, act]);
    for (const [name, act] of handlers) model.on(name, act);
    return () => {
      for (const [name, act] of handlers) model.off(name, act);
      leaveTheme();
      clearTimeout(this.overdue);
    };
  }

  buildSigns(rows) {
    this.tick = make("span", { class: "tick", text: "\u2713 saved", "aria-hidden": "true" });
    this.live = make("div", { class: "unseen", role: "status", "aria-live": "polite" });
    this.sheet = make("dialog", { class: "sheet", "aria-label": "Keys" }, make("h2", { text: "Keys" }),
      make("dl", {}, ...rows.flatMap(([name, what]) => [make("dt", {}, makeKey(name)), make("dd", { text: what })])),
      makeButton({ class: "command", text: "Close", click: () => this.sheet.close() }));
  }

  /** @this {any} */
  send(message) {
    if (this.saving) return;
    this.saving = ++this.sent;
    this.root.setAttribute("aria-busy", "true");
    this.notice.textContent = "";
    this.overdue = setTimeout(() => this.refuse(SILENCE), ANSWER_WITHIN);
    this.model.send({ ...message, id: this.saving });
  }

  /** @this {any} */
  settle() {
    clearTimeout(this.overdue);
    this.saving = 0;
    this.root.setAttribute("aria-busy", "false");
  }

  /** @this {any} */
  refuse(why) {
    this.settle();
    this.notice.textContent = why;
  }

  /** @this {any} */
  confirmSaved(seq) {
    this.tick.classList.remove("shown");
    void this.tick.offsetWidth; // lets its fading begin anew
    this.tick.classList.add("shown");
    this.root.dataset.saved = seq;
  }

  announce(text) {
    this.live.textContent = text;
  }
}

