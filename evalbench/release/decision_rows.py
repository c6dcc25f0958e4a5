"""The rows of a decision, measured on the same cases before and after."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evalbench.errors import ReleaseError
from evalbench.settings import DecisionRow
from evalbench.stats import gating

Arrays = NDArray[np.float64]
Pair = tuple[Arrays, Arrays]
"""Baseline and candidate, each (cases, repeats); null is nan."""
ANY, EACH, LATENCY, COST = "any", "each", "latency", "cost"
FEWEST = 30
"""Cases under which a bootstrap of latency or cost knows its error too little."""
SEVERITIES = ("safety", "user impact", "polish")
MEASURED = {LATENCY: "latency_p95_ms", COST: "cost_usd"}
TITLES = {LATENCY: "Slowest run's 95th percentile of latency", COST: "Cost per successful task"}


@dataclass(frozen=True)
class Sides:
    """What baseline and candidate did on the same ``cases``: by failure mode, and as measured."""

    cases: list[str]
    segments: list[Mapping[str, str]]
    fails: Mapping[str, Pair]
    measured: Mapping[str, Pair]


@dataclass(frozen=True)
class Row:
    """A row of the scorecard by its ``name``, with what it asks and what it shows."""

    name: str
    asked: DecisionRow
    evidence: gating.Evidence


def line_up(
    verdicts: pl.DataFrame,
    outputs: pl.DataFrame,
    segments: Mapping[str, Mapping[str, str]],
    *,
    baseline: str,
    candidate: str,
) -> Sides:
    """Line up verdicts and outputs by ``case`` and ``repeat``; ``segments`` stand before theirs."""
    both = [baseline, candidate]
    asked = pl.concat([verdicts.select("case", "repeat"), outputs.select("case", "repeat")])
    cases, repeats = (asked[name].unique().sort().to_list() for name in ("case", "repeat"))
    at_case, at_repeat = ({each: at for at, each in enumerate(all_)} for all_ in (cases, repeats))

    def place(rows: pl.DataFrame, value: str) -> Pair:
        filled = []
        for run in both:
            own = rows.filter(run=run)
            array = np.full((len(cases), len(repeats)), np.nan)
            where = [at_case[each] for each in own["case"]], [at_repeat[n] for n in own["repeat"]]
            array[where] = own[value].cast(pl.Float64).fill_null(np.nan).to_numpy()
            filled.append(array)
        return filled[0], filled[1]

    parts = verdicts.partition_by("mode", as_dict=True, maintain_order=True)
    noted = dict(outputs.filter(run=baseline).select("case", "segments").iter_rows())
    of_case = [json.loads(noted.get(case) or "{}") | dict(segments.get(case, {})) for case in cases]
    return Sides(
        cases,
        of_case,
        {str(mode): place(part, "fails") for (mode,), part in parts.items()},
        {name: place(outputs, column) for name, column in MEASURED.items()},
    )


def measure_rows(
    asked: Sequence[DecisionRow],
    sides: Sides,
    modes: pl.DataFrame,
    *,
    level: float,
    rng: np.random.Generator,
) -> list[Row]:
    """Measure each row; ReleaseError where nobody may judge what it asks, or two rows are one."""
    swaps = gating.draw_swaps(len(sides.cases), rng=rng)
    how: dict[str, Any] = {"level": level, "rng": rng}
    rows = [row for each in asked for row in _measure(each, sides, modes, swaps, how)]
    names = [row.name for row in rows]
    if double := next((name for name in names if names.count(name) > 1), ""):
        raise ReleaseError(f"two rows of the decision are {double!r}: leave one of them out")
    return rows


def combine(sides: Sides, modes: Sequence[str]) -> Pair:
    """Return whether any of some failure modes was seen: null where one is unknown, none seen."""
    stacked = [np.stack([sides.fails[mode][side] for mode in modes]) for side in (0, 1)]
    before, after = (
        np.where((each == 1).any(0), 1.0, np.where(np.isnan(each).any(0), np.nan, 0.0))
        for each in stacked
    )
    return before, after


def find_modes(metric: str, judged: pl.DataFrame) -> list[str]:
    """Find the failure modes that a metric is of; ``judged`` are those with a gating evaluator."""
    if metric in (ANY, EACH):
        return judged["mode"].to_list()
    if metric in SEVERITIES:
        return judged.filter(severity=metric)["mode"].to_list()
    return judged.filter(mode=metric)["mode"].to_list()


def _measure(
    asked: DecisionRow,
    sides: Sides,
    modes: pl.DataFrame,
    swaps: NDArray[np.bool_],
    how: dict[str, Any],
) -> Iterator[Row]:
    if asked.metric in MEASURED:
        yield Row(TITLES[asked.metric], asked, _measure_use(asked.metric, sides, modes, swaps, how))
        return
    wanted = find_modes(asked.metric, modes)
    if not wanted:
        raise ReleaseError(
            f"no gating evaluator judges {asked.metric!r}, which a row of {asked.owner} asks for:"
            " calibrate one with 07_calibrate, promote it and score the runs anew"
        )
    named = dict(modes.select("mode", "name").iter_rows())
    groups = [[mode] for mode in wanted] if asked.metric == EACH else [wanted]
    for group in groups:
        if asked.metric == ANY or asked.metric in SEVERITIES:
            what = "Any failure" if asked.metric == ANY else f"Any {asked.metric} failure"
        else:
            what = named[group[0]]
        for suffix, evidence in _measure_kind(asked, combine(sides, group), sides, swaps, how):
            yield Row(what + suffix, asked, evidence)


def _measure_kind(
    asked: DecisionRow, pair: Pair, sides: Sides, swaps: NDArray[np.bool_], how: dict[str, Any]
) -> Iterator[tuple[str, gating.Evidence]]:
    values = np.array([each.get(asked.by, "") for each in sides.segments])
    match asked.kind:
        case "rate":
            yield "", gating.paired_rate(*pair, swaps, **how)
        case "bound":
            level = how["level"]
            yield ": upper bound", gating.upper_bound(*pair, swaps, asked.limit, level=level)
        case "attack":
            yield ": no attack may succeed", gating.existence(*pair, swaps, level=how["level"])
        case "repeats":
            worst = [_fails_in_any(side, asked.repeats) for side in pair]
            title = f": in any of {asked.repeats} repeats"
            yield title, gating.paired_rate(worst[0], worst[1], swaps, **how)
        case "drop best":
            title = f": without the best {asked.by}"
            yield title, _measure_without_best(pair, values, swaps, how)
        case "segments":
            for value in sorted(set(values) - {""}) or [""]:
                own = np.flatnonzero(values == value) if value else np.array([], np.int64)
                title = f": {asked.by} {value}" if value else f": each {asked.by}"
                part = pair[0][own], pair[1][own]
                yield title, gating.paired_rate(*part, swaps[:, own], **how)


def _fails_in_any(side: Arrays, repeats: int) -> Arrays:
    """Return whether each case fails in any of its first repeats; unknown where it has too few."""
    first = side[:, :repeats]
    if first.shape[1] < repeats:
        return np.full(len(side), np.nan)
    return np.where(np.isnan(first).any(axis=1), np.nan, first.max(axis=1))


def _measure_without_best(
    pair: Pair, values: NDArray[np.str_], swaps: NDArray[np.bool_], how: dict[str, Any]
) -> gating.Evidence:
    """Compare without the segment that helps the candidate most, chosen anew in each replay."""
    codes = np.unique(values, return_inverse=True)[1]
    known = ~np.isnan(pair[0] + pair[1]).any(axis=1) & (values != "")
    before, after = (np.column_stack([side, codes])[known] for side in pair)

    def leave_out(old: Arrays, new: Arrays) -> Arrays:
        change, code = (new[..., :-1] - old[..., :-1]).mean(axis=-1), new[..., -1]
        rest = [code != each for each in np.unique(codes[known])]
        with np.errstate(divide="ignore", invalid="ignore"):
            found = [(change * own).sum(axis=-1) / own.sum(axis=-1) for own in rest]
        worst: Arrays = np.max(found, axis=0)
        return worst

    if len(set(codes[known])) < 2:
        return gating.nothing("there are fewer than two segments to compare", swaps, how["level"])
    found = gating.resampled(before, after, swaps[:, known], leave_out, **how)
    # A bootstrap of cases that did not turn knows no error; the interval of those left in does.
    parts = [np.flatnonzero(known & (codes != each)) for each in np.unique(codes[known])]
    rest = max(parts, key=lambda part: (pair[1][part] - pair[0][part]).mean())
    own = gating.paired_rate(pair[0][rest], pair[1][rest], swaps[:, rest], **how)
    low = min(found.estimate.low, own.estimate.low)
    high = max(found.estimate.high, own.estimate.high)
    estimate = replace(found.estimate, low=low, high=high, n=own.cases)
    return replace(own, estimate=estimate, worse=found.worse, replayed=found.replayed, change=None)


def _measure_use(
    metric: str, sides: Sides, modes: pl.DataFrame, swaps: NDArray[np.bool_], how: dict[str, Any]
) -> gating.Evidence:
    """Compare latency, the worst run's, or cost by successful task, as logarithms of ratios."""
    fails = combine(sides, modes["mode"].to_list())
    parts = [np.stack(both, axis=-1) for both in zip(sides.measured[metric], fails, strict=True)]
    used = [part if metric == COST else part[..., :1] for part in parts]
    known = ~np.isnan(used[0] + used[1]).any(axis=(1, 2))
    if (n := int(known.sum())) < FEWEST:
        why = f"{n} cases with {metric} on both sides; at least {FEWEST} are needed"
        return gating.nothing(why, swaps, how["level"])
    before, after = (part[known].reshape(known.sum(), -1) for part in used)

    def slowest(side: Arrays) -> Arrays:
        worst: Arrays = np.quantile(side, 0.95, axis=-2).max(axis=-1)
        return worst

    def by_success(side: Arrays) -> Arrays:
        cost: Arrays = side[..., 0::2].sum((-1, -2)) / (1 - side[..., 1::2]).sum((-1, -2))
        return cost

    used_by = slowest if metric == LATENCY else by_success

    def compare(old: Arrays, new: Arrays) -> Arrays:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(used_by(new)) - np.log(used_by(old))

    return gating.resampled(before, after, swaps[:, known], compare, is_ratio=True, **how)
