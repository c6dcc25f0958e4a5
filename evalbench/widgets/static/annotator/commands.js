// What each key does at the desk, and the list of them.

const SHEET = [
  ["1-9, letters", "mark a failure mode, with the selected text as evidence"],
  ["Shift + its key", "show its definition and example"],
  ["p  u  f", "pass; unsure; another failure, which the note tells"],
  ["m", "none of these: propose a failure mode"],
  ["v", "severity: safety, user impact, polish, none"],
  ["e", "this turn is the evidence"],
  ["n", "note; Esc leaves it, Ctrl+Enter submits"],
  ["Enter", "submit and go on"],
  ["G", "golden case: what the last failure should have been"],
  ["z  Z", "undo your last label or skip; do it again"],
  ["\u2190 \u2192", "an earlier session; on again"],
  ["s", "skip, with a reason"],
  ["] [", "next turn, turn before"],
  ["} {", "next error or tool call, the one before"],
  ["/", "search; Enter next, Shift+Enter back, Esc selects the hit"],
  ["\u2191 \u2193", "scroll; Page Up, Page Down, Home, End too"],
  ["o  r", "open or close everything folded; as its source has it"],
  ["l", "the queue and the outline"],
  ["g", "policies and codebook, and its keys"],
  ["c", "a comment to whoever leads the labelling"],
  ["=", "sessions like this one: to read, and to pick for a queue of their own"],
  ["j", "judges' drafts, after your own label"],
  [".", "why it was drawn and what is known of it: the label counts as unblinded"],
  ["?", "this list"],
];

function findAct(desk, key) {
  const { target } = key;
  if (desk.sheet.current.open) return key.key === "?" ? () => desk.sheet.current.close() : null;
  if (desk.alike.current.isOpen) return desk.alike.current.find(key);
  if (target.matches(FIELDS)) return findFieldKey(desk, key);
  if (key.held || (target.matches("button, summary, a") && key.key === " ")) return null;
  if (desk.state.pinning) return findPinKey(desk, key);
  if (desk.list.current?.contains(target)) return findListKey(desk, key) ?? findCommandKey(desk, key);
  return findCommandKey(desk, key);
}

function findFieldKey(desk, { key, target, control }) {
  if (key === "Escape") return () => desk.close();
  if (target === desk.note.current) return key === "Enter" && control ? () => desk.submit() : null;
  if (!target.closest(".asking")) return null;
  if (key === "Enter" && target.nextElementSibling?.matches("input")) return () => target.nextElementSibling.focus();
  const preset = desk.state.asking === "skip" && !target.value && SKIP_REASONS[Number(key) - 1];
  return preset ? () => desk.skip(preset) : key === "Enter" ? () => desk.sendAsked() : null;
}

function findPinKey(desk, { key }) {
  const mode = desk.state.pinning;
  if (key.length !== 1) return key === "Escape" ? () => desk.setState({ pinning: "" }) : null;
  return () => {
    desk.setState({ pinning: "" });
    desk.send({ act: "pin", mode, key: key.toLowerCase() });
  };
}

function findListKey(desk, { key }) {
  const { rows, filter, place } = desk.state;
  const shown = filterItems(rows, filter);
  const move = (by) => () => {
    const next = Math.max(0, Math.min(shown.length - 1, place + by));
    desk.setState({ place: next }, () => keepInView(desk.list.current, desk.list.current.children[next]));
  };
  const turn = (by) => () => {
    const names = FILTERS.map(([name]) => name);
    desk.setState({ filter: names.at((names.indexOf(filter) + by) % names.length), place: 0 });
  };
  return {
    ArrowUp: move(-1), ArrowDown: move(1), PageUp: move(-10), PageDown: move(10), ArrowLeft: turn(-1), ArrowRight: turn(1),
    Enter: shown[place] ? () => desk.open(shown[place]) : null, Escape: () => desk.focus(),
  }[key];
}

function findCommandKey(desk, key) {
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(key.code)?.[1]; // Shift changes event.key
  if (key.key !== "Shift" && desk.state.defined) desk.setState({ defined: null });
  const name = digit ?? (key.key.length === 1 ? key.key.toLowerCase() : key.key);
  if (key.shiftKey && name.startsWith("Arrow")) return null; // widens the selection
  const commands = listCommands(desk);
  const act = commands[key.key] ?? (key.shiftKey ? null : commands[name]);
  if (!desk.item.session_id) return act;
  const mode = desk.codebook.find((each) => each.key === name);
  if (mode) return () => (key.shiftKey ? desk.define(mode) : desk.toggle(mode));
  return act ?? listItemCommands(desk)[key.key.length === 1 && key.shiftKey ? key.key : name];
}

function listCommands(desk) {
  return {
    "?": () => desk.sheet.current.showModal(),
    z: () => desk.leave("undo"),
    Z: () => desk.leave("redo"),
    G: () => desk.askGolden(),
    l: () => desk.showList(),
    g: () => desk.showGuide(),
    ArrowLeft: () => desk.leave("previous"),
    ArrowRight: () => desk.item.label && desk.leave("next"),
  };
}

function listItemCommands(desk) {
  const transcript = desk.transcript.current;
  const severity = () => [...SEVERITIES, null][(SEVERITIES.indexOf(desk.form.severity) + 1) % 4];
  return {
    ...listReading(transcript),
    Enter: () => desk.submit(),
    Escape: () => desk.close(),
    p: () => desk.choose("pass"),
    u: () => desk.choose("unsure"),
    f: () => desk.choose("fail"),
    m: () => desk.ask("propose"),
    v: () => desk.rate(severity()),
    n: () => desk.note.current.focus(),
    s: () => desk.ask("skip"),
    c: () => desk.ask("comment"),
    e: () => desk.attach(transcript.selection() ?? transcript.here()),
    "=": () => desk.alike.current.start(),
    j: () => desk.send({ act: "suggestion" }),
    ".": () => desk.item.blind && desk.send({ act: "reveal" }),
  };
}
