// The adjudicator: a session whose annotators disagree, their labels side by side, and the decision.

const VERDICTS = [["pass", "Pass", "p"], ["unsure", "Unsure", "u"], ["fail", "Other failure", "f"]];
const ANSWER_WITHIN_DESK = 10_000; // milliseconds
const SHEET = [
  ["Shift + A, B, C", "take the label of that annotator as it is"],
  ["1-9, letters", "a failure mode holds, or does not"],
  ["p u f", "pass; unsure; a failure outside the codebook"],
  ["n", "the reason; Esc leaves it, Ctrl+Enter decides"],
  ["Enter", "decide, and go on to the next case"],
  ["z", "back to the case decided last, to decide it anew"],
  ["\u2190 \u2192", "an earlier or later case"],
  [", .", "evidence before, next evidence"],
  ["] [", "next turn, turn before"],
  ["} {", "next error or tool call, the one before"],
  ["/", "search the session"],
  ["r", "the session as its source has it"],
  ["o", "open or close everything folded"],
  ["?", "this list"],
];
const sameModes = (one, other) => one.length === other.length && one.every((mode) => other.includes(mode));
const decimal = (value) => value.toFixed(2).replace("-", "\u2212");
const percent = (share) => (share === null ? "" : `${Math.round(100 * share)}%`);

// What all say is the beginning of a decision; what one adds to it is disputed.
function beginForm({ given, ruling }) {
  if (ruling) return { verdict: ruling.verdict, modes: ruling.modes, reason: ruling.reason };
  const shared = given[0].modes.filter((mode) => given.every((each) => each.modes.includes(mode)));
  const verdict = given.every((each) => each.verdict === given[0].verdict) ? given[0].verdict : null;
  return { verdict: verdict ?? (shared.length ? "fail" : null), modes: shared, reason: "" };
}

function GivenLabel({ label, disputed, nameOf, show, take }) {
  const { letter, verdict, modes, severity, note, anchors, annotator } = label;
  return html`<article class="given" aria-label=${`Annotator ${letter}`}>
    <header><b>${letter}</b><span>${annotator}</span><button type="button" class="choice" onClick=${take}>Take it<kbd aria-hidden="true">Shift ${letter}</kbd></button></header>
    <p class="verdict" data-verdict=${verdict}>${verdict}${severity ? `, ${severity}` : ""}</p>
    <ul class="said">${modes.map((mode) => html`<li class=${disputed.includes(mode) ? "disputed" : ""}>${nameOf(mode)}</li>`)}</ul>
    ${note && html`<p class="note" dir="auto">${note}</p>`}
    ${anchors.map((anchor) => html`<button type="button" class="quote" title="Show it in the session" onClick=${() => show(anchor)}>
      ${anchor.mode ? html`<small>${nameOf(anchor.mode)}</small>` : null}<q dir="auto">${anchor.quote.slice(0, 240)}</q></button>`)}
  </article>`;
}

function Agreement({ rows, nameOf }) {
  return html`<details class="agreement" open><summary>Agreement so far</summary><table>
    <thead><tr><th>Failure mode</th><th>Read by two</th><th>Said the same</th><th title="Agreement beyond chance: 1 where people always say the same, 0 where they might as well guess">Alpha</th><th>Disputed</th><th>Waiting</th></tr></thead>
    <tbody>${rows.map(({ mode, n_items, percent: share, alpha, alpha_low, alpha_high, disputed, waits }) => html`<tr key=${mode}>
      <th scope="row">${nameOf(mode)}</th><td>${n_items}</td><td>${percent(share)}</td>
      <td>${alpha === null ? html`<small>too few</small>` : html`${decimal(alpha)} <small class="interval">${decimal(alpha_low)} to ${decimal(alpha_high)}</small>`}</td>
      <td>${disputed}</td><td>${waits}</td></tr>`)}</tbody></table></details>`;
}

class AdjudicatorDesk extends Component {
  root = createRef();
  reason = createRef();
  transcript = createRef();
  sheet = createRef();
  at = -1; // the evidence shown last

  constructor({ model }) {
    super();
    this.codebook = model.get("codebook");
    this.names = new Map([["any", "Pass or fail"], ...this.codebook.map((mode) => [mode.mode, mode.name])]);
    this.keys = new Map(this.codebook.map((mode, number) => [mode.key || String(number + 1), mode]));
    this.kept = new Kept(model.get("about"));
    const item = model.get("item");
    this.state = { item, form: this.draft(item), told: "", notice: "", busy: false };
  }

  componentDidMount() {
    const { model } = this.props;
    this.leaveTheme = followTheme(this.root.current);
    this.heard = { "msg:custom": (message) => this.hear(message), "change:item": () => this.showItem(), "change:cases": () => this.forceUpdate() };
    for (const [name, act] of Object.entries(this.heard)) model.on(name, act);
    if (!document.querySelector(LAB)) this.transcript.current.focus();
  }

  componentWillUnmount() {
    this.leaveTheme();
    for (const [name, act] of Object.entries(this.heard)) this.props.model.off(name, act);
  }

  get case() {
    return this.state.item.case;
  }

  get anchors() {
    return this.case ? this.case.given.flatMap((each) => each.anchors) : [];
  }

  // What was chosen and not decided yet outlives the page, unless others labelled the session since.
  draft({ session_id, case: here }) {
    const kept = session_id && this.kept.get(session_id);
    return kept && sameModes(kept.labels, here.labels) ? kept.form : here && beginForm(here);
  }

  nameOf = (mode) => this.names.get(mode) ?? mode;

  showItem() {
    const item = this.props.model.get("item");
    const same = item.session_id === this.state.item.session_id && sameModes(item.case?.labels ?? [], this.case?.labels ?? []);
    this.at = -1;
    this.setState({ item, form: same ? this.state.form : this.draft(item), busy: false });
    if (!same && this.root.current.contains(document.activeElement)) this.transcript.current.focus();
  }

  hear(message) {
    const { tell } = message;
    if (tell === "decided") {
      this.last = message.session_id;
      this.kept.drop(this.last);
      const people = Object.entries(message.people).map(([letter, name]) => `${letter} was ${name}`).join(", ");
      this.settle({ told: `Decided. ${people}.`, notice: "" });
      this.root.current.dataset.saved = message.seq;
    } else if (tell === "refused") this.settle({ notice: message.why });
    else if (tell !== "back" && tell !== "gone") this.transcript.current.hear(message);
  }

  settle(state) {
    clearTimeout(this.overdue);
    this.setState({ ...state, busy: false });
  }

  // The form

  set(form) {
    const changed = { ...this.state.form, ...form };
    this.kept.put(this.state.item.session_id, { form: changed, labels: this.case.labels });
    this.setState({ form: changed, notice: "" });
  }

  choose(verdict) {
    this.set({ verdict, modes: verdict === "fail" ? this.state.form.modes : [] });
  }

  toggle(mode) {
    const { modes } = this.state.form;
    const now = modes.includes(mode) ? modes.filter((each) => each !== mode) : [...modes, mode];
    this.set({ modes: now, verdict: now.length ? "fail" : null });
  }

  take(letter) {
    const given = this.case.given.find((each) => each.letter === letter);
    if (given) this.set({ verdict: given.verdict, modes: [...given.modes] });
  }

  // Who labelled it as it is decided now.
  agreeing() {
    const { verdict, modes } = this.state.form;
    return this.case.given.filter((each) => each.verdict === verdict && sameModes(each.modes, modes)).map((each) => each.letter);
  }

  decide() {
    const { form, item, busy } = this.state;
    if (busy) return;
    if (!form.verdict) return this.setState({ notice: "Choose first: p for pass, u for unsure, or the key of a failure mode." });
    const letters = this.agreeing();
    const reason = form.reason.trim() || (letters.length ? `As annotator ${letters.join(" and ")} labelled it.` : "");
    if (!reason) {
      this.reason.current.focus();
      return this.setState({ notice: "Nobody labelled it so: say why it is right." });
    }
    this.setState({ busy: true, told: "", notice: "" });
    this.overdue = setTimeout(() => this.settle({ notice: "No answer yet: it is not known whether this was saved. What you chose is still here; Enter tries again." }), ANSWER_WITHIN_DESK);
    this.send({ act: "decide", session_id: item.session_id, verdict: form.verdict, modes: form.modes, reason, labels: this.case.labels });
  }

  send(message) {
    this.props.model.send(message);
  }

  open(session_id) {
    if (session_id) this.send({ act: "open", session_id });
  }

  turnTo(by) {
    const cases = this.props.model.get("cases");
    const here = cases.findIndex((each) => each.session_id === this.state.item.session_id);
    this.open(cases[here + by]?.session_id);
  }

  show(anchor) {
    this.transcript.current.jump(anchor.span_id, anchor.quote);
  }

  showNext(by) {
    const { anchors } = this;
    if (!anchors.length) return;
    this.at = (this.at + by + anchors.length) % anchors.length;
    this.show(anchors[this.at]);
  }

  // Keys

  press(event) {
    const { target, key, ctrlKey, metaKey, altKey } = event;
    event.stopPropagation();
    if (this.sheet.current.open || event.defaultPrevented || altKey) return;
    const inField = target.matches("input, textarea, select");
    const control = ctrlKey || metaKey;
    const act = inField ? (key === "Escape" ? () => this.transcript.current.focus() : control && key === "Enter" ? () => this.decide() : null)
      : control || (target.matches("button, summary, a") && key === " ") ? null : this.find(event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  find({ key, code }) {
    const transcript = this.transcript.current;
    const commands = {
      ArrowLeft: () => this.turnTo(-1),
      ArrowRight: () => this.turnTo(1),
      z: () => this.open(this.last),
      "?": () => this.sheet.current.showModal(),
    };
    if (!this.case) return commands[key];
    if (/^[A-Z]$/.test(key) && this.case.given.some((each) => each.letter === key)) return () => this.take(key);
    const mode = this.keys.get(/^(?:Digit|Numpad)([1-9])$/.exec(code)?.[1] ?? key);
    if (mode) return () => this.toggle(mode.mode);
    return commands[key] ?? {
      ...listReading(transcript),
      Enter: () => this.decide(),
      p: () => this.choose("pass"),
      u: () => this.choose("unsure"),
      f: () => this.choose("fail"),
      n: () => this.reason.current.focus(),
      ",": () => this.showNext(-1),
      ".": () => this.showNext(1),
    }[key];
  }

  // What it is built of

  buildForm() {
    const { form, busy } = this.state;
    const { given, modes: disputed } = this.case;
    const letters = this.agreeing();
    const hint = letters.length ? `Reason (n); else: as annotator ${letters.join(" and ")} labelled it` : "Reason (n): what the people who disagreed should know";
    return html`<form class="decision" aria-label="Decision" onSubmit=${(event) => event.preventDefault()}>
      <div class="verdicts" role="group" aria-label="Verdict">${VERDICTS.map(([verdict, name, key]) => html`<button type="button" class="choice" aria-keyshortcuts=${key}
        aria-pressed=${String(form.verdict === verdict && !form.modes.length)} onClick=${() => this.choose(verdict)}>${name}<kbd aria-hidden="true">${key}</kbd></button>`)}</div>
      <div class="modes" role="group" aria-label="Failure modes">${[...this.keys].map(([key, { mode, name, definition }]) => {
        const who = given.filter((each) => each.modes.includes(mode)).map((each) => each.letter);
        return html`<button type="button" key=${mode} class=${`mode ${disputed.includes(mode) ? "disputed" : ""}`} title=${definition} aria-keyshortcuts=${key}
          aria-pressed=${String(form.modes.includes(mode))} onClick=${() => this.toggle(mode)}><kbd aria-hidden="true">${key}</kbd><span>${name}</span><small>${who.join(" ")}</small></button>`;
      })}</div>
      <textarea ref=${this.reason} rows="2" dir="auto" aria-label="Reason" aria-keyshortcuts="n" placeholder=${hint} value=${form.reason} onInput=${(event) => this.set({ reason: event.currentTarget.value })}></textarea>
      <button type="button" class=${`command main ${form.verdict ? "ready" : ""}`} aria-keyshortcuts="Enter" disabled=${busy} onClick=${() => this.decide()}>Decide<kbd aria-hidden="true">Enter</kbd></button>
    </form>`;
  }

  render({ model }, { item, told, notice, busy }) {
    const cases = model.get("cases");
    const waiting = cases.filter((each) => each.waits).length;
    const here = this.case;
    return html`<section class="evalbench evalbench-adjudicator" ref=${this.root} aria-label="Adjudication" data-session=${item.session_id ?? ""}
      data-lm-suppress-shortcuts="true" aria-busy=${String(busy)} onKeyDown=${(event) => this.press(event)}>
      <header><select aria-label="Case" value=${item.session_id ?? ""} onChange=${(event) => this.open(event.currentTarget.value)}>
          ${here ? null : html`<option value="">No case is open</option>`}
          ${cases.map((each) => html`<option key=${each.session_id} value=${each.session_id}>${each.waits ? "" : "\u2713 "}${each.name}: ${each.disputed.join(", ")}</option>`)}</select>
        <span>${plural(waiting, "case")} waiting  \u00b7  ${count(cases.length - waiting)} decided</span>
        <span class="told" role="status">${told}</span>
        <button type="button" class="choice" aria-keyshortcuts="?" onClick=${() => this.sheet.current.showModal()}>Keys<kbd aria-hidden="true">?</kbd></button></header>
      <div class="columns"><${Transcript} ref=${this.transcript} item=${here ? item : null} blind=${true} anchors=${this.anchors} ask=${(message) => this.send(message)}
          onAnchor=${(number) => (this.at = number)}>
          <div class="state"><h2>Nothing waits for a decision</h2><p>${cases.length ? "Every case is decided. Choose one above to decide it anew." : "No two people have labelled a session differently."}</p></div></${Transcript}>
        <aside class="panel" aria-label="Labels and decision"><div class="fields">
          <p class="notice" role="alert">${notice}</p>
          ${here && html`<div class="side-by-side">${here.given.map((label) => html`<${GivenLabel} key=${label.letter} label=${label} disputed=${here.modes} nameOf=${this.nameOf}
            show=${(anchor) => this.show(anchor)} take=${() => this.take(label.letter)} />`)}</div>`}
          ${here && this.buildForm()}
          <${Agreement} rows=${model.get("agreement")} nameOf=${this.nameOf} />
        </div></aside></div>
      <${Sheet} hold=${this.sheet} rows=${SHEET} />
    </section>`;
  }
}

function render({ model, el }) {
  mount(html`<${AdjudicatorDesk} model=${model} />`, el);
  return () => mount(null, el);
}

export default { render };
