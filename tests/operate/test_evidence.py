"""What a report rests on is worked out from pinned inputs, and what is missing is counted."""

from datetime import UTC, datetime

import polars as pl
import pytest

from evalbench.errors import EvalbenchError
from evalbench.observe.sampling.draw import stratify
from evalbench.operate.evidence import (
    limits_table,
    quarter_window,
    read_draws,
    report_frame,
    sample_table,
    sampling_frame,
)
from evalbench.operate.impact import RATES
from evalbench.schema import Design, DrawnItem, QueueDrawn
from evalbench.store.lake import Lake


def drawn(sessions, **changes):
    items = [
        DrawnItem(session_id=name, stratum="x", inclusion_probability=0.5, reason="r")
        for name in sessions
    ]
    fields = {"surface": "shop", "seed": 1, "design": Design(by=("release",)), "lake_versions": {}}
    return QueueDrawn(**{**fields, **changes}, items=items)


@pytest.mark.parametrize(
    ("quarter", "start", "end"),
    [
        ("2026Q3", datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)),
        ("2025Q4", datetime(2025, 10, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        ("all", None, None),
    ],
)
def test_a_quarter_has_a_start_and_an_end(quarter, start, end):
    assert quarter_window(quarter) == (start, end)


@pytest.mark.parametrize("quarter", ["2026Q5", "Q3", "2026-Q3", ""])
def test_what_is_no_quarter_is_refused(quarter):
    with pytest.raises(EvalbenchError, match="2026Q3"):
        quarter_window(quarter)


def test_every_session_of_a_draw_gets_its_stratum_again_at_the_pinned_version(tmp_path, sessions):
    lake = Lake(str(tmp_path))
    lake.append("session", sessions.head(300))
    pins = lake.versions()
    lake.append("session", sessions.tail(100))
    frame = sampling_frame(lake, {5: drawn(["s001"], lake_versions=pins)}, stratify)
    assert frame.height == 300
    assert frame.filter("drawn")["session_id"].to_list() == ["s001"]
    assert set(frame["stratum"]) == {
        f"draw 5: release={release} | {band}"
        for release in ("9", "10")
        for band in ("signals", "no signals")
    }


def test_two_draws_of_the_same_sessions_cross_their_strata(tmp_path, sessions):
    lake = Lake(str(tmp_path))
    lake.append("session", sessions)
    late = drawn(["s399"], start=sessions["started_at"][300], design=Design(always=("reported",)))
    frame = sampling_frame(lake, {5: drawn(["s001"]), 9: late}, stratify)
    assert frame.height == 400
    assert frame.filter("drawn")["session_id"].sort().to_list() == ["s001", "s399"]
    both = frame.filter(pl.col("stratum").str.contains("draw 9"))
    assert both.height == 100
    assert "draw 5: release=10 | signals + draw 9: always: reported" in set(both["stratum"])


def test_without_a_draw_the_frame_is_empty_but_has_its_columns(tmp_path, sessions, shipped):
    sampled = sampling_frame(Lake(str(tmp_path)), {}, stratify)
    frame = report_frame(sessions, sampled, shipped)
    assert frame["stratum"].null_count() == frame.height
    assert not frame["drawn"].any()


def test_releases_come_in_the_order_they_were_shipped(sessions, shipped):
    sampled = pl.DataFrame(schema=["surface", "session_id", "stratum"]).cast(pl.String)
    sampled = sampled.with_columns(drawn=pl.lit(True))
    frame = report_frame(sessions, sampled, shipped)
    assert frame["release"].unique(maintain_order=True).to_list() == ["9", "10"]
    unannounced = report_frame(sessions, sampled, shipped.clear())
    assert unannounced["release"].unique(maintain_order=True).to_list() == ["9", "10"]
    with pytest.raises(EvalbenchError, match="01_observe"):
        report_frame(sessions.clear(), sampled, shipped)


def test_draws_of_other_surfaces_and_times_are_left_out():
    body = drawn([], start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 4, 1, tzinfo=UTC))
    events = pl.DataFrame({"seq": [4], "body": [body.model_dump_json()]})
    assert read_draws(events) == read_draws(events, surface="shop") == {4: body}
    assert read_draws(events, surface="other") == {}
    start, end = quarter_window("2026Q2")
    assert read_draws(events, start=start, end=end) == {}
    assert read_draws(events, start=body.start, end=end) == {4: body}


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
    silent = verdicts.clear().vstack(
        pl.DataFrame(
            [{"surface": "shop", "session_id": "s000", "mode": "rude"}],
            schema=verdicts.schema,
        )
    )
    rates = pl.DataFrame(
        [{"surface": "shop", "status": "insufficient", "mode": "rude", "reason": "few"}],
        schema=RATES,
    )
    limits = limits_table(gaps, missing, silent, rates)
    counted = dict(limits.select("limit", "n").iter_rows())
    outside = labels.filter(pl.col("session_id") >= "s390").height
    assert counted == {
        "insufficient": 1,
        "in no draw": 5,
        "drawn, not labelled": 1,
        "labelled, not drawn": outside,
        "undecided": 1,
        "judge silent": 1,
        "signals": 10,
    }
    assert "thumbs" in limits.filter(limit="signals")["says"][0]
