// The transcript of a session, for every desk that shows one. Its instance, by ref, is the handle.
//
// item, upcoming: what transcript() of label/annotation/transcript.py gives; the next one is laid out
// in idle time, so that showing it is only a swap. ask(message): sends text, find and turns to Python,
// whose answers go to hear(). blind: leaves out why it was drawn and how it ended. anchors: evidence
// [{ span_id, quote }] to highlight; onAnchor(number): one was clicked. onSelect(there): words are
// selected. children: what is shown where there is no session.

const MOST_QUOTED = 2000; // characters
const SEARCH_AFTER = 120; // milliseconds
const PLACE_AFTER = 150; // milliseconds
const inIdleTime = window.requestIdleCallback ?? ((act) => setTimeout(act, 1));

// Preact hands a ref to a component as it hands any property.
const fillRef = (ref, held) => (typeof ref === "function" ? ref(held) : ref && (ref.current = held));

// What keys do on every desk.
function listReading(transcript) {
  const scroll = (by) => () => transcript.scroll(by);
  const page = transcript.trace.current.clientHeight * 0.85;
  return {
    "]": () => transcript.turn(1),
    "[": () => transcript.turn(-1),
    "}": () => transcript.trouble(1),
    "{": () => transcript.trouble(-1),
    "/": () => transcript.startSearch(),
    r: () => transcript.toggleRaw(),
    o: () => transcript.openAll(),
    ArrowUp: scroll(-90),
    ArrowDown: scroll(90),
    PageUp: scroll(-page),
    PageDown: scroll(page),
    " ": scroll(page),
    Home: scroll(-1e9),
    End: scroll(1e9),
  };
}

// The list of a desk's keys.
const Sheet = ({ hold, rows }) => html`<dialog class="sheet" ref=${hold} aria-label="Keys"><h2>Keys</h2>
  <dl>${rows.flatMap(([name, what]) => [html`<dt><kbd>${name}</kbd></dt>`, html`<dd>${what}</dd>`])}</dl>
  <button type="button" class="command" onClick=${() => hold.current.close()}>Close</button></dialog>`;

class Transcript extends Component {
  state = { raw: false, all: false, prepared: null, query: "", told: "", reading: "", turns: {} };
  waiting = new Map();
  trace = createRef();
  field = createRef();
  conversations = new Map();
  search = new Search(this);
  evidence = [];
  at = null; // where the keys stand

  componentDidMount() {
    fillRef(this.props.ref, this);
    this.selecting = () => this.props.onSelect?.(this.selection() !== null);
    document.addEventListener("selectionchange", this.selecting);
    this.componentDidUpdate(/** @type {any} */ ({}));
  }

  componentWillUnmount() {
    fillRef(this.props.ref, null);
    clearTimeout(this.scrolled);
    document.removeEventListener("selectionchange", this.selecting);
    for (const name of ["evalbench-hit", "evalbench-hit-now", "evalbench-evidence"]) markRanges(name, []);
  }

  componentDidUpdate({ item, upcoming, anchors }, { raw } = this.state) {
    const now = this.props;
    if (item?.session_id !== now.item?.session_id) this.begin();
    if (upcoming !== now.upcoming) {
      const prepare = () => this.props.upcoming === now.upcoming && this.setState({ prepared: now.upcoming });
      inIdleTime(prepare);
    }
    if (raw !== this.state.raw && this.state.query) this.find(this.state.query);
    if (anchors !== now.anchors || item !== now.item || raw !== this.state.raw) this.markEvidence();
  }

  begin() {
    clearTimeout(this.soon);
    this.waiting.clear();
    this.search.clear();
    this.at = null;
    this.trace.current.scrollTop = 0;
    this.setState({ query: "", told: "", all: false, turns: {} });
    this.tellPlaceSoon();
    inIdleTime(() => this.setState({ left: (this.left = null) })); // taking it away takes time too
  }

  get conversation() {
    return this.trace.current.querySelector(".session:not([hidden])");
  }

  get words() {
    return this.conversations.get(this.props.item?.session_id)?.words ?? new Map();
  }

  turnsOf(item) {
    return this.state.turns[item.session_id] ?? item.turns;
  }

  // What is asked of Python

  request(message) {
    const key = [message.act, message.place, message.start, message.query].join();
    return new Promise((answer) => {
      this.waiting.set(key, answer);
      this.props.ask({ ...message, session_id: this.props.item.session_id });
    });
  }

  hear(message) {
    const key = [message.tell === "found" ? "find" : message.tell, message.place, message.start, message.query].join();
    this.waiting.get(key)?.(message);
    this.waiting.delete(key);
  }

  // Gives whether there were more.
  async readTurns() {
    const { item } = this.props;
    const held = this.turnsOf(item);
    if (held.length >= item.turns.length + item.left_out) return false;
    const { turns } = await this.request({ act: "turns", start: held.length });
    await new Promise((/** @type {(value?: any) => void} */ done) => this.setState({ turns: { [item.session_id]: [...held, ...turns] } }, done));
    return turns.length > 0;
  }

  isWhole() {
    const { item } = this.props;
    return !item.left_out && [...this.words.values()].every(({ props: { text } }) => text.shown >= text.total);
  }

  buildAll() {
    return new Promise((/** @type {(value?: any) => void} */ done) => (this.state.all ? done() : this.setState({ all: true }, done)));
  }

  // Finding the way

  focus() {
    this.trace.current.focus({ preventScroll: true });
  }

  scroll(by) {
    this.leave();
    this.trace.current.scrollBy({ top: by });
  }

  leave() {
    this.at?.classList.remove("current");
    this.at = null;
  }

  tellPlaceSoon() {
    clearTimeout(this.scrolled);
    this.scrolled = setTimeout(() => this.showPlace(), PLACE_AFTER);
  }

  current() {
    if (this.at?.isConnected) return this.at;
    const top = this.trace.current.getBoundingClientRect().top + 12;
    return [...(this.conversation?.querySelectorAll(".turn") ?? [])].find((each) => each.getBoundingClientRect().bottom > top) ?? null;
  }

  currentNumber() {
    return numberOf(this.current() ?? this.trace.current);
  }

  // To the next of these after where the keys stand, or before it.
  move(selector, by) {
    const all = [...(this.conversation?.querySelectorAll(selector) ?? [])];
    const here = this.current();
    const side = by > 0 ? Node.DOCUMENT_POSITION_FOLLOWING : Node.DOCUMENT_POSITION_PRECEDING;
    const ahead = all.filter((each) => each !== here && here?.compareDocumentPosition(each) & side);
    const next = by > 0 ? ahead[0] : ahead.at(-1);
    if (next) this.reveal(next);
    return Boolean(next);
  }

  turn(by) {
    return this.move(".turn", by);
  }

  trouble(by) {
    return this.move(".step, .turn > .failed", by);
  }

  async goTo(number) {
    while (!this.conversation.querySelector(`.turn[data-number="${number}"]`) && (await this.readTurns()));
    const turn = this.conversation.querySelector(`.turn[data-number="${number}"]`);
    if (turn) this.reveal(turn);
  }

  async jump(span, quote = "") {
    while (!this.inSpan(span).length && (await this.readTurns()));
    const places = this.inSpan(span);
    if (!places.length) return;
    await this.buildAll();
    const range = quote && this.findQuote(span, quote);
    if (range) this.revealRange(range);
    else this.reveal(places.at(-1));
  }

  inSpan(span) {
    return [...(this.conversation?.querySelectorAll("[data-span]") ?? [])].filter((each) => each.dataset.span === span);
  }

  findQuote(span, quote) {
    const pattern = makeQuotePattern(quote);
    if (pattern.source === "(?:)") return null;
    for (const each of this.inSpan(span)) {
      const [range] = findRanges(each, pattern, { whole: true, most: 1 });
      if (range) return range;
    }
    return null;
  }

  open(node) {
    for (let each = node; each && each !== this.trace.current; each = each.parentElement) {
      if (each.tagName === "DETAILS") each.open = true;
      if (!each.classList.contains("long")) continue;
      each.querySelector(":scope > .unfold").click();
      each.classList.remove("long"); // at once: what is looked for is scrolled to in a moment
    }
  }

  reveal(node) {
    this.open(node.parentElement);
    this.at?.classList.remove("current");
    this.at = node;
    node.classList.add("current");
    this.bring(node);
  }

  revealRange(range) {
    this.open(range.startContainer.parentElement);
    this.at = range.startContainer.parentElement.closest(".turn");
    this.bring(range);
  }

  // scrollIntoView would move the notebook too. What comes near is laid out, and moves the rest.
  bring(place) {
    const trace = this.trace.current;
    for (let times = 0; times < 3; times += 1) {
      const { top, height } = place.getBoundingClientRect();
      trace.scrollTop += top - trace.getBoundingClientRect().top - Math.max(10, (trace.clientHeight - height) / 3);
    }
    this.showPlace();
  }

  showPlace() {
    const total = this.props.item?.turns ? this.props.item.turns.length + this.props.item.left_out : 0;
    const number = total && this.currentNumber();
    this.setState({ reading: number ? `Turn ${count(number)} of ${count(total)}` : plural(total, "turn") });
  }

  openAll() {
    const folds = [...this.conversation.querySelectorAll("details")];
    const open = folds.some((each) => !each.open);
    for (const each of folds) each.open = open;
    if (open) for (const each of this.conversation.querySelectorAll(".unfold")) each.click();
  }

  toggleRaw() {
    const turn = this.current();
    this.setState(({ raw }) => ({ raw: !raw }), () => turn && this.bring(turn));
  }

  // Evidence

  selection() {
    const selection = getSelection();
    if (selection.isCollapsed || !this.trace.current?.contains(selection.anchorNode)) return null;
    const start = selection.getRangeAt(0).startContainer;
    const within = start instanceof HTMLElement ? start : start.parentElement;
    const holder = /** @type {HTMLElement} */ (within.closest("[data-span]"));
    const quote = selection.toString().trim().slice(0, MOST_QUOTED);
    return holder && quote ? { span_id: holder.dataset.span, quote } : null;
  }

  // The turn, or the step, where the keys stand, as evidence.
  here() {
    const node = this.current();
    const holder = node?.closest("[data-span]");
    if (!holder) return null;
    const words = [...this.words.values()].find(({ root }) => holder.contains(root.current));
    const quote = (words?.props.text.text ?? node.textContent).trim().slice(0, MOST_QUOTED);
    return quote ? { span_id: holder.dataset.span, quote } : null;
  }

  markEvidence() {
    const anchors = this.props.anchors ?? [];
    for (const each of this.conversation?.querySelectorAll(".evidence") ?? []) each.classList.remove("evidence");
    this.evidence = anchors.map(({ span_id, quote }) => this.findQuote(span_id, quote));
    markRanges("evalbench-evidence", this.evidence.filter(Boolean));
    this.evidence.forEach((range, number) => {
      const [place] = range ? [range.startContainer.parentElement.closest("[data-span]")] : this.inSpan(anchors[number].span_id);
      place?.classList.add("evidence");
    });
  }

  click(event) {
    if (!getSelection().isCollapsed) return;
    const inside = ({ left, right, top, bottom }) =>
      left <= event.clientX && event.clientX <= right && top <= event.clientY && event.clientY <= bottom;
    const number = this.evidence.findIndex((range) => range && [...range.getClientRects()].some(inside));
    if (number >= 0) this.props.onAnchor?.(number);
  }

  // Search

  startSearch() {
    this.field.current.select();
  }

  findSoon(query) {
    clearTimeout(this.soon);
    this.setState({ query });
    this.soon = setTimeout(() => this.find(query), SEARCH_AFTER);
  }

  async find(query) {
    if (!(await this.search.run(query))) return this.showHits(null);
    this.showHits(await this.search.step(0));
  }

  async step(by) {
    this.showHits(await this.search.step(by));
  }

  showHits(range) {
    const { counts, told } = this.search;
    this.setState({ told });
    for (const each of this.conversation?.querySelectorAll(".turn") ?? []) {
      const found = counts.get(Number(each.dataset.number));
      if (found) each.dataset.hits = plural(found, "hit");
      else delete each.dataset.hits;
    }
    if (range) this.revealRange(range);
  }

  press(event) {
    if (!["Enter", "Escape"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Enter") return this.step(event.shiftKey ? -1 : 1);
    this.focus();
    // The hit becomes the selection: a mode's key attaches it, Shift and arrows widen it.
    const range = this.search.now?.range;
    if (!range) return;
    getSelection().removeAllRanges();
    getSelection().addRange(range.cloneRange());
  }

  render({ item, blind, children }, { raw, all, prepared, query, told, reading }) {
    const here = item?.session_id;
    if (this.item?.session_id !== here) this.left = this.item;
    this.item = item;
    const shown = [item, prepared, this.left].filter((each, number, all) =>
      each?.session_id && all.findIndex((other) => other?.session_id === each.session_id) === number);
    return html`<div class="transcript">
      <div class="reading">
        <span class="place">${reading}</span>
        <span class="search"><input ref=${this.field} type="search" placeholder="Search this session (/)" aria-label="Search this session"
          aria-keyshortcuts="/" value=${query} onInput=${(event) => this.findSoon(event.currentTarget.value)} onKeyDown=${(event) => this.press(event)} />
          <output class="hits">${told}</output></span>
        <button type="button" class="choice" aria-pressed=${String(raw)} aria-keyshortcuts="r" onClick=${() => this.toggleRaw()}>Raw<kbd aria-hidden="true">r</kbd></button>
      </div>
      <div class="trace" ref=${this.trace} tabindex="0" role="region" aria-label="Session" onClick=${(event) => this.click(event)}
        onWheel=${() => this.leave()} onScroll=${() => this.tellPlaceSoon()}>
        ${shown.map((each) => html`<div class="session" key=${each.session_id} hidden=${each !== item}><${Conversation} item=${each} blind=${blind}
          turns=${this.turnsOf(each)} raw=${raw} all=${all && each === item} transcript=${this} /></div>`)}
        ${here ? null : children}
      </div></div>`;
  }
}

