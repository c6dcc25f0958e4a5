"""An analyst at the clusters: each act is one event, and what is wrong is refused."""

import json

import make
import pytest

from evalbench.label.codebook.acts import read_codebook
from evalbench.label.discovery.curation import Curation
from evalbench.label.discovery.texts import discover
from evalbench.store.workspace import open_workspace

TOPICS = {
    "promises": "promises a refund of the {} after the deadline of thirty days",
    "calls": "calls the search tool twice for order {} with wrong arguments",
    "rude": "rude tone toward a customer who asks about the {}",
    "answers": "answers in English although somebody wrote German: his {}",
}
THINGS = "kettle toaster lamp chair table desk sofa mirror carpet fridge oven radio".split()
TEXTS = [text.format(thing) for text in TOPICS.values() for thing in THINGS]
FIELDS = make.MODE_FIELDS | {"name": "Promises a late refund"}


@pytest.fixture
def ws(tmp_path):
    ws = open_workspace(tmp_path, user="ana")
    make.notes(ws.ledger, *TEXTS, TEXTS[0].upper())
    return ws


def open_curation(ws):
    return Curation(ws, discover(ws, "shop", seed=7, ledger_seq=ws.ledger.head()))


@pytest.fixture
def curation(ws):
    return open_curation(ws)


def keys(curation):
    """Keys of the clusters by topic: the first word of each one's example."""
    return {group["example"].split()[0].lower(): group["mode"] for group in curation.groups}


def kinds(ws):
    return [kind for kind in ws.ledger.events()["kind"] if kind != "note.added"]


def say(curation, act, **given):
    return curation.answer({"act": act, **given})


def test_the_session_of_a_note_is_made_a_golden_case(ws, curation):
    kept = []
    curation.keep = lambda _, *about, **asked: kept.append((*about, *asked.values()))
    mode, note = keys(curation)["rude"], curation._discovery.texts["seq"][30]
    done = say(curation, "keep_note", note=note, mode=mode, expected="Stays polite.")
    assert done["tell"] == "done"
    assert kept == [("shop", "s31", mode, "Stays polite.")]
    assert read_codebook(ws.ledger).find("shop", mode).status == "draft"


def test_the_first_act_on_a_group_makes_it_a_draft(ws, curation):
    found = keys(curation)
    assert [group["status"] for group in curation.groups] == ["found"] * 4
    assert say(curation, "choose", mode=found["rude"]) is None
    assert say(curation, "confirm", mode=found["rude"]) is None
    assert curation.confirming["of"] == 10
    assert say(curation, "leave") is None
    assert (kinds(ws), curation.confirming) == ([], {})
    done = say(curation, "rename", mode=found["rude"], name="Is rude")
    assert (done["tell"], done["seq"]) == ("done", ws.ledger.head())
    merged = say(curation, "merge", source=found["calls"], into=found["answers"])
    assert merged["said"].startswith("Merged ")
    assert kinds(ws) == ["codebook.proposed", "mode.defined", "codebook.proposed", "mode.merged"]
    names = {group["mode"]: group["name"] for group in curation.groups}
    assert names[found["rude"]] == "Is rude"
    assert found["calls"] not in names
    # What was merged by hand has no stability, and all its notes a home.
    [group, *rest] = curation.groups
    assert curation.members["mode"] == group["mode"] == found["answers"]
    assert (group["n_notes"], group["stability"], group["stable"]) == (24, None, None)
    assert all(each["stable"] for each in rest)
    assert ((curation.homes == 0).sum(), (curation.homes >= 0).all()) == (24, True)
    assert say(curation, "retire", mode=found["rude"])["tell"] == "done"
    assert (curation.homes < 0).sum() == 12


def test_members_that_say_the_same_are_one_row(curation):
    say(curation, "choose", mode=keys(curation)["promises"])
    rows = curation.members["rows"]
    assert sorted(note for row in rows for note in row["notes"]) == [*range(1, 13), 49]
    assert [1, 49] in [sorted({1, 49} & set(row["notes"])) for row in rows]
    assert (rows[0]["representative"], curation.members["left_out"]) == (True, 0)


def test_a_split_needs_some_members_and_not_all(ws, curation):
    mode = keys(curation)["calls"]
    notes = list(range(13, 25))
    for wrong in ([], notes):
        refused = say(curation, "split", mode=mode, notes=wrong, name="Twice")
        assert refused["why"].startswith("select some of the members")
    assert kinds(ws) == []
    say(curation, "split", mode=mode, notes=notes[:5], name="Calls twice")
    sizes = {group["name"]: group["n_notes"] for group in curation.groups}
    assert sizes["Calls twice"] == 5
    assert sorted(sizes.values()) == [5, 7, 12, 12, 13]
    assert curation.members["mode"] == "calls_twice"
    assert kinds(ws) == ["codebook.proposed", "mode.split"]


def test_members_are_confirmed_and_a_mode_promoted(ws, curation):
    mode = keys(curation)["promises"]
    early = say(curation, "promote", mode=mode, **FIELDS | {"owner": "", "severity": ""})
    assert "10 of 10 sampled members wait" in early["why"]
    assert kinds(ws) == ["codebook.proposed", "mode.defined"]  # what was filled in stays
    say(curation, "confirm", mode=mode)
    for done in range(10):
        assert curation.confirming["done"] == done
        note = curation.confirming["note"]
        assert say(curation, "judge", mode=mode, note=note, belongs=done > 0)["tell"] == "done"
    assert curation.confirming == {}
    [group] = [group for group in curation.groups if group["mode"] == mode]
    estimate, low, high = group["precision"]
    assert low < estimate == 0.9 < high
    assert group["missing"] == ["severity", "owner"]
    assert "lacks severity, owner" in say(curation, "promote", mode=mode)["why"]
    assert say(curation, "promote", mode=mode, **FIELDS)["tell"] == "done"
    assert kinds(ws)[2:] == [*["member.confirmed"] * 10, "mode.defined", "mode.promoted"]
    assert read_codebook(ws.ledger).find("shop", mode).status == "live"


def test_each_undoes_their_own_step_by_step_to_nothing(ws, curation):
    before, found = curation.groups, keys(curation)
    say(curation, "rename", mode=found["rude"], name="Is rude")
    ben = open_curation(open_workspace(ws.path, user="ben"))
    nothing = {"tell": "refused", "why": "nothing of yours is left to undo"}
    assert say(ben, "undo") == nothing
    say(curation, "merge", source=found["calls"], into=found["rude"])
    undone = [say(curation, "undo")["said"] for _ in range(4)]
    assert undone[0] == "Undone: the merge into Is rude"
    assert undone[1].startswith("Undone: the draft calls the search tool")
    assert undone[2] == "Undone: what was written about Is rude"
    assert undone[3].startswith("Undone: the draft rude tone")
    assert curation.groups == before
    assert say(curation, "undo") == nothing


def test_two_analysts_see_what_the_other_did(ws, curation):
    second = open_curation(open_workspace(ws.path, user="ben"))
    found = keys(curation)
    say(curation, "rename", mode=found["rude"], name="Is rude")
    say(second, "merge", source=found["calls"], into=found["rude"])
    assert kinds(ws) == ["codebook.proposed", "mode.defined", "codebook.proposed", "mode.merged"]
    gone = say(curation, "rename", mode=found["calls"], name="Late")
    assert "there is no cluster" in gone["why"]


def test_notes_that_came_later_are_found_beside_the_drafts(ws, curation):
    say(curation, "rename", mode=keys(curation)["rude"], name="Is rude")
    make.notes(ws.ledger, *(f"shows {each} owners where their neighbours live" for each in THINGS))
    later = open_curation(ws)
    assert sorted(group["status"] for group in later.groups) == ["draft"] + ["found"] * 4
    assert (later.homes >= 0).all()
    say(later, "rename", mode=keys(later)["shows"], name="Leaks an address")
    proposed = ws.ledger.events("codebook.proposed")["body"]
    assert [len(json.loads(body)["drafts"]) for body in proposed] == [1, 1]


def test_too_few_notes_say_what_to_do(tmp_path):
    curation = open_curation(open_workspace(tmp_path, user="ana"))
    assert (curation.groups, curation.members["rows"], curation.points) == ([], [], b"")
    assert "Read more sessions" in curation.reason
    for message in ("nonsense", {"act": "drop"}, {"act": "rename", "mode": "x"}, {"act": "undo"}):
        assert curation.answer(message)["tell"] == "refused"


def sort_all(curation, truth, most=100):
    """Sort as an analyst would who knows the truth: acts, and what each was."""
    asked = []
    say(curation, "sort")
    while curation.sorting and len(asked) < most:
        rows, offers = curation.sorting["rows"], curation.sorting["offers"]
        kinds = [truth(row["text"]) for row in rows]
        mine = curation.sorting["name"] or kinds[0]
        notes = [
            note
            for row, kind in zip(rows, kinds, strict=True)
            for note in row["notes"]
            if kind == mine
        ]
        struck = [
            note
            for row, kind in zip(rows, kinds, strict=True)
            for note in row["notes"]
            if kind != mine
        ]
        asked.append((len(rows), [each["name"] for each in offers], kinds))
        if not notes:
            say(curation, "later", note=rows[0]["notes"][0])
            continue
        assert say(curation, "put", notes=notes, struck=struck, name=mine)["tell"] == "done"
    return asked


def topic(text):
    return text.split()[0].lower()


def test_notes_are_sorted_by_naming_few_of_them(ws, curation):
    asked = sort_all(curation, topic)
    assert len(asked) < 24  # of 48 that differ
    assert {kind for _, _, kinds in asked for kind in kinds} == set(TOPICS)
    assert curation.progress == {
        "sorted": 49, "of": 49, "modes": 4, "recent": 10, "new": 0, "astray": False, "few": True
    }  # fmt: skip
    book = read_codebook(ws.ledger)
    held = {mode: sorted(note for note in each.notes) for (_, mode), each in book.modes.items()}
    assert held["promises"] == [*range(1, 13), 49]
    assert all(each.waiting() == () for each in book.modes.values())  # somebody read each
    assert say(curation, "sort")["why"] == "every note is sorted"
    promoted = say(curation, "promote", mode="rude", **FIELDS)
    assert promoted["said"] == "Promises a late refund counts from now on"


def test_what_is_only_suggested_is_in_no_mode(ws, curation):
    say(curation, "sort")
    [row] = curation.sorting["rows"]
    assert curation.sorting["offers"] == []
    say(curation, "put", notes=row["notes"], name="One")
    assert read_codebook(ws.ledger).find("shop", "one").notes == tuple(row["notes"])
    [one] = [group for group in curation.groups if group["mode"] == "one"]
    assert (one["n_notes"], one["status"]) == (len(row["notes"]), "draft")
    assert one["n_suggested"] == 11
    say(curation, "choose", mode="one")
    assert [each["suggested"] for each in curation.members["rows"]] == [False] + [True] * 11
    assert curation.progress["sorted"] == len(row["notes"])


def test_a_note_moves_with_the_last_word_and_undo_brings_it_back(ws, curation):
    say(curation, "put", notes=[1], name="One")
    say(curation, "put", notes=[2], struck=[1], name="Two")
    book = read_codebook(ws.ledger)
    assert (book.find("shop", "one").notes, book.find("shop", "two").struck) == ((1,), (1,))
    say(curation, "put", notes=[1, 3], mode="two")
    assert read_codebook(ws.ledger).find("shop", "one").notes == ()
    assert read_codebook(ws.ledger).find("shop", "two").struck == ()
    assert say(curation, "undo")["said"] == "Undone: the sorting of 2 into Two"
    assert read_codebook(ws.ledger).find("shop", "one").notes == (1,)
    assert say(curation, "put", notes=[99], mode="two")["why"].startswith("event 99 is no note")
    assert say(curation, "put", notes=[])["tell"] == "refused"


def test_a_note_whose_writer_labelled_one_mode_alone_is_an_example_of_it(ws):
    make.modes(ws.ledger, "late", "curt")
    judged = {"surface": "shop", "verdict": "fail"}
    for number in range(1, 4):
        ws.ledger.append(
            "label.set", f"s{number}", judged | {"session_id": f"s{number}", "modes": ["late"]}
        )
    both = judged | {"session_id": "s25", "modes": ["late", "curt"]}
    ws.ledger.append("label.set", "s25", both)  # which of the two its note tells of, nobody said
    curation = open_curation(ws)
    [late] = [group for group in curation.groups if group["mode"] == "late"]
    assert (late["n_notes"], late["n_suggested"]) == (0, 13)
    say(curation, "sort")
    while "promises" not in curation.sorting["rows"][0]["text"].lower():
        say(curation, "later", note=curation.sorting["rows"][0]["notes"][0])
    assert [each["mode"] for each in curation.sorting["offers"]] == ["late"]
    assert curation.progress["sorted"] == 0
    say(curation, "put", notes=[1], name="Another")
    [late] = [group for group in curation.groups if group["mode"] == "late"]
    assert late["n_suggested"] < 13  # the last word of a person is the one that counts
