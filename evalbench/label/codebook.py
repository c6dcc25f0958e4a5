"""The codebook: the failure modes that annotators label by."""

from __future__ import annotations

import polars as pl


def modes(defined: pl.DataFrame) -> pl.DataFrame:
    """Fold definitions into the codebook as it stands.

    Parameters
    ----------
    defined : polars.DataFrame
        ``mode.defined`` events as ``ledger.bodies`` gives them: seq and the fields of
        :class:`evalbench.schema.ModeDefined`.

    Returns
    -------
    polars.DataFrame
        The same columns; of each surface and mode the highest version, and of one version the last
        event. Sorted by surface and mode.
    """
    return (
        defined.sort("version", "seq")
        .unique(["surface", "mode"], keep="last")
        .sort("surface", "mode")
    )
