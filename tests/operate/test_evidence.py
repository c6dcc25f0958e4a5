"""What a report rests on is worked out from pinned inputs, and what is missing is counted."""

from datetime import UTC, datetime

import polars as pl
import pytest

from evalbench.errors import EvalbenchError
from evalbench.observe.sampling.draw import stratify
from evalbench.operate.evidence import (
    PLACED,
    combine_draws,
    limits_table,
    place_draw,
    quarter_window,
    read_draws,
    report_frame,
    sample_table,
)
from evalbench.operate.impact import RATES
from evalbench.schema import Design, DrawnItem, QueueDrawn


def drawn(sessions, **changes):
    items = [
        DrawnItem(session_id=name, stratum="x", inclusion_probability=0.5, reason="r")
        for name in sessions
    ]
    fields = {"surface": "shop", "seed": 1, "design": Design(by=("release",)), "lake_versions": {}}
    return QueueDrawn(**{**fields, **changes}, items=items)


def place(seq, draw, sessions):
    return place_draw(seq, draw, stratify(sessions, draw.design))


def test_a_quarter_has_a_start_and_an_end_and_nothing_else_is_one():
    july, october, next_year = (
        datetime(year, month, 1, tzinfo=UTC) for year, month in ((2026, 7), (2026, 10), (2027, 1))
    )
    assert quarter_window("2026Q3") == (july, october)
    assert quarter_window("2026Q4") == (october, next_year)
    assert quarter_window("all") == (None, None)
    for quarter in ("2026Q5", "Q3", "2026-Q3", ""):
        with pytest.raises(EvalbenchError, match="2026Q3"):
            quarter_window(quarter)


def test_every_session_of_a_draw_gets_its_stratum_and_its_chance(sessions):
    frame = combine_draws([place(5, drawn(["s001", "s002", "s399"]), sessions)])
    assert frame.height == 400
    assert frame.filter("drawn")["session_id"].to_list() == ["s001", "s002", "s399"]
    chances = frame.group_by("stratum").agg(pl.col("inclusion_probability").unique())
    expected = {
        "draw 5: release=9 | signals": 0,
        "draw 5: release=9 | no signals": 2 / 150,
        "draw 5: release=10 | signals": 0,
        "draw 5: release=10 | no signals": 1 / 150,
    }
    assert dict(chances.explode("inclusion_probability").iter_rows()) == pytest.approx(expected)


def test_two_draws_of_the_same_sessions_cross_their_strata(sessions):
    late = drawn(["s396"], design=Design(always=("reported",)))
    draws = place(5, drawn(["s001", "s396"]), sessions), place(9, late, sessions.tail(100))
    frame = combine_draws(draws)
    assert frame.height == 400
    assert frame.filter("drawn")["session_id"].sort().to_list() == ["s001", "s396"]
    both = frame.filter(pl.col("stratum").str.contains("draw 9"))
    assert both.height == 100
    [row] = both.filter(session_id="s396").to_dicts()
    assert row["stratum"] == "draw 5: release=10 | signals + draw 9: always: reported"
    assert row["inclusion_probability"] == pytest.approx(1 - (1 - 1 / 50) * (1 - 1 / 25))


def test_without_a_draw_the_frame_is_empty_but_has_its_columns(sessions, shipped):
    frame = report_frame(sessions, combine_draws([]), shipped)
    assert frame["stratum"].null_count() == frame.height
    assert not frame["drawn"].any()


def test_releases_come_in_the_order_they_were_shipped(sessions, shipped):
    placed = pl.DataFrame(schema=PLACED)
    for announced in (shipped, shipped.clear()):
        frame = report_frame(sessions, placed, announced)
        assert frame["release"].unique(maintain_order=True).to_list() == ["9", "10"]
    assert report_frame(sessions.clear(), placed, shipped).is_empty()


def test_draws_of_other_surfaces_and_times_are_left_out():
    body = drawn([], start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 4, 1, tzinfo=UTC))
    events = pl.DataFrame({"seq": [4], "body": [body.model_dump_json()]})

    def read(surface=None, start=None, end=None):
        return read_draws(events, surface=surface, start=start, end=end)

    assert read() == read("shop") == {4: body}
    assert read("other") == {}
    start, end = quarter_window("2026Q2")
    assert read(start=start, end=end) == {}
    assert read(start=body.start, end=end) == {4: body}


def test_the_sample_table_counts_what_was_drawn_and_labelled(frame, labels):
    numbered = frame.with_columns(stratum=pl.lit("draw 5: ") + pl.col("stratum"))
    names = frame.filter("drawn")["session_id"]
    [row] = sample_table(numbered, labels.head(40), {5: drawn(names), 6: drawn([])}).to_dicts()
    assert (row["draw"], row["strata"], row["n_sessions"]) == (5, 2, 400)
    assert (row["n_drawn"], row["n_labelled"]) == (names.len(), 40)


def test_limits_name_what_is_missing_and_how_much(frame, labels, verdicts):
    gaps = frame.with_columns(
        drawn=pl.col("drawn") & (pl.int_range(pl.len()) < 390),
        stratum=pl.when(pl.int_range(pl.len()) < 395).then("stratum"),
    )
    missing = labels.with_columns(fails=pl.when(pl.int_range(pl.len()) > 0).then(pl.col("fails")))
    about = {"surface": "shop", "mode": "rude"}
    silent = pl.DataFrame([about | {"session_id": "s000"}], schema=verdicts.schema)
    rates = pl.DataFrame([about | {"status": "insufficient", "reason": "few"}], schema=RATES)
    limits = limits_table(gaps, missing, silent, rates)
    assert dict(limits.select("limit", "n").iter_rows()) == {
        "insufficient": 1,
        "in no draw": 5,
        "drawn, not labelled": 1,
        "labelled, not drawn": labels.filter(pl.col("session_id") >= "s390").height,
        "undecided": 1,
        "judge silent": 1,
        "signals": 10,
    }
    assert "thumbs" in limits.filter(limit="signals")["names"][0]
