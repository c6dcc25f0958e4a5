"""The demo's last table: what was planted beside what was estimated without knowing it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from evalbench.demo.company import quarter_bounds
from evalbench.demo.simulate import Simulated

KEY = ("surface", "release", "mode")


def write_truth(simulated: list[Simulated], folder: Path) -> None:
    """Write what was planted apart from the workspace's stores: sessions and rates."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["surface", "session_id", "user", "release", "started_at", "modes"]
    pl.concat(each.sessions.select(columns) for each in simulated).write_parquet(
        folder / "sessions.parquet"
    )
    pl.DataFrame(
        [
            (each.surface.surface, release.release, mode.mode, rate)
            for each in simulated
            for release, rates in zip(
                each.surface.releases, each.surface.planted_rates().tolist(), strict=True
            )
            for mode, rate in zip(each.surface.modes, rates, strict=True)
        ],
        schema=[*KEY, "planted_rate"],
        orient="row",
    ).write_parquet(folder / "rates.parquet")


def realised_rates(truth: Path, quarter: str) -> pl.DataFrame:
    """Share of a quarter's sessions that show each mode: what an estimate of it aims at.

    Returns
    -------
    polars.DataFrame
        ``surface, release, mode, sessions, truth``; a row for every planted mode, also where no
        session shows it.
    """
    start, end = quarter_bounds(quarter)
    sessions = pl.read_parquet(truth / "sessions.parquet").filter(
        pl.col("started_at").is_between(start, end, closed="left")
    )
    frame = sessions.group_by("surface", "release").agg(sessions=pl.len())
    failing = (
        sessions.explode("modes", empty_as_null=False)
        .rename({"modes": "mode"})
        .group_by(KEY)
        .agg(failing=pl.len())
    )
    return (
        pl.read_parquet(truth / "rates.parquet")
        .join(frame, on=["surface", "release"])
        .join(failing, on=KEY, how="left")
        .select(
            *KEY, "sessions", truth=pl.col("failing").fill_null(0) / pl.col("sessions")
        )
    )


def compare_with_truth(rates: pl.DataFrame, truth: Path) -> pl.DataFrame:
    """Put the truth beside each estimated rate, and whether the interval holds it.

    Parameters
    ----------
    rates : polars.DataFrame
        ``surface, quarter, release, mode, estimate, low, high``, as shares of sessions.
    truth : Path
        Folder that :func:`write_truth` wrote.
    """
    planted = pl.concat(
        realised_rates(truth, quarter).with_columns(quarter=pl.lit(quarter))
        for quarter in rates["quarter"].unique(maintain_order=True)
    )
    return rates.join(planted, on=[*KEY, "quarter"], how="left", validate="1:1").with_columns(
        held=pl.col("truth").is_between("low", "high")
    )
