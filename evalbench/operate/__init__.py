"""Operate: is production well, and did we make it better."""
