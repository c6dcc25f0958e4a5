"""What a calibration of a published detector carries over to, and where it must be refused."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from evalbench.stats import alignment, corrected_rate, failure_rate

DATA = Path(__file__).parents[3] / "shared" / "data" / "judge_vs_human"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data in this checkout")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def frank():
    return pl.read_csv(DATA / "frank_detectors_vs_human.csv").with_columns(
        fails=pl.col("Factuality") < 1, verdict=pl.col("FactCC") < 0.5
    )


def calibrated(frame, rng):
    judge = alignment(frame["fails"], frame["verdict"], rng=rng)
    return judge, judge.counts._asdict()


def test_a_calibration_corrects_the_whole_test_split(frank, rng):
    valid, test = (frank.filter(pl.col("split") == split) for split in ("valid", "test"))
    judge, counts = calibrated(valid, rng)
    assert (len(valid), len(test)) == (671, 1575)
    assert (round(judge.tpr.estimate, 4), round(judge.tnr.estimate, 4)) == (0.6332, 0.8354)
    rate = corrected_rate(test["verdict"].sum(), len(test), **counts, rng=rng)
    truth = test["fails"].mean()
    assert round(test["verdict"].mean(), 4) == 0.4514
    assert (round(rate.estimate, 4), round(truth, 4)) == (0.6121, 0.6400)
    assert rate.low < truth < rate.high
    assert rate.reason == ""


@pytest.mark.parametrize(("dataset", "truth"), [("cnndm", 0.411), ("bbc", 0.926)])
def test_a_calibration_that_does_not_fit_a_segment_warns_or_refuses(frank, rng, dataset, truth):
    _, counts = calibrated(frank.filter(pl.col("split") == "valid"), rng)
    segment = frank.filter((pl.col("split") == "test") & (pl.col("dataset") == dataset))
    assert round(segment["fails"].mean(), 3) == truth
    rate = corrected_rate(segment["verdict"].sum(), len(segment), **counts, rng=rng)
    assert "calibrate by segment" in rate.reason
    if dataset == "bbc":
        assert rate.reason.startswith("refused")
        assert np.isnan([rate.estimate, rate.low, rate.high]).all()
    else:
        assert round(rate.estimate, 3) == 0.034
        assert rate.low == 0


def test_a_segment_of_its_own_calibration_holds_or_is_refused(frank, rng):
    truths, rates = {}, {}
    for dataset in ("cnndm", "bbc"):
        valid, test = (
            frank.filter((pl.col("dataset") == dataset) & (pl.col("split") == split))
            for split in ("valid", "test")
        )
        _, counts = calibrated(valid, rng)
        rates[dataset] = corrected_rate(test["verdict"].sum(), len(test), **counts, rng=rng)
        truths[dataset] = test["fails"].mean()
    assert rates["cnndm"].low < truths["cnndm"] < rates["cnndm"].high
    assert rates["bbc"].reason == "refused: the judge is not shown to beat chance"


def test_labels_of_the_same_population_need_no_stable_judge(frank, rng):
    """Two hundred labels a dataset, with the judge's verdict as a stratum, find both rates."""
    test = frank.filter(pl.col("split") == "test").rename({"dataset": "stratum"})
    drawn = test.sample(400, seed=3)
    population = test.group_by("stratum", "verdict").len("n")
    for dataset, truth in (("cnndm", 0.4114), ("bbc", 0.9257)):
        labels, counts = (t.filter(pl.col("stratum") == dataset) for t in (drawn, population))
        rate = failure_rate(labels, counts, rng=rng).rate
        assert rate.low < truth < rate.high
        assert rate.high - rate.low < 0.16
