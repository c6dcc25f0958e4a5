"""A page with one transcript and no desk: Python answers what it asks."""

import json

from evalbench.label.annotation.transcript import READING, transcript
from evalbench.widgets.page import TRANSCRIPT, read_static, read_vendor

SCRIPT = (
    read_vendor()
    + read_static("elements.js", *TRANSCRIPT)
    + """
    const root = document.querySelector(".evalbench");
    const ask = async (message) => {
      asked.push(message);
      reader.hear(JSON.parse(await window.answer(JSON.stringify(message))));
    };
    const onAnchor = (number) => (window.anchor = number);
    const handle = { ask, onAnchor, ref: (it) => (window.reader = it) };
    const show = (props) => mount(html`<${Transcript} ...${handle} ...${props} />`, root);
    Object.assign(window, { show, asked: [], findRanges, showSigns });
    """
)
PAGE = """<!doctype html><html lang="en"><title>Session</title>
<style>body {{ margin: 0 }} {style}</style><body>
<main class="evalbench" data-theme="{theme}" style="--annotator-height: 100vh"></main>
<script type="module">{script}</script></body></html>"""


class Reader:
    """A page of transcripts; in it ``reader`` is what is shown, ``asked`` all that it asked."""

    def __init__(self, page, theme="light"):
        self.page, self.session = page, None
        style = read_static("elements.css", "transcript/transcript.css")
        page.expose_function("answer", self._answer)
        page.set_content(PAGE.format(style=style, theme=theme, script=SCRIPT))
        page.wait_for_function("!!window.show")

    def show(self, session, **properties):
        self.session = session
        self.page.evaluate(
            "properties => show(properties)", {"item": transcript(session), **properties}
        )
        self.page.wait_for_selector(".session:not([hidden])")

    def find(self, query):
        """Search by keyboard, and give what the page tells of it."""
        self.page.evaluate("reader.startSearch()")
        self.page.keyboard.type(query)
        self.page.wait_for_function("query => reader.search.query === query", arg=query)
        self.page.wait_for_function("reader.state.told !== ''")
        return self.page.evaluate("reader.state.told")

    def _answer(self, message):
        asked = json.loads(message)
        assert asked.pop("session_id") == self.session.session_id
        return json.dumps(READING[asked.pop("act")](self.session, **asked))
