"""The split is fixed for life and keeps groups together."""

import polars as pl

from evalbench.evaluate.split import assign_split, with_split


def test_it_is_fixed_for_life():
    sides = [assign_split("support", f"s{number}", None) for number in range(8)]
    assert "".join(side[1] for side in sides) == "eererrrr"


def test_a_group_is_on_one_side_and_half_of_them_are_kept_for_the_test():
    frame = pl.DataFrame({"session_id": [f"s{n}" for n in range(4000)]}).with_columns(
        surface=pl.lit("support"), group_key=pl.format("u{}", pl.int_range(pl.len()) // 2)
    )
    split = with_split(frame)
    assert split.select("group_key", "split").n_unique() == 2000
    assert abs((split["split"] == "test").mean() - 0.5) < 0.04
    assert frame.columns == ["session_id", "surface", "group_key"]
