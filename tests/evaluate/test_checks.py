import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks import read_check, run_check
from evalbench.evaluate.checks.base import Check
from evalbench.evaluate.checks.grounding import NUMBER, read_number
from evalbench.evaluate.finding import Finding
from evalbench.session import Session

ORDER = {
    "type": "object",
    "required": ["order"],
    "properties": {"order": {"type": "string", "pattern": "^R-[0-9]+$"}},
}
POLICY = {"policy-7": "Refunds of 1,234.50 dollars are paid within 14 days, at 12% interest."}
STATUS = ("get_order", '{"order": "R-1"}', '{"total": 86.4, "arrives": "2026-11-23"}')

CASES = {
    "output schema": (
        {"check": "output_schema", "json_schema": ORDER},
        {"answer": '{"order": "X-1"}'},
        {"answer": '{"order": "R-17"}'},
        {"answer": None},
    ),
    "output that is not JSON": (
        {"check": "output_schema", "json_schema": ORDER},
        {"answer": "It is on its way."},
        {"answer": '{"order": "R-17", "more": 1}'},
        {"answer": None},
    ),
    "tool schema": (
        {"check": "tool_schema", "tool": "get_order", "json_schema": ORDER},
        {"calls": [STATUS, ("get_order", '{"id": 1}', "")]},
        {"calls": [STATUS, ("refund", '{"id": 1}', "")]},
        {"calls": [("refund", "{}", "")]},
    ),
    "tool not allowed": (
        {"check": "tool_not_allowed", "allowed": ["get_order"]},
        {"calls": [STATUS, ("refund", "{}", "")]},
        {"calls": [STATUS]},
        None,
    ),
    "tool missing": (
        {"check": "tool_missing", "tools": ["get_order", "refund"]},
        {"answer": "Refunded!", "calls": [STATUS]},
        {"calls": [STATUS, ("refund", "{}", "")]},
        None,
    ),
    "tool repeated": (
        {"check": "tool_repeated", "times": 2},
        {"calls": [("find", '{"a": 1, "b": 2}', "-"), ("find", '{"b":2,"a":1}', "-")]},
        {"calls": [("find", '{"a": 1}', "-"), ("find", '{"a": 2}', "-"), ("get", '{"a": 1}', "-")]},
        None,
    ),
    "forbidden pattern": (
        {"check": "pattern_found", "pattern": "(?i)guarantee[ds]?"},
        {"answer": "We Guarantee it."},
        {"answer": "We hope so."},
        {"answer": None},
    ),
    "required pattern": (
        {"check": "pattern_missing", "pattern": r"R-\d+", "place": "tool_results"},
        {"answer": "R-1", "calls": [STATUS]},
        {"calls": [("get_order", "", "R-8 is late")]},
        {"answer": "R-1"},
    ),
    "citation missing": (
        {"check": "citation_missing"},
        {"answer": "Within 14 days ([see here](a)).", "documents": POLICY},
        {"answer": "Within 14 days [policy-7].", "documents": POLICY},
        {"answer": "Within 14 days."},
    ),
    "citation unknown": (
        {"check": "citation_unknown"},
        {"answer": "Within 14 days [policy-7; policy-8].", "documents": POLICY},
        {"answer": "Within 14 days [POLICY-7][1].", "documents": POLICY},
        {"answer": "Within 14 days [policy-7]."},
    ),
    "citation of another form": (
        {"check": "citation_unknown", "pattern": r"source: ([\w-]+)"},
        {"answer": "14 days (source: policy-9).", "documents": POLICY},
        {"answer": "14 days (source: policy-7).", "documents": POLICY},
        {"answer": "14 days [policy-9].", "documents": POLICY},
    ),
    "number unsupported": (
        {"check": "number_unsupported"},
        {"answer": "You get $1,234.60 in 14 days.", "documents": POLICY},
        {
            "answer": "1. You get 1234.5 USD, 0.12 more, by 23.",
            "documents": POLICY,
            "calls": [STATUS],
        },
        {"answer": "You get $99 in 14 days."},
    ),
    "retrieval recall": (
        {"check": "retrieval_recall", "least": 0.5},
        {"question": "When does the parcel arrive?", "documents": POLICY},
        {"question": "Refunds paid within days?", "documents": POLICY},
        {"question": "When does the parcel arrive?"},
    ),
    "retrieval precision": (
        {"check": "retrieval_precision", "least": 0.6},
        {"question": "Refunds paid?", "documents": {**POLICY, "b": "Opening hours of shops"}},
        {"question": "Refunds paid?", "documents": {**POLICY, "b": "How refunds work"}},
        {"question": "Refunds paid?", "documents": {}},
    ),
    "context used": (
        {"check": "context_used", "least": 0.5},
        {"answer": "Parcels travel quickly nowadays.", "documents": POLICY},
        {"answer": "Refunds are paid within days.", "documents": POLICY},
        {"answer": "Refunds are paid within days."},
    ),
    "the user's language": (
        {"check": "language"},
        {
            "question": "Wo ist meine Bestellung, bitte? Ich warte seit Montag.",
            "answer": "Your order is on its way and will arrive tomorrow.",
        },
        {
            "question": "Wo ist meine Bestellung, bitte? Ich warte seit Montag.",
            "answer": "Ihre Bestellung ist unterwegs und kommt morgen an.",
        },
        {"question": "Hm?", "answer": "Your order is on its way and will arrive tomorrow."},
    ),
    "a set of languages": (
        {"check": "language", "expected": ["en", "de"]},
        {"answer": "Su pedido fue enviado ayer y llegará mañana por la tarde."},
        {"answer": "Your order was sent yesterday and will arrive tomorrow."},
        {"answer": "OK"},
    ),
    "refusal in words": (
        {"check": "refusal", "phrases": ["leider nicht (möglich)"]},
        {"answer": "Das ist Leider nicht (möglich)."},
        {"answer": "I can help you with that; I will provide it."},
        {"answer": None},
    ),
    "refusal recorded": (
        {"check": "refusal"},
        {"answer": "No.", "refused": True},
        {"answer": "Yes.", "refused": False},
        {"answer": None},
    ),
    "personal data": (
        {"check": "personal_data", "kinds": ["EMAIL"], "except_given": True},
        {"question": "I am <EMAIL_11111>", "answer": "Ask <EMAIL_22222>."},
        {"question": "I am <EMAIL_11111>", "answer": "<EMAIL_11111>, call <PHONE_33333>"},
        {"answer": None},
    ),
    "personal data that was not redacted": (
        {"check": "personal_data", "kinds": ["EMAIL", "PHONE"], "except_given": True},
        {"question": "I am ana@example.com", "answer": "Ask Bo@Example.com."},
        {"question": "I am ana@example.com", "answer": "Ana@example.com from 10.1.2.3"},
        {"answer": None},
    ),
    "bound above": (
        {"check": "bound", "measure": "cost_usd", "most": 0.5},
        {"cost_usd": 0.51},
        {"cost_usd": 0.5},
        {},
    ),
    "bound below": (
        {"check": "bound", "measure": "completion_tokens", "least": 5, "most": 9},
        {"completion_tokens": 4},
        {"completion_tokens": 9},
        {},
    ),
    "escalation missing": (
        {
            "check": "escalation_missing",
            "when": {"check": "pattern_found", "pattern": "lawyer", "place": "user"},
            "tools": ["hand_over"],
        },
        {"question": "I call my lawyer", "answer": "Please do."},
        {"question": "I call my lawyer", "calls": [("hand_over", "{}", "ok")]},
        {"question": None, "answer": "Hello"},
    ),
    "escalation recorded": (
        {
            "check": "escalation_missing",
            "when": {"check": "pattern_found", "pattern": "lawyer", "place": "user"},
        },
        {"question": "I call my lawyer", "escalated": False},
        {"question": "I call my lawyer", "escalated": True},
        {"question": "I call my lawyer"},
    ),
}


@pytest.mark.parametrize(("parameters", "bad", "good", "empty"), CASES.values(), ids=list(CASES))
def test_each_check_fails_passes_and_says_where_there_is_nothing(
    make_session, parameters, bad, good, empty
):
    if empty is None:
        nothing = replace(make_session("hello"), turns=())
    else:
        nothing = make_session(**empty)
    sessions = [make_session(**bad), make_session(**good), nothing]
    found = [run_check(parameters, session) for session in sessions]
    assert [each.fails for each in found] == [True, False, None], [each.rationale for each in found]
    assert all(each.rationale for each in found)
    assert found[2].rationale.startswith("nothing to check")
    assert found[0].evidence, "a failure quotes what shows it"
    for piece in found[0].evidence:
        turn = sessions[0].turns[piece["turn"] - 1]
        assert piece["span_id"] in (turn.span_id, *(call.span_id for call in turn.calls))
        assert piece["quote"] in "\n".join(turn.text_lines())


def test_evidence_names_the_words_and_the_span(make_session):
    session = make_session("It costs $99.90 or 42%.", calls=[STATUS])
    found = run_check({"check": "number_unsupported"}, session)
    assert [each["quote"] for each in found.evidence] == ["$99.90", "42%"]
    assert {each["span_id"] for each in found.evidence} == {"2-llm"}
    assert found.rationale == "in no source: $99.90, 42%"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,234.50", "1234.5"),
        ("1.234,50", "1234.5"),
        ("1'234", "1234"),
        ("1\u202f234,5", "1234.5"),
        ("1,234,567", "1.234.567"),
        ("12 %", "0.12"),
        ("€ 7", "7.00"),
        ("007", "7"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_numbers_are_the_same_however_they_are_written(one, other):
    read = [read_number(NUMBER.fullmatch(text)) for text in (one, other)]
    assert read[0] & read[1]


@pytest.mark.parametrize(("one", "other"), [("1,234.50", "1,234.51"), ("12%", "13"), ("1.5", "15")])
def test_other_numbers_stay_other(one, other):
    read = [read_number(NUMBER.fullmatch(text)) for text in (one, other)]
    assert not read[0] & read[1]


@given(st.decimals(min_value=0, max_value=10**9, places=2))
def test_every_number_is_read_as_itself_with_thousands_marked(value):
    plain, marked = (NUMBER.fullmatch(f"{value:{form}}") for form in ("f", ",f"))
    assert value in read_number(plain)
    assert value in read_number(marked)


@given(st.text())
def test_a_number_of_any_form_is_read(text):
    assert all(read_number(match) for match in NUMBER.finditer(text))


class Planted(Check):
    """Finds what it is told to."""

    check: str = "planted"
    found: bool | None

    def _look(self, session: Session) -> Finding:
        return Finding(self.found, rationale=f"told {self.found}")


def _join(name, parts):
    built = read_check({"check": name, "of": [{"check": "refusal"}]})
    return built.model_copy(update={"of": tuple(parts)})


def _turn(part):
    built = read_check({"check": "not", "of": {"check": "refusal"}})
    return built.model_copy(update={"of": part})


EMPTY = Session("support", "s", {})


@given(st.lists(st.sampled_from([True, False, None]), min_size=1))
def test_all_any_and_not_keep_the_laws_of_three_valued_logic(values):
    parts = [Planted(found=value) for value in values]
    any_of, all_of = (_join(name, parts).find(EMPTY).fails for name in ("any", "all"))
    turned = _turn(_join("all", [_turn(part) for part in parts])).find(EMPTY).fails
    assert any_of is turned  # De Morgan
    assert any_of is (True if True in values else None if None in values else False)
    assert all_of is (False if False in values else None if None in values else True)
    assert _turn(_turn(parts[0])).find(EMPTY).fails is values[0]


def test_a_joined_check_tells_what_decided(make_session):
    parts = [
        {"check": "pattern_found", "pattern": "sorry"},
        {"check": "tool_missing", "tools": ["refund"]},
    ]
    found = run_check({"check": "any", "of": parts}, make_session("so sorry", calls=[STATUS]))
    assert found.rationale == "'sorry' is in final_output; not called: refund"
    assert [piece["quote"] for piece in found.evidence] == ["sorry", "so sorry"]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"check": "telepathy"}, "telepathy"),
        ({}, "check"),
        ({"check": "tool_repeated", "often": 3}, "often"),
        ({"check": "tool_repeated", "times": 1}, "times"),
        ({"check": "bound", "measure": "cost_usd"}, "needs most or least"),
        ({"check": "bound", "measure": "karma", "most": 1}, "measure"),
        ({"check": "bound", "measure": "cost_usd", "most": float("nan")}, "most"),
        ({"check": "pattern_found", "pattern": "a(?=b)"}, "look-around"),
        ({"check": "pattern_found", "pattern": r"(a)\1"}, "cannot be used"),
        ({"check": "pattern_found", "pattern": r"(\w{1,999}){1,999}"}, "size limit"),
        ({"check": "any", "of": []}, "of"),
        ({"check": "not", "of": {"check": "any", "of": [{"check": "no"}]}}, "not.of.any.of.0"),
        ({"check": "output_schema", "json_schema": {"type": "text"}}, "not a JSON schema"),
        ({"check": "output_schema", "json_schema": {"$ref": "http://a/b"}}, "leads outside"),
        ({"check": "output_schema", "json_schema": {"pattern": "a(?=b)"}}, "look-around"),
        ({"check": "output_schema", "json_schema": {"patternProperties": {"a": {}}}}, "propertyN"),
    ],
)
def test_what_is_no_check_is_refused_by_name(parameters, said):
    with pytest.raises(EvaluatorError, match=said):
        read_check(parameters)


def test_a_check_nested_too_deep_is_refused():
    parameters = {"check": "refusal"}
    for _ in range(5000):
        parameters = {"check": "not", "of": parameters}
    with pytest.raises(EvaluatorError):
        read_check(parameters)


def test_no_pattern_takes_more_than_linear_time(make_session):
    session = make_session("a" * 200_000 + "!")
    schema = {"type": "string", "pattern": "^(a+)+$"}
    started = time.perf_counter()
    found = run_check({"check": "pattern_missing", "pattern": "^(a+)+$"}, session)
    assert found.fails
    answer = make_session(json.dumps("a" * 200_000 + "!"))
    assert run_check({"check": "output_schema", "json_schema": schema}, answer).fails
    for check in ("citation_missing", "number_unsupported", "personal_data", "refusal"):
        text = "1,1" * 50_000 + "[" * 50_000 + "<EMAIL_" * 10_000 + "I can " * 10_000
        run_check({"check": check}, make_session(text, documents=POLICY))
    assert time.perf_counter() - started < 10


def test_json_nested_too_deep_is_told_and_breaks_nothing(make_session):
    deep = make_session("[" * 100_000 + "]" * 100_000)
    schema = {"type": "array", "items": {"$ref": "#"}}
    found = run_check({"check": "output_schema", "json_schema": schema}, deep)
    assert found.fails is None
    assert "too deep" in found.error


def test_duration_and_tokens_are_worked_out(make_session):
    session = make_session("Done")
    start = datetime(2026, 1, 5, tzinfo=UTC)
    times = {"started_at": start, "ended_at": start + timedelta(seconds=90)}
    session = replace(
        session, row={**session.row, **times, "prompt_tokens": 120, "completion_tokens": 30}
    )
    for measure, most in (("duration_ms", 89_999), ("tokens", 149), ("n_turns", 0)):
        assert run_check({"check": "bound", "measure": measure, "most": most}, session).fails
        assert not run_check(
            {"check": "bound", "measure": measure, "most": most + 1}, session
        ).fails


def test_a_check_leaves_its_session_as_it_was(make_session):
    session = make_session("Within 14 days [policy-7].", documents=POLICY, calls=[STATUS])
    before = json.dumps([session.text(), session.row], default=str)
    for parameters, *_ in CASES.values():
        run_check(parameters, session)
    assert json.dumps([session.text(), session.row], default=str) == before
