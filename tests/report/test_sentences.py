"""The report's sentences say numbers with their interval, and "insufficient" aloud."""

import html

import polars as pl
import pytest

import evalbench as eb
from evalbench.label.annotation.markdown import render_markdown
from evalbench.operate.evidence import LIMITS, SAMPLE
from evalbench.operate.impact import SHIFTED
from evalbench.report import draws, sentences
from evalbench.report.glossary import READINGS, VERDICTS
from evalbench.schema import Design, QueueDrawn
from evalbench.stats.pooled.readings import CONFIRMED, IMPROVED, LIKELY, STEADY, UNKNOWN, WORSENED


@pytest.mark.parametrize(
    ("numbers", "how", "text"),
    [
        ((48.2, 31, 70.4), {}, "48 (31 to 70)"),
        ((0.8312, 0.7, 0.9), {"decimals": 2}, "0.83 (0.70 to 0.90)"),
        ((-12.3, -20, 3.1), {"signed": True}, "−12 (−20 to +3)"),
        ((-0.4, -1204, 0.2), {"signed": True}, "0 (−1,204 to 0)"),
        ((None, None, None), {}, "insufficient"),
        ((float("nan"), 0, 1), {}, "insufficient"),
    ],
)
def test_a_number_stands_with_its_interval(numbers, how, text):
    assert sentences.say_interval(*numbers, **how) == text


def test_every_reading_of_a_change_has_its_words():
    shown = {f"{how} {what}" for how in (CONFIRMED, LIKELY) for what in (IMPROVED, WORSENED)}
    assert set(READINGS) == set(VERDICTS) == shown | {STEADY, UNKNOWN}


def test_releases_whose_evaluators_err_otherwise_are_named():
    assert sentences.say_shifted(pl.DataFrame(schema=SHIFTED)) == ""
    rows = pl.DataFrame([("support_copilot", "2.0<b>")], schema=SHIFTED, orient="row")
    said = html.unescape(sentences.say_shifted(rows))
    assert said.startswith("In release 2.0<b> of Support copilot the evaluators err otherwise")
    assert "<" not in sentences.say_shifted(rows)


HOSTILE = "2.0<meta http-equiv=refresh content=0>[x](//evil.example)\n\n# h\u202e"
QUOTED = "2.0<meta http-equiv=refresh content=0>[x](//evil.example) # h⟦U+202E⟧"


def test_a_headline_shows_the_names_that_people_and_traces_gave_and_obeys_none():
    share = {"weight": "modes", "covered": 1.0, "of": 4.0, "share": 0.25}
    uncovered = pl.DataFrame({"name": [HOSTILE]})
    said = sentences.coverage_headline(pl.DataFrame([share]), uncovered)
    assert not set("<[]\u202e") & set(said)
    assert html.unescape(said).count(QUOTED) == 1


def test_no_line_of_a_specification_ends_its_block():
    block = sentences.write_block("yaml", "prompt: |\n  ```\n  ````\n  [x](//evil.example)\u202e")
    page = render_markdown(block)
    assert page.startswith("<pre><code>prompt")
    assert page.count("<") == 4
    assert "⟦U+202E⟧" in page


def test_every_limit_is_a_sentence():
    rows = [("shop", limit, 1, 2000, "thumbs") for limit in sentences.LIMITS]
    says = sentences.say_limits(pl.DataFrame(rows, schema=LIMITS, orient="row"))["says"]
    assert all(text.endswith(".") and "{" not in text for text in says)
    assert "Nobody recorded thumbs." in says[-1]


def test_a_draw_is_described_by_its_window_and_strata():
    design = Design(by=("release",), always=("reported",), evaluators=("judge",))
    draw = QueueDrawn(surface="shop", seed=1, design=design, lake_versions={}, items=())
    sample = pl.DataFrame([{"draw": 5}], schema=SAMPLE)
    [row] = sentences.say_sample(sample, {5: draw, 9: draw}).to_dicts()
    assert row["window"] == "any time"
    assert row["design"] == (
        "all that are reported; the rest by release, signals and whether an evaluator fails it;"
        " at least 5 a stratum"
    )


def test_modes_and_evaluators_are_named_and_foreign_ones_keep_their_names(workspace):
    definition = dict.fromkeys(("definition", "example", "owner"), "x")
    mode = {"mode": "rude", "surface": "shop", "name": "Is rude", "severity": "polish"}
    body = mode | definition | {"failure_class": "answer quality"}
    workspace.ledger.append("mode.defined", "rude", body)
    frame = pl.DataFrame(
        {"surface": "shop", "mode": ["any", "rude", "scale"], "evaluator_id": ["a", "b", "c"]}
    )
    named = sentences.name_rows(frame, eb.snapshot(workspace))
    assert named["name"].to_list() == ["Pass or fail", "Is rude", "scale"]
    assert named["who"].to_list() == ["Pass or fail (a)", "Is rude (b)", "scale (c)"]


def test_sources_name_the_state_of_both_stores(workspace):
    said = sentences.say_sources(eb.snapshot(workspace))
    assert said == "0 sessions. Lake versions: none; ledger up to event 0."


def test_coverage_names_what_weighs_most_of_the_rest():
    shares = [("modes", 1.0, 4.0, 0.25), ("severity", 9.0, 12.0, 0.75), ("x", 0.0, 0.0, None)]
    columns = ["weight", "covered", "of", "share"]
    coverage = pl.DataFrame(shares, schema=columns, orient="row")
    coverage = coverage.with_columns(pl.col("weight").replace({"x": "severity x frequency"}))
    uncovered = pl.DataFrame({"name": ["Is rude", "Is cold"]})
    assert sentences.coverage_headline(coverage, uncovered) == (
        "**1 of 4 failure modes are covered** (75% weighed by severity). Not covered, the heaviest"
        " first: Is rude, Is cold."
    )
    assert sentences.say_coverage(coverage)["said"].to_list() == ["25%", "75%", "not known"]
    assert "nothing an evaluator could cover" in sentences.coverage_headline(
        coverage.clear(), uncovered
    )


def test_a_draw_says_what_it_cannot_show():
    items = pl.DataFrame({"annotators": [2] * 12 + [1] * 188})
    said = draws.say_reach(items, 1978, margin=0.02, rate=0.05)
    assert "Too few to show a change of 20 per 1,000 sessions" in said
    assert "that 50 of 1,000 sessions have" in said
    assert "takes 1,978 before it and as many after" in said
    assert "12 sessions will be read by two people or more, and 30 are needed" in said
    enough = pl.DataFrame({"annotators": [2] * 2000})
    said = draws.say_reach(enough, 1978, margin=0.02, rate=0.05)
    assert said.startswith("Enough to show a change of 20 per 1,000")


def test_a_draw_says_what_is_open_between_failures_and_what_promotes_an_evaluator():
    rows = [("Is rude", 0.05, 0.03, 0.07), ("Is cold", 0.02, 0.01, 0.04), ("Lies", 0.01, 0.0, 0.02)]
    rates = pl.DataFrame(rows, schema=["name", "estimate", "low", "high"], orient="row")
    per = {
        f"{end}per_1000": pl.col(name) * 1000
        for end, name in (("", "estimate"), ("low_", "low"), ("high_", "high"))
    }
    rates = rates.with_columns(**per)
    said = draws.say_first(rates, rates.head(2), n_sessions=5000, level=0.95)
    assert "open between *Is rude*, 50 (30 to 70); *Is cold*, 20 (10 to 40) per 1,000" in said
    assert "stopping here leaves it open" in said
    assert "No reading" in draws.say_first(rates, rates.head(2), n_sessions=50, level=0.95)
    assert "is decided: *Is rude*" in draws.say_first(
        rates, rates.head(1), n_sessions=9, level=0.95
    )
    plan = {
        "evaluator_id": "j",
        "mode": "rude",
        "status": "insufficient",
        "why": "MCC 0.70",
        "aim": "aligned",
    }
    plan |= {"flagged": 60, "passed": 40, "assurance": 0.85, "dollars": 12.5}
    told = draws.say_promotion(pl.DataFrame([plan]), {"rude": "Is rude"})
    assert "100 more labels (60 of sessions that it fails, 40 that it passes) would show it" in told
    assert "costs about $12.50" in told
    few = draws.say_promotion(pl.DataFrame([plan | {"assurance": 0.4}]), {})
    assert "too few to show reliably" in few
