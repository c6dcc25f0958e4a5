"""What traffic is made of: told of each session, and read where a change is beyond tolerance."""

import make
import polars as pl
import pytest

from evalbench.observe.sampling.draw import SIGNALS
from evalbench.operate import drift


def make_traffic(n, german, *, prefix, reported=0.0):
    """Make sessions of users with three each; whole users write German."""
    user = pl.int_range(pl.len()) // 3
    spoken = user < german * n / 3
    english = "Where is the parcel that I have been waiting for since last week?"
    other = "Wo bleibt das Paket, auf das ich schon seit letzter Woche warte?"
    return make.sessions(*(f"{prefix}{at}" for at in range(n))).with_columns(
        group_key=pl.format(f"{prefix}{{}}", user),
        first_input=pl.when(spoken).then(pl.lit(other)).otherwise(pl.lit(english)),
        segments=pl.when(spoken).then(pl.lit('{"tier":"free"}')).otherwise(pl.lit("{}")),
        n_turns=pl.when(spoken).then(4).otherwise(2),
        n_tool_calls=0,
        reported=pl.int_range(pl.len()) < reported * n,
    )


def list_traits(sessions, **columns):
    calls = sessions.filter(pl.int_range(pl.len()) % 2 == 0)["session_id"]
    rows = [{"session_id": name, "span_id": name, "kind": "llm", "model": "m1"} for name in calls]
    spans = make.spans(*rows, surface="shop").with_columns(**columns)
    return drift.list_traits(sessions, spans.lazy(), SIGNALS)


def test_each_session_has_its_traits_and_what_was_not_recorded_has_no_row():
    traits = list_traits(make_traffic(30, 0.5, prefix="a"))
    shares = traits.group_by("trait", "value").len().sort("trait", "value").rows()
    assert ("language", "de", 15) in shares
    assert ("length in turns", "3 to 4", 15) in shares
    assert ("length in characters", "50 to 199", 30) in shares
    assert ("model", "m1", 15) in shares
    assert ("tier", "free", 15) in shares
    assert ("tool", "no tool", 30) in shares
    assert ("reported by the user", "no", 30) in shares
    assert "thumbs down" not in traits["trait"].to_list()
    assert traits["user"].n_unique() == 10


def test_a_change_is_read_only_where_all_of_its_interval_is_beyond_tolerance():
    before = list_traits(make_traffic(600, 0.1, prefix="a"))
    after = list_traits(make_traffic(600, 0.4, prefix="b", reported=0.01))
    found = drift.compare_mix(before, after, tolerance=0.05, level=0.95)
    german = found.row(by_predicate=pl.col("value") == "de", named=True)
    assert german["reading"] == "moved"
    assert german["shift"] == pytest.approx(0.3)
    assert 0.05 < german["shift_low"] < 0.3 < german["shift_high"]
    assert (german["n_before"], german["n_after"]) == (600, 600)
    readings = dict(found.select("trait", "reading").iter_rows())
    assert readings["model"] == "within tolerance"
    assert readings["reported by the user"] == "within tolerance"
    assert found["reading"][0] == "moved"
    assert found.filter(kind="signal")["value"].to_list() == ["yes"]
    wide = drift.compare_mix(before, after, tolerance=0.4, level=0.95)
    assert wide.filter(reading="moved").is_empty()
    same = drift.compare_mix(before, before, tolerance=0.0, level=0.95)
    assert same.filter(reading="moved").is_empty()


def test_another_model_is_a_change_of_all_sessions():
    sessions = make_traffic(300, 0.0, prefix="a")
    before, after = list_traits(sessions), list_traits(sessions, model=pl.lit("m2"))
    found = drift.compare_mix(before, after, tolerance=0.05, level=0.95).head(2)
    assert found.select("trait", "value", "shift").rows() == [
        ("model", "m1", -1),
        ("model", "m2", 1),
    ]


def test_few_users_tell_nothing_and_no_traffic_is_no_change():
    few, none = (
        list_traits(make_traffic(6, 0.5, prefix="a")),
        list_traits(make_traffic(0, 0, prefix="b")),
    )
    more = list_traits(make_traffic(6, 1.0, prefix="c"))
    found = drift.compare_mix(few, more, tolerance=0.05, level=0.95)
    assert set(found["reading"]) == {"cannot tell"}
    assert drift.compare_mix(few, none, tolerance=0.05, level=0.95).is_empty()
    with pytest.raises(ValueError, match="tolerance must be in"):
        drift.compare_mix(few, none, tolerance=1.0, level=0.95)
