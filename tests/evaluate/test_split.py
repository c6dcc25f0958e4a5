"""The split is fixed for life, keeps groups together, and no test session teaches an evaluator."""

import polars as pl
import pytest

from evalbench.errors import EvaluatorError
from evalbench.evaluate.split import assign_split, require_train, with_split


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


def test_a_test_session_as_an_example_is_refused_by_name():
    rows = [{"surface": "support", "session_id": f"s{n}", "group_key": None} for n in range(40)]
    sides = {row["session_id"]: assign_split(*row.values()) for row in rows}
    train = [row for row in rows if sides[row["session_id"]] == "train"]
    require_train(train, use="few-shot example")
    leaked = next(row for row in rows if sides[row["session_id"]] == "test")
    with pytest.raises(EvaluatorError, match=f"{leaked['session_id']!r} of support is in the test"):
        require_train([*train, leaked], use="few-shot example")
