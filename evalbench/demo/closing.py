"""The demo's last table: what was planted beside what was estimated without knowing it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from evalbench.demo.company import quarter_bounds
from evalbench.demo.simulate import Simulated

KEY = ("surface", "release", "mode")
ANY = "any"
"""Stands for a failure in whatever mode."""


def write_truth(simulated: list[Simulated], folder: Path) -> None:
    """Write what was planted apart from the workspace's stores: sessions and rates."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["surface", "session_id", "user", "release", "started_at", "modes"]
    pl.concat(each.sessions.select(columns) for each in simulated).write_parquet(
        folder / "sessions.parquet"
    )
    planted = [
        (each.surface.surface, release.release, mode.mode)
        for each in simulated
        for release in each.surface.releases
        for mode in each.surface.modes
    ]
    rates = np.concatenate([each.surface.planted_rates().ravel() for each in simulated])
    frame = pl.DataFrame(planted, schema=KEY, orient="row").with_columns(planted_rate=rates)
    frame.write_parquet(folder / "rates.parquet")


def realised_rates(truth: Path, quarter: str) -> pl.DataFrame:
    """Return the share of a quarter's sessions that show each mode: what an estimate aims at.

    Gives ``surface, release, mode, sessions, truth``; a row for every planted mode, also where no
    session shows it, and for "any".
    """
    start, end = quarter_bounds(quarter)
    sessions = pl.read_parquet(truth / "sessions.parquet").filter(
        pl.col("started_at").is_between(start, end, closed="left")
    )
    frame = sessions.group_by("surface", "release").agg(sessions=pl.len())
    planted = pl.read_parquet(truth / "rates.parquet").select(KEY)
    shown = sessions.explode("modes", empty_as_null=False).rename({"modes": "mode"})
    shown = pl.concat([shown, shown.with_columns(mode=pl.lit(ANY))])
    failing = shown.group_by(KEY).agg(failing=pl.col("session_id").n_unique())
    wanted = pl.concat([planted, planted.with_columns(mode=pl.lit(ANY)).unique()])
    return (
        wanted.join(frame, on=["surface", "release"])
        .join(failing, on=KEY, how="left")
        .select(*KEY, "sessions", truth=pl.col("failing").fill_null(0) / pl.col("sessions"))
    )


def compare_with_truth(rates: pl.DataFrame, truth: Path) -> pl.DataFrame:
    """Put the truth beside each rate, and whether the interval holds it; null without an estimate.

    Takes ``surface, quarter, release, mode, estimate, low, high`` as shares of sessions, and the
    folder that :func:`write_truth` wrote.
    """
    planted = pl.concat(
        realised_rates(truth, quarter).with_columns(quarter=pl.lit(quarter))
        for quarter in rates["quarter"].unique(maintain_order=True)
    )
    columns = ["surface", "quarter", "release", "mode", "estimate", "low", "high"]
    return (
        rates.select(columns)
        .join(planted, on=[*KEY, "quarter"], how="left", validate="1:1")
        .with_columns(
            held=pl.when(pl.col("estimate").is_not_null()).then(
                pl.col("truth").is_between("low", "high")
            )
        )
    )


def say_coverage(closing: pl.DataFrame) -> str:
    """Say how many of the intervals that :func:`compare_with_truth` gave hold the truth."""
    return f"{closing['held'].sum()} of {closing['held'].count()} intervals hold the truth"


def write_closing(closing: pl.DataFrame, reports: Mapping[str, Path], page: Path) -> Path:
    """Write :func:`compare_with_truth` as one HTML page that loads nothing.

    It links to the ``reports``, title to HTML file, which are beneath its folder.
    """
    from great_tables import GT, html

    links = " · ".join(
        f'<a href="{path.relative_to(page.parent)}">{title}</a>' for title, path in reports.items()
    )
    shown = closing.sort("surface", "quarter", maintain_order=True).select(
        "surface",
        "quarter",
        "release",
        "mode",
        *(pl.col(name) * 1000 for name in ("truth", "estimate", "low", "high")),
        held=pl.col("held").replace_strict({True: "yes", False: "no"}, default="insufficient"),
    )
    table = (
        GT(shown, groupname_col="surface")
        .tab_header(
            title="Planted truth beside every estimate",
            subtitle=html(
                "Failing sessions per 1,000. "
                f"{say_coverage(closing)}, which no report has seen. The reports: {links}"
            ),
        )
        .fmt_number(columns=["truth", "estimate", "low", "high"], decimals=1)
        .sub_missing(missing_text="–")
        .cols_label(held="in the interval")
    )
    page.write_text(table.as_raw_html(make_page=True), encoding="utf-8")
    return page
