"""What is read, and how clusters of sessions tell where signals are raised."""

import make
import numpy as np
import polars as pl
import pytest

from evalbench.errors import ModelError
from evalbench.label.codebook.modes import Codebook, Mode
from evalbench.label.discovery.drafts import label_drafts, list_seen
from evalbench.label.discovery.texts import (
    ANY,
    discover,
    headline,
    rank_clusters,
    read_texts,
    signal_rates,
)
from evalbench.store.workspace import open_workspace

ASKED = ["Where is my parcel number {}", "Cancel the contract of customer {}"]


@pytest.fixture
def ws(tmp_path):
    """Forty sessions of two kinds; the second kind is reported, and its tool fails."""
    ws = open_workspace(tmp_path, user="ana")
    rows, calls = [], []
    for number in range(40):
        odd, name = bool(number % 2), f"s{number:02d}"
        rows.append(
            make.sessions(
                name,
                started_at=make.START,
                first_input=ASKED[odd].format(number),
                final_output="Done." if number else None,
                reported=odd if number < 30 else None,
                n_tool_errors=int(odd),
            )
        )
        tools = [
            {"kind": "tool", "tool_name": "find_order"},
            {"kind": "tool", "tool_name": "send_mail", "status": "error" if odd else "ok"},
        ]
        everywhere = {"surface": "shop", "session_id": name, "trace_id": name, "source_format": "x"}
        calls.append(make.spans(*tools, **everywhere))
    ws.lake.append("session", pl.concat(rows))
    ws.lake.append("span", pl.concat(calls))
    return ws


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_texts_of_each_sort(ws):
    assert read_texts(ws, "shop", of="inputs")["text"][1] == ASKED[1].format(1)
    assert read_texts(ws, "shop", of="outputs").height == 39  # one has none
    assert read_texts(ws, "shop", of="tools")["text"].to_list()[:2] == [
        "find_order, send_mail",
        "find_order, send_mail failed",
    ]
    assert read_texts(ws, "shop", of="notes").is_empty()
    with pytest.raises(ValueError, match="of must be notes, inputs, outputs or tools; got 'x'"):
        read_texts(ws, "shop", of="x")


def test_clusters_of_sessions_tell_where_to_read(ws, rng):
    found = discover(ws, "shop", of="inputs", seed=3)
    assert headline(found).startswith("40 inputs of shop: 2 clusters")
    placed = found.placed
    counts = found.summary.select("n", "n_sessions", "n_unsure", "stable").rows()
    assert counts == [(20, 20, 0, True)] * 2
    sessions = ws.lake.sessions(surface="shop").collect()
    rates = signal_rates(sessions, placed, level=0.95, rng=rng)
    reported = rates.filter(signal="Reported by the user").sort("rate")
    assert reported.select("n", "raised").rows() == [(15, 0), (15, 15)]  # of those recorded
    raised = rates.filter(signal=ANY).sort("rate")
    assert raised.select("n", "raised").rows() == [(20, 0), (20, 20)]
    first, second = rank_clusters(found.summary, rates).to_dicts()
    assert "Cancel" in first["examples"]
    assert (first["rate"], second["rate"]) == (1, 0)
    assert second["rate_high"] < first["rate_low"] < first["rate_high"] == 1


def test_too_few_texts_say_so(ws):
    found = discover(ws, "shop", of="tools", seed=3)
    assert found.reason.startswith("2 different tools: clusters take 10. Bring in")
    assert (found.summary.height, found.placed.height) == (0, 0)
    assert headline(found) == found.reason


def book(*, live=False):
    draft = Mode("shop", "late", "Late", notes=(1, 2))
    counts = Mode("shop", "rude", "Rude", promoted=True, **make.MODE_FIELDS)
    modes = [draft, counts] if live else [draft]
    return Codebook({(mode.surface, mode.mode): mode for mode in modes}, {})


NOTES = pl.DataFrame({"seq": [1, 2, 3], "session_id": ["a", "b", "c"], "text": ["x", "y", "z"]})
LABELS = pl.DataFrame({"surface": ["shop"] * 4, "session_id": ["a", "a", "c", "d"]})


def test_drafts_are_labelled_by_their_notes_in_what_was_read():
    labelled = label_drafts(book(live=True), NOTES, LABELS)
    assert labelled.rows() == [
        ("shop", "a", "late", True),
        ("shop", "c", "late", False),
        ("shop", "d", "late", False),
    ]


def test_kinds_are_seen_in_labels_where_modes_count_else_in_notes():
    decided = pl.DataFrame(
        {"surface": "shop", "session_id": ["a", "c"], "mode": "rude", "fails": [True, False]}
    )
    assert list_seen(book(live=True), NOTES, decided).rows() == [("shop", "a", "rude")]
    assert list_seen(book(), NOTES, decided.clear()).rows() == [
        ("shop", "a", "late"),
        ("shop", "b", "late"),
    ]


def test_the_settings_name_the_embedding_model_unless_somebody_asks_for_another(ws):
    (ws.path / "evalbench.toml").write_text('embeddings = "local/none"')
    again = open_workspace(ws.path, user="ana")
    with pytest.raises(ModelError, match="local/none"):
        discover(again, "shop", of="inputs", seed=3)
    assert discover(again, "shop", of="inputs", embeddings="offline", seed=3).clusters is not None
