"""The demo's last table: what was planted beside what was estimated without knowing it."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from evalbench.demo.simulate import Simulated

RELEASE = ["surface", "quarter", "release"]


def write_truth(simulated: list[Simulated], path: Path) -> None:
    """Write the sessions with the modes planted in each, apart from the workspace's stores."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ["surface", "session_id", "user", "release", "started_at", "modes"]
    pl.concat(each.sessions.select(columns) for each in simulated).write_parquet(path)


def compare_with_truth(rates: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Put the truth beside each rate, and whether the interval holds it; null without an estimate.

    Takes ``surface, quarter, release, mode, estimate, low, high`` as shares of sessions, and the
    ``sessions`` that :func:`write_truth` wrote. ``truth`` is the share of a quarter's sessions that
    show the mode: what the estimate aims at.
    """
    at = pl.col("started_at").dt
    sessions = sessions.with_columns(quarter=pl.format("{}Q{}", at.year(), at.quarter()))
    shown = sessions.explode("modes", empty_as_null=False).rename({"modes": "mode"})
    failing = shown.group_by(*RELEASE, "mode").agg(failing=pl.len())
    return (
        rates.select(*RELEASE, "mode", "estimate", "low", "high")
        .join(sessions.group_by(RELEASE).agg(sessions=pl.len()), on=RELEASE, how="left")
        .join(failing, on=[*RELEASE, "mode"], how="left", maintain_order="left")
        .with_columns(truth=pl.col("failing").fill_null(0) / pl.col("sessions"))
        .with_columns(held=pl.col("truth").is_between("low", "high"))
        .drop("failing")
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
    numbers = ["truth", "estimate", "low", "high"]
    shown = closing.sort("surface", "quarter", maintain_order=True).select(
        *RELEASE,
        "mode",
        pl.col(numbers) * 1000,
        held=pl.col("held").replace_strict({True: "yes", False: "no"}, default="insufficient"),
    )
    told = f"Failing sessions per 1,000. {say_coverage(closing)}, which no report has seen."
    table = (
        GT(shown, groupname_col="surface")
        .tab_header("Planted truth beside every estimate", html(f"{told} The reports: {links}"))
        .fmt_number(columns=numbers, decimals=1)
        .sub_missing(missing_text="–")
        .cols_label(held="in the interval")
    )
    page.write_text(table.as_raw_html(make_page=True), encoding="utf-8")
    return page
