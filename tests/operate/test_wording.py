"""The report's sentences say numbers with their interval, and "insufficient" aloud."""

import numpy as np
import polars as pl
import pytest

from evalbench.operate import wording
from evalbench.operate.evidence import SAMPLE
from evalbench.operate.impact import mode_rates, rates_table, release_changes


@pytest.fixture
def found(frame, labels, verdicts, modes):
    more = pl.concat([modes, modes.with_columns(mode=pl.lit("cold"), name=pl.lit("Is cold"))])
    rng = np.random.default_rng(3)
    return mode_rates(frame, labels, verdicts, more, level=0.95, rng=rng)


@pytest.fixture
def rates(found):
    return wording.say_rates(rates_table(found, quarter="all"))


@pytest.fixture
def changes(found, shipped):
    return wording.say_changes(release_changes(found, margin=0.9), shipped)


def test_rates_are_said_with_their_interval_or_as_insufficient(rates):
    assert rates["mode"].to_list() == ["rude", "cold"] * 2
    row = rates.row(0, named=True)
    assert row["said"] == (
        f"{row['per_1000']:.1f} ({row['low_per_1000']:.1f} to {row['high_per_1000']:.1f})"
    )
    assert rates["said"][1] == "insufficient"
    assert rates["release"].unique(maintain_order=True).to_list() == ["9", "10"]


def test_changes_carry_a_sign_and_whether_the_release_meant_them(changes):
    assert dict(changes.select("mode", "target").iter_rows()) == {"rude": "yes", "cold": ""}
    assert changes["mode"][0] == "rude"
    assert changes["said"][1] == "insufficient"
    low, high = (1000 * changes[name][0] for name in ("low", "high"))
    assert changes["said"][0] == f"0.0 ({low:+.1f} to {high:+.1f})"


def test_moments_pair_before_and_after_with_the_most_frequent_first(rates, changes):
    moments = wording.moments(rates, changes)
    assert moments["moment"].to_list() == ["before 10", "after 10"] * 2
    assert moments["name"].to_list() == ["Is rude", "Is rude", "Is cold", "Is cold"]
    assert moments["per_1000"][:2].to_list() == rates.filter(mode="rude")["per_1000"].to_list()
    assert moments["per_1000"][2:].null_count() == 2
    assert wording.without_pair(rates, changes).is_empty()
    assert wording.without_pair(rates, changes.clear()).equals(rates)


def test_the_headline_names_the_worst_mode_and_what_became_of_the_targets(rates, changes):
    sample = pl.DataFrame([{"surface": "shop", "n_labelled": 200}], schema=SAMPLE)
    said = wording.headline(rates, changes, sample)
    assert "**shop**, 200 sessions labelled" in said
    assert f"since release 10: *Is rude*, {rates.filter(release='10')['said'][0]}" in said
    assert "set out to fix *Is rude*: **no change shown**." in said
    assert "Elsewhere: 1 insufficient." in said
    alone = wording.headline(rates, changes.filter(target="yes"), sample)
    assert "Elsewhere" not in alone
    worse = changes.with_columns(
        reading=pl.lit("regression"), target=pl.lit(""), said=pl.lit("+9 (1 to 20)")
    )
    assert "Regressed: *Is rude*, +9 (1 to 20) per 1,000" in wording.headline(rates, worse, sample)
    nothing = wording.headline(rates.filter(mode="cold"), changes.clear(), sample)
    assert "Insufficient evidence" in nothing


def test_sources_name_the_pins(frame):
    said = wording.say_sources(frame, {"session": 3}, 12)
    assert said.startswith("400 sessions from 1 July 2026 to 17 July 2026 of shop.")
    assert said.endswith("Lake versions: session 3; ledger up to event 12.")
    undated = frame.with_columns(started_at=pl.lit(None, frame.schema["started_at"]))
    assert wording.say_sources(undated, {}, None) == "400 sessions of shop. Stores as of now."
