// The desk: a session, the form that judges it, and the keys of both. Python keeps the labels; what is
// not a label yet is kept in the browser.

const IDLE_AFTER = 60; // seconds without a key or a move that still count as work
const TOUCH_EVERY = 60_000; // milliseconds
const EMPTY = { verdict: null, modes: [], severity: null, anchors: [], note: "", seconds: 0 };

class AnnotatorDesk extends Component {
  root = createRef();
  transcript = createRef();
  note = createRef();
  fields = createRef();
  modes = createRef();
  list = createRef();
  guide = createRef();
  sheet = createRef();
  alike = createRef();
  item = {};
  form = EMPTY;
  awaiting = false;
  state = { notice: "", said: "", asking: "", rows: [], filter: "all", place: 0, shows: false, guiding: false, waiting: 0 };

  constructor(props) {
    super();
    const { model } = props;
    const about = model.get("about");
    this.kept = new Kept(about);
    const changed = () => this.forceUpdate();
    this.line = new Line(model, this.kept, { answered: (...told) => this.take(...told), changed });
    this.twins = new Twins(this.kept.home, changed);
    this.read();
    this.item = model.get("item");
    this.form = this.draft(this.item);
  }

  get codebook() {
    return this.props.model.get("codebook");
  }

  get policies() {
    return this.props.model.get("policies");
  }

  read() {
    this.latest = performance.now();
  }

  componentDidMount() {
    const { model } = this.props;
    const root = this.root.current;
    this.leaveTheme = followTheme(root);
    this.keys = new Keys(root, {
      find: (key) => findAct(this, key),
      isBusy: () => Boolean(this.line.pending) || this.awaiting,
      changed: (waiting) => this.setState({ waiting }),
    });
    const draw = () => this.forceUpdate();
    this.heard = [["msg:custom", (message) => this.hear(message)], ["change:item", () => this.showItem()],
      ...["upcoming", "codebook", "policies", "progress", "notice"].map((name) => [`change:${name}`, draw])];
    for (const [name, act] of this.heard) model.on(name, act);
    for (const name of ["keydown", "pointermove", "wheel"]) root.addEventListener(name, () => this.work());
    // The mouse leaves focus and selection where they are, so that the keys go on as before.
    root.addEventListener("mousedown", (event) => event.target.closest("button") && event.preventDefault());
    root.addEventListener("click", () => root.contains(document.activeElement) || this.focus());
    if (root.clientWidth >= 1400) this.showList();
    // In a notebook somebody may be typing elsewhere; a page of its own has nothing else.
    if (!document.querySelector(LAB)) this.focusOnceSeen();
    const lost = this.kept.get("sending"); // the page went before its answer came
    if (lost) this.line.send(lost);
  }

  componentWillUnmount() {
    for (const [name, act] of this.heard) this.props.model.off(name, act);
    this.leaveTheme();
    this.line.stop();
    this.twins.leave();
  }

  focus() {
    this.transcript.current.focus();
  }

  focusOnceSeen() {
    const seen = new ResizeObserver(() => {
      if (!this.root.current?.clientHeight) return;
      seen.disconnect();
      this.focus();
    });
    seen.observe(this.root.current);
  }

  // What Python says

  hear(message) {
    const { tell } = message;
    if (tell === "back" && !this.line.pending && this.item.session_id) this.send({ act: "open", session_id: this.item.session_id });
    if (!this.line.hear(message) && !this.alike.current.hear(message) && ["text", "found", "turns"].includes(tell)) this.transcript.current.hear(message);
    if (!this.line.pending) this.keys.replay();
  }

  // An act was answered: the traits it changed are here, those of a label follow.
  take(message, asked) {
    const { tell, why, said, draft, session_id } = message;
    const { model } = this.props;
    if (tell === "refused") return this.refuse(why, asked);
    this.setState({ notice: "", said: said ?? "" });
    if (tell === "saved") return this.showSaved(message);
    if (tell === "suggestion") return this.setState({ suggestion: message.verdicts });
    if (tell === "items") return this.setState({ rows: message.rows });
    if (tell === "revealed") {
      const { reason, signals } = message;
      if (session_id === this.item.session_id) this.item = { ...this.item, reason, signals, blind: false };
      return this.forceUpdate();
    }
    if (asked.act === "skip") this.kept.drop(asked.session_id);
    const item = model.get("item");
    if (draft) this.kept.put(item.session_id, { ...EMPTY, ...draft, base: item.label?.seq ?? 0 });
    if (["skip", "undo", "redo", "previous", "next", "open"].includes(asked.act)) this.paint(item);
    else if (["propose", "comment", "golden"].includes(asked.act)) this.close();
  }

  showSaved({ session_id, seq }) {
    const { model } = this.props;
    this.kept.drop(session_id);
    const [item, upcoming] = [model.get("item"), model.get("upcoming")];
    const next = item.session_id === session_id ? upcoming : item;
    this.awaiting = !next.session_id && item.session_id === session_id;
    this.root.current.dataset.saved = seq;
    this.paint(this.awaiting ? {} : next);
    this.setState({ said: "\u2713 saved" });
    if (this.state.shows) setTimeout(() => this.send({ act: "items" }), 0);
  }

  refuse(why, asked) {
    if (asked.act === "submit" && asked.session_id !== this.item.session_id) this.paint(this.props.model.get("item"));
    if (asked.act === "open") this.paint(this.props.model.get("item"));
    this.setState({ notice: why });
  }

  showItem() {
    const item = this.props.model.get("item");
    if (this.line.pending) return; // what is shown changes with the answer
    const awaited = this.awaiting;
    this.awaiting = false;
    if (awaited || !item.session_id || item.session_id !== this.item.session_id) this.paint(item);
    if (awaited) this.keys.replay();
  }

  paint(item) {
    const held = this.root.current.contains(document.activeElement);
    this.item = item;
    this.form = this.draft(item);
    this.read();
    this.setState({ notice: "", asking: "", suggestion: null, defined: null, pointed: null, guiding: false }, () => {
      if (this.modes.current) this.modes.current.scrollTop = 0;
    });
    if (held) this.focus();
  }

  // The form

  draft(item) {
    const { label, note = "" } = item;
    const base = label?.seq ?? 0;
    const kept = item.session_id ? this.kept.get(item.session_id) : null;
    if (kept?.base === base) return { ...EMPTY, ...kept };
    const { verdict = null, modes = [], severity = null, anchors = [] } = label ?? {};
    return { ...EMPTY, verdict, modes: [...modes], severity, anchors: [...anchors], note };
  }

  change(fields) {
    this.form = { ...this.form, ...fields };
    this.kept.put(this.item.session_id, { ...this.form, base: this.item.label?.seq ?? 0 });
    this.forceUpdate();
  }

  choose(verdict) {
    const { form, item } = this;
    const kept = verdict === "fail" ? {} : { modes: [], severity: null, anchors: form.anchors.filter((each) => !each.mode) };
    // The note of a failure goes with it, and comes back with it.
    const told = item.label?.verdict === "fail" && item.note;
    if (told && verdict === "pass" && form.note === told) kept.note = "";
    if (told && verdict === "fail" && !form.note) kept.note = told;
    this.change({ ...kept, verdict });
    if (verdict === "fail") this.note.current.focus();
  }

  toggle({ mode }) {
    const { form } = this;
    const found = this.transcript.current.selection();
    const had = form.modes.includes(mode) && !found;
    const modes = had ? form.modes.filter((each) => each !== mode) : [...new Set([...form.modes, mode])];
    const anchors = [...form.anchors, ...(found ? [{ ...found, mode }] : [])].filter((each) => !each.mode || modes.includes(each.mode));
    if (found) getSelection().removeAllRanges();
    this.change({ modes, anchors, verdict: modes.length ? "fail" : null, ...(modes.length ? {} : { severity: null }) });
    this.findRow(mode);
  }

  rate(severity) {
    if (this.form.verdict === "fail") this.change({ severity });
  }

  // The selected text, or the turn where the keys stand; for the failure mode marked last, if any.
  attach(found) {
    const anchor = found ?? this.transcript.current.selection();
    if (!anchor) return;
    getSelection().removeAllRanges();
    this.change({ anchors: [...this.form.anchors, { ...anchor, mode: this.form.modes.at(-1) ?? null }] });
  }

  detach(anchor) {
    this.change({ anchors: this.form.anchors.filter((each) => each !== anchor) });
  }

  jump({ span_id, quote }) {
    this.transcript.current.jump(span_id, quote);
  }

  findRow(mode) {
    const row = [...this.modes.current.children].find((each) => each.dataset.mode === mode);
    if (row) keepInView(this.modes.current, row);
    return row;
  }

  define(mode) {
    if (!mode) return this.setState({ defined: null });
    const top = this.findRow(mode.mode).getBoundingClientRect().top - this.fields.current.getBoundingClientRect().top;
    this.setState({ defined: mode, top: Math.max(8, Math.min(top, this.fields.current.clientHeight - 160)) });
  }

  // What goes to Python

  send(message) {
    if (this.line.send(message)) this.forceUpdate();
  }

  submit() {
    const { form, item } = this;
    if (!form.verdict) return this.setState({ notice: "Choose first: p for pass, u for unsure, or the key of a failure mode." });
    if (form.verdict === "fail" && !form.modes.length && !form.note.trim()) {
      this.note.current.focus();
      return this.setState({ notice: "A failure outside the codebook needs a note that says what went wrong." });
    }
    this.work();
    const { verdict, modes, severity, note, anchors, seconds } = this.form;
    const said = { verdict, modes, severity, note, anchors, seconds: Math.round(seconds * 10) / 10 };
    this.failed = modes.length ? { session_id: item.session_id, mode: modes[0] } : null;
    this.send({ act: "submit", session_id: item.session_id, base: item.label?.seq ?? 0, ...said });
  }

  leave(act) {
    this.send({ act });
  }

  ask(asking) {
    this.setState({ asking });
  }

  // Of the session on the screen, where it is labelled already; else of the one labelled before it.
  askGolden() {
    const { session_id, label } = this.item;
    if (label) this.failed = label.modes.length ? { session_id, mode: label.modes[0] } : null;
    if (this.failed) this.ask("golden");
    else this.setState({ notice: "First label a session with a failure mode: a golden case is made of a failure." });
  }

  skip(reason) {
    if (reason.trim()) this.send({ act: "skip", session_id: this.item.session_id, reason: reason.trim() });
  }

  sendAsked() {
    const { asking } = this.state;
    const given = Object.fromEntries([...this.root.current.querySelectorAll(".asking input")].map(({ name, value }) => [name, value]));
    if (asking === "skip") return this.skip(given.reason);
    if (asking === "golden") return this.send({ act: asking, ...this.failed, ...given });
    if (asking === "comment") return this.send({ act: asking, session_id: this.item.session_id, ...given });
    const { name, definition } = given;
    if (name.trim() && definition.trim() && !this.form.note) this.change({ note: `${name}: ${definition}` });
    if (!this.form.modes.length) this.change({ verdict: "fail" });
    this.send({ act: "propose", name, definition });
  }

  close() {
    this.setState({ asking: "", guiding: false, pinning: "", notice: "" });
    this.focus();
  }

  open({ session_id }) {
    if (session_id !== this.item.session_id) this.send({ act: "open", session_id });
    this.focus();
  }

  showList() {
    const shows = !this.state.shows;
    this.setState({ shows }, () => (shows && this.root.current.contains(document.activeElement) ? this.list.current.focus() : this.focus()));
    if (shows) this.send({ act: "items" });
  }

  showGuide() {
    const guiding = !this.state.guiding;
    this.setState({ guiding, pinning: "" }, () => (guiding ? this.guide.current.focus() : this.focus()));
  }

  work() {
    const now = performance.now();
    this.form.seconds += Math.min((now - this.latest) / 1000, IDLE_AFTER);
    this.latest = now;
    this.touched ??= now;
    if (now - this.touched < TOUCH_EVERY || !this.item.session_id) return;
    this.touched = now;
    this.props.model.send({ act: "touch" });
  }

  // What is drawn

  stand() {
    const notice = this.props.model.get("notice");
    if (notice) return ["error", "This did not work", notice];
    if (this.awaiting || this.props.model.get("progress").done === undefined) return ["loading", "Loading", "The next session is being read."];
    return ["empty", "Nothing is left for you in this queue", "Each session is labelled, or held by somebody else. Undo (z) goes back to your last one."];
  }

  render({ model }, { shows, guiding, said }) {
    const { item, form } = this;
    const [kind, title, text] = this.stand();
    const busy = Boolean(this.line.pending) || this.awaiting;
    return html`<section class="evalbench evalbench-annotator" ref=${this.root} aria-label="Annotation" data-lm-suppress-shortcuts="true"
      data-session=${item.session_id ?? ""} aria-busy=${String(busy)}>
      <${Header} desk=${this} />
      <div class="columns" data-list=${String(shows)}>
        ${shows && html`<div class="pane"><${Items} desk=${this} /><${Outline} desk=${this} /></div>`}
        <div class="middle"><${Transcript} ref=${this.transcript} item=${item.session_id ? item : null} upcoming=${model.get("upcoming")} blind=${Boolean(item.blind)}
          ask=${(message) => model.send(message)} anchors=${form.anchors} onAnchor=${(pointed) => this.setState({ pointed })} onSelect=${(selecting) => this.setState({ selecting })}>
          <div class="state" data-state=${kind}><h2>${title}</h2><p>${text}</p></div><//>${guiding && html`<${Guide} desk=${this} />`}</div>
        <${Form} desk=${this} />
      </div>
      <${Alike} ref=${this.alike} ask=${(message) => model.send(message)} closed=${() => this.transcript.current.markEvidence()} />
      <${Sheet} hold=${this.sheet} rows=${SHEET} />
      <div class="unseen" role="status" aria-live="polite">${said} ${item.label ? "Labelled before." : ""} ${item.session_id ? plural(item.turns.length + item.left_out, "turn") : title}</div>
    </section>`;
  }
}

function render({ model, el }) {
  mount(html`<${AnnotatorDesk} model=${model} />`, el);
  return () => mount(null, el);
}

export default { render };
