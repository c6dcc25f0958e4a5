"""Grids of logits: probability mass on them, moves along them, quantiles."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from evalbench.stats._arguments import Floats, Integers

TINY = 1e-300


def normal_mass(grid: Floats, mean: float | Floats, deviation: float) -> Floats:
    """Return normal probability mass on a grid (..., points), summing to 1."""
    mass = np.exp(-0.5 * ((grid - mean) / deviation) ** 2) + TINY
    share: Floats = mass / mass.sum(-1, keepdims=True)
    return share


def kernel(grid: Floats, deviation: float) -> Floats:
    """Return (points, points): the mass of a normal step from each point of the grid."""
    return normal_mass(grid[None, :], grid[:, None], deviation)


def normalise(log_mass: Floats) -> Floats:
    """Return mass that sums to 1 over all points, of logarithms known up to a constant."""
    mass = np.exp(log_mass - log_mass.max())
    share: Floats = mass / mass.sum()
    return share


def quantiles(grid: Floats, mass: Floats, at: tuple[float, ...]) -> Floats:
    """Return the quantiles (..., at) of mass on an even grid, spread evenly within its bins."""
    step = grid[1] - grid[0]
    edges = np.append(grid - step / 2, grid[-1] + step / 2)
    total = np.cumsum(mass, -1).reshape(-1, len(grid))
    rows = [np.interp(at, np.append(0.0, row / row[-1]), edges) for row in total]
    return np.array(rows).reshape(*mass.shape[:-1], len(at))


def systematic(mass: Floats, n: int, rng: np.random.Generator) -> tuple[Integers, Floats]:
    """Draw ``n`` positions in proportion to mass, one in each n-th part of it, in random order.

    Gives beside each how far into its mass the lot fell, from 0 to 1.
    """
    total = np.cumsum(mass)
    lots = (np.arange(n) + rng.random(n)) / n * total[-1]
    positions = np.minimum(np.searchsorted(total, lots), len(total) - 1)
    order = rng.permutation(n)
    return positions[order], (1 - (total[positions] - lots) / mass[positions])[order]


def within(mass: Floats, rows: Integers, lots: Floats) -> Integers:
    """Return where each lot, from 0 to 1, falls in its row of mass (rows, points)."""
    drawn, place = np.unique(rows, return_inverse=True)
    total = np.cumsum(mass[drawn], axis=1)
    total /= total[:, -1:]
    total += np.arange(len(drawn))[:, None]
    positions = np.searchsorted(total.ravel(), place + lots) - place * mass.shape[1]
    points: Integers = np.clip(positions, 0, mass.shape[1] - 1)
    return points


def jitter(grid: Floats, positions: Integers, rng: np.random.Generator) -> Floats:
    """Return probabilities of logits spread evenly within their bins."""
    step = grid[1] - grid[0]
    share: Floats = expit(grid[positions] + step * (rng.random(positions.shape) - 0.5))
    return share
