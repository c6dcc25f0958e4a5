"""Labels and verdicts of any time under the codebook of one time."""

import polars as pl

from evalbench.label.codebook.modes import Codebook
from evalbench.schema import columns

KEY = ["surface", "mode"]
HEIRS = columns((pl.String, "surface mode becomes"), (pl.Boolean, "ended"))


def restate(labels: pl.DataFrame, codebook: Codebook) -> pl.DataFrame:
    """Return labels or rulings, as events, in the modes of a codebook, without repeats.

    A merged mode becomes what it was merged into, a split one the part its session went to; one
    that is retired, a draft or unknown is left out. So over the same sessions parts add up to the
    former rate of a split mode, and of each annotator a merged one is the union of its sources; a
    majority may see it where no source had one.
    """
    rows = labels.select("surface", "session_id", "modes").iter_rows()
    restated = [
        list(dict.fromkeys(now for mode in modes if (now := codebook.follow(surface, mode, name))))
        for surface, name, modes in rows
    ]
    return labels.with_columns(modes=pl.Series(restated, dtype=pl.List(pl.String)))


def restate_verdicts(verdicts: pl.DataFrame, codebook: Codebook) -> pl.DataFrame:
    """Return verdicts in the modes of a codebook.

    Those on a merged mode are on the one that lives on; those on one that was split tell of no part
    and are left out. What the codebook does not know stays as it is.
    """
    joined = verdicts.join(_list_heirs(codebook), on=KEY, how="left", maintain_order="left")
    kept = joined.filter(pl.col("ended").is_null() | pl.col("becomes").is_not_null())
    return kept.with_columns(mode=pl.coalesce("becomes", "mode")).select(verdicts.columns)


def count_restated(
    labels: pl.DataFrame, verdicts: pl.DataFrame, codebook: Codebook
) -> pl.DataFrame:
    """Count labels and verdicts by what :func:`restate` makes of their mode (null: nothing)."""
    named = labels.select("surface", "session_id", mode="modes").explode("mode").drop_nulls("mode")
    rows = named.select(*KEY, "session_id").rows()
    becomes = pl.Series([codebook.follow(*row) for row in rows], dtype=pl.String)
    labelled = named.select(*KEY, becomes=becomes, n_labels=1, n_verdicts=0)
    judged = verdicts.join(_list_heirs(codebook), on=KEY).with_columns(n_labels=0, n_verdicts=1)
    changed = pl.concat([labelled, judged.select(labelled.columns)], how="vertical_relaxed")
    return (
        changed.filter(pl.col("mode").ne_missing(pl.col("becomes")))
        .group_by(*KEY, "becomes")
        .agg(pl.col("n_labels", "n_verdicts").cast(pl.Int64).sum())
        .sort(*KEY, "becomes")
    )


def _list_heirs(codebook: Codebook) -> pl.DataFrame:
    """List the modes that were merged or split, with what verdicts on them become."""
    ended = [
        (*key, codebook.follow(*key, None), True)
        for key, mode in codebook.modes.items()
        if mode.heirs
    ]
    return pl.DataFrame(ended, schema=HEIRS, orient="row")
