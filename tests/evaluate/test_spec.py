import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalbench.errors import EvaluatorError, LedgerError
from evalbench.evaluate.checks import read_check
from evalbench.evaluate.spec import (
    Specification,
    define,
    read_specification,
    read_specifications,
    write_specification,
)

MODES = pl.DataFrame(
    {"surface": ["support", "support", "sales"], "mode": ["wrong_refund", "rude", "old_price"]}
)
CHECK = """\
surface: support
mode: wrong_refund
kind: check
owner: ana
parameters:
  check: any
  of:
  - check: tool_repeated
    times: 2
  - check: pattern_found
    pattern: refund(ed)?
    place: assistant
"""
JUDGE = """\
surface: support
mode: rude
kind: judge
owner: bruno
prompt: |
  Does the assistant talk down to the user?

  Irony counts.
model: offline/rubric
"""
CLASSIFIER = """\
surface: support
mode: rude
kind: classifier
owner: bruno
parameters:
  sha256: 0f
threshold: 0.5
"""


@pytest.mark.parametrize("text", [CHECK, JUDGE, CLASSIFIER])
def test_yaml_goes_in_and_out_byte_for_byte(text):
    specification = read_specification(text, modes=MODES)
    assert write_specification(specification) == text


def test_content_makes_the_version_and_the_order_of_keys_does_not():
    fields = Specification.model_validate(read_specification(CHECK, modes=MODES)).model_dump()
    turned = json.loads(json.dumps(fields), object_pairs_hook=lambda pairs: dict(pairs[::-1]))
    one, other = Specification(**fields), Specification(**turned)
    assert list(turned) != list(fields)
    assert one.version == other.version
    assert one.evaluator_id == "support/wrong_refund/check"
    assert write_specification(one).startswith("surface: support\n")


def test_a_default_written_out_is_the_same_content():
    short = CHECK.replace("    times: 2\n", "")
    assert short != CHECK
    versions = {read_specification(text, modes=MODES).version for text in (short, CHECK)}
    assert len(versions) == 1


@pytest.mark.parametrize(
    ("text", "old", "new", "changes"),
    [
        (JUDGE, "Irony", "Sarcasm", True),
        (JUDGE, "offline/rubric", "offline/other", True),
        (CLASSIFIER, "0.5", "0.6", True),
        (CLASSIFIER, "0.5", "0.50", False),
        (JUDGE, "bruno", "chiara", False),
    ],
)
def test_the_version_changes_with_all_that_verdicts_depend_on(text, old, new, changes):
    before, after = (
        read_specification(each, modes=MODES) for each in (text, text.replace(old, new))
    )
    assert (before.version != after.version) is changes


def test_the_version_is_fixed_for_life():
    versions = [read_specification(text, modes=MODES).version for text in (CHECK, CLASSIFIER)]
    assert versions == ["1fd2751ad869a1a5", "61bf58107e0017ee"]


EXAMPLES = st.lists(
    st.fixed_dictionaries(
        {"session_id": st.text(min_size=1, max_size=200), "fails": st.booleans()},
        optional={"why": st.text(min_size=1)},
    ),
    min_size=1,
    max_size=3,
)


@given(
    st.text(min_size=1),
    st.fixed_dictionaries({}, optional={"examples": EXAMPLES, "window": st.integers(2_000)}),
)
def test_any_specification_survives_yaml(prompt, parameters):
    own = {"surface": "support", "mode": "rude", "kind": "judge", "owner": "ana", "model": "m"}
    one = Specification(**own, prompt=prompt, parameters=parameters)
    text = write_specification(one)
    other = read_specification(text, modes=MODES)
    assert other == one
    assert other.version == one.version
    assert write_specification(other) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (JUDGE.replace("owner: bruno", "owner: !!python/name:os.system"), "line 4: a YAML tag"),
        (JUDGE.replace("owner: bruno", "owner: !!str bruno"), "line 4: a YAML tag"),
        (JUDGE.replace("owner: bruno", "owner: &a bruno"), "line 4: a YAML anchor"),
        (JUDGE + "note: *a\n", "a YAML alias"),
        (CLASSIFIER + "threshold: 0.7\n", "'threshold' is written twice"),
        (JUDGE + "temperature: 0.7\n", "temperature: Extra inputs .* the fields are surface, mode"),
        (JUDGE.replace("kind: judge", "kind: oracle"), "kind: .*'check'.*got 'oracle'"),
        (JUDGE.replace("model: offline/rubric\n", ""), "a judge needs model"),
        (CLASSIFIER.replace("0.5", ".nan"), "threshold"),
        (JUDGE.replace("owner: bruno", "owner: no"), "owner: .*string"),
        (JUDGE.replace("owner: bruno\n", ""), "owner: Field required"),
        (JUDGE + "parameters: {since: 2026-01-01}\n", "parameters.since"),
        (JUDGE + "parameters: {limit: .inf}\n", "parameters"),
        (CHECK + "threshold: 0.5\n", "a check has no threshold"),
        (JUDGE + "threshold: 0.5\n", "a judge has no threshold"),
        (CHECK + "prompt: Be kind\n", "a check has no prompt"),
        (CHECK.replace("times: 2", "times: 0"), "times"),
        (CHECK.replace("tool_repeated", "telepathy"), "telepathy"),
        (CLASSIFIER.replace("sha256: 0f", "file: model.pickle"), "sha256"),
        ("- just\n- a list\n", "not a specification"),
        ("", "not a specification"),
        ("kind: [judge", "not a YAML"),
        ("kind: judge\n---\nkind: check\n", "not a YAML"),
        ("[" * 1500, "not a YAML"),
    ],
)
def test_what_is_no_specification_is_refused_by_name(text, said):
    with pytest.raises(EvaluatorError, match=said):
        read_specification(text, modes=MODES)


@pytest.mark.parametrize(("mode", "known"), [("old_price", "rude, wrong_refund"), ("no", "rude")])
def test_a_mode_that_the_codebook_does_not_know_is_refused(mode, known):
    text = JUDGE.replace("mode: rude", f"mode: '{mode}'")
    with pytest.raises(EvaluatorError, match=f"no mode '{mode}' of support.*{known}.*define"):
        read_specification(text, modes=MODES)
    with pytest.raises(EvaluatorError, match="none yet"):
        read_specification(JUDGE, modes=MODES.clear())


def test_a_ledger_with_a_check_of_a_kind_that_is_gone_is_still_read(workspace):
    check = read_specification(CHECK, modes=MODES)
    body = check.model_dump(mode="json") | {"evaluator_id": check.evaluator_id, "version": "old"}
    body["parameters"] = {"check": "retrieval_recall", "least": 0.5}
    workspace.ledger.append("evaluator.defined", check.evaluator_id, body)
    [kept] = read_specifications(workspace.ledger).values()
    assert kept.parameters == body["parameters"]
    with pytest.raises(EvaluatorError):
        read_check(kept.parameters)


def test_the_ledger_holds_each_definition_once_and_folds_the_latest(workspace):
    ledger = workspace.ledger
    first = read_specification(JUDGE, modes=MODES)
    seq = define(ledger, first, modes=MODES)
    assert define(ledger, first, modes=MODES) == seq
    changed = read_specification(JUDGE.replace("Irony", "Sarcasm"), modes=MODES)
    later = define(ledger, changed, modes=MODES)
    check = read_specification(CHECK, modes=MODES)
    define(ledger, check, modes=MODES)
    assert ledger.head() == 3
    now = {each.evaluator_id: each for each in (changed, check)}
    assert read_specifications(ledger) == now
    assert read_specifications(ledger, until=seq) == {first.evaluator_id: first}
    assert define(ledger, first, modes=MODES) > later, "going back is a decision too"
    bodies = ledger.bodies("evaluator.defined")
    assert bodies["version"].to_list() == [each.version for each in (first, changed, check, first)]
    assert ledger.verify() is None


def test_the_ledger_refuses_a_mode_nobody_named_and_a_body_that_does_not_fit(workspace):
    unknown = read_specification(JUDGE, modes=MODES)
    with pytest.raises(EvaluatorError, match="none yet"):
        define(workspace.ledger, unknown, modes=MODES.clear())
    body = {"evaluator_id": "a", "version": "b"}
    with pytest.raises(LedgerError, match="calibration"):
        workspace.ledger.append("evaluator.promoted", "a", body)
    assert workspace.ledger.head() == 0
