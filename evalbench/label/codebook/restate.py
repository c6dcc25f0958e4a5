"""Labels and verdicts of any time under the codebook of one time, and how it came to be."""

from __future__ import annotations

import polars as pl

from evalbench.label.codebook.modes import Codebook, find_undone, read_acts
from evalbench.schema import TIME, Body, columns

SAID = {
    "mode.defined": "{mode} defined as {name}, version {version}",
    "mode.merged": "{sources} merged into {into}",
    "mode.split": "{source} split into {parts}",
    "mode.retired": "{mode} retired",
    "mode.promoted": "{mode} promoted: {belonging} of {members} members belong",
    "mode.undone": "event {undoes} undone",
    "codebook.proposed": "{drafts} proposed from clusters of notes",
    "member.confirmed": "note {note} looked at for {mode}: belongs {belongs}",
}
"""What an act did, in words."""
HEIRS = columns((pl.String, "surface mode becomes"), (pl.Boolean, "ended"))
HISTORY = columns(
    (pl.Int64, "seq"),
    (TIME, "at"),
    (pl.String, "actor kind surface what reason"),
    (pl.Boolean, "stands"),
)


def restate(labels: pl.DataFrame, codebook: Codebook) -> pl.DataFrame:
    """Say every label in the modes of a codebook.

    A mode that was merged becomes what it was merged into, one that was split the part its session
    went to; one that is retired, a draft or unknown is left out. The verdict stays.

    Of rates over the same sessions and strata this adds up: those of the parts of a split mode to
    its former rate, since each session went to one part; a merged mode occurs where any of its
    sources did in the eyes of one annotator, so of each annotator it is their union. A majority may
    see it where no source had one: two annotators who named different sources now agree.

    Takes ``label.set`` or ``label.adjudicated`` events as ``ledger.bodies`` gives them, and gives
    the same rows and columns; ``modes`` without repeats.
    """
    rows = labels.select("surface", "session_id", "modes").iter_rows()
    restated = [
        list(dict.fromkeys(now for mode in modes if (now := codebook.follow(surface, mode, name))))
        for surface, name, modes in rows
    ]
    return labels.with_columns(modes=pl.Series(restated, dtype=pl.List(pl.String)))


def count_restated(labels: pl.DataFrame, codebook: Codebook) -> pl.DataFrame:
    """Count what :func:`restate` changes; a mode that stays what it was is not listed.

    Gives ``surface, mode, becomes`` (null: it counts no longer), ``n_labels, n_sessions``.
    """
    named = labels.select("surface", "session_id", mode="modes").explode("mode").drop_nulls("mode")
    becomes = [
        codebook.follow(*row) for row in named.select("surface", "mode", "session_id").rows()
    ]
    return (
        named.with_columns(becomes=pl.Series(becomes, dtype=pl.String))
        .filter(pl.col("mode").ne_missing(pl.col("becomes")))
        .group_by("surface", "mode", "becomes")
        .agg(n_labels=pl.len().cast(pl.Int64), n_sessions=pl.col("session_id").n_unique())
        .with_columns(pl.col("n_sessions").cast(pl.Int64))
        .sort("surface", "mode", "becomes")
    )


def restate_verdicts(
    verdicts: pl.DataFrame, codebook: Codebook
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Say verdicts in the modes of a codebook.

    Those on a mode that was merged away are on the one that lives on. Those on one that was split
    are left out: they tell of no part, until an evaluator of its own has judged. What the codebook
    does not know stays as it is.

    Returns
    -------
    tuple of polars.DataFrame
        The verdicts, and what changed: ``surface, mode, becomes`` (null: counts no longer) and
        ``n_verdicts``.
    """
    ended = [
        (*key, codebook.follow(*key, None), True)
        for key, mode in codebook.modes.items()
        if mode.heirs
    ]
    heirs = pl.DataFrame(ended, schema=HEIRS, orient="row")
    joined = verdicts.join(heirs, on=["surface", "mode"], how="left", maintain_order="left")
    changed = joined.filter("ended").group_by("surface", "mode", "becomes")
    kept = joined.filter(pl.col("ended").is_null() | pl.col("becomes").is_not_null())
    restated = kept.with_columns(mode=pl.coalesce("becomes", "mode")).select(verdicts.columns)
    return restated, changed.agg(n_verdicts=pl.len().cast(pl.Int64)).sort("surface", "mode")


def with_verdicts(counted: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """Put what changed of verdicts beside what changed of labels: ``n_verdicts``, 0 where none."""
    key = ["surface", "mode", "becomes"]
    both = counted.join(changed, on=key, how="full", coalesce=True, nulls_equal=True)
    return both.with_columns(pl.col("^n_.*$").fill_null(0)).sort(key)


def history(events: pl.DataFrame) -> pl.DataFrame:
    """Tell the acts of the codebook in words, of events as ``ledger.events`` gives them.

    Gives :data:`HISTORY` in their order; ``surface`` is null for an undo, and ``stands`` false
    where a later one of these events undid it.
    """
    acts = read_acts(events)
    undone = find_undone(acts)
    rows = [
        {
            **{name: getattr(act, name) for name in ("seq", "at", "actor", "kind")},
            "surface": getattr(act.body, "surface", None),
            "what": SAID[act.kind].format(**_fields(act.body)),
            "reason": getattr(act.body, "reason", ""),
            "stands": act.seq not in undone,
        }
        for act in acts
    ]
    return pl.DataFrame(rows, schema=HISTORY)


def _fields(body: Body) -> dict[str, object]:
    """Give the fields of an act, lists as text."""
    named = {
        name: [getattr(each, "mode", each) for each in value]
        for name, value in body
        if isinstance(value, tuple | dict)
    }
    return dict(body) | {name: ", ".join(map(str, value)) for name, value in named.items()}
