"""Annotators who follow a judge are told from those who read for themselves."""

import make
import numpy as np
import polars as pl
import pytest

from evalbench.errors import LabelError
from evalbench.label.agreement.anchoring import measure_anchoring
from evalbench.label.annotation.queue import check_suggested
from evalbench.schema import Design, QueueDrawn

DRAW = QueueDrawn(
    surface="shop", seed=3, design=Design(), lake_versions={}, items=(), suggests="judge"
)


@pytest.mark.parametrize("follows", [0.0, 0.3])
def test_what_showing_adds_to_agreement_is_within_its_interval(follows):
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(40):
        fails, own = rng.random(500) < 0.3, rng.random(500) < 0.3
        sessions = [f"s{number}" for number in range(500)]
        shown = np.array([DRAW.shows_first(name) for name in sessions])
        said = np.where(shown & (rng.random(500) < follows), fails, own)
        rows = [
            (name, "ana", "fail" if each else "pass", ["rude"] if each else [])
            for name, each in zip(sessions, said, strict=True)
        ]
        labels = make.labels(*rows, after_suggestion=pl.Series(shown), queue=7)
        frame = pl.DataFrame({"surface": "shop", "session_id": sessions, "fails": fails})
        verdicts = make.verdicts(frame, pl.col("fails"))
        row = measure_anchoring(labels, {7: DRAW, 8: DRAW}, verdicts, level=0.95).row(0, named=True)
        assert row["n_shown"] + row["n_alone"] == 500
        held += row["drawn_low"] <= follows * 0.42 <= row["drawn_high"]
    assert held >= 35


def test_only_a_judge_that_has_judged_is_suggested():
    verdicts = pl.DataFrame({"evaluator_id": ["shop/rude/judge"]})
    assert check_suggested("", verdicts) is None
    assert check_suggested("shop/rude/judge", verdicts) == "shop/rude/judge"
    with pytest.raises(LabelError, match=r"evaluators: shop/rude/judge"):
        check_suggested("shop/rude", verdicts)
    labels = make.labels(after_suggestion=False, queue=1)
    judged = pl.DataFrame({"surface": "shop", "session_id": ["s"]})
    silent = make.verdicts(judged, pl.lit(True))
    assert measure_anchoring(labels, {1: DRAW}, silent, level=0.95).is_empty()
