// The browser of sessions: what the columns hold, the list of what was asked for, and one session whole.

const ASK_AFTER = 80; // milliseconds
const OPEN_AFTER = 120;
const SORTS = [
  ["started_at", "Newest"], ["n_turns", "Most turns"], ["n_tool_errors", "Most tool errors"],
  ["latency_p95_ms", "Slowest"], ["cost_usd", "Dearest"],
];
const SHEET = [
  ["/", "ask for sessions: words, \"a phrase\", release=2.1, n_tool_errors>0, -outcome:yes, thumbs:none"],
  ["\u2191 \u2193", "an earlier or later session of the list"],
  ["Enter", "read it; Esc goes back to the list"],
  ["] [", "next turn, turn before"],
  ["} {", "next error or tool call, the one before"],
  ["s", "search the session; / too, once it has the keys"],
  ["r", "as its source has it"],
  ["o", "open or close everything folded"],
  ["=", "sessions like this one, the most alike first"],
  ["x", "pick the session, or leave it"],
  ["q", "make a queue of what is picked, else of all that were found"],
  ["d", "download what was found as JSONL; Shift+d as Parquet"],
  ["c", "columns and what they hold"],
  ["?", "this list"],
];
const TITLES_OF = { n_turns: "turns", n_spans: "spans", people: "seen by people", evaluators: "flagged by evaluators" };
const titleOf = (name) => TITLES_OF[name] ?? name.replace(/^n_/, "").replaceAll("_", " ");
const writeFilter = (name, sign, value) => `${name}${sign}${/[\s"]/.test(value) ? `"${value}"` : value}`;
const escapeWord = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

// The words of a query are marked in a text.
function Excerpt({ text, query }) {
  const words = [...query.matchAll(/(?:^|\s)(?!-?[\w.]+[:=<>])(?:"([^"]+)"|(\S+))/g)].map(([, phrase, word]) => escapeWord(phrase ?? word));
  if (!words.length) return text;
  return text.split(new RegExp(`(${words.join("|")})`, "i")).map((part, n) => (n % 2 ? html`<mark>${part}</mark>` : part));
}

function Facet({ facet, query, toggle, begin }) {
  const { name, values, bounds, part } = facet;
  if (bounds) {
    return html`<div class="facet"><button type="button" class="title" onClick=${() => begin(name)}>${titleOf(name)}</button>
      <small>${bounds[0]}${bounds[0] === bounds[1] ? "" : ` to ${bounds[1]}`}</small></div>`;
  }
  return html`<div class="facet" role="group" aria-label=${titleOf(name)}><b class="title">${titleOf(name)}</b>
    ${values.map(([value, n]) => {
      const filter = writeFilter(name, part && value !== "none" ? ":" : "=", value);
      return html`<button type="button" class="value" aria-pressed=${String(` ${query} `.includes(` ${filter} `))}
        onClick=${() => toggle(filter)}><span>${value}</span><small>${count(n)}</small></button>`;
    })}</div>`;
}

function Row({ row, query, here, picked, choose }) {
  const marks = [row.n_tool_errors && plural(row.n_tool_errors, "tool error"), row.people && `people: ${row.people}`, row.evaluators && `evaluators: ${row.evaluators}`];
  return html`<li role="option" id=${`row-${row.session_id}`} data-session=${row.session_id} aria-selected=${String(here)} class=${picked ? "picked" : ""} onClick=${choose}>
    <header><code>${row.name}</code>${row.alike ? html`<span>${Math.round(100 * row.alike)}% alike</span>` : null}<span>${row.started}</span><span>${row.release ?? ""}</span><span>${plural(row.n_turns ?? 0, "turn")}</span></header>
    <p dir="auto"><${Excerpt} text=${row.text} query=${query} /></p>
    ${marks.some(Boolean) && html`<footer>${marks.filter(Boolean).map((text) => html`<small>${text}</small>`)}</footer>`}</li>`;
}

class BrowserDesk extends Component {
  root = createRef();
  field = createRef();
  list = createRef();
  transcript = createRef();
  sheet = createRef();

  constructor({ model }) {
    super();
    this.state = {
      surface: model.get("surface"), query: model.get("query"), sort: "started_at", rows: [], total: 0, of: 0, searched: 0,
      facets: [], at: 0, item: null, picked: new Set(), told: "", notice: "", asking: "", shows: "list", columns: innerWidth >= 1100, read: false,
    };
  }

  componentDidMount() {
    const { model } = this.props;
    this.leave = followTheme(this.root.current);
    this.hears = (message) => this.hear(message);
    model.on("msg:custom", this.hears);
    this.ask();
    if (!document.querySelector(LAB)) this.field.current.focus();
  }

  componentWillUnmount() {
    this.leave();
    this.props.model.off("msg:custom", this.hears);
  }

  // What goes to Python, and what it says

  ask(start = 0) {
    const { surface, query, sort } = this.state;
    this.setState({ read: false });
    this.send({ act: "ask", surface, query, start, sort });
  }

  send(message) {
    this.props.model.send(message);
  }

  // One change, and what is asked for then.
  change(state, after = 0) {
    clearTimeout(this.opening); // nobody reads what is no longer asked for
    this.setState({ ...state, at: 0, picked: new Set() }, () => {
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.ask(), after);
    });
  }

  hear(message) {
    const { tell } = message;
    if (tell === "listed") this.showList(message);
    else if (tell === "item") this.setState({ item: message.item });
    else if (tell === "queued") this.setState({ told: `Queue ${message.queue} has ${plural(message.sessions, "session")}. It is not a random draw: labels in it count in no rate.`, picked: new Set() });
    else if (tell === "exported") this.showExport(message);
    else if (tell === "refused") this.setState(({ query }) => ({ notice: message.why, read: true, asked: query }));
    else if (tell === "back") this.ask();
    else this.transcript.current.hear(message);
  }

  showList({ surface, query, start, rows, facets, ...counts }) {
    if (surface !== this.state.surface || query !== this.state.query) return;
    const whole = start ? [...this.state.rows, ...rows] : rows;
    this.setState({ rows: whole, notice: "", read: true, asked: query, ...(start ? {} : { facets }), ...counts }, () => start || this.openSoon(0));
    clearTimeout(this.again);
    // Texts are being copied for the search: what it finds grows until all are.
    if (counts.searched < counts.of && !start) this.again = setTimeout(() => this.ask(), 3000);
  }

  showExport({ name, path, sessions }) {
    const address = this.props.model.address?.(name);
    const told = `${plural(sessions, "session")} in ${path}`;
    this.setState({ told: address ? html`<a href=${address} download=${name}>${told}</a>` : told }, () => this.root.current.querySelector(".told a")?.click());
  }

  // What is done

  move(by) {
    const { rows, at, total } = this.state;
    const next = Math.max(0, Math.min(rows.length - 1, at + by));
    if (next > rows.length - 10 && rows.length < total && this.state.read) this.ask(rows.length);
    this.choose(next);
  }

  choose(at) {
    this.setState({ at }, () => keepInView(this.list.current, this.list.current.children[at]));
    this.openSoon(at);
  }

  openSoon(at) {
    clearTimeout(this.opening);
    const row = this.state.rows[at];
    if (!row) return this.setState({ item: null });
    if (row.session_id !== this.state.item?.session_id) this.opening = setTimeout(() => this.send({ act: "open", session_id: row.session_id }), OPEN_AFTER);
  }

  toggle(filter) {
    const { query } = this.state;
    const without = ` ${query} `.replace(` ${filter} `, " ").trim();
    this.change({ query: without === query.trim() ? `${query} ${filter}`.trim() : without });
  }

  begin(name) {
    this.setState({ query: `${this.state.query} ${name}>`.trim() }, () => this.field.current.focus());
  }

  findAlike() {
    const here = this.state.item?.session_id;
    if (here) this.change({ query: writeFilter("alike", ":", here), shows: "list" });
  }

  pick() {
    const { rows, at } = this.state;
    if (!rows[at]) return;
    const picked = new Set(this.state.picked);
    if (!picked.delete(rows[at].session_id)) picked.add(rows[at].session_id);
    this.setState({ picked });
    this.move(1);
  }

  draw() {
    const { picked, query } = this.state;
    this.setState({ asking: "" });
    this.send({ act: "draw", sessions: picked.size ? [...picked] : null, query });
  }

  read() {
    this.setState({ shows: "session" }, () => this.transcript.current.focus());
  }

  goBack() {
    this.setState({ shows: "list", asking: "", notice: "", told: "" }, () => this.list.current.focus());
  }

  // Keys

  press(event) {
    if (this.sheet.current.open || event.ctrlKey || event.metaKey || event.altKey) return;
    const { target, key } = event;
    event.stopPropagation();
    const inField = target.matches("input, textarea, select");
    if (inField && !["Enter", "Escape", ...(target === this.field.current ? ["ArrowDown"] : [])].includes(key)) return;
    if (target.matches("button, summary, a") && ["Enter", " "].includes(key)) return;
    const act = inField ? () => this.goBack() : this.find(event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  find({ key, target }) {
    const { asking, total } = this.state;
    if (asking) return { Enter: () => this.draw(), Escape: () => this.goBack() }[key];
    const transcript = this.transcript.current;
    const inList = !target.closest(".transcript");
    const lists = {
      "/": () => this.field.current.select(),
      Enter: () => this.read(),
      ...Object.fromEntries([["ArrowDown", 1], ["ArrowUp", -1], ["PageDown", 10], ["PageUp", -10]].map(([name, by]) => [name, () => this.move(by)])),
    };
    const download = (form) => () => total && this.send({ act: "export", form });
    return {
      ...listReading(transcript),
      ...(inList ? lists : {}),
      Escape: () => this.goBack(),
      s: () => this.setState({ shows: "session" }, () => transcript.startSearch()),
      "=": () => this.findAlike(),
      x: () => this.pick(),
      q: () => total && this.setState({ asking: "queue" }),
      d: download("jsonl"),
      D: download("parquet"),
      c: () => this.setState({ columns: !this.state.columns }),
      "?": () => this.sheet.current.showModal(),
    }[key];
  }

  say() {
    const { total, of, searched, picked, read, query } = this.state;
    const parts = [read ? `${count(total)} of ${plural(of, "session")}` : "Looking\u2026"];
    if (picked.size) parts.push(`${count(picked.size)} picked`);
    if (searched < of && query) parts.push(`words are sought in ${count(searched)} so far, the others are being prepared`);
    return parts.join("  \u00b7  ");
  }

  render({ model }, { surface, query, sort, rows, facets, at, item, picked, total, told, notice, asking, shows, columns, read }) {
    const wanted = picked.size || total;
    const command = (name, hint, act) => html`<button type="button" class="command" aria-keyshortcuts=${hint} onClick=${act}>${name}<kbd aria-hidden="true">${hint}</kbd></button>`;
    return html`<section class="evalbench evalbench-browser" ref=${this.root} aria-label="Sessions" data-shows=${shows} data-lm-suppress-shortcuts="true"
      aria-busy=${String(!read)} data-asked=${this.state.asked} onKeyDown=${(event) => this.press(event)}>
      <header>
        <select aria-label="Surface" value=${surface} onChange=${(event) => this.change({ surface: event.currentTarget.value, item: null })}>
          ${model.get("surfaces").map((each) => html`<option key=${each}>${each}</option>`)}</select>
        <input ref=${this.field} type="search" class="query" aria-label="Ask for sessions" aria-keyshortcuts="/" value=${query} spellcheck="false"
          placeholder=${'Words, "a phrase", release=2.1, n_tool_errors>0, -outcome:yes (/)'}
          onInput=${(event) => this.change({ query: event.currentTarget.value }, ASK_AFTER)} />
        ${/(^|\s)alike:/.test(query) ? html`<span>Most alike first</span>` : html`<select aria-label="Order" value=${sort} onChange=${(event) => this.change({ sort: event.currentTarget.value })}>
          ${SORTS.map(([name, title]) => html`<option key=${name} value=${name}>${title}</option>`)}</select>`}
      </header>
      <div class="columns" data-columns=${String(columns)}>
        <nav class="facets" aria-label="Columns" hidden=${!columns}>${facets.map((facet) => html`<${Facet} key=${facet.name} facet=${facet} query=${query}
          toggle=${(filter) => this.toggle(filter)} begin=${(name) => this.begin(name)} />`)}</nav>
        <div class="found">
          <p class="told" role="status">${told || this.say()}</p>
          <p class="notice" role="alert">${notice}</p>
          <ul ref=${this.list} role="listbox" tabindex="0" aria-label="Sessions found" aria-activedescendant=${rows[at] ? `row-${rows[at].session_id}` : null}>
            ${rows.map((row, number) => html`<${Row} key=${row.session_id} row=${row} query=${query} here=${number === at}
              picked=${picked.has(row.session_id)} choose=${() => { this.choose(number); this.list.current.focus(); }} />`)}</ul>
          <footer>${asking
            ? html`<p>Make a queue of ${plural(wanted, "session")}? Picked by hand, not drawn: labels in it count in no rate.</p>
              <div class="row">${command("Make it", "Enter", () => this.draw())}${command("Leave it", "Esc", () => this.goBack())}</div>`
            : html`<div class="row">${command("Pick", "x", () => this.pick())}${command("Similar", "=", () => this.findAlike())}${command("Queue", "q", () => this.setState({ asking: "queue" }))}
              ${command("Download", "d", () => this.send({ act: "export", form: "jsonl" }))}${command("Columns", "c", () => this.setState({ columns: !columns }))}
              ${command("Keys", "?", () => this.sheet.current.showModal())}</div>`}</footer>
        </div>
        <div class="whole">
          <button type="button" class="back" onClick=${() => this.goBack()}>Back to the list</button>
          <${Transcript} ref=${this.transcript} item=${item} ask=${(message) => this.send(message)}>
            <div class="state"><h2>${read && !total ? "No session is like that" : "No session is open"}</h2>
              <p>${read && !total ? "Take a word or a filter away." : "Choose one in the list."}</p></div></${Transcript}></div>
      </div>
      <${Sheet} hold=${this.sheet} rows=${SHEET} />
    </section>`;
  }
}

function render({ model, el }) {
  mount(html`<${BrowserDesk} model=${model} />`, el);
  return () => mount(null, el);
}

export default { render };
