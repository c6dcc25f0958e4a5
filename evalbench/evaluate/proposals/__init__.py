"""Proposals: the lightest evaluator that agrees with people."""
