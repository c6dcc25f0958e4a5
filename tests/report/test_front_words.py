"""What a board reads first states the finding, and claims nothing without its interval."""

from datetime import UTC, datetime

import polars as pl
import pytest
from claim_lint import find_claims

from evalbench.operate.quarter import DECISIONS, FAILURES
from evalbench.report import front_words
from evalbench.report.plots import find_top, judge
from evalbench.stats.pooled.readings import CONFIRMED, IMPROVED, LIKELY, STEADY, UNKNOWN, WORSENED

GAIN, LIKELY_GAIN, LOSS = (
    f"{CONFIRMED} {IMPROVED}",
    f"{LIKELY} {IMPROVED}",
    f"{CONFIRMED} {WORSENED}",
)
TARGETS = pl.DataFrame(schema={"surface": pl.String, "mode": pl.String, "target": pl.Float64})


def failure(name, reading=None, severity="safety", **columns):
    row = {"surface": "support_copilot", "release": "2", "mode": name, "name": name, "owner": "ana"}
    row |= {"per_1000": 11.0, "low_per_1000": 2.0, "high_per_1000": 28.0, "watched": False}
    if reading not in (None, UNKNOWN):
        row |= {"delta": -0.04, "low": -0.056, "high": -0.022, "before": 0.05}
    return row | {"severity": severity, "reading": reading, "target": "", "evaluator": ""} | columns


def frame(*rows):
    return pl.DataFrame(rows, schema=FAILURES)


def say(failures, changes):
    asked = front_words.propose_decisions(failures, changes, TARGETS)
    return [
        front_words.say_headline(failures, changes),
        front_words.say_gain(changes),
        front_words.say_risk(failures, TARGETS, changes),
        front_words.say_decision(pl.DataFrame(schema=DECISIONS), asked),
        *asked,
        *(front_words.say_change(row) for row in failures.iter_rows(named=True)),
        *(front_words.say_step(row) for row in failures.iter_rows(named=True)),
    ]


def test_the_headline_counts_the_fixes_and_never_hides_safety():
    aimed = [failure(f"m{n}", how, "polish", target="yes") for n, how in enumerate([GAIN] * 2)]
    aimed += [failure("m2", LIKELY_GAIN, target="yes"), failure("m3", UNKNOWN, target="yes")]
    changes = frame(*aimed, failure("m4", LOSS, "polish"))
    assert front_words.say_headline(changes, changes) == (
        "Two fixes confirmed, one likely, one unproven; one failure got worse;"
        " no safety improvement is proven."
    )
    proven = changes.with_columns(severity=pl.lit("safety"))
    assert front_words.say_headline(proven, proven).endswith("two safety improvements are proven.")
    alone = frame(failure("rude"))
    nothing = changes.clear()
    assert front_words.say_headline(alone, nothing) == (
        "“rude” is the most frequent failure, 11 (2 to 28) of 1,000 sessions; nothing was released."
    )
    unknown = alone.with_columns(per_1000=None)
    assert "Too few" in front_words.say_headline(unknown, nothing)
    assert "Nothing is known" in front_words.say_headline(nothing, nothing)
    assert front_words.say_headline(
        alone, frame(failure("a", UNKNOWN, "polish", target="yes"))
    ) == ("No fix confirmed, one unproven.")


@pytest.mark.parametrize("reading", [GAIN, LIKELY_GAIN, LOSS, STEADY, UNKNOWN, None])
@pytest.mark.parametrize("target", ["yes", ""])
def test_no_sentence_claims_a_change_without_its_interval(reading, target):
    row = failure("rude", reading, target=target)
    for numbers in ({}, dict.fromkeys(("per_1000", "low_per_1000", "high_per_1000"))):
        failures = frame(row | numbers)
        said = say(failures, failures.filter(pl.col("reading").is_not_null()))
        # The headline counts; the sentence under it gives the numbers.
        assert [claim for text in said[1:] for claim in find_claims(text)] == []
        assert all(said)
    assert find_claims("It got better. 0% fail.") == ["It got better.", "0%"]


def test_risk_is_said_by_severity_then_what_got_worse_then_how_frequent():
    often = {"per_1000": 90.0, "low_per_1000": 70.0, "high_per_1000": 120.0}
    rows = [failure("frequent", severity="polish", **often), failure("rare")]
    failures = frame(*rows, failure("worse", LOSS), failure("no name", severity=None))
    ranked = front_words.rank_risks(failures)
    assert ranked["name"].to_list() == ["worse", "rare", "frequent", "no name"]
    held = pl.DataFrame([{"surface": "support_copilot", "mode": "worse", "target": 0.002}])
    said = front_words.say_risk(failures, held, failures)
    assert said == (
        "Most at risk: “worse” (safety, owner ana) in Support copilot, 11 (2 to 28) of 1,000"
        " sessions, target 2; no promoted evaluator watches it."
        " Got worse: “worse” in Support copilot, −40 (−56 to −22) per 1,000 sessions."
    )


def test_what_only_probably_got_worse_is_never_said_to_have_got_worse():
    perhaps = frame(
        failure("m", f"{LIKELY} {WORSENED}", "polish", delta=0.02, low=0.001, high=0.04)
    )
    headline = front_words.say_headline(perhaps, perhaps)
    assert "one failure probably got worse" in headline
    said = front_words.say_risk(perhaps, TARGETS, perhaps)
    assert said.endswith(
        " Probably got worse: “m” in Support copilot, +20 (+1 to +40) per 1,000 sessions."
    )


def test_what_is_on_record_stands_before_what_is_proposed():
    due = datetime(2026, 10, 14, tzinfo=UTC)
    row = {"decision": "d1", "text": "Hire a labeller.", "owner": "cleo", "due": due, "seq": 4}
    rows = pl.DataFrame([row | {"state": "overdue"}, row | {"state": "open"}], schema=DECISIONS)
    said = front_words.say_decision(rows, ["Other?"])
    assert said == "To decide: “Hire a labeller” (cleo, by 14 October 2026, overdue), and one more."
    assert front_words.say_decision(rows.clear(), ["Other?"]) == "To decide: other?"
    assert front_words.say_decision(rows.clear(), []) == "Nothing to decide."


def test_shares_and_rates_of_nothing_are_never_called_so():
    assert [front_words.say_share(each) for each in (None, 0, 0.004, 0.31, 0.999, 1)] == [
        "not recorded", "none", "under 1%", "31%", "over 99%", "all",
    ]  # fmt: skip
    assert front_words.say_rate(0.2, 0.0, 4.1) == "under 1 (0 to 4)"
    assert front_words.say_rate(None, None, None) == "cannot tell"


def test_the_title_names_quarter_and_products():
    quarters = ["2025Q4", "2026Q1", "2026Q2", "2026Q3"]
    say = front_words.say_kicker
    assert say(["a", "b", "c"], "2026Q3", quarters) == "AI quality, Q3 2026, three products"
    assert say(["shop"], "all", quarters) == "AI quality, Q4 2025 to Q3 2026, Shop"
    assert say([], "2026Q3", quarters) == "AI quality, Q3 2026, no sessions"
    assert say(["shop"], "all", []) == "AI quality, all sessions, Shop"


def test_colour_is_of_the_verdict_alone_and_scales_end_on_round_numbers():
    readings = (GAIN, LIKELY_GAIN, LOSS, STEADY, None)
    assert list(map(judge, readings)) == ["good", "good-likely", "bad", "open", "open"]
    assert [find_top(values) for values in ([], [2.2], [81], [110], [99.99])] == [
        10, 2.5, 100, 120, 100,
    ]  # fmt: skip
