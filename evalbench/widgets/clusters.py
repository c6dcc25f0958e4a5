"""The clusters of notes: a map of them, their list, and the members of one.

It shows what its traits hold and says what was done. It stores nothing, and loads nothing from
outside: the page is the files in ``static``.
"""

from typing import Any

import anywidget
import traitlets

from evalbench.widgets.page import TRANSCRIPT, read_static, read_vendor


class ClusterDesk(anywidget.AnyWidget):
    """One analyst's screen.

    The browser sends ``{"act": ...}``, as ``answer`` takes it.
    It understands ``{"tell": "done", "seq": ..., "said": ...}``, once the traits hold what came of
    it, and ``{"tell": "refused", "why": ...}``.

    Attributes
    ----------
    points : bytes
        Of each note three float32: x and y in [-1, 1], and how sure its cluster is.
    homes : bytes
        Of each note an int16: its place in ``groups``, or -1.
    groups : list of dict
    members, sorting, confirming, progress : dict
        As :class:`evalbench.label.discovery.curation.Curation` has them.
    reason : str
        Why there are as many clusters as there are, or none.
    weak : bool
        Whether the clusters are no pattern of the notes; a banner says so.
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
