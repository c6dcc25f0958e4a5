"""The agreement report in words: numbers with their interval, "insufficient" aloud."""

from __future__ import annotations

import polars as pl

from evalbench.label.agreement.consensus import ANY

KEY = ["surface", "mode"]
READINGS = ("people agree", "ambiguous", "not settled", "insufficient")


def say_agreement(found: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    """Add ``name``, and for each measure ``{measure}_said``, e.g. "0.83 (0.77 to 0.88)".

    Takes what ``measure_agreement`` found, and the codebook; a mode
    that it does not know, such as a criterion, keeps its own name. Gives the verdict itself first,
    then the modes by alpha, the lowest first.
    """
    said = say_intervals(found, "percent", "kappa", "alpha", "ac1", "alpha_ordinal")
    return _with_names(said, modes).sort(
        "surface", pl.col("mode") != ANY, "alpha", "mode", nulls_last=True
    )


def say_intervals(frame: pl.DataFrame, *names: str, decimals: int = 2) -> pl.DataFrame:
    """Add ``{name}_said``: the number with its ``_low`` and ``_high``; "insufficient" for none."""

    def say(name: str) -> pl.Series:
        words = [
            "insufficient"
            if value is None
            else f"{value:.{decimals}f} ({low:.{decimals}f} to {high:.{decimals}f})"
            for value, low, high in frame.select(name, f"{name}_low", f"{name}_high").iter_rows()
        ]
        return pl.Series(f"{name}_said", words, pl.String)

    return frame.with_columns(map(say, names))


def say_disputes(disputes: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    """Write what is disputed, and the numbers of the labels, as text for a table."""
    names = {(surface, mode): name for surface, mode, name in modes[[*KEY, "name"]].iter_rows()}
    about = [
        "; ".join(names.get((surface, mode), mode) for mode in disputed if mode != ANY)
        or "pass or fail"
        for surface, disputed in disputes.select("surface", "disputed").iter_rows()
    ]
    return disputes.with_columns(
        disputed=pl.Series(about, dtype=pl.String),
        labels=pl.col("labels").cast(pl.List(pl.String)).list.join(", "),
    )


def say_ambiguous(ambiguous: pl.DataFrame, *, most: int = 5) -> pl.DataFrame:
    """Write alpha in words, and the first sessions that annotators disagree on as text."""
    more = pl.col("n_disputed") - most
    tail = pl.when(more > 0).then(pl.format(" and {} more", more)).otherwise(pl.lit(""))
    return say_intervals(ambiguous, "alpha").with_columns(
        sessions=pl.col("session_ids").list.head(most).list.join(", ") + tail,
        session_ids=pl.col("session_ids").list.join(", "),
    )


def say_drift(drift: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    """Name the modes and write the change of AC1 in words; what fell first."""
    firm = pl.col("reading").replace_strict({"fell": 0, "rose": 1}, default=2)
    return _with_names(say_intervals(drift, "change"), modes).sort(
        "surface", firm, pl.col("mode") != ANY, "change", nulls_last=True
    )


def say_saturation(measured: pl.DataFrame, *, more: int) -> pl.DataFrame:
    """Ask what each measure of :func:`saturation.measure_saturation` answers, and write it."""
    asked = {
        "coverage": "Chance that the next failure is of a kind already seen",
        "unseen": "Kinds of failure not seen yet, at least",
        "expected_new": f"New kinds that {more} more sessions would show",
    }
    named = measured.rename({"low": "estimate_low", "high": "estimate_high"})
    return say_intervals(named, "estimate").with_columns(
        asked=pl.col("measure").replace_strict(asked)
    )


def headline(found: pl.DataFrame, disputes: pl.DataFrame) -> str:
    """Say in Markdown, surface by surface, what these labels can carry.

    Takes the modes as :func:`say_agreement` gives them, and the sessions in dispute.
    """
    if found.is_empty():
        return "Nobody has labelled a session by failure modes: of agreement nothing can be said."
    lines = []
    for (surface,), own in found.group_by("surface", maintain_order=True):
        [verdict] = own.filter(mode=ANY).to_dicts()
        counts = dict(own.filter(pl.col("mode") != ANY)["reading"].value_counts().iter_rows())
        agreed, *doubtful = (counts.get(each, 0) for each in READINGS)
        doubts = ", ".join(f"{n} {each}" for n, each in zip(doubtful, READINGS[1:], strict=True))
        waiting = disputes.filter("waits", surface=surface).height
        lines += [
            f"**{surface}**",
            f"- Pass or fail: alpha {verdict['alpha_said']}, {verdict['reading']}; "
            f"{verdict['n_items']:,} sessions with two labels or more.",
            f"- Of {sum(counts.values())} failure modes people agree on {agreed}; {doubts}.",
            f"- {waiting:,} sessions wait for an adjudicator.",
            "",
        ]
    return "\n".join(lines)


def _with_names(rows: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    verdict = pl.when(pl.col("mode") == ANY).then(pl.lit("Pass or fail"))
    named = rows.join(modes.select(*KEY, "name"), on=KEY, how="left", maintain_order="left")
    return named.with_columns(name=verdict.otherwise(pl.coalesce("name", "mode")))
