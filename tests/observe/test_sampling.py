"""The draw: what it promises of any frame, and that the rate it gives is not biased."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from evalbench.observe.sampling.draw import draw, stratify
from evalbench.schema import SESSION, VERDICT, Design

DESIGN = Design(by=("release", "segments.tier"), always=("reported",))


def make_sessions(count, *, seed=0, reported=0.02):
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "surface": ["support"] * count,
            "session_id": [f"s{i:05d}" for i in range(count)],
            "release": rng.choice(["1.0", "2.0"], count),
            "segments": rng.choice(['{"tier":"free"}', '{"tier":"pro"}', "{}"], count),
            "reported": rng.random(count) < reported,
            "thumbs": [-1 if u < 0.1 else 1 if u < 0.3 else None for u in rng.random(count)],
            "n_tool_errors": rng.poisson(0.1, count),
        },
        schema_overrides={"thumbs": pl.Int64},
    ).match_to_schema(SESSION, missing_columns="insert")


def make_verdicts(rows):
    return (
        pl.DataFrame(
            rows, schema=["session_id", "evaluator_id", "fails", "judged_at"], orient="row"
        )
        .with_columns(surface=pl.lit("support"), mode=pl.lit(""))
        .match_to_schema(VERDICT, missing_columns="insert")
    )


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 300),
    n=st.integers(20, 400),
    floor=st.integers(1, 30),
    reported=st.sampled_from([0.0, 0.05, 0.6, 1.0]),
    seed=st.integers(0, 99),
)
def test_draw_keeps_its_promises(count, n, floor, reported, seed):
    sessions = make_sessions(count, seed=seed, reported=reported)
    design = DESIGN.model_copy(update={"floor": floor})
    drawn = draw(sessions, n, design=design, rng=np.random.default_rng(seed))
    chance = drawn.items["inclusion_probability"]
    assert drawn.items.height == min(n, count) == drawn.population["drawn"].sum()
    assert drawn.items.n_unique("session_id") == drawn.items.height
    assert chance.is_between(0, 1, closed="right").all()
    assert (1 / chance).sum() == pytest.approx(count)
    assert drawn.population["n"].sum() == count
    assert drawn.population["drawn"].is_between(1, drawn.population["n"]).all()
    shuffled = sessions.sample(fraction=1, shuffle=True, seed=seed + 1)
    again = draw(shuffled, n, design=design, rng=np.random.default_rng(seed))
    assert_frame_equal(again.items, drawn.items)
    assert_frame_equal(again.population, drawn.population)


def test_stratified_mean_is_unbiased():
    sessions = make_sessions(600)
    rng = np.random.default_rng(5)
    chance = pl.when(pl.col("thumbs") == -1).then(0.6).otherwise(0.03)
    truth = sessions.with_columns(fails=pl.Series(rng.random(600)) < chance)
    facts = truth.select("session_id", "fails")
    estimates = []
    for _ in range(500):
        items = draw(sessions, 150, design=DESIGN, rng=rng).items.join(facts, on="session_id")
        weighted = items["fails"].cast(pl.Float64) / items["inclusion_probability"]
        estimates.append(weighted.sum() / sessions.height)
    error = np.std(estimates) / np.sqrt(500)
    assert abs(np.mean(estimates) - facts["fails"].mean()) < 4 * error
    assert np.std(estimates) < np.sqrt(facts["fails"].mean() / 150)


def test_strata_read_as_always_then_values_then_band():
    sessions = make_sessions(2_000)
    strata = stratify(sessions, DESIGN)["stratum"]
    assert set(strata.unique()) == {
        f"{before}release={release} | segments.tier={tier}{after}"
        for release in ("1.0", "2.0")
        for tier in ("free", "pro", "unknown")
        for before, after in (
            ("always: reported | ", ""),
            ("", " | signals"),
            ("", " | no signals"),
        )
    }
    assert strata.str.starts_with("always").to_list() == sessions["reported"].to_list()


def test_latest_verdict_of_any_evaluator_divides():
    early, late = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2))
    verdicts = make_verdicts(
        [
            ("s00000", "tone", False, late), ("s00000", "tone", True, early),
            ("s00001", "tone", False, early), ("s00001", "facts", True, early),
            ("s00002", "tone", None, late), ("s00003", "other", True, late),
        ]
    )  # fmt: skip
    sessions = make_sessions(5, reported=0)
    strata = stratify(sessions, Design(evaluators=("tone", "facts")), verdicts)["stratum"]
    assert strata.str.split(" | ").list.last().to_list() == [
        "not flagged", "flagged", "not judged", "not judged", "not judged",
    ]  # fmt: skip


def test_flagged_and_guessed_strata_get_more():
    sessions = make_sessions(4_000, reported=0).with_columns(thumbs=None, n_tool_errors=0)
    when = datetime(2026, 1, 1, tzinfo=UTC)
    flags = np.random.default_rng(1).random(4_000) < 0.1
    verdicts = make_verdicts(
        [(s, "tone", bool(f), when) for s, f in zip(sessions["session_id"], flags, strict=True)]
    )
    design = Design(evaluators=("tone",))
    rng = np.random.default_rng(2)
    population = draw(sessions, 200, design=design, verdicts=verdicts, rng=rng).population
    rate = dict(population.select("stratum", pl.col("drawn") / pl.col("n")).iter_rows())
    assert rate["no signals | flagged"] == pytest.approx(
        rate["no signals | not flagged"] * np.sqrt(0.2 * 0.8 / (0.01 * 0.99)), rel=0.05
    )
    guess = {"no signals | flagged": 0.0, "no signals | not flagged": 0.5}
    population = draw(
        sessions, 200, design=design, verdicts=verdicts, guess=guess, rng=rng
    ).population
    rate = dict(population.select("stratum", pl.col("drawn") / pl.col("n")).iter_rows())
    assert rate["no signals | flagged"] < rate["no signals | not flagged"]


def test_always_strata_are_whole_until_they_exceed_n():
    sessions = make_sessions(1_000, reported=0.1)
    design = Design(always=("reported",))
    reported = sessions["reported"].sum()
    items = draw(sessions, reported + 40, design=design, rng=np.random.default_rng(0)).items
    always = items.filter(pl.col("stratum") == "always: reported")
    assert always["inclusion_probability"].to_list() == [1.0] * reported
    assert always["reason"][0].endswith(
        f"; all {reported} sessions like it are read (always: reported)"
    )
    fewer = draw(sessions, 50, design=design, rng=np.random.default_rng(0))
    assert fewer.items.height == 50
    assert fewer.population["drawn"].min() >= design.floor
    sampled = fewer.items.filter(pl.col("stratum") == "always: reported")
    assert sampled["inclusion_probability"][0] == sampled.height / reported
    assert f"one of {sampled.height} drawn at random from {reported}" in sampled["reason"][0]


def test_items_say_why_they_are_in_by_the_words_of_their_signals():
    items = draw(make_sessions(500), 80, design=DESIGN, rng=np.random.default_rng(3)).items
    assert items["reason"][0].startswith("reported by the user")
    said = items.filter(pl.col("stratum").str.ends_with("no signals"))["reason"]
    assert said.str.starts_with("no signal; one of ").all()


def test_a_queue_read_in_part_is_a_sample():
    """Neither signals nor identifiers decide what is read before people stop."""
    sessions = make_sessions(4_000)
    chance = pl.when(pl.col("thumbs") == -1).then(0.5).when("reported").then(0.8).otherwise(0.02)
    rng = np.random.default_rng(5)
    facts = sessions.select("session_id", fails=pl.Series(rng.random(4_000)) < chance)
    design = Design(always=("reported",))
    rates = []
    for _ in range(120):
        drawn = draw(sessions, 400, design=design, rng=rng)
        always = drawn.items["stratum"].str.starts_with("always: ")
        assert always.is_sorted(descending=True)
        read = drawn.items.head(100).join(facts, on="session_id").group_by("stratum")
        by_stratum = read.agg(pl.col("fails").mean()).join(drawn.population, on="stratum")
        rates.append((by_stratum["fails"] * by_stratum["n"]).sum() / 4_000)
    error = np.std(rates) / np.sqrt(120)
    assert abs(np.mean(rates) - facts["fails"].mean()) < 4 * error


def test_inputs_are_not_changed():
    sessions, verdicts = make_sessions(100), make_verdicts([])
    before = sessions.clone(), verdicts.clone()
    design = DESIGN.model_copy(update={"evaluators": ("tone",)})
    draw(sessions, 50, design=design, verdicts=verdicts, rng=np.random.default_rng(0))
    assert_frame_equal(sessions, before[0])
    assert_frame_equal(verdicts, before[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"by": ("plan",)}, "design.by must name session columns.*'plan'"),
        ({"always": ("shouted",)}, "must be one of reported, .*'shouted'"),
        ({"weights": {"shouted": 1.0}}, "must be one of reported, .*'shouted'"),
        ({"evaluators": ("tone",)}, "verdicts must be given"),
        ({"by": ("session_id",)}, "n must be at least the number of strata, 100; got 50"),
    ],
)
def test_errors_name_the_argument(change, message):
    design = DESIGN.model_copy(update=change)
    with pytest.raises(ValueError, match=message):
        draw(make_sessions(100), 50, design=design, rng=np.random.default_rng(0))


def test_empty_frame_is_refused():
    with pytest.raises(ValueError, match="sessions must hold at least one"):
        draw(make_sessions(0), 50, design=DESIGN, rng=np.random.default_rng(0))
