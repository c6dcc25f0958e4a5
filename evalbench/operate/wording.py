"""The report in sentences and display frames: numbers with their interval, "insufficient" aloud."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

WHOLE = "all"
READINGS = ("regression", "improvement", "no change shown", "insufficient")


def say_rates(rates: pl.DataFrame) -> pl.DataFrame:
    """Add ``said``, e.g. "48.2 (31.0 to 70.4)" or "insufficient"; most frequent mode first."""
    numbers = [_decimal(name) for name in ("per_1000", "low_per_1000", "high_per_1000")]
    said = pl.when(pl.col("status") == "ok").then(pl.format("{} ({} to {})", *numbers))
    worded = rates.with_columns(said=said.otherwise(pl.lit("insufficient")))
    return _sort_within(worded, -pl.col("estimate"), "mode")


def say_changes(changes: pl.DataFrame, shipped: pl.DataFrame) -> pl.DataFrame:
    """Add ``said``, the change per 1,000 sessions in words, ``shown`` and ``target``.

    ``shown`` is the smallest change that the labels would show, and ``target`` "yes" where
    the release named the mode among its targets. Firm readings come first, then large changes.
    """
    numbers = [_decimal(1000 * pl.col(name), sign=True) for name in ("delta", "low", "high")]
    said = pl.when(pl.col("delta").is_not_null()).then(pl.format("{} ({} to {})", *numbers))
    targets = (
        shipped.select("surface", "release", mode="targets", target=pl.lit("yes"))
        .explode("mode")
        .unique()
    )
    worded = changes.with_columns(
        said=said.otherwise(pl.lit("insufficient")),
        shown=_decimal(1000 * pl.col("smallest_shown")),
    ).join(targets, on=["surface", "release", "mode"], how="left", maintain_order="left")
    firm = pl.col("reading").is_in(READINGS[:2])
    return _sort_within(
        worded.with_columns(pl.col("target").fill_null("")), ~firm, -pl.col("delta").abs(), "mode"
    )


def moments(rates: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """Give the rates before and after each release, the most frequent modes first.

    Returns
    -------
    polars.DataFrame
        ``surface, release, name, moment`` ("before 2.0", "after 2.0"), ``per_1000`` with its
        interval, and ``reading``: what :func:`evalbench.charts.before_after` draws.
    """
    numbers = ["per_1000", "low_per_1000", "high_per_1000"]
    key = ["surface", "release", "mode"]
    pairs = changes.select(*key, "previous_release", "name", "reading").with_row_index("pair")
    before = pairs.join(
        rates.select("surface", "mode", *numbers, previous_release="release"),
        on=["surface", "mode", "previous_release"],
    ).with_columns(moment=pl.format("before {}", "release"))
    after = pairs.join(rates.select(*key, *numbers), on=key).with_columns(
        moment=pl.format("after {}", "release")
    )
    return (
        pl.concat([before.with_columns(step=0), after.with_columns(step=1)], how="diagonal")
        .with_columns(
            latest=-pl.col("per_1000").sort_by("step").last().over("pair"),
            place=pl.col("pair").min().over("surface", "release"),
        )
        .sort("place", "latest", "pair", "step", nulls_last=True)
        .select("surface", "release", "name", "moment", *numbers, "reading")
    )


def with_heading(rows: pl.DataFrame) -> pl.DataFrame:
    """Add ``heading``, the surface and release that rows of a table stand under."""
    release = (
        pl.when(pl.col("release") == WHOLE)
        .then(pl.lit(""))
        .otherwise(", release " + pl.col("release"))
    )
    return rows.with_columns(heading=pl.col("surface") + release)


def without_pair(rates: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """Keep the rates of surfaces that have no two releases to compare."""
    return rates.join(changes, on="surface", how="anti", maintain_order="left")


def headline(rates: pl.DataFrame, changes: pl.DataFrame, sample: pl.DataFrame) -> str:
    """Say in a few Markdown lines what the report found, surface by surface.

    Parameters
    ----------
    rates, changes : polars.DataFrame
        With ``said``: from :func:`say_rates` and :func:`say_changes`.
    sample : polars.DataFrame
        From :func:`evalbench.operate.evidence.sample_table`.
    """
    lines = []
    for (surface,), own in rates.group_by("surface", maintain_order=True):
        labelled = sample.filter(surface=surface)["n_labelled"].sum()
        lines.append(f"**{surface}**" + (f", {labelled:,} sessions labelled" if labelled else ""))
        lines += [f"- {line}" for line in _say_latest(own)]
        for (release,), part in changes.filter(surface=surface).group_by(
            "release", maintain_order=True
        ):
            lines.append(f"- {_say_release(str(release), part)}")
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
    return [
        f"Most frequent{when}: {_quote(name)}, {said} of 1,000 sessions ({level:.0%} interval)."
    ]


def _say_release(release: str, changes: pl.DataFrame) -> str:
    """Say what became of the modes a release set out to fix, and of the others."""
    aimed = changes.filter(pl.col("target") != "")
    rest = changes.filter(pl.col("target") == "")
    parts = []
    if not aimed.is_empty():
        fixed = "; ".join(
            f"{_quote(name)}: **{reading}**"
            for name, reading in aimed.select("name", "reading").iter_rows()
        )
        parts.append(f"set out to fix {fixed}.")
    worse = rest.filter(reading="regression")
    counts = dict(rest["reading"].value_counts().iter_rows())
    parts.append(
        "Elsewhere: "
        + ", ".join(f"{counts[reading]} {reading}" for reading in READINGS if reading in counts)
        + "."
    )
    if not worse.is_empty():
        named = "; ".join(
            f"{_quote(name)}, {said} per 1,000"
            for name, said in worse.select("name", "said").iter_rows()
        )
        parts.append(f"Regressed: {named}.")
    return f"Release {release} " + " ".join(parts)


def _sort_within(rows: pl.DataFrame, *by: str | pl.Expr) -> pl.DataFrame:
    """Sort the rows of each surface and release; these keep the order they came in."""
    return (
        rows.with_row_index("place")
        .with_columns(pl.col("place").min().over("surface", "release"))
        .sort("place", *by, nulls_last=True)
        .drop("place")
    )


def _quote(name: str) -> str:
    return f"*{name}*"


def _decimal(name: str | pl.Expr, *, sign: bool = False) -> pl.Expr:
    value = (pl.col(name) if isinstance(name, str) else name).round(1)
    text = value.cast(pl.String)
    return pl.when(value > 0).then(pl.lit("+") + text).otherwise(text) if sign else text
