"""The report in sentences and display frames: numbers with their interval, "insufficient" aloud."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

WHOLE = "all"
PER_1000 = ("per_1000", "low_per_1000", "high_per_1000")
READINGS = ("regression", "improvement", "no change shown", "insufficient")


def say_rates(rates: pl.DataFrame) -> pl.DataFrame:
    """Add ``said``, e.g. "48.2 (31.0 to 70.4)" or "insufficient"; most frequent mode first."""
    said = pl.format("{} ({} to {})", *(pl.col(name).round(1) for name in PER_1000))
    enough = pl.when(pl.col("status") == "ok").then(said).otherwise(pl.lit("insufficient"))
    return _sort_within(rates.with_columns(said=enough), -pl.col("estimate"), "mode")


def say_changes(changes: pl.DataFrame, shipped: pl.DataFrame) -> pl.DataFrame:
    """Add ``said``, the change per 1,000 sessions in words, ``shown`` and ``target``.

    ``shown`` is the smallest change that the labels would show, and ``target`` "yes" where
    the release named the mode among its targets. Firm readings come first, then large changes.
    """
    said = pl.format("{} ({} to {})", *map(_signed, ("delta", "low", "high")))
    named = shipped.select("surface", "release", mode="targets", target=pl.lit("yes"))
    targets, key = named.explode("mode").unique(), ["surface", "release", "mode"]
    worded = changes.with_columns(
        said=pl.when(pl.col("delta").is_null()).then(pl.lit("insufficient")).otherwise(said),
        shown=(1000 * pl.col("smallest_shown")).round(1).cast(pl.String),
    ).join(targets, on=key, how="left", maintain_order="left")
    firm = pl.col("reading").is_in(READINGS[:2])
    aimed = worded.with_columns(pl.col("target").fill_null(""))
    return _sort_within(aimed, ~firm, -pl.col("delta").abs(), "mode")


def moments(rates: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """Give the rates before and after each release, the most frequent modes first.

    Gives ``surface, release, name, moment`` ("before 2.0", "after 2.0"), ``per_1000`` with its
    interval, and ``reading``: what :func:`evalbench.report.charts.before_after` draws.
    """
    numbers = rates.select("surface", "mode", *PER_1000, of="release")
    pairs = changes.select("surface", "release", "previous_release", "mode", "name", "reading")
    moments = {"previous_release": "before {}", "release": "after {}"}
    steps = [
        pairs.with_row_index("pair").with_columns(of=of, moment=pl.format(said, "release"), step=at)
        for at, (of, said) in enumerate(moments.items())
    ]
    return (
        pl.concat(steps)
        .join(numbers, on=["surface", "mode", "of"])
        .with_columns(
            latest=-pl.col("per_1000").sort_by("step").last().over("pair"),
            place=pl.col("pair").min().over("surface", "release"),
        )
        .sort("place", "latest", "pair", "step", nulls_last=True)
        .select("surface", "release", "name", "moment", *PER_1000, "reading")
    )


def with_heading(rows: pl.DataFrame) -> pl.DataFrame:
    """Add ``heading``, the surface and release that rows of a table stand under."""
    named = pl.col("surface") + ", release " + pl.col("release")
    whole = pl.when(pl.col("release") == WHOLE).then("surface")
    return rows.with_columns(heading=whole.otherwise(named))


def without_pair(rates: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """Keep the rates of surfaces that have no two releases to compare."""
    return rates.join(changes, on="surface", how="anti", maintain_order="left")


def headline(rates: pl.DataFrame, changes: pl.DataFrame, sample: pl.DataFrame) -> str:
    """Say in a few Markdown lines what the report found, surface by surface.

    Takes ``rates`` from :func:`say_rates`, ``changes`` from :func:`say_changes` and ``sample`` from
    :func:`evalbench.operate.evidence.sample_table`.
    """
    lines = []
    for (surface,), own in rates.group_by("surface", maintain_order=True):
        labelled = sample.filter(surface=surface)["n_labelled"].sum()
        lines.append(f"**{surface}**" + (f", {labelled:,} sessions labelled" if labelled else ""))
        lines += [f"- {line}" for line in _say_latest(own)]
        released = changes.filter(surface=surface).partition_by("release", maintain_order=True)
        lines += [f"- {_say_release(part['release'][0], part)}" for part in released]
        lines.append("")
    return "\n".join(lines)


def say_sources(frame: pl.DataFrame, lake_versions: Mapping[str, int], until: int | None) -> str:
    """Say what the report was made from: the sessions, and the state of the two stores."""
    days = frame["started_at"].drop_nulls().sort().dt.to_string("%e %B %Y").str.strip_chars()
    when = "" if days.is_empty() else f" from {days[0]} to {days[-1]}"
    surfaces = ", ".join(frame["surface"].unique().sort())
    pins = ", ".join(
        f"{table} {version}" for table, version in sorted(lake_versions.items()) if version >= 0
    )
    state = f"Lake versions: {pins}; ledger up to event {until}." if pins else "Stores as of now."
    return f"{frame.height:,} sessions{when} of {surfaces}. {state}"


def _say_latest(rates: pl.DataFrame) -> list[str]:
    """Name the most frequent mode of the last release."""
    last = rates.filter(pl.col("release") == rates["release"].last())
    when = "" if last["release"][0] == WHOLE else f" since release {last['release'][0]}"
    top = last.filter(status="ok").sort("estimate", descending=True).head(1)
    if top.is_empty():
        return [f"Insufficient evidence{when}: no rate can be given."]
    name, said, level = top.select("name", "said", "level").row(0)
    return [f"Most frequent{when}: *{name}*, {said} of 1,000 sessions ({level:.0%} interval)."]


def _say_release(release: str, changes: pl.DataFrame) -> str:
    """Say what became of the modes a release set out to fix, and of the others."""
    aimed, rest = (changes.filter(pl.col("target") == target) for target in ("yes", ""))
    fixed = [f"*{name}*: **{reading}**" for name, reading in aimed["name", "reading"].iter_rows()]
    counts = dict(rest["reading"].value_counts().iter_rows())
    elsewhere = [f"{counts[reading]} {reading}" for reading in READINGS if reading in counts]
    worse = rest.filter(reading="regression")["name", "said"].iter_rows()
    regressed = [f"*{name}*, {said} per 1,000" for name, said in worse]
    parts = [f"set out to fix {'; '.join(fixed)}."] if fixed else []
    parts += [f"Elsewhere: {', '.join(elsewhere)}."] if elsewhere else []
    parts += [f"Regressed: {'; '.join(regressed)}."] if regressed else []
    return f"Release {release} " + " ".join(parts)


def _sort_within(rows: pl.DataFrame, *by: str | pl.Expr) -> pl.DataFrame:
    """Sort the rows of each surface and release; these keep the order they came in."""
    return (
        rows.with_row_index("place")
        .with_columns(pl.col("place").min().over("surface", "release"))
        .sort("place", *by, nulls_last=True)
        .drop("place")
    )


def _signed(name: str) -> pl.Expr:
    """Say a share as so many of 1,000, with its sign."""
    value = (1000 * pl.col(name)).round(1)
    return pl.when(value > 0).then(pl.lit("+")).otherwise(pl.lit("")) + value.cast(pl.String)
