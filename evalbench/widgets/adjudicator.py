"""The adjudicator: a session whose annotators disagree, their labels, and what is decided.

It shows what its traits hold and says what was pressed. It stores nothing, and loads nothing from
outside: the page is the files in ``static``.
"""

from typing import Any

import anywidget
import traitlets

from evalbench.widgets.page import TRANSCRIPT, read_static, read_vendor


class Adjudicator(anywidget.AnyWidget):
    """One adjudicator's screen.

    The browser sends ``{"act": ...}`` and understands ``{"tell": ...}``, as
    :class:`evalbench.label.agreement.cases.Adjudication` takes and gives them.

    Attributes
    ----------
    item : dict
        The open session with its ``case``; empty where none waits.
    cases, agreement, codebook : list of dict
        As ``Adjudication`` has them.
    """

    _esm = read_vendor() + read_static("elements.js", *TRANSCRIPT, "adjudicator.js")
    _css = read_static("elements.css", "transcript/transcript.css", "adjudicator.css")

    item: Any = traitlets.Dict().tag(sync=True)
    cases: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    agreement: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    codebook: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
