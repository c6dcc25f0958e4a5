"""The rate of one mode from window to window, given what its evaluators are known to be."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evalbench.stats._arguments import Floats

from .drift import Drift
from .grids import TINY, normal_mass, normalise
from .priors import History, Priors, prior_of

MOVED = 0.3
"""Prior chance that a rate moved between two earlier windows; else it is the same."""


@dataclass(frozen=True)
class Posterior:
    """What the windows of a history say of its evaluator, and of the rate in each.

    ``given`` (windows, K, P) is the likelihood of a window's rate, given the K-th pair of the
    version's TPR and FPR; ``evidence`` (windows, K) is that of the pair; ``prior`` (K,) its mass.
    ``moves`` lead from the version's TPR and FPR to those of a window; ``own`` (windows,) is the
    posterior chance that the window's evaluator is unlike the others.
    """

    history: History
    rate: Floats
    prior: Floats
    moves: tuple[Floats, Floats]
    given: Floats
    evidence: Floats
    own: Floats

    def weight(self, *, without: tuple[int, ...] = (), bonus: Floats | float = 0.0) -> Floats:
        """Return the mass (K,) of the version's pairs, some windows left out."""
        kept = np.delete(np.log(self.evidence), without, axis=0)
        return normalise(kept.sum(0) + np.log(self.prior) + bonus)

    def masses(self) -> Floats:
        """Return the posterior mass (windows, P) of each window's rate."""
        mass = ((self.weight() / self.evidence)[:, None] @ self.given)[:, 0] * self.rate
        share: Floats = mass / mass.sum(1, keepdims=True)
        return share


def condition(history: History, priors: Priors, drift: Drift) -> Posterior:
    """Combine the windows of a history under the priors and the drift of the surface."""
    prior = prior_of(history, priors)
    rate = normal_mass(history.rate, *priors.rate)
    own = drift.own[history.windows][:, None, None]
    anywhere = prior.ravel() @ history.likelihood.reshape(len(own), prior.size, -1)
    moves = drift.kernels(history)
    near = move(history.likelihood, moves)
    given = near.reshape(len(near), -1, near.shape[-1])
    given *= 1 - own
    given += own * anywhere[:, None, :]
    evidence = given @ rate + TINY
    mass = prior.ravel() + TINY
    pairs = Posterior(history, rate, mass, moves, given, evidence, own.ravel())
    alone = (pairs.weight() / evidence).sum(1) * own.ravel() * (anywhere @ rate)
    return replace(pairs, own=alone * history.judged)


def move(likelihood: Floats, kernels: tuple[Floats, Floats]) -> Floats:
    """Return likelihoods (windows, T, F, P) of a version's TPR and FPR, of those of windows."""
    moves_t, moves_f = kernels
    flat = likelihood.reshape(*likelihood.shape[:2], -1)
    moved: Floats = moves_f @ (moves_t @ flat).reshape(likelihood.shape)
    return moved


@dataclass(frozen=True)
class Step:
    """The rate in two successive windows: mass (K, P) before, that of the pairs, and after.

    ``before`` (K, P) and ``pairs`` (K,) belong to the version that judged "after"; K is 1 where
    another version judged before.
    """

    posterior: Posterior
    at: int
    before: Floats
    pairs: Floats

    def joint(self, given: Floats | None = None) -> Floats:
        """Return the mass (P, P) of the rate before and after, ``given`` other likelihoods."""
        after = (self.posterior.given[self.at] if given is None else given) * self.posterior.rate
        if len(self.before) == 1:
            joint = np.outer(self.before, self.pairs @ after)
        else:
            joint = (self.before * self.pairs[:, None]).T @ after
        share: Floats = joint / joint.sum()
        return share


def follow(posteriors: list[Posterior]) -> list[Step]:
    """Follow one mode's rate through its windows; the steps from each window to the next."""
    place = {
        int(window): (posterior, at)
        for posterior in posteriors
        for at, window in enumerate(posterior.history.windows)
    }
    steps: list[Step] = []
    last: Posterior | None = None
    state, run, gained = np.empty(0), tuple[int, ...](), np.empty(0)
    for window in sorted(place):
        now, at = place[window]
        if last is None:
            expected = now.rate[None, :]
        elif now is last:
            pairs = now.weight(without=(*run, at), bonus=gained)
            steps.append(Step(now, at, state, pairs))
            expected = (1 - MOVED) * state + MOVED * now.rate
        else:
            known = (last.weight(without=run, bonus=gained) @ state)[None, :]
            steps.append(Step(now, at, known, now.weight(without=(at,))))
            expected = (1 - MOVED) * known + MOVED * now.rate
        if now is not last:
            run, gained = (), np.zeros(len(now.prior))
        state = now.given[at] * expected
        total = state.sum(1, keepdims=True) + TINY
        state /= total
        gained, run, last = gained + np.log(total[:, 0]), (*run, at), now
    return steps
