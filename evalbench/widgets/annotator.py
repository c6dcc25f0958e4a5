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

    The browser sends ``{"act": ..., "id": ...}``, as
    :class:`evalbench.label.annotation.labelling.Annotation` takes it: one act at a time, which is
    answered by a message with the same ``id``. The receipt of a label, ``{"tell": "saved"}``, comes
    before the traits that it changes, every other answer after them. ``touch``, ``text``, ``find``
    and ``turns`` have no ``id``; the page of a server also says ``gone`` and ``back``. What was
    not answered is sent again, and is done once.

    Attributes
    ----------
    item, upcoming : dict
        What ``transcript`` made of a session, with its ``note`` and, where it has one already, its
        ``label``; empty where there is none. An ``item`` of the session on the screen leaves the
        form as it is.
    about : dict
        ``queue``, ``surface`` and ``annotator``: what a draft in the browser is kept under.
    codebook : list of dict
        Failure modes, as ``list_modes`` gives them, in the order of their keys.
    policies : list of dict
        Rules of the surface: ``text`` and ``layout``.
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
