"""Evaluators are proposed from the train split, measured on the test split, the lightest first."""

import json
import re

import make
import numpy as np
import polars as pl
import pytest
from judged_sessions import MODEL, fill_lake, make_judge_specification
from model_server import ModelServer
from sides import session_ids

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks import read_check
from evalbench.evaluate.proposals.check_candidates import look_by_family, search_check
from evalbench.evaluate.proposals.propose import adopt, draw_examples, propose
from evalbench.evaluate.proposals.rubric import improve_rubric
from evalbench.evaluate.spec import read_specifications
from evalbench.evaluate.split import assign_split
from evalbench.llm import Limits, Spent
from evalbench.session import read_sessions

N = 160
PRIMES = {n for n in range(2, N) if all(n % d for d in range(2, int(n**0.5) + 1))}


def make_mode(mode):
    fields = {"surface": "support", "mode": mode, "name": mode.title(), "owner": "ana"}
    return fields | {"definition": f"It is {mode}.", "example": "So it was."}


def fill(ws, say=lambda number: "As ever.", *, users=120):
    fill_lake(ws, N, say=say, users=users, name="s{}")


def tell(mode, fails):
    rows = [("support", f"s{number}", mode, fails(number)) for number in range(N)]
    schema = dict.fromkeys(("surface", "session_id", "mode"), pl.String) | {"truth": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def open_sessions(ws, side="train"):
    ids = [f"s{number}" for number in range(N)]
    return [
        each
        for each in read_sessions(ws.lake, "support", ids)
        if assign_split("support", each.session_id, each.row["group_key"]) == side
    ]


def number_of(session):
    return int(session.session_id.removeprefix("s"))


def promises(number):
    return number % 4 == 0


def promise(number):
    return f"We guarantee delivery of item-{number}." if promises(number) else "It may take a week."


@pytest.fixture(scope="module")
def promising(tmp_path_factory):
    """A workspace whose failing sessions promise; what a test defines in it hinders no other."""
    ws = make.workspace(tmp_path_factory.mktemp("promising"))
    fill(ws, promise)
    return ws


def run(ws, truth, *modes, **options):
    book = pl.DataFrame([make_mode(mode) for mode in modes])
    return propose(ws, truth, book, rng=np.random.default_rng(1), **options)


def test_the_lightest_kind_is_proposed_and_measured_on_the_test_split_alone(promising):
    found = run(promising, tell("promise", promises), "promise")
    [mode] = found.modes.to_dicts()
    assert (mode["kind"], mode["status"]) == ("check", "gating")
    [row] = found.candidates.to_dicts()
    tested = open_sessions(promising, "test")
    failing = sum(promises(number_of(each)) for each in tested)
    assert (row["tp"], row["tn"], row["n"]) == (failing, len(tested) - failing, len(tested))
    assert row["n_groups"] < row["n"]
    assert row["tpr_low"] < row["tpr"] == 1
    assert (row["train_mcc"], row["dollars_per_1000"]) == (1, 0)
    candidate = found.made[mode["evaluator_id"]]
    assert "guarantee" in candidate.specification.parameters["pattern"]

    book = pl.DataFrame([make_mode("promise")])
    assert adopt(promising, found, [mode["evaluator_id"]], modes=book) == [candidate.specification]
    with pytest.raises(EvaluatorError, match="no candidate 'odd' was made; there are support/pro"):
        adopt(promising, found, ["odd"], modes=book)
    assert read_specifications(promising.ledger) == {mode["evaluator_id"]: candidate.specification}


@pytest.mark.parametrize("seed", range(2))
def test_labels_by_chance_get_no_evaluator(promising, seed):
    drawn = np.random.default_rng(seed).random(N) < 0.4
    found = run(promising, tell("chance", lambda number: bool(drawn[number])), "chance")
    [mode] = found.modes.to_dicts()
    assert mode["kind"] is None
    assert mode["status"] in ("not aligned", "insufficient")
    assert "judge: no model was named" in mode["why"]


def test_the_score_of_the_search_is_one_of_sessions_it_has_not_seen(workspace):
    fill(workspace, lambda number: f"{np.random.default_rng(number).choice(60, 12)}")
    columns = look_by_family(open_sessions(workspace))
    drawn = np.random.default_rng(3).random((30, len(columns.sessions))) < 0.3
    right = []
    for fails in drawn:
        try:
            _, flagged = search_check(columns, fails.astype(float))
        except EvaluatorError:
            continue  # nothing of the family paid, which is right as well
        right.append(flagged[fails].mean() - flagged[~fails].mean())
    assert len(right) > 5
    assert abs(np.mean(right)) < 0.1


@pytest.mark.parametrize(
    ("fails", "why"),
    [
        (lambda number: False, r"0 failing and \d+ passing"),
        (lambda number: True, r"\d+ failing and 0 passing"),
        (lambda number: number < 8, r"\d failing and \d+ passing"),
        (lambda number: None, "0 failing and 0 passing"),
    ],
    ids=["none", "all", "few", "nobody says"],
)
def test_one_class_alone_or_nearly_so_is_insufficient(promising, fails, why):
    found = run(promising, tell("odd", fails), "odd")
    assert found.modes.select("kind", "status").row(0) == (None, "insufficient")
    told = f"too few labels of the test split: {why}; 10 of each are needed"
    assert re.fullmatch(told, found.modes["why"][0])
    assert found.made == {}


def test_a_tie_between_people_counts_for_nobody(promising):
    tied = tell("promise", lambda number: None if number % 3 == 0 else promises(number))
    row = run(promising, tied, "promise").candidates.row(0, named=True)
    tested = [each for each in open_sessions(promising, "test") if number_of(each) % 3]
    assert (row["n"], row["mcc"]) == (len(tested), 1)


def test_a_rule_goes_before_phrases_and_says_what_the_search_saw(make_session):
    fails = [number % 3 == 0 for number in range(60)]
    call = ("find", '{"a": 1}', "none (yet)")
    sessions = [
        make_session("Here: it's done.", calls=[call] * (3 if bad else 1), session_id=name)
        for bad, name in zip(fails, session_ids("train", 60), strict=True)
    ]
    found, flagged = search_check(look_by_family(sessions), np.array(fails, dtype=float))
    assert found == {"check": "tool_repeated", "times": 2}
    assert [read_check(found).find(each).fails for each in sessions] == fails
    assert flagged.tolist() == fails


def test_a_phrase_of_one_user_is_no_part_of_a_check(workspace):
    fill(workspace, lambda number: "blue moon" if number % 60 == 3 else "as ever", users=60)
    columns = look_by_family(open_sessions(workspace))
    fails = np.array([number_of(each) % 60 in (3, 7, 11, 15, 19) for each in columns.sessions])
    with pytest.raises(EvaluatorError, match=r"insufficient|no check of the family"):
        search_check(columns, fails.astype(float))


def test_phrases_mean_as_patterns_what_they_meant_in_the_search(make_session):
    told = ["It's “so-called”, äh: done!", "Its so called ah done", "(it's) so, called. Äh? DONE"]
    sessions = [
        make_session(told[number % 3], question="Why?\nit's", session_id=name)
        for number, name in enumerate(session_ids("train", 30))
    ]
    columns = look_by_family(sessions)
    phrases = [at for at, each in enumerate(columns.checks) if each["check"] == "pattern_found"]
    assert len(phrases) > 20
    for at in phrases:
        found = [read_check(columns.checks[at]).find(each).fails for each in sessions]
        assert found == [None if said < 0 else bool(said) for said in columns.said[:, at]]


def test_a_session_of_the_test_split_tunes_nothing(promising):
    train, test = (open_sessions(promising, side) for side in ("train", "test"))
    leaky, judge = [*train[:30], test[0]], make_judge_specification()
    fails = np.array([promises(number_of(each)) for each in leaky])
    said = f"'{test[0].session_id}' of support is in the test split and cannot be a "
    with pytest.raises(EvaluatorError, match=f"{said}tuning example"):
        look_by_family(leaky)
    with pytest.raises(EvaluatorError, match=f"{said}few-shot example"):
        draw_examples(leaky, fails, rng=np.random.default_rng(1))
    with pytest.raises(EvaluatorError, match=f"{said}tuning example"):
        improve_rubric(judge, leaky, fails, limits=Limits(calls=9), **by_gepa())


def knows_primes(body):
    """Judge what no word of the session tells: by the number of the item, if the rubric says so."""
    told = body["messages"]
    if "You improve the rubric" in told[0]["content"]:
        return "Here it is:\n```\nThe item's number is prime.\nLook at the question.\n```"
    number = int(re.search(r"item-(\d+)", told[-1]["content"])[1])
    fails = number in PRIMES and "prime" in told[0]["content"].lower()
    return json.dumps({"rationale": "counted", "quotes": [], "fails": fails})


@pytest.fixture
def server(monkeypatch):
    with ModelServer(reply=knows_primes) as running:
        monkeypatch.setenv("HOSTED_VLLM_API_BASE", running.url)
        yield running


def is_prime(number):
    return number in PRIMES


def test_a_judge_is_asked_where_nothing_lighter_will_do_and_only_once(workspace, server):
    fill(workspace, users=0)
    truth = tell("prime", is_prime)
    found = run(workspace, truth, "prime", model=MODEL)
    assert found.modes["kind"].to_list() == ["judge"]
    assert found.candidates["kind"].to_list() == ["check", "classifier", "judge"]
    n_test = len(open_sessions(workspace, "test"))
    assert len(server.calls) == found.spent.calls == n_test
    examples = found.made["support/prime/judge"].specification.parameters["examples"]
    assert [each["fails"] for each in examples] == [True, True, False, False]
    shown = {each["session_id"] for each in examples}
    assert shown <= {each.session_id for each in open_sessions(workspace)}
    again = run(workspace, truth, "prime", model=MODEL)
    assert len(server.calls) == n_test
    # A classifier's file has the time in it, and so another hash each time it is trained.
    before, after = (each.candidates.drop("evaluator_version") for each in (found, again))
    assert after.equals(before)


def test_a_spent_budget_is_insufficient_and_never_a_number(workspace, server):
    fill(workspace, users=0)
    found = run(workspace, tell("prime", is_prime), "prime", model=MODEL, limits=Limits(calls=7))
    assert len(server.calls) == 7
    row = found.candidates.row(2, named=True)
    assert (row["status"], row["mcc"]) == ("insufficient", None)
    assert re.search(r"the budget is spent: \d+ of \d+ sessions are not judged", row["why"])


def by_gepa():
    return {"reflection_model": MODEL, "rng": np.random.default_rng(2), "spent": Spent()}


def improve(ws, **limits):
    fill(ws, users=0)
    sessions = open_sessions(ws)
    judge = make_judge_specification(mode="prime", prompt="Something is odd.")
    fails = np.array([is_prime(number_of(each)) for each in sessions])
    return judge, improve_rubric(judge, sessions, fails, limits=Limits(**limits), **by_gepa())


def test_gepa_rewrites_a_rubric_from_the_judges_mistakes(workspace, server):
    judge, (improved, diff) = improve(workspace, calls=200)
    assert improved.prompt == "The item's number is prime.\nLook at the question."
    assert improved.version != judge.version
    assert diff.splitlines()[2:] == [
        "@@ -1 +1,2 @@",
        "-Something is odd.",
        "+The item's number is prime.",
        "+Look at the question.",
    ]
    assert len(server.calls) < 200
    asked = [call.body["messages"][0]["content"] for call in server.calls]
    [reflected] = [text for text in asked if "You improve the rubric" in text]
    assert "Something is odd." in reflected
    assert "Wrong. People say that it fails." in reflected
    train = {f"item-{number_of(each)}?" for each in open_sessions(workspace)}
    assert set(re.findall(r"item-\d+\?", reflected)) <= train


@pytest.mark.parametrize("calls", [3, 50, 61])
def test_gepa_keeps_to_its_budget_and_keeps_a_rubric_that_none_beats(workspace, server, calls):
    server.reply = lambda body: (
        "```\nSomething is even odder.\n```"
        if "You improve the rubric" in body["messages"][0]["content"]
        else knows_primes(body)
    )
    judge, improved = improve(workspace, calls=calls)
    assert len(server.calls) <= calls
    assert improved == (judge, "")


def test_a_rubric_is_not_improved_without_a_limit_or_with_too_few(workspace, server):
    with pytest.raises(EvaluatorError, match="needs a limit of calls, tokens or dollars"):
        improve(workspace)
    few, judge = open_sessions(workspace)[:30], make_judge_specification()
    with pytest.raises(EvaluatorError, match="insufficient: 0 sessions of a class to learn from"):
        improve_rubric(judge, few, np.arange(30) < 0, limits=Limits(calls=9), **by_gepa())
    assert server.calls == []


def test_an_improved_judge_is_proposed_with_its_diff(workspace, server):
    fill(workspace, users=0)
    book = make_mode("prime") | {"name": "Odd", "definition": "It is odd."}
    asked = {"model": MODEL, "reflection_model": MODEL, "limits": Limits(calls=400)}
    truth, rng = tell("prime", is_prime), np.random.default_rng(1)
    found = propose(workspace, truth, pl.DataFrame([book]), rng=rng, **asked)
    assert found.modes["kind"].to_list() == ["judge"]
    made = found.made["support/prime/judge"]
    assert "+The item's number is prime." in made.diff
    assert found.spent.calls == len(server.calls)
