// The desk's line to Python: one act at a time, each answered once; and what must outlive the page.

const SLOW_AFTER = 1_500; // milliseconds
const SILENT_AFTER = 10_000;
const LOOK_AGAIN = 2_000;
const WORDS = {
  slow: "Saving\u2026 the server has not answered yet. What you type waits for it.",
  silent: "No answer for 10 seconds: it is not known yet whether this was saved. It is kept in this browser and sent again, "
    + "once, when the server is back. If it stays away, start it again.",
  gone: "The server is gone. What you entered is kept in this browser, and goes on when it is back.",
};

class Line {
  pending = null;
  trouble = "";
  sent = Math.floor(Math.random() * 1e9) * 1000; // two pages of one desk have ids of their own

  // answered(message, asked): what came of an act; changed(): what is to be told of it.
  constructor(model, kept, { answered, changed }) {
    this.model = model;
    this.kept = kept;
    this.answered = answered;
    this.changed = changed;
  }

  get told() {
    return WORDS[this.trouble] ?? "";
  }

  send(message) {
    if (this.pending) return false;
    this.pending = { ...message, id: ++this.sent };
    if (message.act === "submit") this.kept.put("sending", message);
    this.model.send(this.pending);
    this.watch();
    return true;
  }

  watch() {
    this.stop();
    this.timers = Object.entries({ slow: SLOW_AFTER, silent: SILENT_AFTER }).map(([trouble, after]) => setTimeout(() => this.tell(trouble), after));
  }

  stop() {
    for (const timer of this.timers ?? []) clearTimeout(timer);
  }

  tell(trouble) {
    this.trouble = trouble;
    this.changed();
  }

  // Gives whether the message answers what was sent.
  hear(message) {
    if (message.tell === "gone") this.stop();
    if (message.tell === "gone") this.tell("gone");
    if (message.tell === "back") this.resume();
    if (!this.pending || message.id !== this.pending.id) return false;
    const asked = this.pending;
    this.pending = null;
    this.stop();
    this.trouble = "";
    if (asked.act === "submit") this.kept.drop("sending");
    this.answered(message, asked);
    return true;
  }

  // The server does a label that comes twice once, since it says which label it replaces.
  resume() {
    this.tell("");
    if (!this.pending) return;
    this.model.send(this.pending);
    this.watch();
  }
}

// Tells whether another tab shows the same queue to the same person: each holds a share of one lock,
// which the browser takes back even of a tab that crashed.
class Twins {
  others = 0;

  constructor(name, changed) {
    this.look = async () => {
      if (!navigator.locks) return; // a page that came over the network has none
      const { held } = await navigator.locks.query();
      this.others = Math.max(0, held.filter((lock) => lock.name === name).length - 1);
      clearTimeout(this.again);
      if (this.others && !this.left) this.again = setTimeout(this.look, LOOK_AGAIN);
      changed();
    };
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = this.look;
    navigator.locks?.request(name, { mode: "shared" }, () => new Promise((/** @type {(value?: any) => void} */ done) => {
      this.free = done;
      this.channel.postMessage("here");
      this.look();
    }));
  }

  leave() {
    this.left = true;
    this.free?.();
    this.channel.close();
  }
}
