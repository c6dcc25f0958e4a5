"""What notes come to: clusters, the signals raised in them, and drafts of failure modes."""

import make
import numpy as np
import polars as pl
import pytest

from evalbench.errors import ModelError
from evalbench.label.codebook.modes import Codebook, Mode
from evalbench.label.discovery.drafts import label_drafts, list_seen
from evalbench.label.discovery.texts import ANY, discover, headline, rank_clusters, signal_rates
from evalbench.store.workspace import open_workspace

WROTE = ["Loses the parcel with number {}", "Cancels the contract of customer {}"]


@pytest.fixture
def ws(tmp_path):
    """Forty notes of two kinds; the sessions of the second kind are reported."""
    ws = open_workspace(tmp_path, user="ana")
    texts = [WROTE[number % 2].format(number) for number in range(40)]
    make.notes(ws.ledger, *texts)
    make.notes(ws.ledger, " ")
    make.notes(ws.ledger, "Of another product.", surface="bank")
    return ws


def find(ws, **asked):
    return discover(ws, "shop", seed=3, **{"ledger_seq": ws.ledger.head(), **asked})


def test_clusters_of_notes_tell_where_signals_are_raised(ws):
    found = find(ws)
    assert headline(found).startswith("40 notes of shop: 2 groups")
    counts = found.summary.select("n", "n_sessions", "n_unsure", "stable").rows()
    assert counts == [(20, 20, 0, True)] * 2
    sessions = pl.concat(
        make.sessions(f"s{n}", reported=n % 2 == 0 if n <= 30 else None, n_tool_errors=(n + 1) % 2)
        for n in range(1, 41)
    )
    measured = {"level": 0.95, "rng": np.random.default_rng(1)}
    rates = signal_rates(sessions, found.placed, **measured)
    reported = rates.filter(signal="Reported by the user").sort("rate")
    assert reported.select("n", "raised").rows() == [(15, 0), (15, 15)]  # of those recorded
    raised = rates.filter(signal=ANY).sort("rate")
    assert raised.select("n", "raised").rows() == [(20, 0), (20, 20)]
    first, second = rank_clusters(found.summary, rates).to_dicts()
    assert "Cancel" in first["examples"]
    assert (first["rate"], second["rate"]) == (1, 0)
    assert second["rate_high"] < first["rate_low"] < first["rate_high"] == 1


def test_too_few_notes_say_so(ws):
    found = find(ws, ledger_seq=9)
    assert headline(found).startswith("9 different notes: clusters take 10. Read more")
    assert (found.summary.height, found.placed.height, found.clusters.weak) == (0, 0, False)


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
        find(again)
    assert len(find(again, embeddings="offline").proposals) == 2
