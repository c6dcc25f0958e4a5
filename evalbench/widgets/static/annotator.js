// The desk: a session, the form that judges it, and the keys of both. Python keeps the labels:
// nothing here outlives the page.

const VERDICTS = [["pass", "Pass", "p"], ["unsure", "Unsure", "u"], ["fail", "Other failure", "f"]];
const SKIP_REASONS = ["Not enough context", "Outside my field", "Trace is broken"];
const IDLE_AFTER = 60; // seconds without a key or a move that still count as work
const TOUCH_EVERY = 60_000; // milliseconds
const SHEET = [
  ["1-9, letters", "mark a failure mode, with the selected text as evidence"],
  ["Shift + its key", "show its definition and example"],
  ["p", "pass: no failure seen"],
  ["u", "unsure"],
  ["f", "another failure: goes to the note, which tells it"],
  ["v", "severity: safety, user impact, polish, none"],
  ["n", "note; Esc leaves it, Ctrl+Enter submits"],
  ["Enter", "submit and go on"],
  ["z", "undo: back to the session labelled last"],
  ["\u2190 \u2192", "an earlier session; on again"],
  ["s", "skip, with a reason"],
  ["/", "search; Enter next, Shift+Enter back, Esc selects the hit"],
  ["\u2191 \u2193", "scroll; Page Up, Page Down, Home, End too"],
  ["o", "open or close everything folded"],
  ["g", "policies of this surface"],
  ["j", "judges' drafts, after your own label"],
  ["?", "this list"],
];
class Annotator extends Desk {
  constructor(model, element) {
    super();
    this.model = model;
    this.drafts = new Map();
    this.transcript = new Transcript((message) => model.send(message));
    element.append(this.layOut());
    this.listen();
    this.showCodebook();
    this.showPolicies();
    this.showProgress();
    this.showItem();
    this.prepare();
    // In a notebook somebody may be typing elsewhere; a page of its own has nothing else.
    if (!document.querySelector(LAB)) this.focusOnceSeen();
  }

  focusOnceSeen() {
    const seen = new ResizeObserver(() => {
      if (!this.root.clientHeight) return;
      seen.disconnect();
      this.transcript.focus();
    });
    seen.observe(this.root);
  }

  layOut() {
    this.where = make("span", { class: "where" });
    this.bar = make("div", { class: "bar", role: "progressbar", "aria-label": "Queue", "aria-valuemin": 0 }, make("i"));
    this.pace = make("span", { class: "pace" });
    this.buildSigns(SHEET);
    const { query, hits, element } = this.transcript;
    const search = make("span", { class: "search" }, query, hits, makeKey("/"));
    const header = make("header", {}, this.where, this.bar, this.pace, this.tick, search);
    const panel = make("form", { class: "panel", "aria-label": "Label", submit: (event) => event.preventDefault() },
      this.layOutFields(), this.definition, this.layOutFooter());
    this.root = make("section",
      { class: "evalbench evalbench-annotator", "data-lm-suppress-shortcuts": "true", "aria-label": "Annotation" },
      header, make("div", { class: "columns" }, element, panel), this.sheet, this.live);
    return this.root;
  }

  layOutFields() {
    const choice = (attributes, ...children) => makeButton({ class: "choice", ...attributes }, ...children);
    this.policies = make("div", { class: "policies" });
    this.suggestion = make("div", { class: "suggestion", "aria-live": "polite" });
    this.verdicts = VERDICTS.map(([verdict, name, hint]) =>
      choice({ "data-verdict": verdict, "aria-keyshortcuts": hint, click: () => this.choose(verdict) }, name, makeKey(hint)));
    this.modes = make("div", { class: "modes", role: "group", "aria-label": "Failure modes" });
    this.definition = make("div", { class: "definition", "aria-live": "polite" });
    this.severities = SEVERITIES.map((name) =>
      choice({ text: name, click: () => this.rate(this.form.severity === name ? null : name) }));
    this.severity = make("div", { class: "row severity", role: "group", "aria-label": "Severity" },
      make("span", { class: "quiet", text: "Severity" }), ...this.severities, makeKey("v"));
    this.anchors = make("ul", { class: "anchors", "aria-label": "Evidence" });
    this.attach = makeButton({ class: "attach", text: "Attach the selected text", click: () => this.anchor(null), hidden: "" });
    this.note = make("textarea", {
      rows: 2,
      placeholder: "Note (n): what you saw, in your own words",
      "aria-label": "Note",
      "aria-keyshortcuts": "n",
      input: () => (this.form.note = this.note.value),
    });
    const verdicts = make("div", { class: "verdicts", role: "group", "aria-label": "Verdict" }, ...this.verdicts);
    this.fields = make("div", { class: "fields" }, this.policies, this.suggestion, verdicts, this.modes,
      this.severity, this.anchors, this.attach, this.note);
    return this.fields;
  }

  layOutFooter() {
    this.notice = make("p", { class: "notice", role: "alert" });
    this.skipping = make("div", { class: "skipping", hidden: "" });
    this.submitButton = makeCommand("Submit", "Enter", () => this.submit(), "main");
    return make("footer", {}, this.notice, this.skipping, this.submitButton, make("div", { class: "row" },
      makeCommand("Previous", "\u2190", () => this.leave("previous")), makeCommand("Undo", "z", () => this.leave("undo")),
      makeCommand("Skip", "s", () => this.askSkip()), makeCommand("Keys", "?", () => this.sheet.showModal())));
  }

  listen() {
    const { root, transcript } = this;
    const leave = this.join(transcript.element, {
      item: () => this.showItem(),
      upcoming: () => this.prepare(),
      codebook: () => this.showCodebook(),
      policies: () => this.showPolicies(),
      progress: () => this.showProgress(),
      notice: () => this.showItem(),
    });
    for (const name of ["keydown", "pointermove", "wheel"]) root.addEventListener(name, () => this.work());
    const select = () => (this.attach.hidden = transcript.selected() === null);
    document.addEventListener("selectionchange", select);
    this.stop = () => {
      leave();
      document.removeEventListener("selectionchange", select);
    };
  }

  // What Python says

  hear(message) {
    if (message.tell === "saved") this.showSaved(message);
    else if (message.tell === "refused") this.refuse(message.why);
    else if (message.tell === "text") this.transcript.readOn(message);
    else if (message.tell === "suggestion") this.showSuggestion(message.verdicts);
  }

  showSaved({ session_id, seq }) {
    this.drafts.delete(session_id);
    this.paint(this.model.get("upcoming"), "Saved. ");
    this.confirmSaved(seq);
  }

  showItem() {
    const item = this.model.get("item");
    this.notice.textContent = this.model.get("notice");
    if (item.session_id && item.session_id === this.item?.session_id) return;
    this.paint(item, "", false);
  }

  showProgress() {
    const { done = 0, left = 0, by_me = 0, ...pace } = this.model.get("progress");
    const total = done + left;
    this.bar.firstChild.style.width = `${total ? (100 * done) / total : 0}%`;
    this.bar.setAttribute("aria-valuemax", total);
    this.bar.setAttribute("aria-valuenow", done);
    const parts = [`${count(done)} of ${count(total)} done`, `${count(by_me)} by you`];
    if (pace.sessions_per_hour) parts.push(`${pace.sessions_per_hour.toFixed(0)} an hour`);
    if (pace.minutes_per_failure) parts.push(`${pace.minutes_per_failure.toFixed(1)} min per failure`);
    if (pace.minutes_left > 0) parts.push(`${Math.ceil(pace.minutes_left)} min left`);
    else if (pace.minutes_left !== undefined) parts.push("this week's slot is over");
    this.pace.textContent = total ? parts.join("  \u00b7  ") : "";
  }

  showPolicies() {
    const rules = this.model.get("policies").map((rule) => make("div", { class: "prose", cleaned: rule }));
    const fold = makeFold("rules", [make("span", { text: "Policies" }), makeKey("g")], () => rules);
    this.policies.replaceChildren(...(rules.length ? [fold] : []));
  }

  showCodebook() {
    this.codebook = this.model.get("codebook");
    const rows = this.codebook.map((mode) => {
      const define = () => this.define(mode);
      const hide = () => this.definition.replaceChildren();
      const hint = mode.key;
      return makeButton({
        class: "mode",
        "data-mode": mode.mode,
        "aria-keyshortcuts": hint,
        "aria-description": mode.definition,
        click: () => this.toggle(mode),
        mouseenter: define,
        focus: define,
        mouseleave: hide,
        blur: hide,
      }, makeKey(hint), make("span", { text: mode.name }), make("small", { text: mode.severity === "safety" ? "safety" : "" }));
    });
    const empty = make("p", { class: "quiet", text: "No failure modes yet: press f, and say in the note what failed." });
    this.modes.replaceChildren(...(rows.length ? rows : [empty]));
    if (this.form) this.showForm();
  }

  prepare() {
    // The next session is built before it is asked for: showing it is only a swap.
    const item = this.model.get("upcoming");
    this.ready = null;
    const build = () => {
      if (this.model.get("upcoming") === item) this.ready = { item, session: this.transcript.build(item) };
    };
    if (item.session_id) (window.requestIdleCallback ?? setTimeout)(build);
  }

  paint(item, before, waiting = true) {
    this.item = item;
    const { label = {}, session_id } = item;
    this.root.dataset.session = session_id ?? "";
    this.fields.inert = !session_id;
    this.skipping.hidden = true;
    this.modes.scrollTop = 0;
    this.suggestion.replaceChildren();
    this.definition.replaceChildren();
    this.where.replaceChildren(item.surface ?? "", " ", make("code", { text: item.name ?? "" }));
    this.form = this.drafts.get(session_id) ?? {
      verdict: label.verdict ?? null,
      modes: new Set(label.modes),
      severity: label.severity ?? null,
      anchors: [...(label.anchors ?? [])],
      note: item.note ?? "",
      afterSuggestion: label.after_suggestion ?? false,
      seconds: 0,
    };
    this.latest = performance.now();
    const built = () => (this.ready?.item === item ? this.ready.session : this.transcript.build(item));
    this.transcript.show(session_id ? built() : this.buildState(waiting));
    this.showForm();
    const told = session_id ? [plural(item.turns.length, "turn"), ...item.signals].join(", ") : this.transcript.element.textContent;
    this.announce(`${before}${label.verdict ? "Labelled before. " : ""}${told}`);
    if (this.root.contains(document.activeElement)) this.transcript.focus();
  }

  buildState(waiting) {
    const notice = this.model.get("notice");
    const state = notice ? "error" : waiting || this.model.get("progress").done === undefined ? "loading" : "empty";
    const [title, text] = {
      error: ["This did not work", notice],
      loading: ["Loading", "The next session is being read."],
      empty: ["Nothing is left for you in this queue", "Each session is labelled, or held by somebody else. Undo (z) goes back to your last one."],
    }[state];
    return make("div", { class: "state", "data-state": state }, make("h2", { text: title }), make("p", { text }));
  }

  // The form

  choose(verdict) {
    const { form } = this;
    if (verdict !== "fail") {
      form.modes.clear();
      form.severity = null;
      form.anchors = form.anchors.filter((each) => !each.mode);
    }
    form.verdict = verdict;
    this.showForm();
    if (verdict === "fail" && !form.modes.size) this.note.focus();
  }

  toggle(mode) {
    const { form } = this;
    if (this.anchor(mode.mode) || !form.modes.delete(mode.mode)) form.modes.add(mode.mode);
    form.anchors = form.anchors.filter((each) => !each.mode || form.modes.has(each.mode));
    form.verdict = form.modes.size ? "fail" : null;
    if (!form.verdict) form.severity = null;
    this.findRow(mode.mode);
    this.showForm();
  }

  rate(severity) {
    if (this.form.verdict === "fail") this.form.severity = severity;
    this.showForm();
  }

  anchor(mode) {
    const found = this.transcript.selected();
    if (!found) return false;
    this.form.anchors.push({ ...found, mode });
    getSelection().removeAllRanges();
    this.showForm();
    this.announce(`Attached: ${found.quote.slice(0, 80)}`);
    return true;
  }

  findRow(mode) {
    const row = [...this.modes.children].find((each) => each.dataset.mode === mode);
    keepInView(this.modes, row);
    return row;
  }

  define({ mode, name, definition, example, severity, failure_class }) {
    const kind = make("small", { text: `${severity}, ${failure_class}` });
    this.definition.replaceChildren(make("h4", {}, name, " ", kind), make("p", { text: definition }),
      example ? make("p", {}, make("b", { text: "Example: " }), example) : "");
    const top = this.findRow(mode).getBoundingClientRect().top - this.fields.getBoundingClientRect().top;
    const lowest = this.root.clientHeight - this.definition.offsetHeight - 60;
    this.definition.style.top = `${Math.max(8, Math.min(top, lowest))}px`;
  }

  showForm() {
    const { verdict, modes, severity, anchors, note } = this.form;
    const press = (button, pressed) => button.setAttribute("aria-pressed", pressed);
    for (const each of this.verdicts) press(each, each.dataset.verdict === verdict && !modes.size);
    for (const each of this.modes.querySelectorAll(".mode")) press(each, modes.has(each.dataset.mode));
    for (const each of this.severities) press(each, each.textContent === severity);
    this.severity.classList.toggle("off", verdict !== "fail");
    if (this.note.value !== note) this.note.value = note;
    this.notice.textContent = this.model.get("notice");
    this.anchors.replaceChildren(...anchors.map((anchor) => this.buildAnchor(anchor)));
    this.submitButton.classList.toggle("ready", verdict !== null);
    this.submitButton.disabled = !this.item.session_id;
  }

  buildAnchor(anchor) {
    const name = this.codebook.find((mode) => mode.mode === anchor.mode)?.name ?? "Evidence";
    const remove = () => {
      this.form.anchors = this.form.anchors.filter((each) => each !== anchor);
      this.showForm();
    };
    return make("li", {}, make("b", { text: name }), make("q", { text: anchor.quote.slice(0, 160) }),
      makeButton({ text: "\u00d7", "aria-label": `Remove evidence: ${name}`, click: remove }));
  }

  showSuggestion(verdicts) {
    this.form.afterSuggestion ||= verdicts.length > 0;
    const rows = verdicts.map(({ evaluator_id, fails, rationale }) =>
      make("li", {}, make("b", { text: `${evaluator_id}: ${fails ? "fail" : "pass"}` }), ` ${rationale ?? ""}`));
    const none = make("p", { class: "quiet", text: "No judge has read this session." });
    this.suggestion.replaceChildren(make("h4", { text: "Judges' drafts" }), rows.length ? make("ul", {}, ...rows) : none);
  }

  // What goes to Python

  submit() {
    const { form, item } = this;
    if (this.saving) return;
    if (!form.verdict) return this.refuse("Choose first: p for pass, u for unsure, or the key of a failure mode.");
    if (form.verdict === "fail" && !form.modes.size && !form.note.trim()) {
      this.note.focus();
      return this.refuse("A failure outside the codebook needs a note that says what went wrong.");
    }
    this.work();
    this.send({
      act: "submit",
      session_id: item.session_id,
      base: item.label?.seq ?? 0,
      verdict: form.verdict,
      modes: [...form.modes],
      severity: form.severity,
      note: form.note,
      anchors: form.anchors,
      seconds: Math.round(form.seconds * 10) / 10,
      after_suggestion: form.afterSuggestion,
    });
  }

  leave(act) {
    if (this.item.session_id) this.drafts.set(this.item.session_id, this.form);
    this.send({ act });
  }

  askSkip() {
    const skip = (reason) => reason.trim() && this.send({ act: "skip", session_id: this.item.session_id, reason: reason.trim() });
    const reason = make("input", { type: "text", placeholder: "Why? Type, or press 1 to 3", "aria-label": "Reason to skip" });
    this.skipBy = (key) => {
      const preset = reason.value ? null : SKIP_REASONS[Number(key) - 1];
      return key === "Enter" || preset ? () => skip(preset ?? reason.value) : null;
    };
    const presets = SKIP_REASONS.map((text, number) =>
      makeButton({ class: "choice", click: () => skip(text) }, text, makeKey(number + 1)));
    this.skipping.replaceChildren(reason, ...presets);
    this.skipping.hidden = false;
    reason.focus();
  }

  work() {
    const now = performance.now();
    this.form.seconds += Math.min((now - this.latest) / 1000, IDLE_AFTER);
    this.latest = now;
    this.touched ??= now;
    if (now - this.touched < TOUCH_EVERY || !this.item.session_id) return;
    this.touched = now;
    this.model.send({ act: "touch" });
  }

  // Keys

  find(key) {
    const { target } = key;
    if (this.sheet.open) return key.key === "?" ? () => this.sheet.close() : null;
    if (target.matches(FIELDS)) return this.fieldKey(key);
    if (key.held || (target.matches("button, summary, a") && ["Enter", " "].includes(key.key))) return null;
    return this.commandKey(key);
  }

  fieldKey({ key, target, shiftKey, control }) {
    const inSearch = target === this.transcript.query;
    if (key === "Escape" && inSearch) return () => this.transcript.leaveSearch();
    if (key === "Escape") return () => { this.skipping.hidden = true; this.transcript.focus(); };
    if (key === "Enter" && inSearch) return () => this.transcript.step(shiftKey ? -1 : 1);
    if (target !== this.note) return this.skipBy(key);
    return key === "Enter" && control ? () => this.submit() : null;
  }

  commandKey(event) {
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1]; // Shift changes event.key
    if (event.key !== "Shift") this.definition.replaceChildren();
    const name = digit ?? (event.key.length === 1 ? event.key.toLowerCase() : event.key);
    const commands = {
      "?": () => this.sheet.showModal(),
      z: () => this.leave("undo"),
      ArrowLeft: () => this.leave("previous"),
      ArrowRight: () => this.item.label && this.leave("next"),
    };
    if (event.shiftKey && name.startsWith("Arrow")) return null; // widens the selection
    if (!this.item.session_id) return commands[name];
    const mode = this.codebook.find((each) => each.key === name);
    if (mode) return () => (event.shiftKey ? this.define(mode) : this.toggle(mode));
    return commands[name] ?? this.itemCommands()[name];
  }

  itemCommands() {
    const { transcript } = this;
    const scroll = (by) => () => transcript.scroll(by);
    const page = transcript.element.clientHeight * 0.85;
    const severity = () => [...SEVERITIES, null][(SEVERITIES.indexOf(this.form.severity) + 1) % 4];
    return {
      Enter: () => this.submit(),
      Escape: () => { transcript.clearSearch(); this.notice.textContent = ""; },
      p: () => this.choose("pass"),
      u: () => this.choose("unsure"),
      f: () => this.choose("fail"),
      v: () => this.rate(severity()),
      n: () => this.note.focus(),
      s: () => this.askSkip(),
      o: () => transcript.openAll(),
      g: () => this.policies.querySelector("summary")?.click(),
      j: () => this.model.send({ act: "suggestion" }),
      "/": () => transcript.query.select(),
      ArrowUp: scroll(-90),
      ArrowDown: scroll(90),
      PageUp: scroll(-page),
      PageDown: scroll(page),
      " ": scroll(page),
      Home: scroll(-1e9),
      End: scroll(1e9),
    };
  }
}

function render({ model, el }) {
  const desk = new Annotator(model, el);
  return () => desk.stop();
}

export default { render };
