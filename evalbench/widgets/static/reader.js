// The session that a note was written about, over the desk: to read, and nothing else.
class Reader {
  constructor(ask) {
    this.ask = ask;
    this.transcript = createRef();
    this.page = make("div", { class: "page" });
    this.element = make("dialog", { class: "sheet reader", "aria-label": "Session of the note" }, this.page,
      makeButton({ class: "command", text: "Close", autofocus: "", click: () => this.element.close() }));
    this.element.addEventListener("close", () => mount(null, this.page));
  }

  show(item) {
    mount(html`<${Transcript} ref=${this.transcript} item=${item} ask=${this.ask} blind=${true} />`, this.page);
    if (!this.element.open) this.element.showModal();
  }

  hear(message) {
    this.transcript.current?.hear(message);
  }
}
