"""A simulated company whose true failure rates are known: the whole journey, without your data."""
