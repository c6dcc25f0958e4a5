"""Pure mathematics: arrays in, an :class:`~evalbench.stats.estimate.Estimate` out."""
