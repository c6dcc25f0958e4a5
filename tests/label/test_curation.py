"""The curation of clusters: each act is one event, and whatever is wrong is refused with a why."""

import json

import pytest

from evalbench.label.codebook.acts import read_codebook
from evalbench.label.codebook.curation import Curation
from evalbench.label.discovery.texts import discover
from evalbench.store.workspace import open_workspace

TOPICS = {
    "refund": "promises a refund of the {} after the deadline of thirty days",
    "tool": "calls the search tool twice for order {} with wrong arguments",
    "tone": "rude tone toward a customer who asks about the {}",
    "language": "answers in English although the user wrote German about a {}",
}
THINGS = "kettle toaster lamp chair table desk sofa mirror carpet fridge oven radio".split()
TEXTS = [text.format(thing) for text in TOPICS.values() for thing in THINGS]
FIELDS = {
    "name": "Promises a late refund",
    "definition": "It promises what no policy grants.",
    "example": "Sure, you get it back.",
    "severity": "user impact",
    "failure_class": "policy boundary",
    "owner": "ana",
}


@pytest.fixture
def ws(tmp_path):
    ws = open_workspace(tmp_path, user="ana")
    for number, text in enumerate([*TEXTS, TEXTS[0].upper()]):
        note = {"text": text, "surface": "shop", "session_id": f"s{number}"}
        ws.ledger.append("note.added", f"s{number}", note)
    return ws


@pytest.fixture
def curation(ws):
    return Curation(ws, discover(ws, "shop", seed=7))


def keys(curation):
    """Keys of the clusters by topic: the note of each that comes first in the list."""
    texts = dict(zip(curation._place, curation._discovery.texts["text"], strict=True))
    of = {topic: text.split()[0] for topic, text in TOPICS.items()}
    return {
        topic: mode.mode
        for mode in curation._modes.values()
        for topic, word in of.items()
        if mode.notes and texts[mode.notes[0]].startswith(word)
    }


def kinds(ws):
    return [kind for kind in ws.ledger.events()["kind"] if kind != "note.added"]


def say(curation, act, **given):
    return curation.answer({"act": act, **given})


def test_nothing_is_written_until_somebody_acts(ws, curation):
    assert [group["status"] for group in curation.groups] == ["found"] * 4
    assert sum(group["n_notes"] for group in curation.groups) == len(TEXTS) + 1
    assert say(curation, "choose", mode=keys(curation)["tone"]) is None
    assert say(curation, "confirm", mode=keys(curation)["tone"]) is None
    assert curation.confirming["of"] == 10
    assert kinds(ws) == []


def test_the_first_act_writes_the_drafts_and_later_ones_do_not(ws, curation):
    found = keys(curation)
    done = say(curation, "rename", mode=found["tone"], name="Is rude")
    assert (done["tell"], done["seq"]) == ("done", ws.ledger.head())
    merged = say(curation, "merge", source=found["tool"], into=found["language"])
    assert merged["said"].startswith("Merged ")
    assert kinds(ws) == ["codebook.proposed", "mode.defined", "mode.merged"]
    names = {group["mode"]: group["name"] for group in curation.groups}
    assert names[found["tone"]] == "Is rude"
    assert found["tool"] not in names
    assert curation.members["mode"] == found["language"]


def test_a_merged_cluster_has_no_stability_and_its_notes_a_home(ws, curation):
    found = keys(curation)
    assert all(group["stable"] for group in curation.groups)
    say(curation, "merge", source=found["tool"], into=found["language"])
    [group, *rest] = curation.groups
    assert (group["mode"], group["n_notes"], group["stability"]) == (found["language"], 24, None)
    assert all(each["stability"] is not None for each in rest)
    assert (curation.homes == 0).sum() == 24
    assert (curation.homes >= 0).all()


def test_members_that_say_the_same_are_one_row(curation):
    say(curation, "choose", mode=keys(curation)["refund"])
    rows = curation.members["rows"]
    assert sorted(note for row in rows for note in row["notes"]) == [*range(1, 13), 49]
    assert [1, 49] in [sorted({1, 49} & set(row["notes"])) for row in rows]
    assert rows[0]["representative"]
    assert curation.members["left_out"] == 0


def test_a_split_needs_some_members_and_not_all(ws, curation):
    mode = keys(curation)["tool"]
    notes = list(curation._find(mode).notes)
    for wrong in ([], notes):
        refused = say(curation, "split", mode=mode, notes=wrong, name="Twice")
        assert refused["why"].startswith("select some of the members")
    assert kinds(ws) == []
    say(curation, "split", mode=mode, notes=notes[:5], name="Calls twice")
    sizes = {group["name"]: group["n_notes"] for group in curation.groups}
    assert sizes["calls twice"] == 5
    assert sorted(sizes.values()) == [5, 7, 12, 12, 13]
    assert curation.members["mode"] == "calls_twice"
    assert kinds(ws) == ["codebook.proposed", "mode.split"]


def test_members_are_confirmed_and_a_mode_promoted(ws, curation):
    mode = keys(curation)["refund"]
    early = say(curation, "promote", mode=mode, **FIELDS)
    assert "10 of 10 sampled members wait" in early["why"]
    assert kinds(ws) == ["codebook.proposed", "mode.defined"]  # what was filled in stays
    say(curation, "confirm", mode=mode)
    for done in range(10):
        assert curation.confirming["done"] == done
        note = curation.confirming["note"]
        told = say(curation, "judge", mode=mode, note=note, belongs=done > 0)
        assert told["tell"] == "done"
    assert curation.confirming == {}
    [group] = [group for group in curation.groups if group["mode"] == mode]
    estimate, low, high = group["precision"]
    assert estimate == 0.9
    assert low < 0.9 < high
    assert say(curation, "promote", mode=mode, **FIELDS)["tell"] == "done"
    assert kinds(ws)[2:] == [*["member.confirmed"] * 10, "mode.promoted"]
    assert read_codebook(ws.ledger).find("shop", mode).status == "live"


def test_what_is_missing_is_named(curation):
    mode = keys(curation)["refund"]
    say(curation, "confirm", mode=mode)
    for _ in range(10):
        say(curation, "judge", mode=mode, note=curation.confirming["note"], belongs=True)
    why = say(curation, "promote", mode=mode, **{**FIELDS, "severity": "", "owner": ""})["why"]
    assert "lacks severity, owner" in why


def test_undo_goes_back_step_by_step_to_nothing(ws, curation):
    before = curation.groups
    found = keys(curation)
    say(curation, "rename", mode=found["tone"], name="Is rude")
    say(curation, "merge", source=found["tool"], into=found["tone"])
    assert say(curation, "undo")["said"].startswith("Undone: ")
    say(curation, "undo")
    say(curation, "undo")
    assert curation.groups == before
    assert say(curation, "undo") == {"tell": "refused", "why": "nothing of yours is left to undo"}
    assert kinds(ws)[3:] == ["mode.undone"] * 3


def test_nobody_undoes_what_another_did(ws, curation):
    say(curation, "rename", mode=keys(curation)["tone"], name="Is rude")
    other = open_workspace(ws.path, user="ben")
    assert say(Curation(other, discover(other, "shop", seed=7)), "undo")["tell"] == "refused"


def test_two_analysts_share_the_drafts_of_the_first(ws, curation):
    ben = open_workspace(ws.path, user="ben")
    second = Curation(ben, discover(ben, "shop", seed=7))
    found = keys(curation)
    say(curation, "rename", mode=found["tone"], name="Is rude")
    say(second, "merge", source=found["tool"], into=found["tone"])
    assert kinds(ws) == ["codebook.proposed", "mode.defined", "mode.merged"]
    gone = say(curation, "rename", mode=found["tool"], name="Late")
    assert "there is no cluster" in gone["why"]


def test_notes_that_came_later_are_found_beside_the_drafts(ws, curation):
    say(curation, "rename", mode=keys(curation)["tone"], name="Is rude")
    for thing in THINGS:
        note = {"text": f"leaks the home address of a buyer of the {thing}", "surface": "shop"}
        ws.ledger.append("note.added", f"late {thing}", note)
    later = Curation(ws, discover(ws, "shop", seed=7))
    assert sorted(group["status"] for group in later.groups) == ["draft"] * 4 + ["found"]
    assert (later.homes >= 0).all()
    [found] = [group for group in later.groups if group["status"] == "found"]
    say(later, "rename", mode=found["mode"], name="Leaks an address")
    proposed = ws.ledger.events("codebook.proposed")["body"]
    assert [len(json.loads(body)["drafts"]) for body in proposed] == [4, 1]


def test_too_few_notes_say_what_to_do(tmp_path):
    ws = open_workspace(tmp_path, user="ana")
    curation = Curation(ws, discover(ws, "shop", seed=7))
    assert (curation.groups, curation.members["rows"], curation.points) == ([], [], b"")
    assert "Read more sessions" in curation.reason
    assert say(curation, "undo")["tell"] == "refused"


@pytest.mark.parametrize("message", ["nonsense", {"act": "drop"}, {"act": "rename", "mode": "x"}])
def test_nonsense_is_refused(ws, curation, message):
    assert curation.answer(message)["tell"] == "refused"
    assert kinds(ws) == []
