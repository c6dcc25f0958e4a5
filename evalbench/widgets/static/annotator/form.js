// The form that judges a session, and what stands beside it: drawn from the desk's state alone.

const VERDICTS = [["pass", "Pass", "p"], ["unsure", "Unsure", "u"], ["fail", "Other failure", "f"]];
const SKIP_REASONS = ["Not enough context", "Outside my field", "Trace is broken"];
const Key = ({ name }) => html`<kbd aria-hidden="true">${name}</kbd>`;
const Command = ({ name, hint, act, kind = "", ...rest }) =>
  html`<button type="button" class="command ${kind}" aria-keyshortcuts=${hint} onClick=${act} ...${rest}>${name}<${Key} name=${hint} /></button>`;
const Choice = ({ pressed, act, hint, children, ...rest }) =>
  html`<button type="button" class="choice" aria-pressed=${String(pressed)} aria-keyshortcuts=${hint} onClick=${act} ...${rest}>${children}</button>`;

function Modes({ desk }) {
  const { codebook, form } = desk;
  if (!codebook.length) return html`<p class="quiet">No failure modes yet: press f, and say in the note what failed.</p>`;
  const define = (mode) => () => desk.define(mode);
  return codebook.map((mode) => html`<button type="button" class="mode" key=${mode.mode} data-mode=${mode.mode} aria-keyshortcuts=${mode.key}
    aria-pressed=${String(form.modes.includes(mode.mode))} aria-description=${mode.definition} onClick=${() => desk.toggle(mode)}
    onMouseEnter=${define(mode)} onMouseLeave=${define(null)} onFocus=${define(mode)} onBlur=${define(null)}>
    <${Key} name=${mode.key} /><span>${mode.name}</span><small>${mode.severity === "safety" ? "safety" : ""}</small></button>`);
}

function Definition({ mode, top }) {
  return html`<div class="definition" aria-live="polite" style=${`top: ${top}px`}>${mode && html`<h4>${mode.name} <small>${mode.severity}, ${mode.failure_class}</small></h4>
    <p>${mode.definition}</p>${mode.example && html`<p><b>Example: </b>${mode.example}</p>`}`}</div>`;
}

function Anchors({ desk }) {
  const name = (anchor) => desk.codebook.find((mode) => mode.mode === anchor.mode)?.name ?? "Evidence";
  return html`<ul class="anchors" aria-label="Evidence">${desk.form.anchors.map((anchor, number) => html`<li key=${`${anchor.span_id} ${anchor.quote}`} data-number=${number}
    class=${desk.state.pointed === number ? "pointed" : ""}>
    <b>${name(anchor)}</b><button type="button" class="quote" title="Show it in the session" onClick=${() => desk.jump(anchor)}><q dir="auto">${anchor.quote.slice(0, 160)}</q></button>
    <button type="button" aria-label=${`Remove evidence: ${name(anchor)}`} onClick=${() => desk.detach(anchor)}>\u00d7</button></li>`)}</ul>`;
}

function Suggestion({ verdicts }) {
  return html`<div class="suggestion" aria-live="polite">${verdicts && html`<h4>Judges' drafts</h4>${verdicts.length
    ? html`<ul>${verdicts.map(({ evaluator_id, fails, rationale }) => html`<li><b>${evaluator_id}: ${fails ? "fail" : "pass"}</b> ${rationale}</li>`)}</ul>`
    : html`<p class="quiet">No judge has read this session.</p>`}`}</div>`;
}

function Form({ desk }) {
  const { form, state, item } = desk;
  return html`<form class="panel" aria-label="Label" onSubmit=${(event) => event.preventDefault()}>
    <div class="fields" ref=${desk.fields} inert=${!item.session_id}>
      <div class="verdicts" role="group" aria-label="Verdict">${VERDICTS.map(([verdict, name, hint]) => html`<${Choice} data-verdict=${verdict}
        pressed=${form.verdict === verdict && !form.modes.length} hint=${hint} act=${() => desk.choose(verdict)}>${name}<${Key} name=${hint} /><//>`)}</div>
      <div class="modes" ref=${desk.modes} role="group" aria-label="Failure modes"><${Modes} desk=${desk} /></div>
      <div class="row severity ${form.verdict === "fail" ? "" : "off"}" role="group" aria-label="Severity"><span class="quiet">Severity</span>
        ${SEVERITIES.map((name) => html`<${Choice} pressed=${form.severity === name} act=${() => desk.rate(form.severity === name ? null : name)}>${name}<//>`)}<${Key} name="v" /></div>
      <${Anchors} desk=${desk} />
      <button type="button" class="attach" hidden=${!state.selecting} onClick=${() => desk.attach(null)}>Attach the selected text</button>
      <textarea ref=${desk.note} rows="3" dir="auto" placeholder="Note (n): what you saw, in your own words" aria-label="Note" aria-keyshortcuts="n"
        value=${form.note} onInput=${(event) => desk.change({ note: event.currentTarget.value })}></textarea>
      <${Suggestion} verdicts=${state.suggestion ?? item.suggestion} />
    </div>
    <${Definition} mode=${state.defined} top=${state.top} />
    <footer>
      <p class="notice" role="alert">${state.notice || desk.line.told || desk.props.model.get("notice")}</p>
      <${Asking} desk=${desk} />
      <button type="button" class="command main ${form.verdict ? "ready" : ""}" disabled=${!item.session_id} aria-keyshortcuts="Enter" onClick=${() => desk.submit()}>
        ${item.label ? "Submit anew" : "Submit"}<${Key} name="Enter" /></button>
      <div class="row"><${Command} name="Previous" hint="\u2190" act=${() => desk.leave("previous")} /><${Command} name="Undo" hint="z" act=${() => desk.leave("undo")} />
        <${Command} name="Skip" hint="s" act=${() => desk.ask("skip")} /><${Command} name="Keys" hint="?" act=${() => desk.sheet.current.showModal()} /></div>
    </footer></form>`;
}

// What one more line or two is needed for: a skip, a proposed failure mode, a comment.
const ASKED = {
  skip: ["Skip this session", [["reason", "Why? Type, or press 1 to 3"]]],
  propose: ["None of these: a failure mode for the analyst", [["name", "Its name"], ["definition", "One sentence: what goes wrong"]]],
  golden: ["A golden case of the last failure: no release may fail it again", [["expected", "What should the product have done?"]]],
  comment: ["A word to whoever leads the labelling", [["text", "About this session"]]],
};

function Asking({ desk }) {
  const { asking } = desk.state;
  if (!asking) return null;
  const [title, fields] = ASKED[asking];
  return html`<div class="asking" role="group" aria-label=${title}><b>${title}</b>
    ${fields.map(([name, label], number) => html`<input key=${asking + name} type="text" dir="auto" name=${name} placeholder=${label} aria-label=${label}
      ref=${(field) => field && !number && !field.form.contains(document.activeElement) && field.focus()} />`)}
    ${asking === "skip" ? html`<div class="presets">${SKIP_REASONS.map((text, number) => html`<${Choice} pressed=${false} act=${() => desk.skip(text)}>${text}<${Key} name=${number + 1} /><//>`)}</div>`
      : html`<p class="quiet">Enter sends it, Esc leaves it.</p>`}</div>`;
}
