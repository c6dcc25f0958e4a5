"""What moved: the judge on the same bytes, the product on fixed cases, or the traffic."""

from datetime import timedelta

import make
import numpy as np
import polars as pl
import pytest
from shop import START

from evalbench.operate import canaries
from evalbench.operate.alerts import choose_judges
from evalbench.schema import columns

N = 1_500
RUNS = columns((pl.Int64, "seq"), (pl.String, "surface run suite release"))
MODES = pl.DataFrame({"surface": ["shop"], "mode": ["rude"], "name": ["Is rude"]})
JUDGES = choose_judges(
    pl.DataFrame(
        {"surface": "shop", "mode": "rude", "evaluator_id": "judge", "evaluator_version": "1"}
        | {"tpr": 0.9, "tpr_high": 1.0, "tnr": 1.0, "tnr_low": 0.9, "mcc": 0.9}
    )
)


def every(nth):
    return pl.int_range(pl.len()) % nth == 0


def judged(names, fails):
    return make.verdicts(make.sessions(*names), fails).with_columns(
        segment=pl.lit("a"), user="session_id"
    )


def replay(rates, releases, again=1):
    """Run 400 cases once a rate: every so-many-th fails."""
    rows = [(at, "shop", f"r{at}", "canary", release) for at, release in enumerate(releases)]
    cases = [
        judged([f"c{n}" for n in range(400)], every(nth)).select(
            "surface", "mode", "fails", "judged_at", run=pl.lit(f"r{at}"), case="session_id",
            repeat=pl.lit(0), again=pl.lit(again),
        )
        for at, nth in enumerate(rates)
    ]  # fmt: skip
    return canaries.pair_replays(pl.DataFrame(rows, RUNS, orient="row"), pl.concat(cases))


STILL = replay([20, 20], ["1", "1"])


def find(nth, again, replays, steady=()):
    old, new = (
        judged([f"{side}{n}" for n in range(N)], every(k)) for side, k in (("o", 20), ("n", nth))
    )
    about = {"steady": steady, "level": 0.95, "rng": np.random.default_rng(1)}
    [row] = canaries.find_causes(old, new, again, replays, MODES, **about).to_dicts()
    return row


def judge_again(nth):
    first = judged([f"o{n}" for n in range(N)], every(20))
    later = judged([f"o{n}" for n in range(N)], every(nth))
    late = pl.col("judged_at") + timedelta(days=30)
    both = pl.concat([first, later.with_columns(late, repeat=pl.lit(1))])
    return canaries.judged_again(both, JUDGES)


@pytest.mark.parametrize(
    ("again", "replays", "cause"),
    [
        (judge_again(8), STILL, "judge"),
        (judge_again(20), replay([20, 8], ["1", "1"]), "provider"),
        (judge_again(20), replay([20, 20, 8, 8], ["1", "1", "1", "2"]), "release"),
        (judge_again(20), STILL, "traffic"),
        (judge_again(20).clear(), STILL, "cannot tell"),
        (judge_again(20), replay([20], ["1"]), "cannot tell"),
        (judge_again(8), replay([20, 8], ["1", "1"]), "several"),
    ],
)
def test_what_moves_alone_is_the_cause(again, replays, cause):
    row = find(8, again, replays)
    assert row["cause"] == cause
    assert row["whole_low"] < row["whole"] < row["whole_high"]
    assert (row["n_before"], row["n_after"]) == (N, N)


def test_cases_that_only_the_old_judge_saw_are_less_what_the_judge_moved():
    row = find(8, judge_again(8), replay([20] * 7 + [8] * 7, ["1"] * 14, again=0))
    assert row["cause"] == "cannot tell"  # less sure, and not wrong
    assert row["canary"] == pytest.approx(0, abs=0.01)


def test_a_check_is_steady_and_what_did_not_move_is_no_cause():
    none = judge_again(20).clear()
    assert find(8, none, STILL, steady=["judge"])["cause"] == "traffic"
    assert find(20, none, STILL)["cause"] == "no move shown"
    few = find(8, judge_again(8).head(20), STILL)
    assert (few["cause"], few["judge"], few["n_again"]) == ("cannot tell", None, 20)


def test_the_last_runs_are_paired_with_those_before():
    pairs, one_release = replay([20, 10, 5], ["1", "1", "1"])
    assert (pairs.height, one_release) == (400, True)  # of three runs the last two
    assert (pairs["before"].sum(), pairs["after"].sum()) == (40, 80)


def test_segments_are_read_from_the_session():
    sessions = make.sessions("a", "b", segments='{"intent":"refund"}', started_at=START)
    verdicts = judged(["a", "b"], every(1)).drop("segment", "user")
    found = canaries.with_segment(verdicts, sessions, "intent")
    assert found.select("segment", "user").rows() == [("refund", "a"), ("refund", "b")]
    assert canaries.with_segment(verdicts, sessions, "tier")["segment"].to_list() == ["", ""]
