"""The annotator: a session on the left, the form that judges it on the right.

It shows what its traits hold and says what was pressed. It stores nothing, and loads nothing from
outside: the page is the files in ``static``.
"""

from typing import Any

import anywidget
import traitlets

from evalbench.widgets.page import TRANSCRIPT, read_static, read_vendor

ANNOTATOR = (
    *(f"annotator/{name}.js" for name in ("line", "form", "panes", "commands")),
    "annotator.js",
)


class Annotator(anywidget.AnyWidget):
    """One annotator's screen.

    The browser sends ``{"act": ...}``: ``submit`` (``session_id``, ``verdict``, ``modes``,
    ``severity``, ``note``, ``anchors``, ``seconds``, ``after_suggestion``), ``skip``
    (``session_id``, ``reason``), ``previous``, ``next``, ``undo``, ``text`` (``span_id``,
    ``field``, ``start``), ``touch`` (about once a minute while somebody works) and ``suggestion``.
    It understands ``{"tell": ...}``: ``saved`` (``session_id``, ``seq``), whereupon it shows
    ``upcoming`` at once, ``refused`` (``why``), ``text`` (``span_id``, ``field``, ``text``,
    ``next``, ``total``) and ``suggestion`` (``verdicts``).

    Attributes
    ----------
    item, upcoming : dict
        What ``transcript`` made of a session, with its ``label``
        where it has one already; empty where there is none. An ``item`` of the session on the
        screen leaves the form as it is.
    codebook : list of dict
        Failure modes: ``mode``, ``name``, ``definition``, ``example``, ``severity`` and
        ``failure_class``. The keys 1 to 9 and then letters follow this order.
    policies : list of str
        Rules of the surface, HTML from :func:`evalbench.label.annotation.markdown.render_markdown`.
    progress : dict
        What ``measure_progress`` gives; empty while nothing was read.
    notice : str
        What is wrong and what to do next, shown until it is empty again.
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
