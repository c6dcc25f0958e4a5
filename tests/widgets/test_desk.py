"""The desk carries messages: what the browser says in, receipts and traits out."""

import numpy as np
import pytest

from evalbench.errors import LabelError
from evalbench.label.annotation.labelling import Annotation
from evalbench.widgets.desk import annotate, curate, is_attended


class Known(Annotation):
    """An annotation at a queue of ``items``, without a workspace."""

    def __init__(self, *items):
        self.about = {"queue": 1}
        self.codebook, self.policies = [{"mode": "rude"}], [{"text": "Be kind.", "layout": None}]
        self.left, self.progress, self.broken = list(items), {"done": 0}, False

    @property
    def item(self):
        return {"session_id": self.left[0]} if self.left else {}

    @property
    def upcoming(self):
        return {"session_id": self.left[1]} if self.left[1:] else {}

    def submit(self, *, session_id):
        if session_id != self.item["session_id"]:
            raise LabelError("not before you")
        self.left.pop(0)
        return {"tell": "saved", "session_id": session_id, "seq": 7}

    def touch(self):
        if self.broken:
            raise OSError("disk is full")
        self.progress = {"done": self.progress["done"] + 1}


@pytest.fixture
def desk():
    """The widget of an annotation, and what left it, in order."""
    annotation, left = Known("a", "b", "c"), []
    widget = annotate(annotation)
    widget.send = left.append
    widget.observe(lambda change: left.append((change["name"], change["new"])))
    return annotation, left, lambda message: widget._handle_custom_msg(message, []), widget


def test_a_desk_shows_its_annotation_and_the_receipt_leaves_before_the_next_item(desk):
    _, left, say, widget = desk
    assert (widget.item, widget.upcoming) == ({"session_id": "a"}, {"session_id": "b"})
    assert (widget.codebook, widget.policies) == (
        [{"mode": "rude"}],
        [{"text": "Be kind.", "layout": None}],
    )
    say({"act": "submit", "session_id": "a"})
    receipt, *traits = left
    assert receipt == {"tell": "saved", "session_id": "a", "seq": 7}
    assert dict(traits) == {
        "item": {"session_id": "b"},
        "upcoming": {"session_id": "c"},
        "progress": {"done": 1},
    }


def test_a_refusal_moves_nothing(desk):
    _, left, say, _ = desk
    say({"act": "submit", "session_id": "b"})
    say("nonsense")
    assert [told["tell"] for told in left] == ["refused", "refused"]


def test_a_label_that_is_saved_stays_saved_where_the_next_cannot_be_read(desk):
    annotation, left, say, widget = desk
    annotation.broken = True
    say({"act": "submit", "session_id": "a"})
    assert left[0]["tell"] == "saved"
    assert "disk is full" in widget.notice
    annotation.broken = False
    say({"act": "submit", "session_id": "b"})
    assert widget.notice == ""


def test_nobody_sits_before_a_script():
    assert not is_attended()


class Curated:
    """The curation of one cluster, without a workspace."""

    points, reason, weak = b"\0" * 12, "as was asked for", True
    homes = np.zeros(1, dtype=np.int16)
    groups, members = ({"mode": "late"},), {"mode": "late"}
    sorting, confirming, progress = {}, {}, {}

    def answer(self, message):
        if message["act"] == "choose":
            return None
        self.groups = ({"mode": "late", "name": message["name"]},)
        return {"tell": "done", "seq": 7, "said": "Renamed"}


def test_what_came_of_an_act_on_clusters_is_shown_before_it_is_told():
    widget, left = curate(Curated()), []
    assert (widget.points, widget.homes, widget.weak) == (b"\0" * 12, b"\0\0", True)
    widget.send = left.append
    widget.observe(lambda change: left.append((change["name"], change["new"])))
    widget._handle_custom_msg({"act": "rename", "name": "Late"}, [])
    assert left == [
        ("groups", [{"mode": "late", "name": "Late"}]),
        {"tell": "done", "seq": 7, "said": "Renamed"},
    ]
    widget._handle_custom_msg({"act": "choose"}, [])
    assert len(left) == 2
