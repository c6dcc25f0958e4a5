"""What the releases of a surface hold, counted for the joint model of their rates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evalbench.stats.latent import latent_truth
from evalbench.stats.pooled import (
    FAILED,
    NO_EVALUATOR,
    PASSED,
    SILENT,
    Windows,
    effective_labels,
    relative_risk,
)

SESSION_KEY = ["surface", "session_id"]
VERSION = ["evaluator_id", "evaluator_version"]
LEAST_JUDGED = 0.5
"""Share of a release's sessions that an evaluator must have judged to speak for it."""
_CELLS = {True: FAILED, False: PASSED}


@dataclass(frozen=True)
class SurfaceWindows:
    """The counts of one surface; windows are the ``releases`` that a draw covers.

    Arrays are (modes, windows): sessions that a draw could have picked, decided labels, users or
    tasks of these, and the share of sessions in strata that nobody read. ``evaluators`` name who
    judged.
    """

    releases: list[str]
    counts: Windows
    n_sessions: NDArray[np.int64]
    n_labels: NDArray[np.int64]
    n_groups: NDArray[np.int64]
    unread: NDArray[np.float64]
    evaluators: NDArray[np.str_]
    design_effect: float


def count_windows(
    frame: pl.DataFrame,
    labels: pl.DataFrame,
    verdicts: pl.DataFrame,
    modes: list[str],
    *,
    judged: float = 1.0,
    rng: np.random.Generator,
) -> SurfaceWindows:
    """Count one surface: sessions, labels and failures by release, mode and what its judge says.

    ``frame`` has the sessions that a draw covers in the order of their releases, with ``stratum``,
    ``drawn``, ``group_key`` and ``split``; ``labels`` what people decided, ``fails`` null where
    undecided, and ``n_annotators`` and ``n_fail`` where they are votes; ``verdicts`` have
    ``learnt``: whether the evaluator may have learnt from labels of the train split, which then say
    nothing of it.

    Where enough sessions were read twice, a label counts by the chance that the session fails, of
    :func:`~evalbench.stats.latent.latent_truth`, an undecided one too, and for as much less as that
    leaves open.

    Where several evaluators judge a mode, the one that agrees best with people leads (MCC over the
    labels that it has not learnt from), in each release by the version that judged most of it. One
    that judged under half of a release does not speak for it.
    """
    cells = frame.with_row_index("row").with_columns(
        window=pl.col("release").rle_id(),
        stratum=pl.col("stratum").str.replace_all(r"draw \d+: ", ""),
        group=pl.coalesce(pl.format("group {}", "group_key"), pl.format("{}", "session_id")),
    )
    releases = cells["release"].unique(maintain_order=True).to_list()
    window = cells["window"].to_numpy().astype(np.int64)
    stratum, group = (_number(cells[name]) for name in ("stratum", "group"))
    drawn = cells.filter("drawn")
    known = _spread(drawn, labels, modes, cells.height, "fails")
    says, versions, names, learnt = _lead(cells, verdicts, modes, known, LEAST_JUDGED * judged)
    chance, inflation, doubt = _doubt(drawn, labels, modes, known, says, learnt, window, rng)
    usable = ~np.isnan(chance) & ~learnt
    shape = (len(modes), len(releases), int(stratum.max(initial=-1)) + 1)
    tables = np.zeros((3, 3, *shape))  # what, cell, mode, release, stratum
    groups = np.zeros(shape[:2], dtype=np.int64)
    for mode in range(len(modes)):
        failing = np.where(usable[mode], chance[mode], 0.0)
        for what, counted in enumerate((1.0, 1.0 * usable[mode], failing)):
            np.add.at(tables[what, :, mode], (says[mode], window, stratum), counted)
        read = np.unique(np.stack([window, group])[:, usable[mode]], axis=1)
        groups[mode] = np.bincount(read[0], minlength=len(releases))
    population, read = tables[0].sum(0), tables[1].sum(0)
    effect = design_effect(known, window, group)
    return SurfaceWindows(
        releases=releases,
        counts=replace(_effective(tables, versions, effect, inflation), doubt=doubt),
        n_sessions=population.sum(-1).astype(np.int64),
        n_labels=read.sum(-1).astype(np.int64),
        n_groups=groups * int(cells["group_key"].is_not_null().any()),
        unread=(population * (read == 0)).sum(-1) / np.maximum(population.sum(-1), 1),
        evaluators=names,
        design_effect=effect,
    )


def design_effect(
    known: NDArray[np.float64], window: NDArray[np.int64], group: NDArray[np.int64]
) -> float:
    """Return by how much labels of one user or task count for less, over all modes and releases.

    The variance of sums of groups about each mode's rate in a release, over that of sessions; at
    least 1. ``known`` (modes, sessions) is 1 where people say that it fails, nan where unread.
    """
    between = within = 0.0
    for labels in known:
        read = ~np.isnan(labels)
        if not read.any():
            continue
        totals = np.bincount(window[read], labels[read])
        rates = totals / np.maximum(np.bincount(window[read]), 1)
        residual = labels[read] - rates[window[read]]
        units = np.unique(np.stack([window[read], group[read]]), axis=1, return_inverse=True)[1]
        between += float((np.bincount(units, residual) ** 2).sum())
        within += float((residual**2).sum())
    return max(between / within, 1.0) if within else 1.0


def _effective(
    tables: NDArray[np.float64],
    versions: NDArray[np.int64],
    effect: float,
    inflation: NDArray[np.float64],
) -> Windows:
    """Turn counts by stratum into effective labels; a release that was read whole keeps them all.

    But for what people left in doubt, the ``inflation`` (modes,). Modes with and without an
    evaluator have relative risks of their own.
    """
    sizes = tables[:2].sum(1)
    out = np.zeros(tables.shape[:4])
    out[0] = tables[0].sum(-1)
    judged = (versions != NO_EVALUATOR).any(1)
    for own in (judged, ~judged):
        for cell in range(3) if own.any() else ():
            _, labels, failures = tables[:, cell, own]
            risk = relative_risk(labels, failures)
            labelled = effective_labels(sizes[0, own], sizes[1, own], labels, failures, risk)
            out[1:, cell, own] = labelled
    unread = 1 - sizes[1].sum(-1) / np.maximum(sizes[0].sum(-1), 1)
    out[1:] /= inflation[:, None] * (1 + (effect - 1) * unread)
    out[1:] *= np.minimum(1, out[0] / np.maximum(out[1], 1e-9))  # weights may estimate more
    return Windows(out[0], out[1], out[2], versions)


def _number(column: pl.Series) -> NDArray[np.int64]:
    """Return the place of each value among the sorted distinct ones."""
    return (column.rank("dense").to_numpy() - 1).astype(np.int64)


def _spread(
    drawn: pl.DataFrame, labels: pl.DataFrame, modes: list[str], n: int, column: str
) -> NDArray[np.float64]:
    """Return what labels say in a column of each mode and session; nan where unread."""
    values, place = np.full((len(modes), n), np.nan), {mode: at for at, mode in enumerate(modes)}
    found = labels.drop_nulls(column).join(drawn.select(*SESSION_KEY, "row"), on=SESSION_KEY)
    for mode, row, value in found.select("mode", "row", column).iter_rows():
        values[place[mode], row] = value
    return values


def _doubt(
    drawn: pl.DataFrame,
    labels: pl.DataFrame,
    modes: list[str],
    known: NDArray[np.float64],
    says: NDArray[np.int64],
    learnt: NDArray[np.bool_],
    window: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the chance (modes, sessions) that each fails, and the inflation of labels (modes,).

    And the variance of the failures among the labels of each window (modes, windows).
    """
    chance, inflation = known.copy(), np.ones(len(modes))
    doubt = np.zeros((len(modes), int(window.max(initial=-1)) + 1))
    if "n_fail" not in labels.columns:
        return chance, inflation, doubt
    n = known.shape[1]
    votes = [_spread(drawn, labels, modes, n, each) for each in ("n_annotators", "n_fail")]
    for mode, own in enumerate(rng.spawn(len(modes))):
        read = np.flatnonzero(~np.isnan(votes[0][mode]))
        if not len(read):
            continue
        readers, failing, decided = votes[0][mode, read], votes[1][mode, read], known[mode, read]
        ruled = ~np.isnan(decided) & (np.sign(2 * failing - readers) != 2 * decided - 1)
        verdict = np.where(says[mode, read] == SILENT, np.nan, says[mode, read] == FAILED)
        found = latent_truth(
            readers,
            failing,
            ruling=np.where(ruled, decided, np.nan),
            verdict=np.where(learnt[mode, read], np.nan, verdict),
            window=window[read],
            rng=own,
        )
        if not found.reason:
            chance[mode, read], inflation[mode] = found.chance, found.inflation
            chances = np.nan_to_num(found.chances)
            sums = chances @ np.eye(doubt.shape[1])[window[read]]
            single = (chances * (1 - chances)).mean(0)
            doubt[mode] = sums.var(0) + np.bincount(window[read], single, doubt.shape[1])
    return chance, inflation, doubt


@dataclass(frozen=True)
class _Judge:
    """One version of an evaluator on one mode: what it says of each session, and how well."""

    name: str
    cell: NDArray[np.int64]
    learnt: bool
    agreement: float
    judged: NDArray[np.float64]


def _lead(
    cells: pl.DataFrame,
    verdicts: pl.DataFrame,
    modes: list[str],
    known: NDArray[np.float64],
    least: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_], NDArray[np.bool_]]:
    """Return who speaks for each mode: cells by session, versions and names by release.

    And, by session, whether the one who does may have learnt from its label.
    """
    window, train = cells["window"].to_numpy(), cells["split"].eq("train").to_numpy()
    sizes = np.bincount(window)
    says = np.full((len(modes), cells.height), SILENT)
    versions = np.full((len(modes), len(sizes)), NO_EVALUATOR)
    names = np.full((len(modes), len(sizes)), "", dtype=object)
    learnt = np.zeros((len(modes), cells.height), dtype=bool)
    latest = (
        verdicts.sort("judged_at", "repeat")
        .unique([*SESSION_KEY, "mode", *VERSION], keep="last", maintain_order=True)
        .join(cells.select(*SESSION_KEY, "row"), on=SESSION_KEY)
        .sort(*VERSION, "row")
    )
    for at, mode in enumerate(modes):
        parts = latest.filter(mode=mode).partition_by(VERSION, maintain_order=True)
        judges = [_read_judge(part, known[at], train, window, sizes) for part in parts]
        best: dict[str, float] = {}
        for judge in judges:
            best[judge.name] = max(judge.agreement, best.get(judge.name, -1.0))
        for release in range(len(sizes)):
            able = [
                (best[judge.name], judge.judged[release], number)
                for number, judge in enumerate(judges)
                if judge.judged[release] >= least
            ]
            if able:
                number, here = max(able)[2], window == release
                versions[at, release], names[at, release] = number, judges[number].name
                says[at, here] = judges[number].cell[here]
                learnt[at, here] = judges[number].learnt & train[here]
    return says, versions, names.astype(str), learnt


def _read_judge(
    part: pl.DataFrame,
    known: NDArray[np.float64],
    train: NDArray[np.bool_],
    window: NDArray[np.int64],
    sizes: NDArray[np.int64],
) -> _Judge:
    rows, learnt = part["row"].to_numpy(), bool(part["learnt"].any())
    cell = np.full(len(known), SILENT)
    cell[rows] = part["fails"].replace_strict(_CELLS, default=SILENT, return_dtype=pl.Int64)
    unseen = ~np.isnan(known) & (cell != SILENT) & ~(train & learnt)
    agreement = _mcc(known[unseen] == 1, cell[unseen] == FAILED)
    judged = np.bincount(window[rows], minlength=len(sizes)) / sizes
    return _Judge(part["evaluator_id"][0], cell, learnt, agreement, judged)


def _mcc(truth: NDArray[np.bool_], flagged: NDArray[np.bool_]) -> float:
    """Return how well an evaluator agrees with people; 0 where it or they say one thing only."""
    if truth.size == 0 or truth.all() or not truth.any() or flagged.all() or not flagged.any():
        return 0.0
    return float(np.corrcoef(truth, flagged)[0, 1])
