// A session as turns: who said what, what was called, what came of it.

const LONG = 1600; // characters of a message that are shown unfolded
const TITLES = { tool: ["Arguments", "Result"], retriever: ["Query", "Result"] };
// How one session is shown (raw: as its source has it; all: what is folded is built too), and its words.
const END = html`<span class="end"></span>`; // without it a last line that is empty is not shown
const Reading = preact.createContext(null);

// What is folded is not built before it is opened, or searched: its child is a function.
class Fold extends Component {
  static contextType = Reading;

  constructor(props) {
    super(props);
    this.state = { open: props.open ?? false };
  }

  render({ kind, summary, span, children }, { open }) {
    const toggle = (event) => event.target === event.currentTarget && this.setState({ open: event.currentTarget.open });
    return html`<details class="fold ${kind}" data-span=${span} open=${open} onToggle=${toggle}>
      <summary>${summary}</summary>${open || this.context.all ? children() : null}</details>`;
  }
}

// One text of the source, as far as it was read: pieces in order, with what lies between them to read.
class Words extends Component {
  static contextType = Reading;
  root = createRef();

  constructor(props) {
    super(props);
    const { text, shown } = props.text;
    this.state = { pieces: [{ start: 0, shown, text }] };
  }

  componentDidMount() {
    this.context.words.set(this.props.text.place, this);
  }

  componentWillUnmount() {
    const { words } = this.context;
    if (words.get(this.props.text.place) === this) words.delete(this.props.text.place);
  }

  has(start) {
    return this.state.pieces.some((piece) => piece.start <= start && start < piece.shown);
  }

  // Resolves once the piece that begins there is on the page.
  async read(start) {
    const { pieces } = this.state;
    const stop = pieces.map((piece) => piece.start).find((other) => other > start) ?? null;
    const piece = await this.context.transcript.request({ act: "text", place: this.props.text.place, start, stop });
    const joined = [];
    for (const each of [...this.state.pieces, piece].sort((a, b) => a.start - b.start)) {
      const last = joined.at(-1);
      if (last?.shown === each.start) joined[joined.length - 1] = { ...last, text: last.text + each.text, shown: each.shown };
      else if (!last || last.shown < each.start) joined.push(each);
    }
    return new Promise((/** @type {(value?: any) => void} */ done) => this.setState({ pieces: joined }, done));
  }

  readAll = async () => {
    while (this.state.pieces[0].shown < this.props.text.total) await this.read(this.state.pieces[0].shown);
  };

  render({ text: { place, total, layout, text }, role }, { pieces }) {
    const { raw } = this.context;
    const [{ text: head, shown }, ...others] = pieces;
    const more = (from, to) => from < to &&
      html`<button type="button" class="more" onClick=${() => this.read(from)}>Read on: ${count(to - from)} characters more</button>`;
    const cut = shown < total;
    const readAll = cut ? this.readAll : null;
    const tree = raw ? null : parseTree(head, cut);
    const first = raw ? html`<pre class="raw" dir="auto">${showText(head)}${END}</pre>`
      : tree ? showTree(tree, readAll)
      : layout ? html`<div class="prose" dir="auto">${showLayout(layout, text, readAll)}${showText(head.slice(text.length), readAll)}</div>`
      : html`<div class="prose plain" dir="auto">${showText(head, readAll)}${END}</div>`;
    return html`<div class="words" ref=${this.root} data-place=${place} data-role=${role}>
      ${first}${others.map((piece, number) => html`${more(pieces[number].shown, piece.start)}
        <div class="prose plain" data-start=${piece.start} dir="auto">${showText(piece.text)}${END}</div>`)}
      ${more(pieces.at(-1).shown, total)}</div>`;
  }
}

// A long message is clipped until somebody asks for it.
function Long({ text, children }) {
  const [whole, setWhole] = useState(false);
  if (text.text.length <= LONG) return children;
  return html`<div class=${whole ? "" : "long"}>${children}
    ${!whole && html`<button type="button" class="more unfold" onClick=${() => setWhole(true)}>Show all ${count(text.shown)} characters</button>`}</div>`;
}

const oneLine = (text, most = 200) => text.slice(0, 4 * most).split(/\s+/).join(" ").trim().slice(0, most);

function firstLine(text) {
  const start = text.trimStart();
  return oneLine(/^[{[]/.test(start) ? start : start.split("\n", 1)[0]);
}

function Step({ step }) {
  const { documents, given, result, error, warning } = step;
  const titles = TITLES[step.kind] ?? ["Given", "Result"];
  const came = warning || (result ? firstLine(result.text) : documents.length ? plural(documents.length, "document") : "");
  const summary = html`<code>${step.name}</code><span class="preview">${showSigns(oneLine(given?.text ?? ""))}</span>
    ${came && html`<span class="came ${warning && "warning"}">${showSigns(came)}</span>`}
    ${error && html`<span class="failed">${error}</span>`}`;
  const texts = () => [given, result].map((text, number) => text && html`<h4>${titles[number]}</h4><${Words} text=${text} />`);
  return html`<${Fold} kind="step ${error ? "broken" : ""}" span=${step.span_id} summary=${summary}>
    ${() => html`${texts()}${documents.map(({ id, score, text }) => html`<h4>${id} <small>${score?.toFixed(2)}</small></h4>
      ${text && html`<${Words} text=${text} />`}`)}`}<//>`;
}

function Turn({ turn }) {
  const { role, number, speaker, text, reasoning, error, steps, time } = turn;
  const head = html`<span class="number">${number}</span><b>${role}</b><span class="speaker">${speaker}</span><time>${time}</time>`;
  const words = text && html`<${Long} text=${text}><${Words} text=${text} role=${role} /><//>`;
  return html`<article class="turn" data-span=${turn.span_id} data-role=${role} data-number=${number} aria-label="${number} ${role}">
    ${role === "system" ? html`<${Fold} kind="instructions" summary=${head}>${() => words}<//>` : html`<header>${head}</header>${words}`}
    ${reasoning && html`<${Fold} kind="reasoning" summary="Reasoning">${() => html`<${Words} text=${reasoning} />`}<//>`}
    ${error && html`<p class="failed">${error}</p>`}
    ${steps.map((step) => html`<${Step} step=${step} />`)}</article>`;
}

// Why it was drawn and how it ended would tell a reader what to find: blind leaves them out.
function Head({ item, blind, jump }) {
  const told = ({ name, text, times }) => `${name}: ${text}${times > 1 ? ` (${times} times)` : ""}`;
  const facts = item.facts.map(([name, value]) => `${name} ${value}`).join("  \u00b7  ");
  if (blind && !item.errors.length && !facts) return null;
  return html`<div class="why">
    ${!blind && item.reason && html`<p><b>Drawn: </b>${item.reason}</p>`}
    <ul>${!blind && item.signals.map((text) => html`<li>${text}</li>`)}
      ${item.errors.map((error) => html`<li class="error"><button type="button" onClick=${() => jump(error.span_id)}>${told(error)}</button></li>`)}</ul>
    ${facts && html`<p class="facts">${facts}</p>`}</div>`;
}

// A session does not change: only what is added to it, and how it is shown, draws it anew.
class Conversation extends Component {
  words = new Map();

  componentDidMount() {
    this.props.transcript.conversations.set(this.props.item.session_id, this);
  }

  componentWillUnmount() {
    this.props.transcript.conversations.delete(this.props.item.session_id);
  }

  shouldComponentUpdate(next) {
    const now = this.props;
    return ["blind", "turns", "raw", "all"].some((name) => next[name] !== now[name]);
  }

  render({ item, blind, turns, raw, all, transcript }) {
    const left = item.turns.length + item.left_out - turns.length;
    return html`<${Reading.Provider} value=${{ raw, all, transcript, words: this.words }}>
      <${Head} item=${item} blind=${blind} jump=${(span) => transcript.jump(span)} />
      ${turns.map((turn) => html`<${Turn} key=${turn.number} turn=${turn} />`)}
      ${left > 0 && html`<button type="button" class="more" onClick=${() => transcript.readTurns()}>Read on: ${plural(left, "more turn")}</button>`}
      ${item.gaps.map((gap) => html`<div class="gap"><h4>Not placed</h4><${Words} text=${gap} /></div>`)}<//>`;
  }
}

