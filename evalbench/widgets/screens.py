"""The screens of people: each shows what its traits hold, and says what was pressed.

They store nothing, and load nothing from outside: a page is the files in ``static``. The browser
sends ``{"act": ...}``, as the desk takes it, and understands its ``{"tell": ...}``.
"""

from typing import Any

import anywidget
import traitlets

from evalbench.widgets.page import TRANSCRIPT, read_static, read_vendor

ANNOTATOR = (
    *(f"annotator/{name}.js" for name in ("line", "form", "panes", "alike", "commands")),
    "annotator.js",
)


class Annotator(anywidget.AnyWidget):
    """The screen of an :class:`~evalbench.label.annotation.labelling.Annotation`.

    One act at a time is answered by a message with the same ``id``. The receipt of a label,
    ``{"tell": "saved"}``, comes before the traits that it changes, every other answer after them.
    ``touch``, ``text``, ``find`` and ``turns`` have no ``id``; the page of a server also says
    ``gone`` and ``back``. What was not answered is sent again, and is done once.

    An ``item`` of the session on the screen leaves the form as it is; ``about`` is what a draft in
    the browser is kept under; ``notice`` is what is wrong and what to do, shown until it is empty.
    """

    _esm = read_vendor() + read_static("elements.js", "keys.js", *TRANSCRIPT, *ANNOTATOR)
    _css = read_static("elements.css", "transcript/transcript.css", "annotator.css")

    item: Any = traitlets.Dict().tag(sync=True)
    upcoming: Any = traitlets.Dict().tag(sync=True)
    about: Any = traitlets.Dict().tag(sync=True)
    codebook: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    policies: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    progress: Any = traitlets.Dict().tag(sync=True)
    notice: Any = traitlets.Unicode().tag(sync=True)


class Adjudicator(anywidget.AnyWidget):
    """The screen of an :class:`~evalbench.label.agreement.cases.Adjudication`."""

    _esm = read_vendor() + read_static("elements.js", *TRANSCRIPT, "adjudicator.js")
    _css = read_static("elements.css", "transcript/transcript.css", "adjudicator.css")

    item: Any = traitlets.Dict().tag(sync=True)
    about: Any = traitlets.Dict().tag(sync=True)
    cases: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    agreement: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    codebook: Any = traitlets.List(traitlets.Dict()).tag(sync=True)


class Browser(anywidget.AnyWidget):
    """The screen of a :class:`~evalbench.label.browsing.browsing.Browsing`."""

    _esm = read_vendor() + read_static("elements.js", *TRANSCRIPT, "browser.js")
    _css = read_static("elements.css", "transcript/transcript.css", "browser.css")

    surfaces: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    surface: Any = traitlets.Unicode().tag(sync=True)
    query: Any = traitlets.Unicode().tag(sync=True)


class ClusterDesk(anywidget.AnyWidget):
    """The screen of a :class:`~evalbench.label.discovery.curation.Curation`.

    ``points`` are three float32 a note (x and y in [-1, 1], how sure its cluster is), ``homes`` an
    int16: its place in ``groups``, or -1. What was done is told once the traits hold what came of
    it.
    """

    _esm = read_vendor() + read_static(
        *("keys.js", "elements.js", "desk.js", *TRANSCRIPT, "reader.js"),
        *("notes_map.js", "sorting.js", "cluster_forms.js", "clusters.js"),
    )
    _css = read_static("elements.css", "transcript/transcript.css", "clusters.css")

    points: Any = traitlets.Bytes().tag(sync=True)
    homes: Any = traitlets.Bytes().tag(sync=True)
    groups: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    members: Any = traitlets.Dict().tag(sync=True)
    sorting: Any = traitlets.Dict().tag(sync=True)
    confirming: Any = traitlets.Dict().tag(sync=True)
    progress: Any = traitlets.Dict().tag(sync=True)
    reason: Any = traitlets.Unicode().tag(sync=True)
    weak: Any = traitlets.Bool().tag(sync=True)
