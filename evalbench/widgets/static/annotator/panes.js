// What lies around the session: the queue and the outline on its left, policies and codebook over it.

const FILTERS = [
  ["all", "All", () => true],
  ["waiting", "Waiting", ({ state }) => state === "waiting"],
  ["mine", "Mine", ({ state }) => state === "mine"],
  ["failing", "Failing", ({ verdict }) => verdict === "fail"],
  ["skipped", "Skipped", ({ state }) => state === "skipped"],
  ["differs", "Differ", ({ differs }) => differs],
  ["ruling", "To rule", ({ differs, ruled }) => differs && !ruled],
];
const MARKS = { pass: "pass", fail: "fail", unsure: "unsure" };
const MOST_ITEMS = 500;

const filterItems = (rows, filter) => rows.filter(FILTERS.find(([name]) => name === filter)[2]);

function Items({ desk }) {
  const { rows, filter, place } = desk.state;
  const shown = filterItems(rows, filter);
  return html`<section class="items" aria-label="Sessions of this queue"><div class="filters" role="group" aria-label="Which sessions">
    ${FILTERS.map(([name, title, test]) => html`<button type="button" class="filter" aria-pressed=${String(name === filter)} onClick=${() => desk.setState({ filter: name, place: 0 })}>
      ${title} <small>${count(rows.filter(test).length)}</small></button>`)}</div>
    <ul ref=${desk.list} role="listbox" tabindex="0" aria-label="Sessions" aria-activedescendant=${shown[place] ? `item-${shown[place].session_id}` : null}>
      ${shown.slice(0, MOST_ITEMS).map((row, number) => html`<li key=${row.session_id} id=${`item-${row.session_id}`} role="option" aria-selected=${String(number === place)} data-state=${row.state}
        class=${row.session_id === desk.item.session_id ? "here" : ""} onClick=${() => desk.open(row)}>
        <p dir="auto">${row.opening || row.name}</p><small>${[MARKS[row.verdict] ?? row.state, row.differs && (row.ruled ? "ruled" : "others differ")].filter(Boolean).join(" \u00b7 ")}</small></li>`)}</ul></section>`;
}

function Outline({ desk }) {
  const turns = desk.item.turns ?? [];
  return html`<nav class="outline" aria-label="Outline"><h4>Outline</h4><ol>${turns.filter(({ role }) => role !== "system").map((turn) => {
    const failed = turn.error || turn.steps.some(({ error, warning }) => error || warning);
    const said = turn.text?.text ?? turn.steps.map(({ name }) => name).join(", ");
    return html`<li key=${turn.number} data-role=${turn.role}><button type="button" class=${failed ? "failing" : ""} onClick=${() => desk.transcript.current.goTo(turn.number)}>
      <span class="number">${turn.number}</span><span dir="auto">${oneLine(said, 80) || turn.role}</span></button></li>`;
  })}</ol></nav>`;
}

function Guide({ desk }) {
  const { pinning } = desk.state;
  return html`<section class="guide" aria-label="Policies and codebook" tabindex="-1" ref=${desk.guide}>
    <h2>Policies</h2>${desk.policies.length ? desk.policies.map((each) => html`<${Prose} text=${each.text} layout=${each.layout} />`) : html`<p class="quiet">None are written down for ${desk.item.surface || "this surface"}.</p>`}
    <h2>Codebook</h2>${desk.codebook.map((mode) => html`<article key=${mode.mode}><h4><button type="button" class="choice" aria-pressed=${String(pinning === mode.mode)}
      title="Press it, then the key it shall have" onClick=${() => desk.setState({ pinning: pinning === mode.mode ? "" : mode.mode })}>
      ${pinning === mode.mode ? "press a key" : html`<${Key} name=${mode.key || "none"} />`}</button> ${mode.name} <small>${mode.severity}, ${mode.failure_class}</small></h4>
      <p>${mode.definition}</p>${mode.example && html`<p class="quiet">Example: ${mode.example}</p>`}</article>`)}
    <p class="quiet">A key is everybody's: pressing it here and then another changes it in the codebook. g or Esc closes this.</p></section>`;
}

function Header({ desk }) {
  const { model } = desk.props;
  const { done = 0, left = 0, by_me = 0, failures = 0, sessions_per_hour, minutes_left } = model.get("progress");
  const total = done + left;
  const parts = [`${count(done)} of ${count(total)} done`, `${count(by_me)} by you`, plural(failures, "failure")];
  if (sessions_per_hour) parts.push(`${sessions_per_hour.toFixed(0)} an hour`);
  if (minutes_left) parts.push(`about ${plural(Math.ceil(minutes_left), "minute")} left of this queue`);
  const { waiting, said } = desk.state;
  return html`<header>
    <button type="button" class="choice" aria-pressed=${String(desk.state.shows)} aria-keyshortcuts="l" onClick=${() => desk.showList()}>Queue<${Key} name="l" /></button>
    <button type="button" class="choice" aria-pressed=${String(desk.state.guiding)} aria-keyshortcuts="g" onClick=${() => desk.showGuide()}>Policies<${Key} name="g" /></button>
    <button type="button" class="choice" aria-keyshortcuts="=" disabled=${!desk.item.session_id} onClick=${() => desk.alike.current.start()}>Similar<${Key} name="=" /></button>
    <span class="where">${desk.item.surface} <code>${desk.item.name}</code></span>
    <div class="bar" role="progressbar" aria-label="Queue" aria-valuemin="0" aria-valuemax=${total} aria-valuenow=${done}><i style=${`width: ${total ? (100 * done) / total : 0}%`}></i></div>
    <span class="pace">${total ? parts.join("  \u00b7  ") : ""}</span>
    <span class="tick" data-trouble=${desk.line.trouble}>${waiting ? `${plural(waiting, "key")} waiting` : desk.line.pending && desk.line.trouble ? "not saved yet" : said}</span>
    ${desk.twins.others ? html`<span class="twin" title="A label given there shows here when you go on; neither tab overwrites the other.">also open in another tab</span>` : null}</header>`;
}
