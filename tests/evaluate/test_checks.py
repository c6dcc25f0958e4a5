import json
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks import read_check
from evalbench.evaluate.checks.grounding import NUMBER, read_number

POLICY = {"policy-7": "Refunds of 1,234.50 dollars are paid within 14 days, at 12% interest."}
STATUS = ("get_order", '{"order": "R-1"}', '{"total": 86.4, "arrives": "2026-11-23"}')

CASES = {
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
}


def run_check(parameters, session):
    return read_check(parameters).find(session)


@pytest.mark.parametrize(("parameters", "bad", "good", "empty"), CASES.values(), ids=list(CASES))
def test_each_check_fails_passes_and_says_where_there_is_nothing(
    make_session, parameters, bad, good, empty
):
    nothing = make_session(**empty) if empty else replace(make_session("hello"), turns=())
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


@pytest.mark.parametrize(
    ("said", "fails"),
    [
        ({"answer": "sorry"}, True),
        ({"answer": "hello"}, None),
        ({"answer": None}, None),
        ({"answer": "[policy-7]", "documents": POLICY}, False),
    ],
    ids=["fails", "passes in part", "nothing", "passes"],
)
def test_any_of_several_decides_and_what_has_nothing_to_check_passes_nothing(
    make_session, said, fails
):
    parts = [{"check": "pattern_found", "pattern": "sorry"}, {"check": "citation_missing"}]
    assert run_check({"check": "any", "of": parts}, make_session(**said)).fails is fails


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
        ({"check": "pattern_found", "pattern": "a(?=b)"}, "look-around"),
        ({"check": "pattern_found", "pattern": r"(a)\1"}, "cannot be used"),
        ({"check": "pattern_found", "pattern": r"(\w{1,999}){1,999}"}, "size limit"),
        ({"check": "any", "of": []}, "of"),
        ({"check": "any", "of": [{"check": "refusal"}, {"check": "no"}]}, "any.of.1"),
    ],
)
def test_what_is_no_check_is_refused_by_name(parameters, said):
    with pytest.raises(EvaluatorError, match=said):
        read_check(parameters)


def test_no_pattern_takes_more_than_linear_time(make_session):
    session = make_session("a" * 200_000 + "!")
    started = time.perf_counter()
    found = run_check({"check": "pattern_missing", "pattern": "^(a+)+$"}, session)
    assert found.fails
    for check in ("citation_missing", "number_unsupported", "personal_data", "refusal"):
        text = "1,1" * 50_000 + "[" * 50_000 + "<EMAIL_" * 10_000 + "I can " * 10_000
        run_check({"check": check}, make_session(text, documents=POLICY))
    assert time.perf_counter() - started < 10


def test_json_nested_too_deep_breaks_nothing(make_session):
    deep = "[" * 1_000 + "]" * 1_000
    session = make_session(deep, calls=[("find", deep, deep), ("find", f" {deep} ", deep)])
    assert run_check({"check": "tool_repeated"}, session).fails


def test_a_check_leaves_its_session_as_it_was(make_session):
    session = make_session("Within 14 days [policy-7].", documents=POLICY, calls=[STATUS])
    before = json.dumps([session.text(), session.row], default=str)
    for parameters, *_ in CASES.values():
        run_check(parameters, session)
    assert json.dumps([session.text(), session.row], default=str) == before
