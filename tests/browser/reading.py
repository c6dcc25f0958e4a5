"""A page with one transcript and no desk: Python answers what it asks."""

import json

from evalbench.label.annotation.transcript import READING, transcript
from evalbench.widgets.page import TRANSCRIPT, read_static, read_vendor

SCRIPT = (
    read_vendor()
    + read_static("elements.js", *TRANSCRIPT)
    + """
    const root = document.querySelector(".evalbench");
    function show(props) {
      mount(html`<${Transcript} ref=${(it) => (window.reader = it)} ask=${async (message) => {
        window.asked.push(message);
        const answer = await window.answer(JSON.stringify(message));
        window.reader.hear(JSON.parse(answer));
      }} onAnchor=${(number) => (window.anchor = number)} ...${props} />`, root);
    }
    Object.assign(window, { show, asked: [], HIDDEN, parseTree });
    """
)


def open_reader(page, session, **properties):
    """Show a session in a page; its transcript is ``window.reader``."""

    def answer(message):
        asked = json.loads(message)
        del asked["session_id"]
        return json.dumps(READING[asked.pop("act")](session, **asked))

    style = read_static("elements.css", "transcript/transcript.css")
    page.set_content(f"<!doctype html><style>body {{margin: 0}} {style}</style>")
    page.expose_function("answer", answer)
    frame = 'class="evalbench" data-theme="light" style="--annotator-height: 100vh"'
    page.evaluate(f"document.body.innerHTML = '<section {frame}></section>'")
    page.add_script_tag(content=SCRIPT, type="module")
    show(page, item=transcript(session), **properties)
    page.wait_for_selector(".session")


def show(page, **properties):
    page.wait_for_function("!!window.show")
    page.evaluate("properties => show(properties)", properties)
