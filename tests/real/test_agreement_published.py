"""Agreement figures that the data's authors published, from their own labels."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from evalbench.stats import agreement

DATA = Path(__file__).parents[3] / "shared" / "data" / "multi_annotator"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"no public data at {DATA}")


@pytest.fixture(scope="module")
def pandalm():
    return pl.read_csv(DATA / "pandalm_long.csv")


def agree(frame, annotator, value, **options):
    columns = (frame["item_id"], frame[annotator], frame[value])
    return agreement(*columns, rng=np.random.default_rng(0), **options)


@pytest.mark.parametrize(("pair", "kappa"), [((1, 2), 0.8520), ((1, 3), 0.8789), ((2, 3), 0.8617)])
def test_cohens_kappa_of_each_pair(pandalm, pair, kappa):
    names = [f"annotator{i}" for i in pair]
    answer = agree(pandalm.filter(pl.col("annotator").is_in(names)), "annotator", "label")
    assert round(answer.kappa.estimate, 4) == kappa


def test_three_annotators(pandalm):
    answer = agree(pandalm, "annotator", "label")
    assert round(answer.kappa.estimate, 4) == 0.8642
    assert round(answer.alpha.estimate, 4) == 0.8642
    assert answer.alpha.n == 999
    # irrCAC 0.4.4: CAC(frame, digits=12).gwet() and its interval from the delta method
    assert answer.ac1.estimate == pytest.approx(0.886444708023, abs=1e-9)
    assert (answer.ac1.low, answer.ac1.high) == pytest.approx((0.8672, 0.9057), abs=0.004)


@pytest.mark.parametrize(
    ("metric", "ordinal"),
    [
        ("grammar", 0.41513),
        ("fluency", 0.43240),
        ("verbosity", 0.39914),
        ("structure", 0.39856),
        ("success", 0.36272),
        ("overall", 0.43510),
    ],
)
def test_ordinal_alpha_of_sparse_raters(metric, ordinal):
    frame = pl.read_csv(DATA / "recipe_crowd_ordinal_long.csv").filter(metric=metric)
    answer = agree(frame, "rater_slot", "score", measure="ordinal")
    assert round(answer.alpha.estimate, 5) == ordinal
    assert answer.alpha.n == 52
    assert 0.08 < agree(frame, "rater_slot", "score").alpha.estimate < 0.14
