"""Failure modes, and everything people decided about them."""
