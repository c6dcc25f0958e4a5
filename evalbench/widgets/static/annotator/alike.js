// The sessions most like the one on the screen, over the desk: to read, and to pick for a queue of their own.

class Alike extends Component {
  dialog = createRef();
  list = createRef();
  transcript = createRef();
  state = { rows: [], at: 0, item: null, picked: new Set(), told: "" };

  componentDidMount() {
    fillRef(this.props.ref, this);
  }

  get isOpen() {
    return Boolean(this.dialog.current?.open);
  }

  start() {
    this.setState({ rows: [], at: 0, item: null, picked: new Set(), told: "Looking\u2026" });
    this.props.ask({ act: "alike" });
    this.dialog.current.showModal();
    this.list.current.focus();
  }

  // Gives whether the message was for it.
  hear(message) {
    const { tell, rows, item, why, queue, sessions } = message;
    if (!this.isOpen) return false;
    if (tell === "alike") this.setState({ rows, told: rows.length ? "" : "No other session shares a telling word with this one." }, () => this.choose(0));
    else if (tell === "peeked") this.setState({ item });
    else if (tell === "queued") this.setState({ told: `Queue ${queue} has ${plural(sessions, "session")}, picked by hand: labels in it count in no rate.`, picked: new Set() });
    else if (tell === "refused") this.setState({ told: why });
    else if (["text", "found", "turns"].includes(tell)) this.transcript.current.hear(message);
    else return false;
    return true;
  }

  choose(at) {
    const row = this.state.rows[at];
    if (!row) return;
    this.setState({ at }, () => keepInView(this.list.current, this.list.current.children[at]));
    clearTimeout(this.opening);
    this.opening = setTimeout(() => this.props.ask({ act: "peek", session_id: row.session_id }), 120);
  }

  move(by) {
    this.choose(Math.max(0, Math.min(this.state.rows.length - 1, this.state.at + by)));
  }

  pick() {
    const { rows, at, picked } = this.state;
    if (!rows[at]) return;
    const now = new Set(picked);
    if (!now.delete(rows[at].session_id)) now.add(rows[at].session_id);
    this.setState({ picked: now });
    this.move(1);
  }

  draw() {
    const { picked } = this.state;
    if (picked.size) this.props.ask({ act: "pick", sessions: [...picked] });
    else this.setState({ told: "Pick sessions first, with x." });
  }

  find({ key, target }) {
    if (target.matches(FIELDS) || (target.matches("button, summary, a") && [" ", "Enter"].includes(key))) return null;
    const transcript = this.transcript.current;
    const reading = Boolean(target.closest(".transcript"));
    return {
      ...listReading(transcript),
      ...(reading ? {} : { ArrowUp: () => this.move(-1), ArrowDown: () => this.move(1) }),
      Enter: () => transcript.focus(),
      Escape: () => (reading ? this.list.current.focus() : this.dialog.current.close()),
      "=": () => this.dialog.current.close(),
      x: () => this.pick(),
      q: () => this.draw(),
    }[key];
  }

  render({ ask, closed }, { rows, at, item, picked, told }) {
    return html`<dialog class="sheet alike" ref=${this.dialog} aria-label="Sessions like this one" onClose=${() => this.setState({ item: null }, closed)}>
      <div class="near"><ul ref=${this.list} role="listbox" tabindex="0" aria-label="Sessions like this one" aria-activedescendant=${rows[at] ? `like-${rows[at].session_id}` : null}>
        ${rows.map((row, number) => html`<li key=${row.session_id} id=${`like-${row.session_id}`} role="option" aria-selected=${String(number === at)}
          class=${picked.has(row.session_id) ? "picked" : ""} onClick=${() => this.choose(number)}>
          <p dir="auto">${row.text || row.name}</p><small>${Math.round(100 * row.alike)}% alike  \u00b7  ${row.name}</small></li>`)}</ul>
        <p class="quiet" role="status">${told}</p>
        <div class="row"><${Command} name="Pick" hint="x" act=${() => this.pick()} /><${Command} name=${picked.size ? `Queue ${picked.size}` : "Queue"} hint="q" act=${() => this.draw()} />
          <${Command} name="Close" hint="=" act=${() => this.dialog.current.close()} /></div></div>
      <${Transcript} ref=${this.transcript} item=${item} blind=${true} ask=${ask}><div class="state"><p>Choose a session in the list.</p></div><//></dialog>`;
  }
}

