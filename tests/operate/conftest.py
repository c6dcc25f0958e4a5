"""A small surface: 400 sessions over two releases, a quarter of them reported by the user."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from evalbench.schema import SESSION, VERDICT

N = 400
START = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture
def sessions():
    rows = [
        {
            "surface": "shop",
            "session_id": f"s{i:03d}",
            "release": "9" if i < N // 2 else "10",
            "started_at": START + timedelta(hours=i),
            "reported": i % 4 == 0,
        }
        for i in range(N)
    ]
    return pl.DataFrame(rows, schema=SESSION)


@pytest.fixture
def shipped():
    return pl.DataFrame(
        {
            "surface": ["shop", "shop"],
            "release": ["10", "9"],
            "shipped_at": [START + timedelta(hours=N // 2), START - timedelta(days=30)],
            "targets": [["rude"], []],
        }
    ).cast({"shipped_at": SESSION["started_at"], "targets": pl.List(pl.String)})


@pytest.fixture
def modes():
    return pl.DataFrame({"surface": ["shop"], "mode": ["rude"], "name": ["Is rude"]})


@pytest.fixture
def verdicts():
    return pl.DataFrame(schema=VERDICT)


@pytest.fixture
def frame(sessions):
    """As a report sees them: every reported session read, and a third of the others."""
    return sessions.with_columns(
        stratum=pl.when("reported").then(pl.lit("signals")).otherwise(pl.lit("no signals")),
        drawn=pl.col("reported") | (pl.int_range(N) % 3 == 0),
    )


@pytest.fixture
def labels(frame):
    """Half of the reported sessions fail and one in fifteen of the others; 9 is worse than 10."""
    number = pl.int_range(pl.len())
    bad = pl.when("reported").then(number % 8 == 0).otherwise(number % 15 == 0)
    return (
        frame.select("surface", "session_id", mode=pl.lit("rude"), fails=bad, drawn="drawn")
        .filter("drawn")
        .drop("drawn")
    )
