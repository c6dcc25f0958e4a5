"""The demo's last table: what was planted beside what was estimated without knowing it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from evalbench.demo.company import Surface
from evalbench.demo.simulate import Simulated

RELEASE = ["surface", "release"]


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
        .select(*key, *numbers)
        .join(sessions.group_by(RELEASE).agg(sessions=pl.len()), on=RELEASE, how="left")
        .join(failing, on=key, how="left", maintain_order="left")
        .join(_planted_rates(company), on=key, how="left", maintain_order="left")
        .with_columns(truth=pl.col("failing").fill_null(0) / pl.col("sessions"))
        .with_columns(
            held=pl.col("truth").is_between("low", "high"),
            held_planted=pl.col("planted").is_between("process_low", "process_high"),
        )
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


def say_coverage(closing: pl.DataFrame, changes: pl.DataFrame) -> str:
    """Say how many intervals hold the truth, and how many planted changes were found."""
    said = []
    held = {"share of failing sessions": ("truth", "held", "low", "high")}
    held["planted rate"] = ("planted", "held_planted", "process_low", "process_high")
    for what, (truth, holds, low, high) in held.items():
        beyond = [closing.filter(pl.col(truth) < pl.col(low)).height]
        beyond += [closing.filter(pl.col(truth) > pl.col(high)).height]
        said.append(
            f"{closing[holds].sum()} of {closing[holds].count()} intervals hold the {what}"
            f" ({beyond[0]} lie above it, {beyond[1]} below)"
        )
    confirmed = pl.col("reading").str.starts_with("confirmed")
    improved = changes.filter(pl.col("planted") < 0, target="yes")
    same = changes.filter(pl.col("planted").abs() < 1e-9)
    found = improved.filter(reading="confirmed improvement").height
    false = same.filter(confirmed).height
    unknown = changes.filter(reading="cannot tell").height
    return (
        f"{'; '.join(said)}; {found} of {improved.height} planted improvements of targets are"
        f" confirmed; of {same.height} failures that did not change, {false} are said to; of"
        f" {changes.height} changes, {unknown} cannot be told"
    )


def write_closing(
    closing: pl.DataFrame, told: str, reports: Mapping[str, Path], page: Path
) -> Path:
    """Write :func:`compare_with_truth` as one HTML page, with links to the ``reports``."""
    from great_tables import GT, html

    links = " · ".join(
        f'<a href="{path.relative_to(page.parent)}">{title}</a>' for title, path in reports.items()
    )
    numbers = ["planted", "truth", "estimate", "low", "high"]
    shown = closing.sort("surface", maintain_order=True).select(
        *RELEASE,
        "mode",
        pl.col(numbers) * 1000,
        held=pl.col("held").replace_strict({True: "yes", False: "no"}, default="insufficient"),
    )
    intro = f"Failing sessions per 1,000, which no report has seen. {told}."
    table = (
        GT(shown, groupname_col="surface")
        .tab_header("Planted truth beside every estimate", html(f"{intro} The reports: {links}"))
        .fmt_number(columns=numbers, decimals=1)
        .sub_missing(missing_text="–")
        .cols_label(held="in the interval", truth="failed")
    )
    page.write_text(table.as_raw_html(make_page=True), encoding="utf-8")
    return page
