// Keys in the order they were pressed: while Python has not answered they wait, and then they do what
// they would have done had it answered at once.

const FIELDS = "input, textarea";

// What a browser would do to the field by itself.
function typeInto(field, { key, shiftKey }) {
  field.focus({ preventScroll: true });
  if (key.length === 1) document.execCommand("insertText", false, key);
  else if (key === "Enter" && field.matches("textarea")) document.execCommand("insertText", false, "\n");
  else if (key === "Backspace" || key === "Delete") document.execCommand(key === "Delete" ? "forwardDelete" : "delete");
  else if (key === "ArrowLeft" || key === "ArrowRight") getSelection().modify(shiftKey ? "extend" : "move", key.slice(5).toLowerCase(), "character");
}

class Keys {
  waiting = [];

  // find(key) gives what a key does, or null where the browser knows; isBusy() whether keys wait.
  constructor(root, { find, isBusy, changed = (/** @type {number} */ _) => {} }) {
    this.root = root;
    this.find = find;
    this.isBusy = isBusy;
    this.changed = changed;
    root.addEventListener("keydown", (event) => this.press(event));
  }

  press(event) {
    event.stopPropagation();
    if (event.defaultPrevented || event.isComposing) return;
    const key = this.read(event);
    if ((this.isBusy() || this.replaying) && !["Shift", "Control", "Alt", "Meta"].includes(key.key)) {
      event.preventDefault();
      this.waiting.push(key);
      return this.changed(this.waiting.length);
    }
    const act = this.find(key);
    if (!act) return;
    event.preventDefault();
    act();
  }

  read({ key, code, shiftKey, ctrlKey, metaKey, altKey, target }) {
    return { key, code, shiftKey, control: ctrlKey || metaKey, held: ctrlKey || metaKey || altKey, target };
  }

  // Does what waits, in its order, until one of them has to wait itself.
  async replay() {
    if (this.replaying) return;
    this.replaying = true;
    while (this.waiting.length && !this.isBusy()) {
      await new Promise((drawn) => setTimeout(drawn));
      const [key, ...rest] = this.waiting;
      this.waiting = rest;
      const focused = document.activeElement;
      key.target = this.root.contains(focused) ? focused : this.root;
      const act = this.find(key);
      if (act) act();
      else if (key.held) continue; // a browser's own, and too late for it
      else if (key.target.matches(FIELDS)) typeInto(key.target, key);
      else if (["Enter", " "].includes(key.key) && key.target.matches("button, summary, a")) key.target.click();
    }
    this.replaying = false;
    this.changed(this.waiting.length);
  }
}
