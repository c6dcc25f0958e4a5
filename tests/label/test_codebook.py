"""The codebook: what each act makes of it, which acts are refused, and that undo is exact."""

import multiprocessing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalbench.errors import LabelError, LedgerError
from evalbench.label.codebook import acts as codebook
from evalbench.label.codebook.acts import read_codebook
from evalbench.schema import DraftedMode
from evalbench.store.ledger import Ledger

SHOP = "shop"
FULL = {
    "definition": "It is wrong.",
    "example": "Such as this.",
    "severity": "user impact",
    "failure_class": "answer quality",
    "owner": "ana",
}


@pytest.fixture
def ledger(tmp_path):
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", actor="ana")


@pytest.fixture
def defined(ledger):
    """Three modes that count."""
    for mode in ("rude", "slow", "vague"):
        codebook.define(ledger, SHOP, mode, name=mode.title(), **FULL)
    return ledger


@pytest.fixture
def drafted(ledger):
    """Two clusters, of twelve notes and of three; the notes are events 1 to 15."""
    ledger.extend(
        ("note.added", f"s{n}", {"text": f"Note {n}.", "surface": SHOP, "session_id": f"s{n}"})
        for n in range(1, 16)
    )
    drafts = [
        DraftedMode(mode="tone", name="tone", notes=tuple(range(1, 13))),
        DraftedMode(mode="delay", name="delay", notes=(13, 14, 15)),
    ]
    codebook.propose(ledger, SHOP, drafts, seed=7, ledger_seq=15)
    return ledger


def status(ledger):
    return {mode.mode: mode.status for mode in read_codebook(ledger).modes.values()}


def confirm_sample(ledger, mode, belongs=True):
    for note in read_codebook(ledger).find(SHOP, mode).sample():
        codebook.confirm(ledger, SHOP, mode, note, belongs)


def test_an_edit_is_a_version_and_keeps_what_it_does_not_change(defined):
    codebook.edit(defined, SHOP, "rude", name="Is rude", owner="bruno")
    rude = read_codebook(defined).find(SHOP, "rude")
    assert (rude.name, rude.owner, rude.definition) == ("Is rude", "bruno", "It is wrong.")
    assert rude.version == 2
    assert read_codebook(defined, until=3).find(SHOP, "rude").name == "Rude"
    assert read_codebook(defined).live["mode"].to_list() == ["rude", "slow", "vague"]


@pytest.mark.parametrize("field", list(FULL))
def test_without_any_one_of_what_it_needs_a_mode_is_a_draft_and_counts_nowhere(ledger, field):
    partial = {name: value for name, value in FULL.items() if name != field}
    codebook.define(ledger, SHOP, "rude", name="Rude", **partial)
    book = read_codebook(ledger)
    assert book.find(SHOP, "rude").status == "draft"
    assert book.live.is_empty()
    assert book.named.is_empty()
    assert book.follow(SHOP, "rude", "s1") is None
    codebook.edit(ledger, SHOP, "rude", **{field: FULL[field]})
    assert status(ledger) == {"rude": "live"}


def test_a_definition_of_an_older_version_written_late_changes_nothing(defined):
    codebook.edit(defined, SHOP, "rude", name="Is rude")
    late = {"surface": SHOP, "mode": "rude", "name": "Old", "version": 1, **FULL}
    defined.append("mode.defined", "rude", late)
    assert read_codebook(defined).find(SHOP, "rude").name == "Is rude"


def test_a_merge_ends_its_sources_and_keeps_where_they_came_from(defined):
    codebook.merge(defined, SHOP, ["slow", "vague"], "rude", reason="one cause")
    book = read_codebook(defined)
    assert status(defined) == {"rude": "live", "slow": "merged", "vague": "merged"}
    assert [book.follow(SHOP, mode, "s1") for mode in ("rude", "slow", "vague")] == ["rude"] * 3
    assert book.live["mode"].to_list() == ["rude"]
    assert sorted(book.named["mode"]) == ["rude", "slow", "vague"]


def test_labels_follow_a_chain_of_splits_and_merges(defined):
    codebook.define(defined, SHOP, "late", name="Late", **FULL)
    codebook.define(defined, SHOP, "stuck", name="Stuck", **FULL)
    codebook.split(defined, SHOP, "slow", {"late": ["s1"], "stuck": ["s2"]}, otherwise="late")
    codebook.merge(defined, SHOP, ["stuck"], "vague")
    book = read_codebook(defined)
    assert [book.follow(SHOP, "slow", name) for name in ("s1", "s2", "s3")] == [
        "late",
        "vague",
        "late",
    ]


def test_a_split_of_a_cluster_makes_drafts_and_shares_out_its_notes(drafted):
    codebook.split(
        drafted, SHOP, "tone", {"curt": ["s2"], "cold": []}, otherwise="cold", notes={"curt": [1]}
    )
    book = read_codebook(drafted)
    assert status(drafted) == {"tone": "split", "delay": "draft", "curt": "draft", "cold": "draft"}
    assert book.find(SHOP, "curt").notes == (1, 2)
    assert book.find(SHOP, "cold").notes == tuple(range(3, 13))


def test_merged_clusters_pool_their_notes_but_verdicts_stay_behind(drafted):
    codebook.confirm(drafted, SHOP, "delay", 13, True)
    codebook.merge(drafted, SHOP, ["delay"], "tone")
    tone = read_codebook(drafted).find(SHOP, "tone")
    assert tone.notes == tuple(range(1, 16))
    assert tone.verdicts == {}


def test_a_cluster_counts_once_it_is_described_and_its_sample_was_looked_at(drafted, rng):
    codebook.edit(drafted, SHOP, "tone", name="Curt tone", **FULL)
    assert status(drafted)["tone"] == "draft"
    with pytest.raises(LabelError, match=r"10 of 10 sampled members wait .* confirm note \d+"):
        codebook.promote(drafted, SHOP, "tone")
    sample = read_codebook(drafted).find(SHOP, "tone").sample()
    for note in sample:
        codebook.confirm(drafted, SHOP, "tone", note, note != sample[0])
    codebook.promote(drafted, SHOP, "tone")
    tone = read_codebook(drafted).find(SHOP, "tone")
    assert tone.status == "live"
    precision = tone.precision(level=0.95, rng=rng)
    assert precision.estimate == pytest.approx(0.9)
    assert precision.low < 0.6 < precision.estimate  # Wilson, 9 of 10
    event = drafted.bodies("mode.promoted").row(0, named=True)
    assert (event["members"], event["belonging"]) == (10, 9)


@pytest.fixture
def rng():
    import numpy as np

    return np.random.default_rng(1)


def test_the_table_of_members_tells_what_waits_and_what_was_found(drafted, rng):
    sample = read_codebook(drafted).find(SHOP, "tone").sample()
    for note in sample[:4]:
        codebook.confirm(drafted, SHOP, "tone", note, note != sample[0])
    codebook.define(drafted, SHOP, "rude", name="Rude", **FULL)  # has no members
    delay, tone = read_codebook(drafted).to_members(level=0.95, rng=rng).rows(named=True)
    assert (delay["mode"], delay["n_notes"], delay["sampled"], delay["waiting"]) == (
        "delay",
        3,
        3,
        3,
    )
    assert delay["precision"] is None
    assert (tone["sampled"], tone["waiting"], tone["precision"]) == (10, 6, 0.75)
    assert tone["low"] < 0.75 < tone["high"]
    assert tone["missing"].startswith("definition, example")


def test_promotion_names_what_is_missing_and_needs_a_member_that_belongs(drafted):
    confirm_sample(drafted, "delay", belongs=False)
    with pytest.raises(LabelError, match="none of its sampled members belongs"):
        codebook.promote(drafted, SHOP, "delay")
    confirm_sample(drafted, "delay")  # all three: it has no ten
    with pytest.raises(LabelError, match="'delay' lacks definition, example, severity"):
        codebook.promote(drafted, SHOP, "delay")
    codebook.edit(drafted, SHOP, "delay", **FULL)
    codebook.promote(drafted, SHOP, "delay")
    assert status(drafted)["delay"] == "live"


def test_the_sample_stays_a_sample_when_notes_join(drafted):
    before = read_codebook(drafted).find(SHOP, "tone").sample()[:5]
    codebook.merge(drafted, SHOP, ["delay"], "tone")
    after = read_codebook(drafted).find(SHOP, "tone")
    kept = [note for note in after.sample() if note <= 12]
    assert tuple(kept[:5]) == before


REFUSED = [
    (codebook.define, ("rude",), {"name": "Again"}, "there is a mode 'rude' already"),
    (codebook.edit, ("gone",), {"name": "x"}, "'gone' was retired: define another"),
    (codebook.edit, ("new",), {"name": "x"}, "no mode 'new' of shop; there are .* define it first"),
    (codebook.merge, (["new"], "rude"), {}, "no mode 'new'"),
    (codebook.merge, (["gone"], "rude"), {}, "'gone' was retired"),
    (codebook.merge, (["rude"], "gone"), {}, "'gone' was retired"),
    (codebook.merge, (["joined"], "slow"), {}, "'joined' was merged into rude: act on what it"),
    (codebook.merge, (["rude"], "rude"), {}, "cannot be merged into itself"),
    (codebook.merge, (["rude"], "draft"), {}, "'rude' counts and 'draft' does not"),
    (codebook.split, ("rude", {"a": [], "b": []}), {"otherwise": "a"}, "define 'a' in full"),
    (codebook.split, ("draft", {"a": [], "b": []}), {"otherwise": "c"}, "'c' is none of the parts"),
    (
        codebook.split,
        ("draft", {"a": ["s1"], "b": ["s1"]}),
        {"otherwise": "a"},
        "session s1 is listed under 'a' and 'b'",
    ),
    (
        codebook.split,
        ("draft", {"a": [], "b": []}),
        {"otherwise": "a", "notes": {"b": [99]}},
        "note 99 is no member",
    ),
    (codebook.split, ("draft", {"draft": [], "b": []}), {"otherwise": "b"}, "name its parts anew"),
    (codebook.retire, ("gone",), {}, "'gone' was retired"),
    (codebook.confirm, ("rude", 1, True), {}, "note 1 is no member of 'rude'"),
    (codebook.promote, ("rude",), {}, "'rude' counts already"),
]


@pytest.mark.parametrize(("act", "arguments", "named", "why"), REFUSED)
def test_what_cannot_be_is_refused_with_the_next_step(defined, act, arguments, named, why):
    codebook.define(defined, SHOP, "gone", name="Gone", **FULL)
    codebook.retire(defined, SHOP, "gone", reason="never happens")
    codebook.define(defined, SHOP, "joined", name="Joined", **FULL)
    codebook.merge(defined, SHOP, ["joined"], "rude")
    codebook.define(defined, SHOP, "draft", name="Draft")
    head = defined.head()
    with pytest.raises(LabelError, match=why):
        act(defined, SHOP, *arguments, **named)
    assert defined.head() == head


def test_a_field_that_does_not_fit_is_refused_by_the_ledger(ledger):
    with pytest.raises(LedgerError, match="severity"):
        codebook.define(ledger, SHOP, "rude", name="Rude", severity="bad")
    with pytest.raises(LedgerError, match="colour"):
        codebook.define(ledger, SHOP, "rude", name="Rude", colour="red")


def test_clusters_are_refused_where_a_key_is_taken_or_a_note_is_not_there(drafted):
    again = [DraftedMode(mode="tone", name="x", notes=(1,))]
    with pytest.raises(LabelError, match="there is a mode 'tone' already"):
        codebook.propose(drafted, SHOP, again, seed=8, ledger_seq=16)
    lost = [DraftedMode(mode="x", name="x", notes=(16,))]
    with pytest.raises(LabelError, match="event 16 is no note"):
        codebook.propose(drafted, SHOP, lost, seed=8, ledger_seq=16)
    both = [DraftedMode(mode=name, name=name, notes=(1,)) for name in "xy"]
    with pytest.raises(LabelError, match="note 1 is listed under 'x' and 'y'"):
        codebook.propose(drafted, SHOP, both, seed=8, ledger_seq=16)


def test_pressed_twice_an_act_is_done_once(drafted):
    acts = [
        lambda: codebook.define(drafted, SHOP, "rude", name="Rude", **FULL),
        lambda: codebook.edit(drafted, SHOP, "rude", name="Is rude"),
        lambda: codebook.edit(drafted, SHOP, "delay", **FULL),
        lambda: codebook.confirm(drafted, SHOP, "delay", 15, True),
        lambda: codebook.promote(drafted, SHOP, "delay"),
        lambda: codebook.split(drafted, SHOP, "tone", {"a": ["s1"], "b": []}, otherwise="b"),
        lambda: codebook.merge(drafted, SHOP, ["a"], "b"),
        lambda: codebook.retire(drafted, SHOP, "b"),
        lambda: codebook.undo(drafted, drafted.head()),
    ]
    for note in (13, 14):
        codebook.confirm(drafted, SHOP, "delay", note, True)
    for number, act in enumerate(acts[:-1]):
        seq = act()
        assert act() == seq == drafted.head(), number
    target = drafted.head()
    seq = codebook.undo(drafted, target)
    assert codebook.undo(drafted, target) == seq == drafted.head()
    assert drafted.verify() is None


def test_another_persons_same_act_is_refused_not_repeated(defined):
    codebook.merge(defined, SHOP, ["slow"], "rude")
    bruno = Ledger(defined.url, actor="bruno")
    with pytest.raises(LabelError, match="'slow' was merged into rude"):
        codebook.merge(bruno, SHOP, ["slow"], "rude")


def test_undo_brings_back_the_former_fold_exactly_and_its_undo_the_later_one(drafted):
    codebook.edit(drafted, SHOP, "delay", **FULL)
    acts = [
        lambda: codebook.define(drafted, SHOP, "rude", name="Rude", **FULL),
        lambda: codebook.edit(drafted, SHOP, "rude", owner=""),
        lambda: codebook.confirm(drafted, SHOP, "tone", 3, False),
        lambda: codebook.merge(drafted, SHOP, ["delay"], "tone"),
        lambda: codebook.split(drafted, SHOP, "tone", {"a": ["s1"], "b": []}, otherwise="b"),
        lambda: codebook.retire(drafted, SHOP, "a", reason="noise"),
    ]
    for act in acts:
        before = read_codebook(drafted)
        seq = act()
        after = read_codebook(drafted)
        assert after != before
        undone = codebook.undo(drafted, seq)
        assert read_codebook(drafted) == before
        codebook.undo(drafted, undone)
        assert read_codebook(drafted) == after
    assert drafted.verify() is None


def test_what_others_rest_on_cannot_be_undone_before_them(defined):
    merged = codebook.merge(defined, SHOP, ["slow"], "rude")
    with pytest.raises(LabelError, match=rf"event {merged} \(mode.merged\) rests on it"):
        codebook.undo(defined, 2)
    codebook.undo(defined, merged)
    codebook.undo(defined, 2)
    assert set(status(defined)) == {"rude", "vague"}
    with pytest.raises(LabelError, match="event 2 is undone: undo event 6 to do it again"):
        codebook.undo(Ledger(defined.url, actor="bruno"), 2)
    with pytest.raises(LabelError, match="event 99 is no act of the codebook"):
        codebook.undo(defined, 99)


def test_an_event_written_past_the_guards_has_no_effect_and_is_told(defined):
    body = {"surface": SHOP, "sources": ["nowhere"], "into": "rude"}
    seq = defined.append("mode.merged", "rude", body)
    before = read_codebook(defined, until=seq - 1)
    book = read_codebook(defined)
    assert book.modes == before.modes
    assert list(book.void) == [seq]
    codebook.edit(defined, SHOP, "rude", name="Is rude")
    assert read_codebook(defined).find(SHOP, "rude").name == "Is rude"


def merge_rude_with_slow(url, actor, answers):
    try:
        answers.put(codebook.merge(Ledger(url, actor=actor), SHOP, ["slow"], "rude"))
    except LabelError:
        answers.put(None)


def test_of_two_people_at_once_one_merges(defined):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    people = [
        context.Process(target=merge_rude_with_slow, args=(defined.url, name, answers))
        for name in ("bruno", "chiara")
    ]
    for person in people:
        person.start()
    found = [answers.get(timeout=60) for _ in people]
    for person in people:
        person.join()
    assert sorted(found, key=str) == [defined.head(), None]


MODES = ("a", "b", "c", "d")
ACTS = st.one_of(
    st.tuples(st.just("edit"), st.sampled_from(MODES), st.sampled_from(["x", "y"])),
    st.tuples(st.just("merge"), st.sampled_from(MODES), st.sampled_from(MODES)),
    st.tuples(st.just("split"), st.sampled_from(MODES), st.permutations(MODES)),
    st.tuples(st.just("retire"), st.sampled_from(MODES), st.none()),
    st.tuples(st.just("undo"), st.integers(1, 14), st.none()),
)


def act_at_random(ledger, name, first, second):
    match name:
        case "edit":
            codebook.edit(ledger, SHOP, first, name=second)
        case "merge":
            codebook.merge(ledger, SHOP, [first], second)
        case "split":
            parts = {second[0]: ["s1"], second[1]: ["s2"]}
            codebook.split(ledger, SHOP, first, parts, otherwise=second[0])
        case "retire":
            codebook.retire(ledger, SHOP, first)
        case "undo":
            codebook.undo(ledger, first)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(acts=st.lists(ACTS, max_size=8))
def test_whatever_people_do_no_event_is_void_and_labels_end_at_live_modes(tmp_path_factory, acts):
    url = f"sqlite:///{tmp_path_factory.mktemp('any') / 'ledger.sqlite'}"
    ledger = Ledger(url, actor="ana")
    for mode in MODES:
        codebook.define(ledger, SHOP, mode, name=mode, **FULL)
    for act in acts:
        try:
            act_at_random(ledger, *act)
        except LabelError:
            continue
    book = read_codebook(ledger)
    assert book.void == {}
    live = {None, *book.live["mode"]}
    assert {book.follow(SHOP, mode, name) for mode in MODES for name in ("s1", "s9")} <= live
