"""What is counted of failure modes over windows: sessions, labels and failures by verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalbench.stats._arguments import Floats, Integers
from evalbench.stats._resampling import ratio

FAILED, PASSED, SILENT = range(3)
"""What the evaluator says of a session; silent where there is no verdict."""
NO_EVALUATOR = -1


@dataclass(frozen=True, slots=True)
class Windows:
    """Counts of every mode of a surface in every window, windows in the order of time.

    ``sessions``, ``labels`` and ``failures`` are arrays (3, modes, windows), by what the evaluator
    says: fails, passes, no verdict. Labels are effective ones, of :func:`effective_labels`, and
    ``failures`` are those of them that people say fail. ``version`` (modes, windows) numbers the
    evaluator's version that judged, ``NO_EVALUATOR`` where none did; equal numbers of one mode
    share one calibration. ``doubt`` (modes, windows) is the variance of the failures among a
    window's labels where people err; None: they do not.
    """

    sessions: Floats
    labels: Floats
    failures: Floats
    version: Integers
    doubt: Floats | None = None

    def __post_init__(self) -> None:
        """Raise ValueError on arrays of other shapes, or counts that hold each other not."""
        shape = (3, *self.version.shape)
        for name in ("sessions", "labels", "failures"):
            table = getattr(self, name)
            if table.shape != shape:
                raise ValueError(
                    f"{name} must be of shape {shape} as version is, got {table.shape}"
                )
            wrong = table[~(table >= 0)]
            if wrong.size:
                raise ValueError(f"{name} must be numbers from 0 up, got {wrong[0]}")
        slack = 1e-9
        for small, large in (("failures", "labels"), ("labels", "sessions")):
            over = getattr(self, small) > getattr(self, large) + slack
            if over.any():
                raise ValueError(f"{small} must not exceed {large}, got {int(over.sum())} that do")

    def histories(self, mode: int) -> list[Integers]:
        """Return the windows of a mode by the evaluator's version, each in the order of time."""
        versions = self.version[mode]
        return [np.flatnonzero(versions == each) for each in dict.fromkeys(versions.tolist())]


def relative_risk(labels: Floats, failures: Floats) -> Floats:
    """Return how much more often than their mode's sessions those of each stratum fail.

    From (modes, windows, strata) labels and failures of one verdict to (strata,), shrunk to 1 by
    two failures. Shared over modes: learnt mode by mode it costs coverage (.90).
    """
    axes = tuple(range(1, labels.ndim))
    rate = failures.sum(axes, keepdims=True) / np.maximum(labels.sum(axes, keepdims=True), 1)
    over = tuple(range(labels.ndim - 1))
    risk: Floats = (failures.sum(over) + 2) / ((labels * rate).sum(over) + 2)
    return risk


def effective_labels(
    population: Floats, drawn: Floats, labels: Floats, failures: Floats, risk: Floats
) -> tuple[Floats, Floats]:
    r"""Return how many labels of a simple random draw those of a stratified one are worth.

    With weights :math:`w_h = N_h / n_h` and relative risks :math:`\rho_h`, the rate is
    :math:`r = \sum w x / \sum w n`, and :math:`n' = \sum w n \rho \sum w n / \sum w^2 n \rho`:
    Kish's effective number, with the variance of a rare failure in the place of a constant one.

    Parameters
    ----------
    population, drawn : (..., strata) arrays
        Sessions of each stratum and how many of them are labelled, whatever the verdict.
    labels, failures : (..., strata) arrays
        Labels of one verdict, and failures among them.
    risk : (strata,) array
        Of :func:`relative_risk`.

    Returns ``(labels, failures)``, each (...); both 0 where there is no label.
    Source: Kish (1965), Survey Sampling, ch. 11.
    """
    weight = ratio(population, drawn, 0.0)
    total = (weight * labels).sum(-1)
    n = ratio((weight * labels * risk).sum(-1) * total, (weight**2 * labels * risk).sum(-1), 0.0)
    return n, n * ratio((weight * failures).sum(-1), total, 0.0)
