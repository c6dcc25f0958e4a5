// What an analyst fills in about a cluster: to split it, to promote it, to merge it where that changes rates.

const CLASSES = ["answer quality", "tool selection", "tool arguments", "policy boundary", "evidence quality", "recovery"];

class FormDesk extends Desk {
  /** @this {any} */
  askSplit() {
    const notes = this.members.rows.filter((row) => this.selected.has(row.note)).flatMap((row) => row.notes);
    if (!notes.length) return (this.notice.textContent = "Select notes first, with Space or a click: they become a cluster of their own.");
    const { mode } = this.group;
    const label = `Name of the new cluster of ${plural(notes.length, "note")}`;
    this.openForm("Split", [["name", label, "input", ""]], ({ name }) => this.send({ act: "split", mode, notes, name }));
  }

  /** @this {any} */
  askPromote() {
    const { mode, ...had } = this.group;
    const fields = [["name", "Name", "input"], ["definition", "Definition: what fails, so that two readers agree", "textarea"],
      ["example", "Example", "textarea"], ["severity", "Severity", SEVERITIES], ["failure_class", "Class", CLASSES], ["owner", "Owner", "input"]];
    const { sampled, waiting } = had;
    const looked = waiting
      ? make("p", { class: "notice", text: `${waiting} of ${sampled} sampled notes wait for somebody to look at them: Esc, then c.` })
      : make("p", { class: "quiet", text: sampled ? "\u2713 its sampled notes were looked at" : "" });
    const send = (given) => this.send({ act: "promote", mode, ...given });
    this.openForm("Promote", fields.map((field) => [...field, had[String(field[0])]]), send, looked);
    for (const control of this.form.querySelectorAll("input, textarea, select")) control.required = true;
  }

  /** @this {any} */
  askGolden() {
    const [row, { mode }] = [this.members.rows[this.at], this.group];
    if (!row) return;
    const fields = [["expected", "What should the product have done in the session of this note?", "input"]];
    const quote = make("blockquote", { dir: "auto", text: row.text });
    this.openForm("Golden case", fields, (given) => this.send({ act: "keep_note", note: row.note, mode, ...given }), quote);
  }

  /** @this {any} */
  openForm(title, fields, submit, ...above) {
    const controls = fields.map(([name, label, kind, value = ""]) => {
      const attributes = { name, "aria-label": label, dir: "auto" };
      const control = Array.isArray(kind)
        ? make("select", attributes, ...["", ...kind].map((each) => make("option", { value: each, text: each || "choose" })))
        : make(kind, kind === "textarea" ? { ...attributes, rows: 3 } : { ...attributes, type: "text" });
      control.value = value ?? "";
      return make("label", {}, make("span", { text: label }), control);
    });
    const done = (event) => { event.preventDefault(); submit(Object.fromEntries(new FormData(form))); };
    const form = make("form", { class: "asking", "aria-label": title, submit: done }, ...above, ...controls, make("div", { class: "row" },
      make("button", { type: "submit", class: "command main ready" }, title, makeKey("Enter")),
      makeButton({ class: "command", click: () => this.close() }, "Cancel", makeKey("Esc"))));
    this.open(form);
    const first = form.querySelector("input");
    if (first) first.select();
    else form.querySelector("[type=submit]").focus();
  }
}
