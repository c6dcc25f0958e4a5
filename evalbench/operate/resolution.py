"""How long issues take from one state to another: also those that are not there yet."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from evalbench.operate.durations import median_time
from evalbench.operate.issues import SEVERITIES
from evalbench.schema import columns

RECORDED = "recorded"
"""Not a state: when an issue was opened here."""
STAGES = {
    "detected": ("observed", RECORDED),
    "confirmed": (RECORDED, "confirmed"),
    "fixed once confirmed": ("confirmed", "fix shipped"),
    "mitigated": ("observed", "fix shipped"),
    "verified": ("fix shipped", "verified"),
    "resolved": ("observed", "verified"),
    "recovered": ("regressed", "fix shipped"),
}
"""From which state to which each is timed: the first of the one, the first of the other after."""
RESOLUTION = columns(
    (pl.String, "stage severity"),
    (pl.Int64, "n done dropped open left_out"),
    (pl.Float64, "days days_low days_high level"),
    (pl.String, "method reason"),
)
"""``days`` is until half of the ``n`` issues are ``done``; those that will not be fixed never are.
``left_out`` were done before anybody opened them here, so how many there were is not known."""
_DAY = 86_400
_AT_ONCE = timedelta(minutes=1)
"""What is written together has moments of its own."""


def measure_resolution(
    moves: pl.DataFrame,
    *,
    start: datetime | None,
    end: datetime | None,
    now: datetime,
    level: float,
) -> pl.DataFrame:
    """Measure the median days of every stage as :data:`RESOLUTION`, by severity and for "all".

    An issue is followed from the ``start`` of the window, or from when it was opened here if that
    is later, to its ``end`` or ``now``.
    """
    now = max([now, *moves["recorded_at"]])  # the clock of the last event may be behind
    last = min(now, end) if end else now
    issues = [
        (rows["severity"][0], list(rows.select("state", "at", "recorded_at").iter_rows()))
        for _, rows in moves.group_by("issue", maintain_order=True)
    ]
    rows = []
    for stage, (first, then) in STAGES.items():
        for severity in ("all", *SEVERITIES):
            own = [steps for each, steps in issues if severity in ("all", each)]
            spells = [spell for steps in own if (spell := _find_spell(steps, first, then, last))]
            if spells or severity == "all":
                rows.append({"stage": stage, "severity": severity} | _measure(spells, start, level))
    return pl.DataFrame(rows, schema=RESOLUTION)


def _find_spell(
    steps: list[Any], first: str, then: str, last: datetime
) -> tuple[datetime, datetime, datetime, int] | None:
    """Return when an issue began, was followed, and ended: done (1), dropped (2) or not yet (0)."""
    opened = steps[0][2]
    told = [(state, at) for state, at, _ in steps]
    told = [told[0], (RECORDED, opened), *told[1:]]
    places = [place for place, (state, at) in enumerate(told) if state == first and at < last]
    if not places:
        return None
    begun, after = told[places[0]][1], [each for each in told[places[0] + 1 :] if each[1] <= last]
    followed = begun if then == RECORDED else max(begun, opened)
    done = [at for state, at in after if state == then]
    if done:
        return begun, followed, done[0], 1
    if after and after[-1][0] == "won't fix":
        return begun, followed, after[-1][1], 2
    return begun, followed, last, 0


def _measure(spells: list[Any], start: datetime | None, level: float) -> dict[str, Any]:
    late = [spell for spell in spells if spell[3] and spell[2] < spell[1] - _AT_ONCE]
    kept = [spell for spell in spells if spell not in late and not (start and spell[2] < start)]
    days = [
        [
            (moment - begun).total_seconds() / _DAY
            for moment in (max(followed, start or followed), max(at, followed))
        ]
        for begun, followed, at, _ in kept
    ]
    ended = [how for *_, how in kept]
    found = median_time(
        [at for _, at in days], ended, entry=[entry for entry, _ in days], level=level
    )
    row = {"n": len(kept), "left_out": len(late), "level": level, "method": found.method}
    row |= {"done": ended.count(1), "dropped": ended.count(2), "open": ended.count(0)}
    return row | found.cells("days") | {"reason": found.reason}
