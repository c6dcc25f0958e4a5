"""A model's reading of notes: what is kept of it, what is dropped, and what is told."""

import json
from functools import partial
from types import SimpleNamespace

import make
import numpy as np
import pytest

from evalbench.errors import ModelError
from evalbench.label.codebook.modes import make_key
from evalbench.label.discovery import texts
from evalbench.label.discovery.clustering import cluster
from evalbench.label.discovery.induction import (
    LOST,
    Assignment,
    Concepts,
    Induced,
    Merges,
    induce,
)
from evalbench.label.discovery.naming import name_by, propose_all

NOTES = [f"promises a refund too late, case {n}" for n in range(40)]
NOTES += [f"calls the search twice, case {n}" for n in range(40)]
ABOUT = {"definition": "d", "severity": "polish", "failure_class": "recovery"}


class Model:
    """Knows two kinds; ``spoil`` may change what it says to the nth call."""

    def __init__(self, spoil=lambda number, form, said: said):
        self.spoil, self.calls, self.asked = spoil, 0, []

    def __call__(self, messages, *, model, schema):
        given = json.loads(messages[1]["content"])
        self.asked.append((schema, given))
        self.calls += 1
        if schema is Merges:
            said = {"same": []}
        elif schema is Concepts:
            known = {each["name"] for each in given["known"]}
            first = {note.split()[0]: note for note in given["notes"]}
            said = {
                "concepts": [
                    {"name": n, "quotes": [q], **ABOUT} for n, q in first.items() if n not in known
                ]
            }
        else:
            number = {each["name"]: each["number"] for each in given["kinds"]}
            said = {"numbers": [number.get(note.split()[0], 0) for note in given["notes"]]}
        said = self.spoil(self.calls, schema, said)
        if isinstance(said, str):
            return SimpleNamespace(error=said, parsed=None)
        return SimpleNamespace(error=None, parsed=said)


def read(model, calls=100):
    return induce(NOTES, model="m", calls=calls, rng=np.random.default_rng(1), complete=model)


def test_kinds_are_listed_once_and_every_note_is_read_twice():
    model = Model()
    found = read(model)
    assert sorted(each.name for each in found.concepts) == ["calls", "promises"]
    assert (found.agreement, found.agrees, found.lost, found.invented) == (1.0, True, (), 0)
    assert found.calls == model.calls == 10  # three batches three times, and a merge
    read_notes = [
        note for form, given in model.asked if form is Assignment for note in given["notes"]
    ]
    assert sorted(read_notes) == sorted(NOTES * 2)
    same = found.blend(np.eye(80))
    assert (same[0, 1], same[0, 41], same[0, 0]) == (0.5, 0.0, 1.0)
    assert found.name(range(40)).name == "promises"


def test_what_is_invented_is_dropped_and_counted():
    def spoil(number, form, said):
        if form is Concepts:
            made_up = {"name": "made up", "quotes": ["no note says this"], **ABOUT}
            return {"concepts": [*said["concepts"], made_up]}
        return {"numbers": [99, *said["numbers"][1:]]} if form is Assignment else said

    found = read(Model(spoil))
    assert "made up" not in {each.name for each in found.concepts}
    assert found.invented == 3 + 6
    assert "9 quotes or kinds were invented" in found.say()


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        ("bad answer: no JSON", "bad answer: no JSON"),
        ({"numbers": [1]}, "1 numbers for"),
    ],
)
def test_what_cannot_be_used_is_lost_and_told_and_the_rest_goes_on(spoilt, told):
    found = read(
        Model(lambda number, form, said: spoilt if form is Assignment and number % 2 else said)
    )
    assert any(told in why for why in found.lost)
    assert f"{len(found.lost)} gave nothing usable" in found.say()
    assert len(found.concepts) == 2


def test_a_budget_ends_the_asking_and_a_model_that_is_not_there_breaks_nothing():
    found = read(Model(), calls=5)
    assert (found.calls, found.lost[0]) == (5, "the budget of 5 calls is used")
    assert (found.passes == LOST).any()

    def gone(*_, **__):
        raise ModelError("no such model")

    nothing = read(gone)
    assert (nothing.concepts, nothing.agreement, nothing.agrees) == ((), 0.0, False)
    assert nothing.name([0, 1]) is None


def test_readings_that_disagree_give_names_alone():
    rng = np.random.default_rng(2)
    spoil = lambda number, form, said: (  # noqa: E731
        {"numbers": rng.integers(1, 3, len(said["numbers"])).tolist()}
        if form is Assignment
        else said
    )
    found = read(Model(spoil))
    assert not found.agrees
    assert "its names alone are shown" in found.say()


def test_kinds_that_are_one_are_merged_with_their_quotes():
    found = read(
        Model(lambda number, form, said: {"same": [[2, 1, 9]]} if form is Merges else said)
    )
    assert len(found.concepts) == 1
    assert len(found.concepts[0].quotes) == 2
    assert found.invented == 1


def test_notes_that_no_reading_has_stay_as_alike_as_their_wording():
    passes = np.array([[0, 0, LOST], [0, 1, LOST]])
    induced = Induced((), passes, 0, (), 0)
    alike = np.full((3, 3), 0.4)
    np.testing.assert_allclose(induced.blend(alike)[0], [0.7, 0.45, 0.4])
    assert induced.agreement == 0.5


def test_clusters_are_named_by_what_their_notes_are_read_as_else_by_their_most_typical_note():
    found = cluster(NOTES, rng=np.random.default_rng(1))
    named = propose_all(NOTES, found, induced=read(Model()))
    assert {(each.name, each.source) for each in named} == {
        ("calls", "model"),
        ("promises", "model"),
    }
    assert all(quote in NOTES for each in named for quote in each.quotes)
    lost = read(Model(lambda number, form, said: "bad" if form is Assignment else said))
    for induced, why in ((None, "no model was asked"), (lost, "no kind that the model found")):
        for each, telling in zip(
            propose_all(NOTES, found, induced=induced), found.representatives, strict=True
        ):
            assert each.name == NOTES[telling[0]]
            assert each.quotes == tuple(NOTES[one] for one in telling[:3])
            assert (each.source, each.definition, each.severity) == ("offline", "", None)
            assert each.why.startswith(why)
    assert name_by("word " * 30) == " ".join(["word"] * 11) + " …"


def test_of_many_notes_the_most_typical_of_each_cluster_are_read(workspace, monkeypatch):
    make.notes(workspace.ledger, *NOTES)
    model = Model()
    monkeypatch.setattr(texts, "FEW", 10)
    monkeypatch.setattr(texts, "induce", partial(induce, complete=model))
    asked = {"model": "m", "seed": 1, "ledger_seq": workspace.ledger.head()}
    found = texts.discover(workspace, "shop", **asked)
    typical = {NOTES[one] for each in found.clusters.representatives for one in each}
    assert {
        note for form, given in model.asked if form is Concepts for note in given["notes"]
    } == typical
    assert {each.name for each in found.proposals} == {"calls", "promises"}
    assert "calls found 2 kinds" in texts.headline(found)


def test_a_key_is_made_of_the_name_and_is_never_taken():
    assert make_key("Refund, window: 14 days!", []) == "refund_window_14_days"
    assert make_key("Ton", ["ton", "ton_2"]) == "ton_3"
    assert make_key("!!", []) == "mode"
