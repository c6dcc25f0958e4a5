"""The browser of sessions: what they have, the list of those that were asked for, and one whole.

It shows what it is told and says what was asked. It stores nothing, and loads nothing from outside:
the page is the files in ``static``.
"""

from typing import Any

import anywidget
import traitlets

from evalbench.widgets.page import TRANSCRIPT, read_static, read_vendor


class Browser(anywidget.AnyWidget):
    """One person's screen.

    The browser sends ``{"act": ...}`` and understands ``{"tell": ...}``, as
    :class:`evalbench.label.browsing.browsing.Browsing` takes and gives them.

    Attributes
    ----------
    surfaces : list of str
        All there are.
    surface, query : str
        What is asked for at first.
    """

    _esm = read_vendor() + read_static("elements.js", *TRANSCRIPT, "browser.js")
    _css = read_static("elements.css", "transcript/transcript.css", "browser.css")

    surfaces: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    surface: Any = traitlets.Unicode().tag(sync=True)
    query: Any = traitlets.Unicode().tag(sync=True)
