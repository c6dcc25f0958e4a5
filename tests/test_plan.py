"""The starter plan: each step is done where the ledger says so, and the next one has a command."""

from dataclasses import replace
from datetime import timedelta

import make
import pytest

import evalbench as eb
from evalbench.label.codebook import acts
from evalbench.report.plan_words import plan_headline, say_plan

MADE = {"run": "r", "lake_versions": {}, "result_sha256": "0"}


@pytest.fixture
def ws(tmp_path):
    ws = make.workspace(tmp_path)
    names = [f"s{number}" for number in range(1, 41)]
    for surface in ("shop", "it's new"):
        ws.lake.append("session", make.sessions(*names, surface=surface))
    return ws


def steps(ws, surface="shop", **pins):
    rows = eb.snapshot(ws, surface, **pins).plan.to_dicts()
    return {row["step"]: row for row in rows}


def on_day(ws, day):
    return replace(ws.ledger, clock=lambda: make.START + timedelta(days=day - 1))


def label(ledger, actor, names, surface="shop"):
    said = {"surface": surface, "verdict": "pass"}
    ledger.extend([("label.set", n, said | {"session_id": n}) for n in names], actor=actor)


def test_an_empty_workspace_says_what_to_do_first(tmp_path):
    view = eb.snapshot(make.workspace(tmp_path))
    assert view.plan.is_empty()
    assert "evalbench ingest" in plan_headline(view.plan)


def test_a_step_is_done_on_the_day_and_by_those_who_reached_what_it_wants(ws):
    names = [f"s{number}" for number in range(1, 41)]
    ledger = on_day(ws, 1)
    make.queue(ledger, *[1] * 40)
    label(ledger, "ana", names[:25])
    label(on_day(ws, 3), "ben", names[20:35])
    assert steps(ws)["read"]["standing"] == "later"
    before = ws.ledger.head()
    label(on_day(ws, 4), "chiara", names[35:])
    label(on_day(ws, 9), "dora", names)
    found = steps(ws)
    read = found["read"]
    assert (read["have"], read["wanted"], read["day"]) == (40, 40, 4)
    assert read["by"] == ["ana", "ben", "chiara"]
    assert (found["twice"]["have"], found["twice"]["day"]) == (40, 9)
    assert found["observed"]["standing"] == "next"
    assert steps(ws, ledger_seq=before)["read"]["have"] == 35


def test_notes_are_reading_and_a_draft_is_no_failure_mode(ws):
    make.notes(ws.ledger, "It is slow.", "It is rude.")
    acts.define(ws.ledger, "shop", "slow", name="Slow")
    assert steps(ws)["read"]["have"] == 2
    assert steps(ws)["modes"]["have"] == 0
    make.modes(ws.ledger, "rude")
    assert steps(ws)["modes"]["have"] == 1


def test_a_report_counts_for_every_surface_it_speaks_of_and_moves_no_pin(ws):
    seq = make.queue(ws.ledger, 1)
    for surface, notebook in (("shop", "01_observe"), ("all", "11_impact")):
        made = MADE | {
            "notebook": notebook,
            "ledger_seq": seq,
            "parameters": {"surface": surface},
        }
        ws.ledger.append("report.published", notebook, made | {"parameters": {"surface": surface}})
    shop, new = (steps(ws, surface, ledger_seq=seq) for surface in ("shop", "it's new"))
    assert [each["observed"]["have"] for each in (shop, new)] == [1, 0]
    assert [each["report"]["have"] for each in (shop, new)] == [1, 1]
    assert steps(ws, ledger_seq=seq - 1)["report"]["have"] == 0


def test_elsewhere_are_the_days_of_the_other_surfaces_alone(ws):
    make.queue(on_day(ws, 1), 1)
    make.queue(on_day(ws, 1), 1, surface="it's new")
    make.modes(on_day(ws, 6), "rude", surface="it's new")
    found = steps(ws)["modes"]
    assert (found["day"], found["elsewhere"]) == (None, [6])
    assert steps(ws, "it's new")["modes"]["elsewhere"] is None


def test_what_is_next_is_a_command_that_the_shell_takes_as_it_is(ws):
    plan = eb.snapshot(ws).plan
    assert plan_headline(plan).count("Next, in week 1: look at what came in.") == 2
    told = say_plan(plan).filter(surface="it's new", step="observed")
    assert told["command"].item() == """evalbench run 01_observe -p surface 'it'"'"'s new'"""
    assert told["done_on"].item() == "next"
