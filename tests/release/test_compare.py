"""Candidates side by side: what was planted in three runs comes out of every part of 10."""

import candidates
import numpy as np
import polars as pl
import pytest

import evalbench as eb
from evalbench.errors import ReleaseError
from evalbench.release import compare, forecast, preference, replay, routing
from evalbench.release.runs import choose_runs
from evalbench.report import advice
from evalbench.schema import GateDecided

HOW = {"level": 0.95}


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    ws, _ = candidates.fill(tmp_path_factory.mktemp("ws"))
    return eb.snapshot(ws, surface="shop")


@pytest.fixture(scope="module")
def names(view):
    return choose_runs(view.runs, view.baselines, "shop")["run"].to_list()


@pytest.fixture(scope="module")
def outcomes(view, names):
    return compare.find_outcomes(view.judge_runs(names))


@pytest.fixture(scope="module")
def outputs(view, names):
    return view.read_outputs(names)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def make_outcomes(fails, *, mode=compare.ANY, repeat=0):
    """Make outcomes of a list of fails a run."""
    rows = [
        ("shop", run, f"c{case}", repeat, mode, bad)
        for run, own in fails.items()
        for case, bad in enumerate(own)
    ]
    return pl.DataFrame(rows, schema=compare.OUTCOMES, orient="row")


def test_the_baseline_comes_first_and_runs_are_chosen_by_name(view, names):
    assert names == ["base", "small", "large"]
    how = {"names": "base; large", "baseline": "small"}
    assert choose_runs(view.runs, view.baselines, "shop", **how)["run"].to_list() == [
        "small",
        "base",
        "large",
    ]
    with pytest.raises(ReleaseError, match=r"no run 'odd' of shop is on record \(there are base, "):
        choose_runs(view.runs, view.baselines, "shop", names="odd")
    with pytest.raises(ReleaseError, match="shop has 1 runs to compare, and it takes two"):
        choose_runs(view.runs.head(1), view.baselines, "shop")


def test_an_output_fails_by_any_verdict_and_passes_by_all(outcomes):
    said = [("rude", None), ("slow", False), ("rude", True), ("slow", None), ("", False)]
    rows = [
        {
            "surface": "shop", "run": "r", "case": case, "repeat": 0, "again": 0, "mode": mode,
            "fails": fails, "evaluator_id": f"judge of {mode}", "evaluator_version": "1",
        }
        for case, (mode, fails) in zip("aabbb", said, strict=True)
    ]  # fmt: skip
    found = compare.find_outcomes(pl.DataFrame(rows)).filter(mode=compare.ANY)
    assert found.select("case", "fails").rows() == [("a", None), ("b", True)]
    counted = outcomes.group_by("run", "mode").len()
    assert counted["len"].unique().to_list() == [candidates.CASES]
    assert counted.height == 9


def test_changes_are_read_for_all_candidates_together(outcomes, rng):
    compared = compare.compare_runs(outcomes, "base", margin=0.1, **HOW, rng=rng)
    read = {(row["run"], row["mode"]): row for row in compared.iter_rows(named=True)}
    assert read["large", "any"]["reading"] == "improvement"
    assert read["small", "any"]["reading"] == "no change shown"
    assert read["large", "any"]["level"] == pytest.approx(0.975)
    assert read["large", "rude"]["level"] == pytest.approx(0.9875)
    listed = compare.list_turned(outcomes, pl.DataFrame(schema={"case": str, "asked": str}), "base")
    for (run, mode), row in read.items():
        own = listed.filter(run=run, mode=mode)["turned"].value_counts()
        counts = dict(own.iter_rows())
        assert counts.get("newly failing", 0) == row["newly_failing"]
        assert counts.get("fixed", 0) == row["fixed"]


def test_repeats_of_a_case_are_one_case(rng):
    once = {"old": [False] * 40, "new": [True] * 12 + [False] * 28}
    parts = [make_outcomes(once, repeat=repeat) for repeat in (1, 2, 3)]
    [row] = compare.compare_runs(pl.concat(parts), "old", margin=0.1, **HOW, rng=rng).to_dicts()
    [alone] = compare.compare_runs(parts[0], "old", margin=0.1, **HOW, rng=rng).to_dicts()
    assert row["n"] == 3 * alone["n"]
    assert row["high"] - row["low"] == pytest.approx(alone["high"] - alone["low"], rel=0.15)


def test_cost_quality_and_the_advice(outcomes, outputs, rng):
    compared = compare.compare_runs(outcomes, "base", margin=0.1, **HOW, rng=rng)
    summary = compare.summarize_runs(outcomes, outputs, "base", **HOW, rng=rng)
    rows = summary.rows_by_key("run", named=True, unique=True)
    assert 2.2 < rows["large"]["cost_ratio"] < 2.8
    assert rows["small"]["cost_ratio_high"] < 0.35
    assert rows["large"]["on_front"] == rows["small"]["on_front"] == 1
    assert rows["large"]["failing_low"] < rows["large"]["seen"] < rows["large"]["failing_high"]
    advised = compare.recommend(compared, summary, margin=0.1)
    assert (advised["kind"], advised["run"]) == ("better", "large")
    said = advice.say_advice(advised, compared, summary, margin=0.1)
    assert said.startswith("**Prefer large.** Of 1,000 cases ")
    assert "choice among 3 runs paid for" in said
    small = compared.filter(run="small")
    assert compare.recommend(small, summary, margin=0.1)["kind"] == "cheaper"
    open_ = compare.recommend(small.with_columns(reading=pl.lit("insufficient")), summary, margin=0)
    assert open_["kind"] == "cannot tell"
    worse = small.with_columns(reading=pl.lit("regression"))
    assert "Every other run is shown to fail more, small the least" in advice.say_advice(
        compare.recommend(worse, summary, margin=0), worse, summary, margin=0
    )


def test_runs_without_outputs_have_no_cost(outcomes, outputs, rng):
    summary = compare.summarize_runs(outcomes, outputs.head(0), "base", **HOW, rng=rng)
    assert summary["cost"].null_count() == summary["on_front"].null_count() == 3


def test_a_judge_that_likes_the_first_place_gives_nobody_a_win(rng):
    verdicts = [
        ("shop", run, f"worse than {other}", f"c{case}", 0, 0, worse, None)
        for run, other in (("a", "b"), ("b", "a"))
        for case in range(60)
        for worse in [case < (6 if run == "a" else 30)]
    ]
    columns = ["surface", "run", "mode", "case", "repeat", "again", "fails", "score"]
    duels = preference.find_duels(
        pl.DataFrame(verdicts, columns, orient="row"), compare.OUTCOMES.to_frame()
    )
    [pair] = preference.rate_pairs(duels, **HOW, rng=rng).to_dicts()
    assert (pair["wins_first"], pair["wins_second"]) == (0.9, 0.5)
    assert pair["wins"] == pytest.approx(0.7)
    strengths = preference.rate_strengths(duels, **HOW, rng=rng)
    assert strengths["run"].to_list() == ["a", "b"]
    assert strengths["strength"][0] == pytest.approx(0.75, abs=0.02)  # logits 2.2 and 0, halved
    assert strengths["strength_low"][0] > 0.5


def test_who_passes_where_the_other_fails_wins(rng):
    duels = preference.make_duels(
        make_outcomes({"a": [False, False, True], "b": [True, False, True]})
    )
    assert duels["won"].to_list() == [1, 0.5, 0.5]
    [pair] = preference.rate_pairs(duels, **HOW, rng=rng).to_dicts()
    assert (round(pair["wins"], 3), pair["wins_first"]) == (0.667, None)


def test_intervals_hold_the_chance_of_a_run_that_nearly_always_wins(rng):
    held = np.zeros(2)
    for _ in range(60):
        won = (rng.random(30) < 0.95).astype(float)
        cases = [f"c{case}" for case in range(30)]
        about = {"surface": "shop", "run": "a", "other": "b", "case": cases, "repeat": 0}
        duels = pl.DataFrame(about | {"won": won}, schema=preference.DUELS)
        pair = preference.rate_pairs(duels, **HOW, rng=rng).row(0, named=True)
        run = preference.rate_strengths(duels, **HOW, rng=rng).filter(run="a").row(0, named=True)
        held[0] += pair["wins_low"] < 0.95 < pair["wins_high"]
        held[1] += run["strength_low"] < 0.95 < run["strength_high"]
    assert min(held) >= 54


def test_the_route_is_measured_on_cases_it_was_not_chosen_by(outcomes, outputs, rng):
    summary = compare.summarize_runs(outcomes, outputs, "base", **HOW, rng=rng)
    sides = routing.pick_sides(summary)
    assert sides == {"small": "small", "large": "large"}
    how = {**sides, "margin": 0.05, **HOW, "rng": rng}
    routes = routing.simulate_routes(outcomes, outputs, **how)
    assert routes["route"].to_list()[:2] == ["0%", "10%"]
    chosen = routes.row(-1, named=True)
    assert chosen["route"].endswith("chosen on the other half")
    assert chosen["high"] < 0.05
    assert chosen["cost_ratio_high"] < 1
    half = routes.filter(route="50%").row(0, named=True)
    assert half["failing_high"] < half["at_random"]  # the confidence is worth something
    silent = outputs.with_columns(confidence=pl.lit(None, pl.Float64))
    assert routing.simulate_routes(outcomes, silent, **how).is_empty()


def test_a_forecast_weighs_cases_by_traffic_and_is_scored(view, outcomes):
    made = view.forecast(outcomes, baseline="base", candidate="large", by="tier")
    assert made["mode"].to_list() == ["any", "rude", "slow"]
    whole, rude, _ = made.to_dicts()
    assert rude["now"] == pytest.approx(0.06 * rude["sessions_a_week"], rel=0.35)
    assert rude["low"] < rude["change"] < 0
    assert -rude["now"] < rude["change"] < -0.4 * rude["now"]
    assert whole["change"] < rude["change"]
    seq = forecast.record_forecasts(view.ws, made, gate=1, release="2")
    assert seq == 3
    told = view.ws.ledger.bodies("forecast.made")
    delta = rude["change"] / rude["sessions_a_week"]
    seen = {"surface": "shop", "release": "2", "mode": ["rude", "slow"], "delta": [delta, 0.05]}
    changes = pl.DataFrame(seen).with_columns(
        low=pl.col("delta") - 1e-3, high=pl.col("delta") + 1e-3
    )
    scored = forecast.score_forecasts(told, changes, level=0.95)
    assert scored.select("mode", "reading").rows() == [("rude", "held"), ("slow", "missed")]
    rates = forecast.score_summary(scored, level=0.95, rng=np.random.default_rng(0))
    assert rates.filter(measure="coverage")["estimate"].to_list() == [0.5]
    assert rates.filter(measure="bias")["estimate"].item() < 0


def test_cases_of_a_segment_weigh_as_it_does_in_traffic():
    fails = {"old": [True] * 20 + [False] * 60, "new": [True] * 16 + [False] * 64}
    segments = ["a"] * 16 + ["b"] * 4 + ["a", "b"] * 30  # all of b is fixed, nothing of a
    cases = pl.DataFrame({"case": [f"c{n}" for n in range(80)], "segment": segments})
    cases = cases.with_columns(picked=pl.lit("m"))
    of_other = cases.with_columns(picked=pl.Series(["m"] * 20 + ["other"] * 60))
    rates = pl.DataFrame({"mode": "m", "estimate": 0.1, "low": 0.09, "high": 0.11, "level": 0.95})

    errors = pl.DataFrame({"mode": "m", "tp": 1e4, "fn": 0.0, "fp": 0.0, "tn": 1e4})

    def ask(tagged, *sizes, errors=errors):
        rows = [(mode, *each) for mode in ("m", "any") for each in zip("ab", sizes, strict=True)]
        traffic = pl.DataFrame(rows, schema=["mode", "segment", "n"], orient="row")
        how = {"baseline": "old", "candidate": "new", "sessions_a_week": 1000}
        rng = np.random.default_rng(2)
        outcomes = make_outcomes(fails, mode="m")
        made = forecast.forecast_release(outcomes, tagged, rates, traffic, errors, **how, rng=rng)
        return made.filter(mode="m")["change"].to_list()

    [mostly_a], [mostly_b] = ask(of_other, 8, 2), ask(of_other, 2, 8)
    assert mostly_b < mostly_a - 30
    assert ask(cases, 8, 2) == []  # every case was picked for this failure: what of the rest?
    assert ask(of_other, 8, 2, errors=errors.clear()) == []  # nobody knows how verdicts err


def test_how_an_evaluator_errs_is_counted_by_what_its_sessions_stand_for():
    pairs = pl.DataFrame(
        {
            "mode": ["m"] * 6 + ["lone"],
            "evaluator_id": "e",
            "truth": [True, True, False, False, None, False, True],
            "fails": [True, False, False, True, True, None, True],
            "stands_for": [3.0, 1.0, 1.0, 1.0, 9.0, 9.0, 1.0],
        }
    )
    [row] = forecast.count_errors(pairs).rows()
    assert row == ("m", pytest.approx(1.2), pytest.approx(0.4), 1, 1)


def test_todays_gate_is_asked_of_past_releases():
    runs = pl.DataFrame(
        {
            "seq": range(1, 7),
            "surface": "shop",
            "suite": "golden",
            "suite_version": ["v1", "v1", "v1", "v2", "v2", "v1"],
            "run": ["r1", "r2", "r3", "r1 again", "r2 again", "x"],
            "release": ["1", "2", "3", "1", "2", None],
        }
    )
    pairs = replay.pair_releases(runs, ["1", "2", "3"])
    assert pairs.select("release", "candidate", "baseline").rows() == [
        ("2", "r2 again", "r1 again"),
        ("3", "r3", "r2"),
    ]
    row = {"role": "watch", "owner": "ana", "limit": 0.05, "n": 9, "unit": "change"}
    rows = [
        row | {"row": name, "reading": reading} for name, reading in (("a", "block"), ("b", "pass"))
    ]
    about = {"decision": "ship", "surface": "shop", "suite": "golden", "suite_version": "v"}
    about |= {"lake_versions": {}, "ledger_seq": 1, "false_block": 0.04}
    about |= {"false_block_low": 0.0, "false_block_high": 0.1}
    decided = [
        GateDecided(candidate=c, baseline=b, verdict=verdict, rows=rows[: 1 + at], **about)
        for at, (c, b, verdict) in enumerate(
            [("r2 again", "r1 again", "block"), ("r3", "r2", "pass")]
        )
    ]
    readings = ["confirmed regression", "no change shown", "likely regression", "likely regression"]
    changes = pl.DataFrame(
        {"surface": "shop", "release": ["2", "2", "3", "0"], "mode": "m", "reading": readings}
    ).with_columns(delta=0.1, low=0.0, high=0.2)
    replayed, caught = replay.replay(pairs, decided, changes)
    assert replayed.select("verdict", "blocking", "regressed").rows() == [
        ("block", "a", 1),
        ("pass", "a", 1),
    ]
    assert caught.select("release", "gate").rows() == [("2", "block"), ("3", "pass")]
    [rate] = replay.catch_rate(caught, **HOW, rng=np.random.default_rng(0)).to_dicts()
    assert (rate["estimate"], rate["n"]) == (0.5, 2)
    nothing = forecast.SCORED.to_frame()
    said = advice.say_record(caught, nothing, **HOW, rng=np.random.default_rng(0))
    assert said.startswith(
        "After releases that can be asked again production showed 2 regressions."
    )
    assert replay.catch_rate(caught.head(0), **HOW, rng=np.random.default_rng(0)).is_empty()
