"""The codebook against a simple model: what each act makes of it, and that undo is exact."""

import tempfile
from functools import partial

import make
import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from evalbench.errors import LabelError, LedgerError
from evalbench.label.codebook import acts as codebook
from evalbench.label.codebook.acts import read_codebook
from evalbench.schema import DraftedMode
from evalbench.store.ledger import Ledger

SHOP = "shop"
FULL = make.MODE_FIELDS
NOTES = range(1, 7)
NAMES, SESSIONS = st.sampled_from("abcd"), [f"s{note}" for note in NOTES]


def draft(name, *notes):
    return DraftedMode(mode=name, name=name, notes=notes)


class Acts(RuleBasedStateMachine):
    """Whatever people do: the fold of the events is what a model that only replays acts says."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(f"sqlite:///{self.folder.name}/ledger.sqlite", actor="ana")
        make.notes(self.ledger, *(f"Note {note}." for note in NOTES))
        self.done, self.undos = {}, {}

    def teardown(self):
        assert self.ledger.verify() is None
        self.folder.cleanup()

    def attempt(self, act, apply):
        """Do an act; refused, it leaves no trace."""
        head = self.ledger.head()
        try:
            seq = act()
        except LabelError:
            assert self.ledger.head() == head
            return
        assert seq == self.ledger.head() == head + 1
        self.done[seq] = [apply, True]

    @rule(name=NAMES, full=st.booleans())
    def define(self, name, full):
        fields = FULL if full else {}

        def apply(modes):
            modes[name] = {"fields": {"name", *fields}, "promoted": True, "notes": set()}

        self.attempt(partial(codebook.define, self.ledger, SHOP, name, name=name, **fields), apply)

    @rule(name=NAMES, fields=st.sampled_from([{"owner": ""}, {"owner": "ben"}, FULL]))
    def edit(self, name, fields):
        def apply(modes):
            given = {field for field, value in fields.items() if value}
            modes[name]["fields"] = modes[name]["fields"] - fields.keys() | given

        self.attempt(partial(codebook.edit, self.ledger, SHOP, name, **fields), apply)

    @rule(source=NAMES, into=NAMES)
    def merge(self, source, into):
        def apply(modes):
            modes[into]["notes"] |= modes[source]["notes"]
            modes[source]["heirs"] = dict.fromkeys(SESSIONS, into)

        self.attempt(partial(codebook.merge, self.ledger, SHOP, [source], into), apply)

    @rule(source=NAMES, first=NAMES, second=NAMES, session=st.sampled_from(SESSIONS))
    def split(self, source, first, second, session):
        parts = {first: [session], second: []}

        def apply(modes):
            for part in parts:
                modes.setdefault(part, {"fields": {"name"}, "promoted": False, "notes": set()})
            for note in modes[source]["notes"]:
                modes[first if f"s{note}" == session else second]["notes"].add(note)
            modes[source]["heirs"] = dict.fromkeys(SESSIONS, second) | {session: first}

        if first != second:
            act = partial(codebook.split, self.ledger, SHOP, source, parts, otherwise=second)
            self.attempt(act, apply)

    @rule(name=NAMES)
    def retire(self, name):
        def apply(modes):
            modes[name]["heirs"] = {}

        self.attempt(partial(codebook.retire, self.ledger, SHOP, name), apply)

    @rule(name=NAMES, notes=st.sets(st.sampled_from(NOTES), min_size=1))
    def propose(self, name, notes):
        def apply(modes):
            modes[name] = {"fields": {"name"}, "promoted": False, "notes": set(notes)}

        drafts = [draft(name, *notes)]
        act = partial(codebook.propose, self.ledger, SHOP, drafts, seed=1, ledger_seq=6)
        self.attempt(act, apply)

    @rule(name=NAMES, none=st.booleans())
    def look_and_promote(self, name, none):
        """Look at every note of a mode and let it count, which takes one note that belongs."""
        for note in NOTES:
            act = partial(codebook.confirm, self.ledger, SHOP, name, note, not none)
            self.attempt(act, lambda modes: None)

        def apply(modes):
            modes[name]["promoted"] = True

        self.attempt(partial(codebook.promote, self.ledger, SHOP, name), apply)

    @rule(back=st.integers(0, 5))
    def undo(self, back):
        """Undo makes the codebook what it was, where nothing was done since; undone, what it is."""
        head = self.ledger.head()
        target = head - back
        before = read_codebook(self.ledger)
        try:
            undo = codebook.undo(self.ledger, target)
        except LabelError:
            assert self.ledger.head() == head
            return
        if back == 0:
            assert read_codebook(self.ledger) == read_codebook(self.ledger, until=target - 1)
        redo = codebook.undo(self.ledger, undo)
        assert read_codebook(self.ledger) == before
        codebook.undo(self.ledger, redo)
        self.undos[undo], self.undos[redo] = target, undo
        self.undos[self.ledger.head()] = redo
        for _ in range(3):
            self.toggle(target)

    def toggle(self, seq):
        while seq in self.undos:
            seq = self.undos[seq]
        self.done[seq][1] ^= True

    @invariant()
    def the_fold_is_what_the_model_says(self):
        modes = {}
        for apply, stands in self.done.values():
            if stands:
                apply(modes)
        book = read_codebook(self.ledger)
        assert book.void == {}
        assert {name for _, name in book.modes} == set(modes)
        live = {name for name, mode in modes.items() if lives(mode)}
        assert book.live["mode"].to_list() == sorted(live)
        for name, mode in modes.items():
            assert set(book.find(SHOP, name).notes) == mode["notes"]
            for session in SESSIONS:
                end = name
                while end in modes and "heirs" in modes[end]:
                    end = modes[end]["heirs"].get(session)
                assert book.follow(SHOP, name, session) == (end if end in live else None)


def lives(mode):
    return "heirs" not in mode and mode["promoted"] and {"name", *FULL} <= mode["fields"]


TestActs = Acts.TestCase
TestActs.settings = settings(
    max_examples=30, stateful_step_count=15, deadline=None, phases=[Phase.generate]
)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", actor="ana")


@pytest.fixture
def defined(ledger):
    """Modes that count, one retired, one merged, a draft of twelve notes and one of none."""
    make.notes(ledger, *(f"Note {number}." for number in range(1, 13)))
    make.modes(ledger, "rude", "slow", "vague", "gone", "joined", surface=SHOP)
    codebook.retire(ledger, SHOP, "gone", reason="never happens")
    codebook.merge(ledger, SHOP, ["joined"], "rude")
    codebook.define(ledger, SHOP, "draft", name="Draft")
    codebook.propose(ledger, SHOP, [draft("tone", *range(1, 13))], seed=7, ledger_seq=12)
    return ledger


PARTS, SEEN = {"a": ["s1"], "b": []}, {"seed": 8, "ledger_seq": 1}
REFUSED = [
    (codebook.define, ["rude"], {"name": "Again"}, "there is a mode 'rude' already"),
    (codebook.edit, ["gone"], {"name": "x"}, "'gone' was retired: define another"),
    (codebook.edit, ["new"], {"name": "x"}, "no mode 'new' of shop; there are .* define it first"),
    (codebook.merge, [["joined"], "slow"], {}, "'joined' was merged into rude: act on what it"),
    (codebook.merge, [["rude"], "gone"], {}, "'gone' was retired"),
    (codebook.merge, [["rude"], "rude"], {}, "cannot be merged into itself"),
    (codebook.merge, [["rude"], "draft"], {}, "'rude' counts and 'draft' does not .it lacks def"),
    (codebook.split, ["rude", PARTS], {"otherwise": "a"}, "define 'a' in full"),
    (codebook.split, ["draft", PARTS], {"otherwise": "c"}, "'c' is none of the parts"),
    (codebook.split, ["tone", {**PARTS, "tone": []}], {"otherwise": "b"}, "name its parts anew"),
    (codebook.split, ["tone", {"a": ["s1"], "b": ["s1"]}], {"otherwise": "a"}, "s1 is listed un"),
    (codebook.split, ["tone", PARTS], {"otherwise": "a", "notes": {"b": [99]}}, "99 is no member"),
    (codebook.retire, ["gone"], {}, "'gone' was retired"),
    (codebook.confirm, ["rude", 1, True], {}, "note 1 is no member of 'rude'"),
    (codebook.promote, ["rude"], {}, "'rude' counts already"),
    (codebook.promote, ["draft"], {}, "'draft' lacks definition, example, severity"),
    (codebook.promote, ["tone"], {}, r"10 of 10 sampled members wait .* confirm note \d+"),
    (codebook.propose, [[draft("rude", 1)]], SEEN, "there is a mode 'rude' already: propose it"),
    (codebook.propose, [[draft("x", 13)]], SEEN, "event 13 is no note"),
    (codebook.propose, [[draft("x", 1), draft("y", 1)]], SEEN, "note 1 is listed under 'x' and"),
]


@pytest.mark.parametrize(("act", "arguments", "named", "why"), REFUSED)
def test_what_cannot_be_is_refused_with_the_next_step(defined, act, arguments, named, why):
    head = defined.head()
    with pytest.raises(LabelError, match=why):
        act(defined, SHOP, *arguments, **named)
    assert defined.head() == head


def test_a_field_that_does_not_fit_is_refused_by_the_ledger(ledger):
    for field in ("severity", "colour"):
        with pytest.raises(LedgerError, match=field):
            codebook.define(ledger, SHOP, "rude", name="Rude", **{field: "bad"})


def test_a_cluster_counts_once_its_sample_was_looked_at(defined):
    sample = read_codebook(defined).find(SHOP, "tone").sample()
    assert len(sample) == 10
    for note in sample[:4]:
        codebook.confirm(defined, SHOP, "tone", note, note != sample[0])
    [tone] = read_codebook(defined).to_members().rows(named=True)
    assert (tone["name"], tone["n_notes"], tone["waiting"]) == ("tone", 12, 6)
    assert tone["missing"].startswith("definition, example")
    mode = read_codebook(defined).find(SHOP, "tone")
    share = mode.precision(level=0.95, rng=np.random.default_rng(1))
    assert share.low < share.estimate == 0.75 < share.high
    for note in sample:
        codebook.confirm(defined, SHOP, "tone", note, False)
    with pytest.raises(LabelError, match="none of its sampled members belongs"):
        codebook.promote(defined, SHOP, "tone")
    codebook.confirm(defined, SHOP, "tone", sample[0], True)
    codebook.edit(defined, SHOP, "tone", **FULL)
    codebook.promote(defined, SHOP, "tone")
    event = defined.bodies("mode.promoted").row(0, named=True)
    assert (event["members"], event["belonging"]) == (10, 1)
    assert read_codebook(defined).find(SHOP, "tone").status == "live"


def test_a_split_places_notes_by_hand_or_with_their_session_and_verdicts_stay_behind(defined):
    codebook.confirm(defined, SHOP, "tone", 3, True)
    parts, notes = {"curt": ["s2"], "cold": []}, {"curt": [1]}
    codebook.split(defined, SHOP, "tone", parts, otherwise="cold", notes=notes)
    book = read_codebook(defined)
    assert book.find(SHOP, "curt").notes == (1, 2)
    assert book.find(SHOP, "cold").notes == tuple(range(3, 13))
    assert book.find(SHOP, "cold").verdicts == {}
    assert {"curt", "cold", "draft"}.isdisjoint(book.named["mode"])
    assert {"joined", "gone", "rude", "tone"} <= set(book.named["mode"])


def test_what_others_rest_on_cannot_be_undone_before_them(defined):
    merged = codebook.merge(defined, SHOP, ["slow"], "rude")
    slow = defined.bodies("mode.defined").filter(mode="slow")["seq"].item()
    with pytest.raises(LabelError, match=rf"event {merged} \(mode.merged\) rests on it"):
        codebook.undo(defined, slow)
    undo = codebook.undo(defined, merged)
    with pytest.raises(LabelError, match=f"event {merged} is undone: undo event {undo} to do it"):
        codebook.undo(defined, merged)
    with pytest.raises(LabelError, match="event 99 is no act of the codebook"):
        codebook.undo(defined, 99)


def test_events_written_past_the_guards_or_late_have_no_effect(defined):
    codebook.edit(defined, SHOP, "rude", name="Is rude")
    before = read_codebook(defined)
    late = {"surface": SHOP, "mode": "rude", "name": "Old", "version": 1, **FULL}
    defined.append("mode.defined", "rude", late)
    assert read_codebook(defined) == before
    seq = defined.append("mode.merged", "rude", {"surface": SHOP, "sources": ["x"], "into": "rude"})
    assert read_codebook(defined).modes == before.modes
    assert list(read_codebook(defined).void) == [seq]
