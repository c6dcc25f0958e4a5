// Finding words on a page: they may run over several nodes, as **half** bold ones do.

const MOST_HITS = 2000;
const BLOCKS = "p, li, th, td, pre, h1, h2, h3, h4, h5, h6, summary, .entry, .plain, .failed, .preview, .came";
const UNSAID = ".number, time, button, h4, header b, .instructions > summary b, .data"; // not words of the trace

const escapePattern = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const makePattern = (query) => new RegExp(query.trim().split(/\s+/).map(escapePattern).join("\\s+"), "giu");
// What was selected in one way of showing a text is found in another: they differ in space and marks.
const makeQuotePattern = (quote) => new RegExp(quote.split(/[\s*~#`|]+/).filter(Boolean).map(escapePattern).join("[\\s*~#`|]*"), "gu");

// Gives ranges of what matches within an element; across its blocks where whole is set.
function findRanges(element, pattern, { whole = false, most = MOST_HITS } = {}) {
  const ranges = [];
  let nodes = [];
  let text = "";
  let block = null;
  const search = () => {
    for (const found of text.matchAll(pattern)) {
      if (ranges.length >= most) break;
      if (found[0]) ranges.push(makeRange(nodes, found.index, found.index + found[0].length));
    }
    [nodes, text] = [[], ""];
  };
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.parentElement.closest(UNSAID)) continue;
    const own = whole ? element : node.parentElement.closest(BLOCKS);
    if (own !== block) search();
    block = own;
    nodes.push([text.length, node]);
    text += node.nodeValue;
  }
  search();
  return ranges;
}

function makeRange(nodes, start, stop) {
  const place = (at) => nodes.findLast(([begin]) => begin < at || begin === 0);
  const first = nodes.findLast(([begin]) => begin <= start);
  const last = place(stop);
  const range = document.createRange();
  range.setStart(first[1], start - first[0]);
  range.setEnd(last[1], stop - last[0]);
  return range;
}

function markRanges(name, ranges) {
  if (CSS.highlights) CSS.highlights.set(name, new Highlight(...ranges));
}

// The hits of a query in a session: those on the page, and those that Python found in what was not
// read yet. A hit is { turn, range } or { turn, place, start }.
class Search {
  constructor(transcript) {
    this.transcript = transcript;
    this.clear();
  }

  clear() {
    [this.query, this.hits, this.at, this.counts] = ["", [], -1, new Map()];
    this.mark();
  }

  get now() {
    return this.hits[this.at];
  }

  // Gives false where another search began meanwhile.
  async run(query) {
    this.query = query;
    if (!query.trim()) return this.clear();
    const { transcript } = this;
    const from = transcript.currentNumber();
    await transcript.buildAll();
    if (this.query !== query) return false;
    const ranges = findRanges(transcript.conversation, makePattern(query));
    this.take(ranges.map((range) => ({ turn: numberOf(range.startContainer), range })), from);
    if (transcript.isWhole()) return true;
    const { hits } = await transcript.request({ act: "find", query: query.trim() });
    if (this.query !== query) return false;
    const unread = hits.flatMap(({ turn, place, starts }) =>
      starts.filter((start) => !transcript.words.get(place)?.has(start)).map((start) => ({ turn: turn || Infinity, place, start })));
    this.take([...this.hits, ...unread], from);
    return true;
  }

  take(hits, from) {
    this.hits = hits.sort((a, b) => a.turn - b.turn);
    this.at = hits.length ? Math.max(0, hits.findIndex(({ turn }) => turn >= from)) : -1;
    this.counts = new Map();
    for (const { turn } of hits) this.counts.set(turn, (this.counts.get(turn) ?? 0) + 1);
    this.mark();
  }

  // Goes on by some hits, and gives the range of the one it comes to.
  async step(by) {
    if (!this.hits.length) return null;
    this.at = (this.at + by + this.hits.length) % this.hits.length;
    const hit = this.now;
    if (!hit.range) await this.read(hit);
    this.mark();
    return hit.range ?? null;
  }

  async read(hit) {
    const { transcript } = this;
    while (!transcript.words.has(hit.place) && (await transcript.readTurns()));
    const words = transcript.words.get(hit.place);
    if (!words) return;
    const here = words.root.current;
    const pattern = makePattern(this.query);
    if (words.has(hit.start)) {
      const before = this.hits.filter(({ place, start }) => place === hit.place && start < hit.start).length;
      hit.range = findRanges(here, pattern)[before];
    } else {
      await words.read(hit.start);
      [hit.range] = findRanges(here.querySelector(`[data-start="${hit.start}"]`) ?? here, pattern, { most: 1 });
    }
  }

  mark() {
    markRanges("evalbench-hit", this.hits.flatMap(({ range }) => range ?? []));
    markRanges("evalbench-hit-now", this.now?.range ? [this.now.range] : []);
  }

  get told() {
    const total = this.hits.length;
    if (!this.query.trim()) return "";
    if (!total) return "no hits";
    const turns = this.counts.size;
    const { turn } = this.now;
    const where = turn > 0 && turn < Infinity ? `, turn ${turn} (${count(this.counts.get(turn))} there)` : "";
    return `${count(this.at + 1)} of ${count(total)}${total < MOST_HITS ? "" : "+"} in ${plural(turns, "turn")}${where}`;
  }
}

const numberOf = (node) => Number((node.nodeType === Node.TEXT_NODE ? node.parentElement : node).closest(".turn")?.dataset.number ?? 0);

