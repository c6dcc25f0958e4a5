// Words of a trace as nodes. They enter the page as text, never as HTML; what they hide is shown.

// The same as HIDDEN of label/annotation/markdown.py.
const HIDDEN = new RegExp(
  "[\\0-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u200b\\u200e\\u200f" +
    "\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff9-\\ufffb\\ud800-\\udfff\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}]" +
    "|(?<![^\\0-\\x7f])[\\u200c\\u200d]|[\\u200c\\u200d](?![^\\0-\\x7f])",
  "gu",
);
const PLAIN = /^[\x20-\x7e\t\n]*$/; // nothing hidden: most of what there is
const IMAGE = /data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]{8,}={0,2}/g;
const ADDRESS = /^(?:https?:\/\/|mailto:)/i;
const TAGS = new Set("p br hr h1 h2 h3 h4 h5 h6 strong em s code pre small span ul ol thead tbody tr th td".split(" "));

// Cuts a text at every match: what is between stays text, each match becomes what make() gives.
function replaceIn(text, pattern, make, rest = (between) => between) {
  const nodes = [];
  let at = 0;
  for (const found of text.matchAll(pattern)) {
    if (found.index > at) nodes.push(rest(text.slice(at, found.index)));
    nodes.push(make(found[0]));
    at = found.index + found[0].length;
  }
  if (!at) return rest(text);
  if (at < text.length) nodes.push(rest(text.slice(at)));
  return nodes;
}

// The character itself stands there too, so that what is selected is what was said; a box of its own
// keeps it from turning the words around it.
function Sign({ sign }) {
  const code = `U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  return html`<span class="sign" data-code=${code} title="A character that cannot be seen"><i>${sign}</i></span>`;
}

function Picture({ source, readAll }) {
  const [shown, setShown] = useState(false);
  const kind = source.slice(11, source.indexOf(";"));
  const show = () => (readAll ? readAll() : Promise.resolve()).then(() => setShown(!shown));
  return html`<span class="picture"><span class="data">${source}</span>
    <button type="button" class="more" onClick=${show}>${shown ? "Hide" : "Show"} the image (${kind}, ${plural(Math.ceil(source.length / 1365), "kB")})</button>
    ${shown && html`<img alt="" src=${source} />`}</span>`;
}

const showSigns = (text) => PLAIN.test(text) ? text : replaceIn(text, HIDDEN, (sign) => html`<${Sign} sign=${sign} />`);

// readAll loads the rest of a text whose end is not here yet: an image is shown whole or not at all.
const showText = (text, readAll) => !text.includes("data:image/") ? showSigns(text)
  : replaceIn(text, IMAGE, (source) => html`<${Picture} source=${source} readAll=${readAll} />`, showSigns);

// A layout of label/annotation/layout.py over its text: see there.
function showLayout(node, text, readAll) {
  if (typeof node[0] === "number") return showText(text.slice(...node), readAll);
  const [tag, ...inside] = node;
  const show = (each) => showLayout(each, text, readAll);
  if (tag === "a") {
    const [address, ...words] = inside;
    if (!ADDRESS.test(address)) return words.map(show);
    return html`<a href=${address} title=${address} target="_blank" rel="noopener noreferrer nofollow">${words.map(show)}</a>`;
  }
  if (tag === "table") return html`<div class="wide" tabindex="0" role="group" aria-label="Table"><table>${inside.map(show)}</table></div>`;
  if (tag === "li") return html`<li><span class="marker">${show(inside[0])} </span>${inside.slice(1).map(show)}</li>`;
  if (tag === "div") return inside.map(show);
  return TAGS.has(tag) ? h(tag, null, ...inside.map(show)) : inside.map(show);
}

// Markdown of the workspace's own, as a policy: {text, layout}.
const Prose = ({ text, layout }) =>
  html`<div class="prose ${layout ? "" : "plain"}" dir="auto">${layout ? showLayout(layout, text) : showText(text)}</div>`;

