// JSON, and Python's way to write the same, as a tree to fold. It is made of the words of the source:
// a parser would have written 1.0 as 1, and long numbers as others.

const JSON_TOKEN = /\s+|"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[{}[\],:]|[^\s{}[\],:"']+/gs;
const SCALAR = /^(?:["']|-?\d[\w.+-]*$|-?Infinity$|(?:true|false|null|True|False|None|NaN)$)/;
const DEEPEST = 60;
const FITS_A_LINE = 72; // characters
const OPEN_AT_FIRST = 30; // entries

// Gives a list of nodes, or null where the text is something else. A text that was cut ends anywhere.
// A node is { text } or { open, entries: [{ key, value }], close, size }.
function parseTree(text, cut = false) {
  if (!/^\s*[{[]/.test(text)) return null;
  const roots = [];
  const path = [{ open: "", entries: roots }];
  let key = null;
  let after = "start"; // of what comes before: start, value, key, colon, comma
  for (const { 0: token, index } of text.matchAll(JSON_TOKEN)) {
    const node = path.at(-1);
    const ends = cut && index + token.length === text.length;
    if (!token.trim()) continue;
    if (token === "{" || token === "[") {
      if (path.length > DEEPEST || !startsValue(node, after)) return null;
      const inner = { open: token, entries: [], close: "", start: index };
      node.entries.push({ key, value: inner });
      path.push(inner);
      [key, after] = [null, "start"];
    } else if (token === "}" || token === "]") {
      if (path.length < 2 || token !== (node.open === "{" ? "}" : "]") || after === "colon" || after === "key") return null;
      node.close = token;
      node.length = index + 1 - node.start;
      path.pop();
      after = "value";
    } else if (token === ",") {
      if (path.length < 2 || after !== "value") return null;
      after = "comma";
    } else if (token === ":") {
      if (after !== "key") return null;
      after = "colon";
    } else if (path.length > 1 && (SCALAR.test(token) || ends)) {
      if (node.open === "{" && after !== "colon") {
        if (after === "value") return null;
        [key, after] = [token, "key"];
        if (ends) node.entries.push({ key, value: { text: "" } });
      } else {
        if (after === "value") return null;
        node.entries.push({ key, value: { text: token } });
        [key, after] = [null, "value"];
      }
    } else return null;
  }
  if (path.length > 1 && !cut) return null;
  return roots.map(({ value }) => value);
}

function startsValue(node, after) {
  if (!node.open) return true;
  return node.open === "{" ? after === "colon" : after !== "value";
}

function readString(token) {
  try {
    return token[0] === '"' ? JSON.parse(token) : null;
  } catch {
    return null;
  }
}

function showToken(token, readAll) {
  const text = readString(token) ?? readString(`${token}"`); // its end may be cut
  if (text === null) return html`<span class=${/^["']/.test(token) ? "string" : "literal"}>${showText(token, readAll)}</span>`;
  const inner = parseTree(text);
  return html`<span class="string" dir="auto">"${inner ? showTree(inner) : showText(text, readAll)}"</span>`;
}

const isShort = (node) => node.length <= FITS_A_LINE && node.entries.every(({ value }) => !value.open || !value.entries.length);

function showNode(name, node, comma, depth, readAll) {
  const key = name === null ? "" : html`<span class="key">${showText(readString(name) === null ? name : `"${readString(name)}"`)}</span>: `;
  if (!node.open) return html`<div class="entry">${key}${showToken(node.text, readAll)}${comma}</div>`;
  const last = node.entries.length - 1;
  const show = (at, mark) => node.entries.map((each, number) =>
    showNode(each.key, each.value, number < last ? mark : "", at, readAll));
  if (isShort(node)) return html`<div class="entry short">${key}${node.open}${show(depth, ", ")}${node.close}${comma}</div>`;
  const size = plural(node.entries.length, node.open === "{" ? "field" : "item");
  return html`<${Fold} kind="entry branch" open=${depth < 2 || node.entries.length <= OPEN_AT_FIRST}
    summary=${html`${key}${node.open}<span class="size" data-size=${size}></span>`}>
    ${() => html`<div class="entries">${show(depth + 1, ",")}</div>${node.close}${comma}`}<//>`;
}

const showTree = (nodes, readAll) => html`<div class="tree">${nodes.map((node) => showNode(null, node, "", 0, readAll))}</div>`;

