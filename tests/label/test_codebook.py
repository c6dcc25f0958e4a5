import polars as pl
from polars.testing import assert_frame_equal

from evalbench.label.codebook import modes


def test_the_highest_version_of_each_mode_counts_and_of_one_version_the_last_event():
    defined = pl.DataFrame(
        [
            (1, "support", "tone", "Tone", 1),
            (2, "support", "tone", "Wrong tone", 2),
            (3, "support", "tone", "Corrected late", 1),
            (4, "support", "facts", "Invented facts", 1),
            (5, "support", "facts", "Invented a fact", 1),
            (6, "review", "tone", "Rude", 1),
        ],
        schema=["seq", "surface", "mode", "name", "version"],
        orient="row",
    )
    before = defined.clone()
    assert modes(defined).select("surface", "mode", "name").rows() == [
        ("review", "tone", "Rude"),
        ("support", "facts", "Invented a fact"),
        ("support", "tone", "Wrong tone"),
    ]
    assert_frame_equal(defined, before)
    assert modes(defined.clear()).is_empty()
