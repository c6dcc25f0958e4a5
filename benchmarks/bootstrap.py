"""Resampling speed: count-based draws beside scipy, scikit-learn and krippendorff, in one run.

Peers that take minutes are timed on fewer resamples and scaled in proportion; the claim says so.
"""

import json
import sys
import time
from collections.abc import Callable

import krippendorff
import numpy as np
from scipy import stats
from sklearn.metrics import matthews_corrcoef

from evalbench.stats import agreement, alignment
from evalbench.stats.agreement import DRAWS

RESAMPLES = 10_000
ALPHA_RESAMPLES = 1_000
ITEMS, ANNOTATORS, MODES = 10_000, 5, 50


def seconds(call: Callable[[], object], times: int = 5) -> float:
    """Fastest of some runs: what else the machine does only adds."""
    elapsed = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        elapsed.append(time.perf_counter() - start)
    return min(elapsed)


def pairs(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.random(n) < 0.1
    verdict = np.where(truth, rng.random(n) < 0.8, rng.random(n) < 0.05)
    return truth.astype(np.int64), verdict.astype(np.int64)


def mcc_of_rows(truth: np.ndarray, verdict: np.ndarray, axis: int = -1) -> np.ndarray:
    tp = (truth * verdict).sum(axis=axis)
    n, t, v = truth.shape[axis], truth.sum(axis=axis), verdict.sum(axis=axis)
    return (n * tp - t * v) / np.sqrt(1.0 * t * v * (n - t) * (n - v))


def report(claim: str, value: float, target: str, peer: str, holds: bool) -> bool:
    line = {
        "claim": claim,
        "value": float(f"{value:.4g}"),
        "target": target,
        "peer": peer,
        "holds": bool(holds),
    }
    print(json.dumps(line), flush=True)
    return bool(holds)


def alignment_claims(rng: np.random.Generator) -> list[bool]:
    holds, ours = [], {}
    for n in (200, 20_000, 200_000):
        truth, verdict = pairs(n, rng)
        ours[n] = seconds(lambda t=truth, v=verdict: alignment(t, v, rng=rng), 9)
        claim = f"ms for MCC and six more with {RESAMPLES} resamples, n = {n}"
        holds.append(report(claim, ours[n] * 1e3, "< 15", "none", ours[n] < 0.015))

    truth, verdict = pairs(20_000, rng)
    few = RESAMPLES // 100

    def scipy_bootstrap() -> None:
        stats.bootstrap(
            (truth, verdict),
            mcc_of_rows,
            n_resamples=few,
            paired=True,
            vectorized=True,
            batch=20,
            method="percentile",
            rng=rng,
        )

    def scikit_learn_loop() -> None:
        for _ in range(few // 10):
            rows = rng.integers(0, len(truth), len(truth))
            matthews_corrcoef(truth[rows], verdict[rows])

    for name, call, share, target in (
        ("scipy.stats.bootstrap, vectorised in batches", scipy_bootstrap, 100, 200),
        ("a loop over sklearn.metrics.matthews_corrcoef", scikit_learn_loop, 1000, 2000),
    ):
        peer = seconds(call, 2) * share
        ratio = peer / ours[20_000]
        claim = f"times faster at n = 20000; the peer timed on 1/{share} of {RESAMPLES} resamples"
        holds.append(
            report(claim, ratio, f">= {target}", f"{name}: {peer:.1f} s scaled", ratio >= target)
        )

    truth, verdict = pairs(100_000, rng)
    groups = np.repeat(np.arange(5_000), 20)
    grouped = seconds(lambda: alignment(truth, verdict, groups=groups, rng=rng))
    claim = f"s for MCC and six more, {RESAMPLES} resamples, 5000 groups of 20"
    return [*holds, report(claim, grouped, "< 0.5", "none", grouped < 0.5)]


def agreement_claim(rng: np.random.Generator) -> bool:
    truth = rng.random((MODES, ITEMS, 1)) < 0.1
    guess = rng.random((MODES, ITEMS, ANNOTATORS)) < 0.1
    careful = rng.random((MODES, ITEMS, ANNOTATORS)) < 0.85
    labels = np.where(careful, truth, guess).astype(np.int64)
    item, annotator = (index.ravel() for index in np.indices((ITEMS, ANNOTATORS)))

    def ours() -> None:
        for mode in labels:
            agreement(item, annotator, mode.ravel(), categories=[0, 1], rng=rng)

    timed = 3

    def peer() -> None:
        for _ in range(timed):
            rows = labels[0][rng.integers(0, ITEMS, ITEMS)]
            krippendorff.alpha(reliability_data=rows.T, level_of_measurement="nominal")

    fast = seconds(ours)
    one_label = seconds(peer) * ALPHA_RESAMPLES / timed
    ratio = one_label * MODES / fast
    return report(
        f"times faster for alpha of {MODES} labels, {ITEMS} items x {ANNOTATORS} annotators: "
        f"{fast:.2f} s with {DRAWS} draws, kappa and AC1 too; the peer timed on {timed} "
        f"resamples of one label and scaled to {ALPHA_RESAMPLES} of each",
        ratio,
        ">= 300",
        f"resampled rows and krippendorff.alpha: {one_label:.0f} s a label",
        ratio >= 300,
    )


def main() -> int:
    rng = np.random.default_rng(2026)
    return 0 if all([*alignment_claims(rng), agreement_claim(rng)]) else 1


if __name__ == "__main__":
    sys.exit(main())
