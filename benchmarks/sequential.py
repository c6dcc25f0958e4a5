"""Daily looks for a year: false alarms and days to a doubling, beside a weekly z-test."""

import json
import sys

import numpy as np

from evalbench.stats import alarm

STREAMS, YEAR, SESSIONS, RATE = 2000, 365, 200, 0.02
BASELINE = 28 * SESSIONS
CHANGE = 120
Z = 1.96
Z_STRICT = 3.1  # one-sided .05 shared by 52 weeks


def first_alarm(stream: np.ndarray, baseline: int) -> float:
    """Day after which the alarm is raised, infinity where it never is."""
    day = alarm(stream, [SESSIONS] * len(stream), baseline=(int(baseline), BASELINE)).day
    return np.inf if day is None else day + 1


def weekly_z_test(streams: np.ndarray, baseline: np.ndarray, z: float) -> np.ndarray:
    """Day after which a one-sided two-sample z-test of a week first exceeds ``z``."""
    weeks = streams.shape[1] // 7
    fails = streams[:, : weeks * 7].reshape(len(streams), weeks, 7).sum(axis=2)
    n, before = 7 * SESSIONS, baseline[:, None]
    pooled = (fails + before) / (n + BASELINE)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / BASELINE))
    beyond = (fails / n - before / BASELINE) / error > z
    return np.where(beyond.any(axis=1), (beyond.argmax(axis=1) + 1) * 7.0, np.inf)


def report(claim: str, value: float, target: str, peer: str, holds: bool) -> bool:
    line = {"claim": claim, "value": value, "target": target, "peer": peer, "holds": holds}
    print(json.dumps(line))
    return holds


def main() -> int:
    rng = np.random.default_rng(2026)
    baseline = rng.binomial(BASELINE, RATE, STREAMS)
    still = rng.binomial(SESSIONS, RATE, (STREAMS, YEAR))
    ours = np.array([first_alarm(*pair) for pair in zip(still, baseline, strict=True)])
    false_ours = float(np.isfinite(ours).mean())
    false_weekly, false_strict = (
        float(np.isfinite(weekly_z_test(still, baseline, z)).mean()) for z in (Z, Z_STRICT)
    )

    # The change comes on a day of the week of its own in each stream.
    doubled = still.copy()
    start = CHANGE + rng.integers(0, 7, STREAMS)
    after = np.arange(YEAR) >= start[:, None]
    doubled[after] = rng.binomial(SESSIONS, 2 * RATE, int(after.sum()))
    found = np.array([first_alarm(*pair) for pair in zip(doubled, baseline, strict=True)])
    tests = [weekly_z_test(doubled, baseline, z) for z in (Z, Z_STRICT)]
    late, late_weekly, late_strict = (
        np.median((days - start)[days > start]) for days in (found, *tests)
    )
    kept, kept_weekly, kept_strict = (float((days > start).mean()) for days in (found, *tests))
    holds = [
        report(
            f"false alarms in a year of daily looks, {STREAMS} streams without change",
            false_ours,
            "<= 0.05",
            f"weekly z-test at z > {Z}: {false_weekly:.3f}, at z > {Z_STRICT}: {false_strict:.3f}",
            false_ours <= 0.05,
        ),
        report(
            f"median days to a doubling of {RATE:.0%} at {SESSIONS} sessions a day, baseline of "
            f"{BASELINE} sessions, streams without an earlier false alarm ({kept:.1%})",
            float(late),
            "<= 14",
            f"weekly z-test at z > {Z}: {late_weekly:.0f}, on the {kept_weekly:.1%} left; "
            f"at z > {Z_STRICT}: {late_strict:.0f}, on {kept_strict:.1%}",
            bool(late <= 14),
        ),
    ]
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
