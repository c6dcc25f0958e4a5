"""The starter plan: each step is done where the ledger says so, and the next one has a command."""

from dataclasses import replace
from datetime import timedelta

import make
import pytest

import evalbench as eb
from evalbench.label.codebook import acts
from evalbench.report.plan_words import plan_headline, say_plan

NAMES = [f"s{number}" for number in range(1, 41)]
OTHER = "it's new"


@pytest.fixture
def ws(workspace):
    for surface in ("shop", OTHER):
        workspace.lake.append("session", make.sessions(*NAMES, surface=surface))
    return workspace


def steps(ws, surface="shop", **pins):
    return {row["step"]: row for row in eb.snapshot(ws, surface, **pins).plan.to_dicts()}


def on_day(ws, day, actor="ana"):
    return replace(ws.ledger, actor=actor, clock=lambda: make.START + timedelta(days=day - 1))


def label(ledger, names):
    said = {"surface": "shop", "verdict": "pass"}
    ledger.extend([("label.set", name, said | {"session_id": name}) for name in names])


def test_an_empty_workspace_says_what_to_do_first(workspace):
    assert "evalbench ingest" in plan_headline(eb.snapshot(workspace).plan)


def test_a_step_is_done_on_the_day_and_by_those_who_reached_what_it_wants(ws):
    make.queue(on_day(ws, 1), *[1] * 40)
    label(on_day(ws, 2), NAMES[:25])
    label(on_day(ws, 3, "ben"), NAMES[20:35])
    before = ws.ledger.head()
    label(on_day(ws, 4, "chiara"), NAMES[35:])
    label(on_day(ws, 9, "dora"), NAMES)
    found, earlier = steps(ws), steps(ws, ledger_seq=before)["read"]
    assert found["read"] | {"have": 40, "wanted": 40, "day": 4} == found["read"]
    assert found["read"]["by"] == ["ana", "ben", "chiara"]
    assert found["twice"] | {"have": 40, "wanted": 30, "day": 9} == found["twice"]
    assert earlier | {"have": 35, "standing": "later", "day": None} == earlier


def test_notes_are_reading_and_a_draft_is_no_failure_mode(ws):
    make.notes(on_day(ws, 1), "It is slow.", "It is rude.")
    acts.define(ws.ledger, "shop", "slow", name="Slow")
    assert [steps(ws)[step]["have"] for step in ("read", "modes")] == [2, 0]
    make.modes(on_day(ws, 6), "rude")
    assert (steps(ws)["modes"]["have"], steps(ws)["modes"]["day"]) == (1, 6)
    # What others took is theirs alone.
    assert (steps(ws)["modes"]["elsewhere"], steps(ws, OTHER)["modes"]["elsewhere"]) == (None, [6])


def test_a_report_counts_for_every_surface_it_speaks_of_and_moves_no_pin(ws):
    seq = make.queue(ws.ledger, 1)
    for surface, notebook in (("shop", "01_observe"), ("all", "11_impact")):
        made = {"run": "r", "lake_versions": {}, "result_sha256": "0", "ledger_seq": seq}
        made |= {"notebook": notebook, "parameters": {"surface": surface}}
        ws.ledger.append("report.published", notebook, made)
    asked = (("shop", seq), (OTHER, seq), ("shop", seq - 1))
    found = [steps(ws, surface, ledger_seq=pin) for surface, pin in asked]
    assert [each["observed"]["have"] for each in found] == [1, 0, 0]
    assert [each["report"]["have"] for each in found] == [1, 1, 0]


def test_what_is_next_is_a_command_that_the_shell_takes_as_it_is(ws):
    plan = eb.snapshot(ws).plan
    assert plan_headline(plan).count("Next, in week 1: look at what came in.") == 2
    observed = say_plan(plan).filter(surface=OTHER, step="observed")
    assert observed["command"].item() == """evalbench run 01_observe -p surface 'it'"'"'s new'"""
    assert observed["done_on"].item() == "next"
