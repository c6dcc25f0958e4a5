"""The demo's last table: what was planted beside what was estimated without knowing it."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl

from evalbench.demo.company import Surface
from evalbench.demo.simulate import Simulated
from evalbench.report.tables import set_table

RELEASE = ["surface", "release"]
TITLE = "Planted truth beside every estimate"


def write_truth(simulated: list[Simulated], path: Path) -> None:
    """Write the sessions with the modes planted in each, apart from the workspace's stores."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ["surface", "session_id", "user", "release", "started_at", "modes"]
    pl.concat(each.sessions.select(columns) for each in simulated).write_parquet(path)


def compare_with_truth(
    rates: pl.DataFrame, sessions: pl.DataFrame, company: Sequence[Surface]
) -> pl.DataFrame:
    """Put the truth beside each rate, and whether the intervals hold it; null without an estimate.

    ``sessions`` are those of :func:`write_truth` that were reported on. ``truth`` is the share that
    show the mode (``low`` to ``high``), ``planted`` the rate they were made with (``process_low``,
    …).
    """
    shown = sessions.explode("modes", empty_as_null=False).rename({"modes": "mode"})
    failing = shown.group_by(*RELEASE, "mode").agg(failing=pl.len())
    key, numbers = [*RELEASE, "mode"], ["estimate", "low", "high", "process_low", "process_high"]
    return (
        rates.unique(key, maintain_order=True)
        .select(*key, "name", *numbers)
        .join(sessions.group_by(RELEASE).agg(sessions=pl.len()), on=RELEASE, how="left")
        .join(failing, on=key, how="left", maintain_order="left")
        .join(_planted_rates(company), on=key, how="left", maintain_order="left")
        .with_columns(truth=pl.col("failing").fill_null(0) / pl.col("sessions"))
        .with_columns(held=pl.col("truth").is_between("low", "high"))
        .drop("failing")
    )


def compare_changes(changes: pl.DataFrame, company: Sequence[Surface]) -> pl.DataFrame:
    """Put the ``planted`` change beside each of the reports' ``changes``."""
    key = [*RELEASE, "mode"]
    now = _planted_rates(company)
    before = now.rename({"release": "previous_release", "planted": "planted_before"})
    return (
        changes.unique(key, maintain_order=True)
        .join(now, on=key, maintain_order="left")
        .join(before, on=["surface", "previous_release", "mode"], maintain_order="left")
        .with_columns(planted=pl.col("planted") - pl.col("planted_before"))
    )


def _planted_rates(company: Sequence[Surface]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (each.surface, release.release, mode.mode, rate)
            for each in company
            for release, rates in zip(each.releases, each.planted_rates().tolist(), strict=True)
            for mode, rate in zip(each.modes, rates, strict=True)
        ],
        schema=[*RELEASE, "mode", "planted"],
        orient="row",
    )


def compare_trends(trends: pl.DataFrame, company: Sequence[Surface]) -> pl.DataFrame:
    """Put beside each trend by how much the ``planted`` rate is multiplied a release."""
    rates = {key: own for key, own in _planted_rates(company).group_by("surface", "mode")}
    planted = []
    for row in trends.iter_rows(named=True):
        own = rates[row["surface"], row["mode"]]
        first, last = (own["release"].to_list().index(row[end]) for end in ("first", "last"))
        logs = np.log(own["planted"].to_numpy()[first : last + 1])
        planted.append(float(np.exp(np.polyfit(np.arange(len(logs)), logs, 1)[0])))
    return trends.with_columns(planted=pl.Series(planted, dtype=pl.Float64))


def compare_catches(
    scorecards: pl.DataFrame, sessions: pl.DataFrame, verdicts: pl.DataFrame
) -> pl.DataFrame:
    """Put beside each report's catch rate the ``planted`` one: of the sessions that truly fail.

    Takes scorecards by ``reported`` quarter, and what evaluators said of the ``sessions``.
    """
    failing = sessions.explode("modes", empty_as_null=False).rename({"modes": "mode"})
    key = ["surface", "session_id"]
    flagged = verdicts.filter("fails").select(*key, "mode", caught=True).unique()
    seen = failing.join(flagged, on=[*key, "mode"], how="left").group_by(*key, "started_at")
    caught = seen.agg(planted=pl.col("caught").any().cast(pl.Float64))
    at = pl.col("started_at")
    by_quarter = caught.group_by(reported=pl.format("{}Q{}", at.dt.year(), at.dt.quarter())).agg(
        pl.col("planted").mean()
    )
    told = scorecards.filter(metric="catch_rate").drop_nulls("low")
    return told.join(by_quarter, on="reported", maintain_order="left")


def say_coverage(
    closing: pl.DataFrame, changes: pl.DataFrame, trends: pl.DataFrame, catches: pl.DataFrame
) -> list[str]:
    """Say how many intervals hold the truth, and how many planted changes were found."""
    compared = {
        "share of failing sessions": (closing, "truth", "low", "high"),
        "planted rate": (closing, "planted", "process_low", "process_high"),
        "planted change of a release": (changes, "planted", "low", "high"),
        "planted change over all releases": (trends, "planted", "times_low", "times_high"),
        "share of failing sessions that evaluators catch": (catches, "planted", "low", "high"),
    }
    said = []
    for what, (frame, truth, low, high) in compared.items():
        known, value = frame.drop_nulls([truth, low]), pl.col(truth)
        above, below = known.filter(value < pl.col(low)), known.filter(value > pl.col(high))
        held = known.height - above.height - below.height
        said.append(
            f"{held} of {known.height} intervals hold the {what} ({above.height} lie above it,"
            f" {below.height} below)."
        )
    improved = changes.filter(pl.col("planted") < 0, target="yes")
    same = changes.filter(pl.col("planted").abs() < 1e-9)
    found = improved.filter(reading="confirmed improvement").height
    false = same.filter(pl.col("reading").str.starts_with("confirmed")).height
    unknown = changes.filter(reading="cannot tell").height
    return [
        *said,
        f"{found} of {improved.height} planted improvements of targets are confirmed.",
        f"Of {same.height} failures that did not change, {false} are said to.",
        f"Of {changes.height} changes, {unknown} cannot be told.",
    ]


def write_closing(
    closing: pl.DataFrame,
    told: Sequence[str],
    reports: Mapping[str, Path],
    page: Path,
    *,
    level: float,
) -> Path:
    """Write :func:`compare_with_truth` as one HTML page, with links to the ``reports``."""
    ends = {"per_1000": "estimate", "low_per_1000": "low", "high_per_1000": "high"}
    shown = closing.with_columns(
        **{name: 1000 * pl.col(end) for name, end in ends.items()},
        failed="truth",
        held=pl.col("held").replace_strict({True: "yes", False: "no"}, default="insufficient"),
    )
    table = set_table("closing", shown, by=RELEASE, level=level)
    lines = "".join(f"<li>{escape(line)}</li>" for line in told)
    links = ", ".join(
        f'<a href="{path.relative_to(page.parent)}">{title}</a>' for title, path in reports.items()
    )
    style = files("evalbench.report").joinpath("templates/evalbench/report.css").read_text("utf-8")
    page.write_text(
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{TITLE}</title><style>{style}</style></head><body><main><h1>{TITLE}</h1>"
        f"<p>No report has seen what was planted. The reports: {links}.</p><ul>{lines}</ul>"
        f"{table.data}</main></body></html>",
        encoding="utf-8",
    )
    return page
