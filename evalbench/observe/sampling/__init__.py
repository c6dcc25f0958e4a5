"""Which sessions people look at, each with the probability that it was drawn with."""
