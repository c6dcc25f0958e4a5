// A session as a page: turns, folds, search. Text of a trace enters as text; the only HTML is what
// label/markdown.py cleaned. annotator.py joins this file with elements.js and annotator.js into one module.

const LONG = 1600; // characters of a message that are shown unfolded
const MOST_HITS = 2000;
const visible = (text) => text.replace(/[^\P{C}\t\n\r]/gu, (sign) => `\u27e6U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e7`);
const TITLES = { tool: ["Arguments", "Result"], retriever: ["Query", "Result"] };

function makeFold(kind, summary, build, span = null) {
  const details = make("details", { class: `fold ${kind}`, "data-span": span }, make("summary", {}, ...summary));
  details.build = () => {
    details.build = () => {};
    details.append(...build());
  };
  details.addEventListener("toggle", () => details.open && details.build());
  return details;
}

class Transcript {
  constructor(ask) {
    this.ask = ask;
    this.answers = new Map();
    this.element = make("div", { class: "trace", tabindex: 0, role: "region", "aria-label": "Session" });
    this.query = make("input", {
      type: "search",
      placeholder: "Search this session",
      "aria-label": "Search this session",
      "aria-keyshortcuts": "/",
      input: () => this.searchSoon(),
    });
    this.hits = make("output", { class: "hits" });
  }

  show(content) {
    this.answers.clear();
    this.clearSearch();
    this.element.replaceChildren(content);
    this.element.scrollTop = 0;
  }

  focus() {
    this.element.focus({ preventScroll: true });
  }

  scroll(by) {
    this.element.scrollBy({ top: by });
  }

  // What it is built of

  build(item) {
    const more = item.left_out ? `${plural(item.left_out, "more turn")} did not fit and cannot be shown here.` : "";
    return make("div", { class: "session" }, this.buildWhy(item),
      ...item.turns.map((turn) => this.buildTurn(turn)), make("p", { class: "quiet", text: more }),
      ...item.gaps.map((gap) => make("div", { class: "gap" }, make("h4", { text: "Not placed" }), ...this.buildPlain(gap))));
  }

  buildWhy(item) {
    const signals = item.signals.map((text) => make("li", { text }));
    const errors = item.errors.map(({ span_id, name, text, times }) => {
      const jump = (event) => {
        event.preventDefault();
        this.jump(span_id);
      };
      const told = `${name}: ${text}${times > 1 ? ` (${times} times)` : ""}`;
      return make("li", { class: "error" }, make("a", { href: "#", text: told, click: jump }));
    });
    const facts = item.facts.map(([name, value]) => `${name} ${value}`).join("  \u00b7  ");
    return make("div", { class: "why" },
      make("p", {}, make("b", { text: "Drawn: " }), item.reason || "no reason was recorded"),
      make("ul", {}, ...signals, ...errors), make("p", { class: "facts", text: facts }));
  }

  buildTurn(turn) {
    const { role, number, speaker } = turn;
    const head = [make("span", { class: "number", text: number }), make("b", { text: role }),
      make("span", { class: "speaker", text: speaker }), make("time", { text: turn.time })];
    const prose = () => (turn.text ? [this.buildProse(turn.text), this.buildMore(turn.text, null)].filter(Boolean) : []);
    const article = make("article", { class: "turn", "data-span": turn.span_id, "data-role": role, "aria-label": `${number} ${role}` });
    if (role === "system") article.append(makeFold("instructions", head, prose));
    else article.append(make("header", {}, ...head), ...prose());
    if (turn.reasoning) article.append(makeFold("reasoning", ["Reasoning"], () => this.buildPlain(turn.reasoning)));
    if (turn.error) article.append(make("p", { class: "failed", text: turn.error }));
    article.append(...turn.steps.map((step) => this.buildStep(step)));
    return article;
  }

  buildProse(turn) {
    const prose = make("div", { class: "prose", text: visible(turn.text), dir: "auto" });
    if (turn.text.length <= LONG) return prose;
    const more = makeButton({ class: "more", text: `Show all ${count(turn.text.length)} characters` });
    const long = make("div", { class: "long" }, prose, more);
    more.addEventListener("click", () => long.classList.add("whole"));
    return long;
  }

  buildStep(step) {
    const { documents, given, error } = step;
    const preview = documents.length ? plural(documents.length, "document") : (given?.text ?? "").slice(0, 160);
    const summary = [make("code", { text: step.name }), make("span", { class: "preview", text: preview })];
    const fold = makeFold(error ? "step broken" : "step", summary, () => this.buildInside(step), step.span_id);
    return error ? make("div", {}, fold, make("p", { class: "failed", text: error })) : fold;
  }

  buildInside(step) {
    const titles = TITLES[step.kind] ?? ["Given", "Result"];
    const texts = [step.given, step.result].flatMap((block, number) =>
      block ? [make("h4", { text: titles[number] }), ...this.buildPlain(block)] : []);
    const documents = step.documents.flatMap((each) => {
      const score = make("small", { text: each.score === null ? "" : each.score.toFixed(2) });
      return [make("h4", {}, each.id, " ", score), ...(each.text ? this.buildPlain(each.text) : [])];
    });
    return [...texts, ...documents];
  }

  buildPlain(block) {
    const text = make("pre", { text: visible(block.text), dir: "auto" });
    return [text, this.buildMore(block, text)].filter(Boolean);
  }

  buildMore(cut, text) {
    const { place, total } = cut;
    let start = cut.shown;
    if (start === total) return null;
    const more = makeButton({ class: "more" });
    const tell = () => (more.textContent = `Read on: ${count(start)} of ${count(total)} characters are shown`);
    const append = (piece) => {
      text ??= more.parentNode.insertBefore(make("pre", { dir: "auto" }), more);
      text.append(visible(piece.text));
      start = piece.shown;
      more.disabled = false;
      if (start === total) more.remove();
      else tell();
    };
    more.addEventListener("click", () => {
      more.disabled = true;
      this.answers.set(place, append);
      this.ask({ act: "text", place, start });
    });
    tell();
    return more;
  }

  readOn(piece) {
    this.answers.get(piece.place)?.(piece);
  }

  // Finding the way

  jump(span) {
    const places = [...this.element.querySelectorAll("[data-span]")].filter((each) => each.dataset.span === span);
    if (places.length) this.reveal(places.at(-1));
  }

  reveal(node) {
    for (let each = node; each && each !== this.element; each = each.parentElement) {
      if (each.tagName === "DETAILS") each.open = true;
      if (each.classList.contains("long")) each.classList.add("whole");
    }
    node.scrollIntoView({ block: "center" });
  }

  openAll() {
    const folds = [...this.element.querySelectorAll("details")];
    const open = folds.some((each) => !each.open);
    for (const each of folds) each.open = open;
    for (const each of this.element.querySelectorAll(".long")) each.classList.toggle("whole", open);
  }

  selected() {
    const selection = getSelection();
    if (selection.isCollapsed || !this.element.contains(selection.anchorNode)) return null;
    const start = selection.getRangeAt(0).startContainer;
    const holder = (start.nodeType === Node.TEXT_NODE ? start.parentElement : start).closest("[data-span]");
    const quote = selection.toString().trim().slice(0, 2000);
    return holder && quote ? { span_id: holder.dataset.span, quote } : null;
  }

  searchSoon() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.search(), 120);
  }

  search() {
    const wanted = this.query.value.toLowerCase();
    this.ranges = [];
    this.at = -1;
    if (wanted) {
      for (const each of this.element.querySelectorAll("details")) each.build();
      const walker = document.createTreeWalker(this.element, NodeFilter.SHOW_TEXT);
      while (walker.nextNode() && this.ranges.length < MOST_HITS) this.findIn(walker.currentNode, wanted);
    }
    this.mark("evalbench-hit", this.ranges);
    this.step(1);
  }

  findIn(node, wanted) {
    const lower = node.data.toLowerCase();
    const text = lower.length === node.data.length ? lower : node.data; // some capitals are two letters when small
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, at + wanted.length);
      this.ranges.push(range);
    }
  }

  step(by) {
    const total = this.ranges.length;
    this.at = total ? (this.at + by + total) % total : -1;
    const most = total < MOST_HITS ? "" : "+";
    this.hits.textContent = total ? `${this.at + 1} of ${count(total)}${most}` : this.query.value ? "no hits" : "";
    this.mark("evalbench-hit-now", total ? [this.ranges[this.at]] : []);
    if (total) this.reveal(this.ranges[this.at].startContainer.parentElement);
  }

  mark(name, ranges) {
    if (CSS.highlights) CSS.highlights.set(name, new Highlight(...ranges));
  }

  leaveSearch() {
    this.focus();
    const hit = this.ranges[this.at];
    if (!hit) return;
    // The hit becomes the selection: a mode's key attaches it, Shift and arrows widen it.
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(hit.cloneRange());
  }

  clearSearch() {
    clearTimeout(this.soon);
    this.query.value = "";
    this.ranges = [];
    this.mark("evalbench-hit", []);
    this.step(0);
  }
}
