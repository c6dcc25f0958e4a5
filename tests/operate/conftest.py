"""The shop as a report sees it: every reported session read, and a third of the others."""

from datetime import timedelta

import polars as pl
import pytest
from shop import START, make_sessions

from evalbench.schema import SESSION, VERDICT


@pytest.fixture
def sessions():
    return make_sessions()


@pytest.fixture
def shipped():
    at = [START + timedelta(hours=200), START - timedelta(days=30)]
    targets = pl.Series([["rude"], []], dtype=pl.List(pl.String))
    frame = pl.DataFrame({"surface": ["shop"] * 2, "release": ["10", "9"], "targets": targets})
    return frame.with_columns(shipped_at=pl.Series(at, dtype=SESSION["started_at"]))


@pytest.fixture
def modes():
    return pl.DataFrame({"surface": ["shop"], "mode": ["rude"], "name": ["Is rude"]})


@pytest.fixture
def verdicts():
    return pl.DataFrame(schema=VERDICT).with_columns(learnt=pl.lit(False))


@pytest.fixture
def frame(sessions):
    return sessions.with_columns(
        stratum=pl.when("reported").then(pl.lit("signals")).otherwise(pl.lit("no signals")),
        drawn=pl.col("reported") | (pl.int_range(pl.len()) % 3 == 0),
        split=pl.when(pl.int_range(pl.len()) % 2 == 0)
        .then(pl.lit("train"))
        .otherwise(pl.lit("test")),
    )


@pytest.fixture
def labels(frame):
    """Half of the reported sessions fail and one in fifteen of the others; 9 is worse than 10."""
    number = pl.int_range(pl.len())
    fails = pl.when("reported").then(number % 8 == 0).otherwise(number % 15 == 0)
    labelled = frame.with_columns(mode=pl.lit("rude"), fails=fails).filter("drawn")
    return labelled.select("surface", "session_id", "mode", "fails")
