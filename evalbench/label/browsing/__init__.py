"""Sessions of a surface, found by what they say and how they went, and read whole."""
