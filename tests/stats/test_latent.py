"""What sessions are, from readers who err: planted errors, the slow definition, refusals."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from evalbench.stats.latent import RATE, SENSITIVITY, SPECIFICITY, latent_truth

NOBODY = np.full(400, np.nan)


def read_twice(rng, n, rate=0.08, tpr=0.8, tnr=0.985):
    fails = rng.random(n) < rate
    return fails, rng.binomial(2, np.where(fails, tpr, 1 - tnr))


def test_chances_are_those_of_the_posterior_on_a_grid(rng):
    n_fail = np.repeat([2, 1, 0], [26, 22, 352])
    found = latent_truth([2] * 400, n_fail, ruling=NOBODY, verdict=NOBODY, rng=rng)
    axes = np.linspace(0.0, 0.3, 90)[1:], np.linspace(0.3, 1, 90)[1:-1], np.linspace(0.8, 1, 90)
    rate, tpr, tnr = np.meshgrid(*axes[:2], axes[2][1:-1], indexing="ij")
    log = beta.logpdf(rate, *RATE) + beta.logpdf(tpr, *SENSITIVITY)
    log += beta.logpdf(tnr, *SPECIFICITY)
    failing = {k: rate * binom.pmf(k, 2, tpr) for k in range(3)}
    both = {k: failing[k] + (1 - rate) * binom.pmf(k, 2, 1 - tnr) for k in range(3)}
    log += sum(np.log(both[k]) * (n_fail == k).sum() for k in range(3))
    weight = np.exp(log - log.max())
    for k in range(3):
        slow = (weight * failing[k] / both[k]).sum() / weight.sum()
        assert found.chance[n_fail == k] == pytest.approx(slow, abs=0.05)
    assert found.tpr.mean() == pytest.approx((weight * tpr).sum() / weight.sum(), abs=0.03)


def test_the_rate_and_the_readers_errors_are_those_planted(rng):
    n = 4000
    fails, n_fail = read_twice(rng, n)
    verdict = np.where(rng.random(n) < np.where(fails, 0.85, 0.03), 1.0, 0.0)
    found = latent_truth([2] * n, n_fail, ruling=np.full(n, np.nan), verdict=verdict, rng=rng)
    error = np.sqrt(fails.mean() * found.inflation / n)
    assert found.chance.mean() == pytest.approx(fails.mean(), abs=3 * error)
    for name, value in (("tpr", 0.8), ("tnr", 0.985)):
        low, high = np.quantile(getattr(found, name), [0.001, 0.999])
        assert low < value < high
    without_ties = (n_fail[n_fail != 1] == 2).mean()
    assert without_ties < fails.mean() - 3 * error


def test_a_ruling_and_a_verdict_move_a_tie_and_its_windows_rate(rng):
    n_fail = np.repeat([2, 1, 0], [40, 20, 340])
    ruling, verdict = NOBODY.copy(), NOBODY.copy()
    ruling[40:44], verdict[44:46] = [1, 1, 1, 0], [1, 0]
    how = {"ruling": ruling, "verdict": verdict, "rng": rng}
    window = np.arange(400) % 2
    ties = latent_truth([2] * 400, n_fail, window=window, **how).chance
    assert ties[40] > ties[46] > ties[43]
    assert ties[44] > ties[45]
    often = np.where((n_fail > 0) == (window == 1), 1, 0)  # all failures in one of two windows
    apart = latent_truth([2] * 400, n_fail, window=often, **how).chance
    assert apart[46] > ties[46]


def test_readers_who_always_agree_leave_no_doubt(rng):
    n_fail = np.repeat([2, 0], [60, 340])
    found = latent_truth([2] * 400, n_fail, ruling=NOBODY, verdict=NOBODY, rng=rng)
    assert found.chance == pytest.approx(n_fail / 2, abs=0.01)
    assert found.inflation == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("twice", "failing"), [(20, 20), (400, 9)])
def test_where_too_few_were_read_twice_the_vote_stands_and_it_is_said(rng, twice, failing):
    readers = np.where(np.arange(400) < twice, 2, 1)
    n_fail = np.where(np.arange(400) < failing, 1, 0)
    found = latent_truth(readers, n_fail, ruling=NOBODY, verdict=NOBODY, rng=rng)
    assert str(failing) in found.reason
    assert (found.inflation, found.tpr.size) == (1.0, 0)
    tied = (readers == 2) & (n_fail == 1)
    assert np.isnan(found.chance[tied]).all()
    assert (found.chance[~tied] == n_fail[~tied]).all()


def test_more_who_fail_than_read_is_refused(rng):
    with pytest.raises(ValueError, match="n_fail must not exceed n_readers, got 1"):
        latent_truth([1, 2], [2, 0], ruling=[np.nan] * 2, verdict=[np.nan] * 2, rng=rng)
