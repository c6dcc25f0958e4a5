// The clusters: a map of notes, the list of clusters, the members of one. Python keeps the codebook:
// nothing here outlives the page.

const TRAITS = ["points", "homes", "groups", "members", "confirming", "sorting", "progress", "reason", "weak"];
const SHEET = [
  ["\u2191 \u2193", "another cluster, or another note"],
  ["\u2190 \u2192", "to the clusters; to the notes"],
  ["Space", "select a note; a selects all or none"],
  ["r", "rename the cluster"],
  ["m", "merge it: arrows choose the other, Enter merges"],
  ["x", "split it: the selected notes become a cluster"],
  ...SORT_KEYS,
  ["g", "golden case of the note: what should have been done"],
  ["c", "confirm: look at sampled notes; y belongs, n does not"],
  ["p", "promote it to a failure mode, with its definition"],
  ["d", "put it away: no failure mode"],
  ["z", "undo"],
  ["?", "this list"],
];

class ClusterDesk extends FormDesk {
  constructor(model, element) {
    super();
    this.model = model;
    this.name = `evalbench-${crypto.getRandomValues(new Uint32Array(1))[0]}`; // the page may show it twice
    this.colours = new Map();
    this.selected = new Set();
    this.at = 0;
    element.append(this.layOut());
    this.listen();
    this.refresh();
  }

  layOut() {
    const list = (name, more = {}) =>
      make("div", { class: name.toLowerCase(), role: "listbox", tabindex: 0, "aria-label": name, ...more });
    this.where = make("span", { class: "where" });
    this.reason = make("span", { class: "reason" });
    this.buildSigns(SHEET);
    this.weak = make("p", { class: "weak", role: "note" });
    this.notice = make("p", { class: "notice", role: "alert" });
    this.map = new NotesMap((mode) => this.choose(mode), (places) => this.selectWithin(places));
    this.list = list("Clusters");
    this.rows = list("Notes", { "aria-multiselectable": "true" });
    this.sorter = new Sorter(() => this.groups.map((group) => group.name), (message) => this.send(message));
    this.reader = new Reader((message) => this.model.send(message));
    this.title = make("h2");
    this.side = make("div", { class: "side" });
    const keys = this.commands();
    const acts = make("footer", {}, this.notice, make("div", { class: "row" },
      makeCommand("Sort", "s", keys.s), makeCommand("Rename", "r", keys.r), makeCommand("Merge", "m", keys.m), makeCommand("Split", "x", keys.x),
      makeCommand("Confirm", "c", keys.c), makeCommand("Promote", "p", keys.p), makeCommand("Put away", "d", keys.d),
      makeCommand("Undo", "z", keys.z), makeCommand("Keys", "?", keys["?"])));
    const pane = make("section", { class: "pane", "aria-label": "Cluster" }, this.title, this.side);
    this.root = make("section",
      { class: "evalbench evalbench-clusters", "data-lm-suppress-shortcuts": "true", "aria-label": "Clusters of notes" },
      make("header", {}, this.where, this.reason, this.tick), this.weak,
      make("div", { class: "columns" }, this.map.element, this.list, pane), acts, this.sheet, this.reader.element, this.live);
    return this.root;
  }

  listen() {
    const change = () => this.refreshSoon();
    // While the theme changes the page may be hidden, and nothing can be drawn.
    const themed = new MutationObserver(change);
    const leave = this.join(this.list, Object.fromEntries(TRAITS.map((name) => [name, change])));
    themed.observe(this.root, { attributeFilter: ["data-theme"] });
    this.stop = () => {
      leave();
      for (const each of [themed, this.map.seen]) each.disconnect();
    };
  }

  // What Python says

  hear(message) {
    const { tell, why, said, seq, item } = message;
    if (tell === "refused") return this.refuse(why);
    if (tell === "item") return this.reader.show(item);
    if (tell !== "done") return this.reader.hear(message);
    this.settle();
    if (!this.confirming.mode && !this.sorting.rows) this.leaveForm();
    this.refresh(); // what changed is here before what tells of it
    this.confirmSaved(seq);
    this.announce(said);
  }

  refreshSoon() {
    // Several traits change at once, and are shown at once.
    cancelAnimationFrame(this.soon);
    this.soon = requestAnimationFrame(() => this.refresh());
  }

  refresh() {
    this.groups = this.model.get("groups");
    this.members = { rows: [], ...this.model.get("members") };
    this.confirming = this.model.get("confirming");
    this.sorting = this.model.get("sorting");
    const mode = this.members.mode ?? "";
    if (mode !== this.root.dataset.mode) {
      this.selected.clear();
      this.at = 0;
      if (this.form) this.leaveForm();
    }
    this.root.dataset.mode = mode;
    for (const group of this.groups) if (!this.colours.has(group.mode)) this.colours.set(group.mode, this.colours.size);
    this.group = this.groups.find((each) => each.mode === mode);
    this.showHeader();
    this.showList();
    this.showSide();
    this.drawMap();
  }

  drawMap() {
    const chosen = this.members.rows.filter((row) => this.selected.has(row.note));
    this.map.draw({
      places: floats(this.model.get("points")),
      homes: new Int16Array(bytes(this.model.get("homes"))),
      groups: this.groups,
      chosen: this.group,
      marked: new Set(chosen.flatMap((row) => row.places)),
      colour: (mode) => this.colour(mode),
    });
  }

  colour(mode) {
    const hue = (this.colours.get(mode) * 137.508 + 250) % 360;
    return `oklch(${this.root.dataset.theme === "dark" ? 0.74 : 0.58} 0.15 ${hue.toFixed(1)})`;
  }

  // What is shown

  showHeader() {
    const { sorted, of, modes, recent, new: fresh, astray, few } = this.model.get("progress");
    const late = recent ? `, ${fresh} new in the last ${plural(recent, "act")}` : "";
    this.where.textContent = of ? `${count(sorted)} of ${plural(of, "note")} sorted, ${plural(modes, "failure")}${late}` : "";
    this.reason.textContent = astray ? "The right failure is seldom among those offered: these notes name subjects, not faults. Sorting will not help; reading the sessions will." : this.model.get("reason");
    this.root.querySelector("[aria-keyshortcuts=s]").hidden = !few;
    this.weak.hidden = !this.model.get("weak") || sorted > 0;
    this.weak.textContent = "These groups are weak: other draws of the notes give others. Sort the notes one by one, and trust no group for its shape.";
  }

  showList() {
    const none = make("p", { class: "quiet", text: this.model.get("reason") });
    this.list.replaceChildren(...(this.groups.length ? this.groups.map((group) => this.buildGroup(group)) : [none]));
    this.markTarget();
  }

  buildGroup(group) {
    const { mode, name, n_notes, n_unsure, n_suggested, stability, stable, sampled, waiting, precision, status } = group;
    const tag = { found: "suggested", draft: "draft", live: "counts" }[status];
    const facts = [
      stability !== null ? (stable ? "comes back when notes are drawn again" : "does not come back when notes are drawn again") : "",
      n_unsure ? `${count(n_unsure)} unsure` : "",
      n_suggested ? `${count(n_suggested)} more suggested` : "",
      waiting && waiting < sampled ? `${sampled - waiting} of ${sampled} looked at` : "",
      precision && n_notes > sampled ? `${percent(precision[0])} belong (${percent(precision[1])} to ${percent(precision[2])})` : "",
    ].filter(Boolean);
    const swatch = make("i", { "aria-hidden": "true" });
    swatch.style.background = this.colour(mode);
    return make("div", {
      id: this.idOf(mode), class: "group", role: "option", draggable: "true", "data-mode": mode,
      "aria-selected": mode === this.root.dataset.mode,
      "aria-label": [name, plural(n_notes, "note"), tag, ...facts].filter(Boolean).join(", "),
      click: () => (this.merging ? this.merge(this.merging, mode) : this.choose(mode)),
      dragstart: (event) => event.dataTransfer.setData("text/plain", mode),
      dragover: (event) => { event.preventDefault(); event.currentTarget.classList.add("over"); },
      dragleave: (event) => event.currentTarget.classList.remove("over"),
      drop: (event) => { event.preventDefault(); this.merge(event.dataTransfer.getData("text/plain"), mode); },
    }, swatch, make("b", { text: name }), make("span", { class: "size", text: n_notes ? count(n_notes) : "" }),
    make("small", {}, tag ? make("em", { class: status, text: tag }) : "", facts.join(" \u00b7 ")));
  }

  idOf(mode) {
    return `${this.name}-cluster-${this.colours.get(mode)}`;
  }

  markTarget() {
    const marked = this.merging ? this.target : this.root.dataset.mode;
    this.root.classList.toggle("merging", Boolean(this.merging));
    for (const row of this.list.querySelectorAll(".group")) {
      row.classList.toggle("target", Boolean(this.merging) && row.dataset.mode === this.target);
      if (row.dataset.mode === marked) keepInView(this.list, row);
    }
    if (this.colours.has(marked)) this.list.setAttribute("aria-activedescendant", this.idOf(marked));
  }

  showSide() {
    const { name = "", n_notes = 0 } = this.group ?? {};
    const { rows } = this.members;
    this.title.replaceChildren(name, " ", make("small", { text: this.group ? plural(n_notes, "note") : "" }));
    if (this.sorting.rows) return this.showSorting();
    if (this.confirming.mode) return this.showMember();
    if (this.form?.matches(".member, .sorting")) return this.leaveForm();
    if (this.form) return;
    const more = this.members.left_out ? `${plural(this.members.left_out, "more note")} not shown.` : "";
    const none = n_notes ? this.model.get("reason") : "No notes: labels name this failure mode.";
    this.rows.replaceChildren(...rows.map((row, index) => this.buildRow(row, index)), make("p", { class: "quiet", text: rows.length ? more : none }));
    if (this.rows.parentNode !== this.side) this.side.replaceChildren(this.rows);
    this.markRow();
  }

  buildRow({ note, notes, text, unsure, representative, belongs, suggested, session_id }, index) {
    const judged = { true: "belongs", false: "does not belong" }[belongs];
    const marks = [suggested && "suggested, not sorted", representative && "typical", unsure && !judged && "unsure", judged].filter(Boolean);
    return make("div", {
      id: `${this.name}-note-${note}`, class: `note ${suggested || (unsure && !judged) ? "unsure" : ""}`, role: "option", "data-note": note,
      title: `Session ${session_id}`,
      "aria-label": [text, notes.length > 1 ? `${notes.length} times` : "", ...marks].filter(Boolean).join(", "),
      click: () => { this.at = index; this.toggle(index); },
    }, make("i", { "aria-hidden": "true" }), make("p", { text }),
    make("small", {}, notes.length > 1 ? make("b", { text: `\u00d7${notes.length}` }) : "", marks.join(" \u00b7 ")));
  }

  markRow() {
    const rows = [...this.rows.querySelectorAll(".note")];
    for (const [index, row] of rows.entries()) {
      row.classList.toggle("here", index === this.at);
      row.setAttribute("aria-selected", this.selected.has(Number(row.dataset.note)));
    }
    if (rows[this.at]) {
      this.rows.setAttribute("aria-activedescendant", rows[this.at].id);
      keepInView(this.rows, rows[this.at]);
    }
  }

  showSorting() {
    const { sorted, of } = this.model.get("progress");
    this.title.replaceChildren("Sort notes ", make("small", { text: `${count(sorted)} of ${count(of)}` }));
    if (this.form !== this.sorter.element) this.open(this.sorter.element);
    this.sorter.show(this.sorting);
    this.announce(this.sorting.rows.map((row) => row.text).join("; "));
  }

  showMember() {
    const { name, definition, note, text, session_id, done, of } = this.confirming;
    const judge = (belongs) => () => this.judge(belongs);
    const form = make("form", { class: "member", tabindex: -1, "data-note": note, "aria-label": "Does this note belong?", submit: (event) => event.preventDefault() },
      make("p", { class: "quiet", text: `${done + 1} of ${of}: does this note belong to \u201c${name}\u201d?` }),
      definition ? make("p", { class: "quiet", text: definition }) : "",
      make("blockquote", { text }), make("p", { class: "quiet", text: `Session ${session_id}` }),
      make("div", { class: "row" },
        makeButton({ class: "command", "aria-keyshortcuts": "y", click: judge(true) }, "Belongs", makeKey("y")),
        makeButton({ class: "command", "aria-keyshortcuts": "n", click: judge(false) }, "Does not", makeKey("n")),
        makeButton({ class: "command", "aria-keyshortcuts": "Escape", click: () => this.close() }, "Leave", makeKey("Esc"))));
    this.open(form);
    if (document.activeElement !== form) form.focus({ preventScroll: true });
    this.announce(`${done + 1} of ${of}: ${text}`);
  }

  // What the analyst does

  choose(mode) {
    if (mode !== this.root.dataset.mode) this.model.send({ act: "choose", mode });
  }

  select(notes) {
    this.selected = new Set(notes);
    this.markRow();
    this.drawMap();
    this.announce(`${plural(this.selected.size, "note")} selected`);
  }

  selectWithin(places) {
    const rows = this.members.rows.filter((row) => row.places.some((place) => places.has(place)));
    this.select(rows.map((row) => row.note));
  }

  toggle(index) {
    const { note } = this.members.rows[index] ?? {};
    if (note === undefined) return;
    const rest = new Set(this.selected);
    if (!rest.delete(note)) rest.add(note);
    this.select(rest);
  }

  step(by) {
    if (this.rows.contains(document.activeElement)) {
      this.at = Math.max(0, Math.min(this.at + by, this.members.rows.length - 1));
      return this.markRow();
    }
    const modes = this.groups.map((group) => group.mode).filter((mode) => mode !== this.merging);
    const place = modes.indexOf(this.merging ? this.target : this.root.dataset.mode);
    const next = modes[Math.max(0, Math.min(place + by, modes.length - 1))];
    if (!this.merging) return this.choose(next);
    this.target = next;
    this.markTarget();
    this.announce(`Merge into ${this.groups.find((group) => group.mode === next).name}`);
  }

  askMerge() {
    this.close();
    this.merging = this.group.mode;
    this.target = "";
    this.list.focus();
    this.markTarget();
    this.notice.textContent = `Merge \u201c${this.group.name}\u201d into which? Choose with the arrows and Enter, or click it. Esc leaves.`;
  }

  merge(source, into) {
    this.close();
    if (!into || source === into) return;
    const [from, to] = [source, into].map((mode) => this.groups.find((group) => group.mode === mode));
    const send = () => this.send({ act: "merge", source, into });
    if (to.status !== "live") return send();
    const asked = `\u201c${to.name}\u201d counts already: its rates change. Merge ${plural(from.n_notes, "note")} of \u201c${from.name}\u201d into it?`;
    this.openForm("Merge", [], send, make("p", { text: asked }));
  }

  read() {
    const row = this.sorting.rows?.[0] ?? (this.confirming.mode ? this.confirming : this.members.rows[this.at]);
    if (row) this.model.send({ act: "read", note: row.note });
  }

  judge(belongs) {
    const { mode, note } = this.confirming;
    this.send({ act: "judge", mode, note, belongs });
  }

  open(form) {
    this.form = form;
    this.notice.textContent = "";
    this.side.replaceChildren(form);
  }

  close() {
    if (this.confirming.mode || this.sorting.rows) this.model.send({ act: "leave" });
    this.confirming = this.sorting = {};
    this.leaveForm();
  }

  leaveForm() {
    const held = this.root.contains(document.activeElement);
    this.form = this.merging = null;
    this.notice.textContent = "";
    this.showSide();
    this.markTarget();
    if (held && !this.root.contains(document.activeElement)) this.list.focus();
  }

  // Keys

  find({ key, target, held, control }) {
    if (this.reader.element.open) return null; // the browser closes it with Escape
    if (control && key === "Enter" && this.form?.matches(".asking")) return () => this.form.requestSubmit();
    if (held || (target.matches("input, textarea, select") && key !== "Escape")) return null;
    if (target.matches("button") && ["Enter", " "].includes(key)) return null;
    const name = key.length === 1 ? key.toLowerCase() : key;
    return this.sheet.open ? name === "?" && (() => this.sheet.close()) : this.keys()[name];
  }

  keys() {
    const leave = { Escape: () => this.close(), "?": () => this.sheet.showModal(), z: () => this.send({ act: "undo" }) };
    leave.o = () => this.read();
    if (this.sorting.rows) return { ...leave, ...this.sorter.keys() };
    if (this.confirming.mode) return { ...leave, y: () => this.judge(true), n: () => this.judge(false) };
    if (this.form) return { Escape: leave.Escape };
    const arrows = { ArrowUp: () => this.step(-1), ArrowDown: () => this.step(1) };
    if (this.merging) return { ...leave, ...arrows, Enter: () => this.merge(this.merging, this.target) };
    const all = () => this.select(this.selected.size ? [] : this.members.rows.map((row) => row.note));
    const move = { ArrowLeft: () => this.list.focus(), ArrowRight: () => this.rows.focus() };
    return { ...leave, ...arrows, ...move, " ": () => this.toggle(this.at), a: all, ...this.commands() };
  }

  commands() {
    const on = (act) => () => this.group && act(this.group);
    return {
      s: () => this.model.send({ act: "sort" }),
      o: () => this.read(),
      r: on(({ mode, name }) => this.openForm("Rename", [["name", "Name", "input", name]], (given) => this.send({ act: "rename", mode, ...given }))),
      m: on(() => this.askMerge()),
      x: on(() => this.askSplit()),
      c: on(({ mode }) => this.model.send({ act: "confirm", mode })),
      p: on(() => this.askPromote()),
      g: on(() => this.askGolden()),
      d: on(({ mode }) => this.send({ act: "retire", mode })),
      z: () => this.send({ act: "undo" }),
      "?": () => this.sheet.showModal(),
    };
  }
}

const percent = (share) => `${Math.round(100 * share)}%`;
// A view may begin at any byte; a typed array may not.
const bytes = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
const floats = (view) => new Float32Array(bytes(view));

function render({ model, el }) {
  const desk = new ClusterDesk(model, el);
  return () => desk.stop();
}

export default { render };
