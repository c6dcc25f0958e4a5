// What is asked of an analyst who sorts notes: one note, "which failure is it?", or a batch that is
// believed to tell of one, "all of these but the struck".

const SORT_KEYS = [
  ["s", "sort notes: the one whose name tells most comes first"],
  ["1 2 3", "it is the first, second or third failure offered"],
  ["1 to 8", "of a batch: strike a note out, or take it back"],
  ["Enter", "of a batch: all that is not struck is this failure"],
  ["n", "another failure, or a new one: type its name"],
  ["o", "open the session that the note was written about"],
  ["l", "later: ask me again when all others are sorted"],
];

class Sorter {
  struck = new Set();
  asked = { rows: [] };

  constructor(names, send) {
    this.names = names;
    this.send = send;
    this.element = make("div", { class: "sorting", tabindex: -1, role: "group", "aria-label": "Sort notes" });
  }

  get batch() {
    return this.asked.rows.length > 1;
  }

  show(asked) {
    if (asked.rows[0].note !== this.asked.rows[0]?.note) this.struck = new Set();
    const before = this.asked;
    this.asked = asked;
    mount(html`<${SortPanel} sorter=${this} key=${asked.rows[0].note} />`, this.element);
    if (before.rows[0]?.note !== asked.rows[0].note) this.element.focus({ preventScroll: true });
  }

  strike(index) {
    if (!this.asked.rows[index]) return;
    if (!this.struck.delete(index)) this.struck.add(index);
    this.show(this.asked);
  }

  put(into) {
    const pick = (wanted) => this.asked.rows.flatMap((row, index) => (this.struck.has(index) === wanted ? row.notes : []));
    this.send({ act: "put", notes: pick(false), struck: pick(true), ...into });
  }

  agree() {
    const { mode } = this.asked;
    if (mode) this.put({ mode });
    else this.name();
  }

  name() {
    const field = this.element.querySelector("input");
    if (field.value.trim()) this.put({ name: field.value.trim() });
    else field.focus();
  }

  keys() {
    const numbered = this.batch
      ? this.asked.rows.map((_, index) => [index + 1, () => this.strike(index)])
      : this.asked.offers.map(({ mode }, index) => [index + 1, () => this.put({ mode })]);
    return {
      ...Object.fromEntries(numbered),
      Enter: this.batch ? () => this.agree() : null,
      n: () => this.element.querySelector("input").focus(),
      l: () => this.send({ act: "later", note: this.asked.rows[0].notes[0] }),
    };
  }
}

const Note = ({ row, text = row.text }) => html`
  <blockquote dir="auto">${text}${row.notes.length > 1 ? html` <b title="So many notes say this">\u00d7${row.notes.length}</b>` : ""}</blockquote>`;

function SortPanel({ sorter }) {
  const { asked, batch, names } = sorter;
  const submit = (event) => {
    event.preventDefault();
    sorter.name();
  };
  const question = batch
    ? html`Do all of these tell of ${asked.name ? html`<b>${asked.name}</b>` : "one failure"}? Strike out what does not.`
    : "Which failure does this note tell of?";
  return html`
    <p class="quiet">${question}</p>
    ${batch ? html`<${Batch} sorter=${sorter} />` : html`<${Note} row=${asked.rows[0]} />
      <p class="quiet">Session ${asked.rows[0].session_id}</p><${Offers} sorter=${sorter} />`}
    <form onSubmit=${submit}>
      <label><span>${asked.name ? "Or another failure, or a new one" : batch ? "Its name, new or one there is" : "Another failure, or a new one"} <kbd aria-hidden="true">n</kbd></span>
        <input type="text" name="name" list="evalbench-modes" autocomplete="off" /></label>
      <datalist id="evalbench-modes">${[...new Set([...names(), ...asked.names])].map((name) => html`<option value=${name} />`)}</datalist>
    </form>
    <div class="row">
      ${batch && html`<button type="button" class="command main" aria-keyshortcuts="Enter" onClick=${() => sorter.agree()}>
        ${asked.name ? "All that is not struck" : "Name them"}<kbd aria-hidden="true">Enter</kbd></button>`}
      <button type="button" class="command" aria-keyshortcuts="o" onClick=${() => sorter.send({ act: "read", note: asked.rows[0].note })}>Session<kbd aria-hidden="true">o</kbd></button>
      <button type="button" class="command" aria-keyshortcuts="l" onClick=${() => sorter.keys().l()}>Later<kbd aria-hidden="true">l</kbd></button>
    </div>`;
}

const Batch = ({ sorter }) => html`
  <ol>${sorter.asked.rows.map((row, index) => html`
    <li class=${sorter.struck.has(index) ? "struck" : ""}>
      <button type="button" aria-pressed=${sorter.struck.has(index)} aria-label=${`Strike out ${index + 1}: ${row.text}`} onClick=${() => sorter.strike(index)}>
        <kbd aria-hidden="true">${index + 1}</kbd></button><${Note} row=${row} /></li>`)}
  </ol>`;

const Offers = ({ sorter }) => html`
  <ol class="offers">${sorter.asked.offers.map(({ mode, name, like }, index) => html`
    <li><button type="button" class="command" aria-keyshortcuts=${index + 1} onClick=${() => sorter.put({ mode })}>
      <kbd aria-hidden="true">${index + 1}</kbd><b>${name}</b></button>
      <small title="The note of this failure that is most like this one">like: ${like}</small></li>`)}
  </ol>`;
