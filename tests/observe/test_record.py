import datetime
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalbench.observe.record import (
    apply_columns,
    check_columns,
    from_json,
    prompt_tokens,
    resolve,
    to_json,
    to_microseconds,
    to_truth,
)
from evalbench.session.messages import read_value

NOON = 1_777_636_800_000_000


@pytest.mark.parametrize(
    "value",
    [
        "2026-05-01T12:00:00Z",
        "2026-05-01 12:00:00.000000",
        "2026-05-01T14:00:00+02:00",
        "2026-05-01T12:00:00.000000999Z",
        datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC),
        datetime.datetime(2026, 5, 1, 12),  # noqa: DTZ001 no zone means UTC
        NOON // 1_000_000,
        NOON // 1_000,
        NOON,
        NOON * 1_000,
        str(NOON * 1_000),
        float(NOON) / 1e6,
    ],
)
def test_a_time_is_read_in_every_spelling(value):
    assert to_microseconds(value) == NOON


@given(st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(9999, 1, 1)))  # noqa: DTZ001
def test_a_time_survives_its_iso_form(moment):
    moment = moment.replace(tzinfo=datetime.UTC)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    read = to_microseconds(moment.isoformat())
    assert epoch + datetime.timedelta(microseconds=read) == moment


@pytest.mark.parametrize("value", ["yesterday", True, [], float("inf"), "2026-13-01"])
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match="timestamp"):
        to_microseconds(value)


def test_input_tokens_take_the_reading_that_makes_the_total():
    assert prompt_tokens(100, 20, 120, 80) == 100  # cache reads are in the input
    assert prompt_tokens(20, 20, 120, 80) == 100  # they are not
    assert prompt_tokens(10, 20, 120, 80, 10) == 100  # neither reads nor writes are
    assert prompt_tokens(5, 845, 2023, None) == 5  # nothing explains the total
    assert prompt_tokens(20, 20, None, 80) == 20


def test_a_source_is_a_field_a_path_or_a_template():
    record = {"a.b": 1, "a": {"b": 2, "c": [{"d": "x"}]}, "text": '{"k": 3}', "t": 0}
    assert resolve(record, "a.b") == 1
    assert resolve(record, "a.c.0.d") == "x"
    assert resolve(record, "text.k") == 3
    assert resolve(record, "{t}-{a.c.0.d}") == "0-x"
    assert resolve(record, "{t}-{gone}") is None
    assert resolve(record, "a.c.7.d") is None


def test_mapped_values_are_read_as_their_column_s_type():
    span = {"segments": '{"locale":"de"}'}
    record = {"reward": 1.0, "when": "2026-05-01T12:00:00Z", "plan": "gold", "chars": "7", "id": 5}
    columns = {
        "outcome": "reward",
        "timestamp": "when",
        "segments.tier": "plan",
        "edited_chars": "chars",
        "group_key": "id",
        "release": "nowhere",
    }
    apply_columns(span, record, columns)
    assert span == {
        "outcome": True,
        "started_at": NOON,
        "edited_chars": 7,
        "group_key": "5",
        "segments": '{"locale":"de","tier":"gold"}',
    }


def test_a_mapped_value_of_another_type_is_refused():
    with pytest.raises(ValueError, match="outcome is neither true nor false"):
        apply_columns({}, {"reward": 0.5}, {"outcome": "reward"})


def test_a_map_to_no_column_is_refused():
    check_columns({"messages": "traj", "segments.tier": "tier", "success": "ok"})
    with pytest.raises(ValueError, match="no column"):
        check_columns({"sesion_id": "x"})
    with pytest.raises(ValueError, match="before end of string"):
        check_columns({"session_id": "{task"})


def test_values_that_json_cannot_hold_are_a_reason_not_a_crash():
    deep = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(ValueError, match="kept as JSON"):
        to_json(deep)
    with pytest.raises(ValueError, match="kept as JSON"):
        to_json("\ud800")


@given(st.text())
def test_text_that_is_not_json_stays_itself(text):
    value = from_json(text)
    assert value is text or text[:1] in ("{", "[", '"')


def test_a_long_text_is_no_python_literal():
    long = "[" + "'a', " * 200_000 + "]"
    start = time.process_time()
    assert from_json(long) is long
    assert read_value(long) is None
    assert time.process_time() - start < 0.5  # Python's parser takes 4 s


def test_a_python_literal_is_read_and_a_deep_one_is_left():
    assert from_json("{'a': None, 'b': [True]}") == {"a": None, "b": [True]}
    deep = "[" * 5000 + "'a'" + "]" * 5000
    assert from_json(deep) is deep


@pytest.mark.parametrize(
    ("value", "truth"), [(1, True), (0.0, False), ("no", False), ("Success", True), ("", None)]
)
def test_truth(value, truth):
    assert to_truth(value, "outcome") is truth
