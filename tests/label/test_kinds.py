"""Sessions that nobody has noted anything about fall into kinds, and the least read come first."""

import make
import polars as pl
import pytest

import evalbench as eb
from evalbench.errors import EvalbenchError
from evalbench.label.discovery.kinds import queue_unread

ASKED = {
    "refund": "Please refund my broken kettle, order",
    "password": "Password forgotten: cannot log into account",
    "delivery": "When does the parcel arrive? Street",
}
LABEL = {"surface": "shop", "annotator": "ana", "verdict": "pass"}


@pytest.fixture
def workspace(tmp_path):
    ws = eb.open(tmp_path / "ws", user="ana")
    for kind, text in ASKED.items():
        names = [f"{kind}-{n}" for n in range(20)]
        asked = pl.Series([f"{text} {n}" for n in range(20)])
        ws.lake.append("session", make.sessions(*names).with_columns(first_input=asked))
    for n in range(3):
        ws.ledger.append("label.set", f"refund-{n}", {**LABEL, "session_id": f"refund-{n}"})
    return ws


def test_the_kind_that_is_read_least_comes_first_with_a_session_nobody_read(workspace):
    view = eb.snapshot(workspace, surface="shop")
    ranked = view.list_kinds("requests")
    assert ranked["n_sessions"].to_list() == [20, 20, 20]
    assert ranked["n_read"].to_list() == [0, 0, 3]
    kinds = ranked["session_id"].str.split("-").list.first()
    assert kinds[2] == "refund"
    assert set(kinds) == set(ASKED)
    assert ranked["session_id"][2] not in {"refund-0", "refund-1", "refund-2"}
    with pytest.raises(EvalbenchError, match="requests, answers, tools; got 'colour'"):
        view.list_kinds("colour")
    assert view.list_kinds("answers").is_empty()
    assert view.list_kinds("tools").is_empty()


def test_a_queue_of_kinds_is_of_no_rate(workspace):
    view = eb.snapshot(workspace, surface="shop")
    told = queue_unread(workspace, "shop", view.list_kinds("requests"))
    assert told.startswith("3 sessions are in queue 4")
    assert eb.snapshot(workspace, surface="shop").frame["inclusion_probability"].null_count() == 60
    assert queue_unread(workspace, "shop", view.list_kinds("answers")).startswith("No queue made")
