"""Which sessions to label: a stratified random draw that a failure rate can be estimated from.

Every session of the frame has a known, positive chance of being drawn. Signals and verdicts decide
how many come from each stratum, never which ones within it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from evalbench.observe.sampling.allocation import AIMED, ALWAYS, allocate
from evalbench.schema import Design


@dataclass(frozen=True)
class Signal:
    """A sign of trouble: when it is raised, and what to call it to a reader."""

    raised: pl.Expr
    words: str


# By the session column that each is read from.
SIGNALS = {
    "reported": Signal(pl.col("reported"), "reported by the user"),
    "thumbs": Signal(pl.col("thumbs") < 0, "thumbs down"),
    "outcome": Signal(~pl.col("outcome"), "task not achieved"),
    "escalated": Signal(pl.col("escalated"), "handed to a person"),
    "stars": Signal(pl.col("stars") <= 2, "two stars or fewer"),
    "abandoned": Signal(pl.col("abandoned"), "given up by the user"),
    "refused": Signal(pl.col("refused"), "refused"),
    "schema_valid": Signal(~pl.col("schema_valid"), "output of the wrong form"),
    "n_tool_errors": Signal(pl.col("n_tool_errors") > 0, "a tool failed"),
    "regenerated": Signal(pl.col("regenerated"), "answer asked for again"),
    "n_retries": Signal(pl.col("n_retries") > 0, "a tool call repeated"),
    "edited_chars": Signal(pl.col("edited_chars") >= 200, "answer edited at length"),
    "confidence": Signal(pl.col("confidence") < 0.5, "product unsure of itself"),
}


def raised(name: str) -> pl.Expr:
    """Whether a signal is raised: false where nobody recorded it; ValueError if there is none."""
    if name not in SIGNALS:
        raise ValueError(f"a signal must be one of {', '.join(SIGNALS)}; got {name!r}")
    return SIGNALS[name].raised.fill_null(False)


SESSION_KEY = ["surface", "session_id"]


@dataclass(frozen=True)
class Draw:
    """A sample and the frame it stands for.

    ``items`` are drawn sessions in reading order: surface, session_id, stratum,
    inclusion_probability, reason. ``population`` has a row a stratum: stratum, n, drawn, and the
    columns of ``design.by``.
    """

    items: pl.DataFrame
    population: pl.DataFrame


def stratify(
    sessions: pl.DataFrame, design: Design, verdicts: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Add ``stratum``, e.g. "release=2.1 | signals | flagged": a pure function of the columns.

    First what is always read ("always: reported", not divided further by the last two), then
    ``design.by``, then whether any signal is raised (that weighs anything), then whether the latest
    verdict of any of ``design.evaluators`` fails the session, or of ``design.targets`` ("aimed
    at"). ValueError where ``design`` names no column or signal, or the ``verdicts`` it needs are
    missing.
    """
    columns = sessions.columns
    values = [pl.concat_str(pl.lit(f"{name}="), _value(name, columns)) for name in design.by]
    always = pl.coalesce(
        *(pl.when(raised(name)).then(pl.lit(f"{ALWAYS}{name}")) for name in design.always),
        pl.lit(None, dtype=pl.String),
    )
    weighted = [name for name in design.weights or SIGNALS if design.weights.get(name, 1) > 0]
    noisy = pl.any_horizontal(pl.lit(False), *(raised(name) for name in weighted))
    band = pl.when(noisy).then(pl.lit("signals")).otherwise(pl.lit("no signals"))
    evaluators = design.evaluators + design.targets
    if not evaluators:
        flagged, flag = sessions, []
    elif verdicts is None:
        raise ValueError(f"verdicts must be given for the evaluators {evaluators}; got None")
    else:
        flags = _flags(verdicts, evaluators, design.targets)
        flagged = sessions.join(flags, on=SESSION_KEY, how="left", maintain_order="left")
        flag = [pl.col("flag").fill_null("not judged")]
    return flagged.select(
        *columns,
        stratum=pl.when(always.is_null())
        .then(pl.concat_str(*values, band, *flag, separator=" | "))
        .otherwise(pl.concat_str(always, *values, separator=" | ")),
    )


def draw(
    sessions: pl.DataFrame,
    n: int,
    *,
    design: Design,
    verdicts: pl.DataFrame | None = None,
    guess: Mapping[str, float] | None = None,
    rng: np.random.Generator,
) -> Draw:
    r"""Draw ``n`` sessions, at random within strata.

    The always strata of :func:`stratify` are taken whole; every other gets ``design.floor``, half
    goes to sessions "aimed at", the rest follows Neyman, :math:`n_h \propto N_h \sqrt{p_h q_h}` for
    a ``guess`` of the failure rate :math:`p_h = 1 - q_h`; :func:`allocate` says what gives way for
    a small ``n``. The order is random but for the always strata, which come first: whoever stops
    early has read a smaller sample, no other one. The same ``rng`` draws the same, in whatever
    order the rows come. ValueError where there is no session, or ``n`` is under the number of
    strata.
    """
    if sessions.is_empty():
        raise ValueError("sessions must hold at least one session to draw from; got none")
    divided = stratify(sessions, design, verdicts).sort(SESSION_KEY)
    values = [_value(name, sessions.columns).first().alias(name) for name in design.by]
    population = (
        divided.group_by("stratum").agg(pl.len().cast(pl.Int64).alias("n"), *values).sort("stratum")
    )
    strata, sizes = population["stratum"].to_list(), population["n"].to_numpy()
    drawn = allocate(strata, sizes, n, floor=design.floor, guess=guess or {})
    population = population.insert_column(2, pl.Series("drawn", drawn))
    whole = pl.col("stratum").str.starts_with(ALWAYS) & (pl.col("drawn") == pl.col("n"))
    items = (
        divided.with_columns(lot=rng.random(divided.height), place=rng.random(divided.height))
        .join(population.select("stratum", "n", "drawn"), on="stratum", maintain_order="left")
        .filter(pl.col("lot").rank("ordinal").over("stratum") <= pl.col("drawn"))
        .sort(~whole, "place")
        .select(
            "surface",
            "session_id",
            "stratum",
            inclusion_probability=pl.col("drawn") / pl.col("n"),
            reason=_reason(),
        )
    )
    return Draw(items, population)


def _value(name: str, columns: list[str]) -> pl.Expr:
    if name.startswith("segments."):
        key = name.removeprefix("segments.")
        value = pl.col("segments").str.json_path_match(f"$['{key}']")
    elif name in columns:
        value = pl.col(name).cast(pl.String)
    else:
        raise ValueError(f"design.by must name session columns or segments.KEY; got {name!r}")
    return value.fill_null("unknown")


def _flags(
    verdicts: pl.DataFrame, evaluators: tuple[str, ...], targets: tuple[str, ...]
) -> pl.DataFrame:
    latest = (
        verdicts.filter(pl.col("evaluator_id").is_in(evaluators))
        .sort("judged_at", "evaluator_version", "repeat")
        .unique([*SESSION_KEY, "mode", "evaluator_id"], keep="last", maintain_order=True)
    )
    aimed = (pl.col("fails") & pl.col("evaluator_id").is_in(targets)).any()
    says = pl.col("fails").max().replace_strict({True: "flagged", False: "not flagged"})
    flag = pl.when(aimed).then(pl.lit(AIMED)).otherwise(says)
    return latest.group_by(SESSION_KEY).agg(flag=flag)


def _reason() -> pl.Expr:
    words = [pl.when(raised(name)).then(pl.lit(SIGNALS[name].words)) for name in SIGNALS]
    noticed = pl.concat_str(*words, separator=", ", ignore_nulls=True)
    chance = (
        pl.when(pl.col("drawn") == pl.col("n"))
        .then(pl.format("all {} sessions like it are read", "n"))
        .otherwise(pl.format("one of {} drawn at random from {} sessions like it", "drawn", "n"))
    )
    return pl.format(
        "{}; {} ({})",
        pl.when(noticed == "").then(pl.lit("no signal")).otherwise(noticed),
        chance,
        pl.col("stratum").str.replace_all(" | ", ", ", literal=True),
    )
