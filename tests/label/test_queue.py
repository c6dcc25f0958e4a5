"""The queue against a slow definition, whoever does what when; then what it says in words."""

import tempfile
from datetime import timedelta

import make
import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from evalbench.errors import LabelError, LedgerError
from evalbench.label.annotation.queue import Queue, add_repeats, assign_annotators, find_queues
from evalbench.label.annotation.workload import add_minutes, measure_cadence
from evalbench.operate.evidence import place_draw
from evalbench.schema import Design, Label, QueueDrawn
from evalbench.store.ledger import Ledger

PEOPLE = ("ana", "ben", "cem")
WANTED = (1, 2, 1, 2)
HOLD = 30
ANCHOR = {"span_id": "1", "quote": "no", "mode": "cold"}


class Clock:
    now = make.START

    def __call__(self):
        return self.now

    def go_on(self, **time):
        self.now += timedelta(**time)


def give(session, verdict="pass", **fields):
    return Label(surface="shop", session_id=session, verdict=verdict, **fields)


def names(items):
    return [item.session_id for item in items]


class Annotators(RuleBasedStateMachine):
    """People reserve, label, skip and stay away; what they did is read off the ledger."""

    def __init__(self):
        super().__init__()
        self.folder, self.clock = tempfile.TemporaryDirectory(), Clock()
        self.url = f"sqlite:///{self.folder.name}/ledger.sqlite"
        self.ledger = Ledger(self.url, actor="curator", clock=self.clock)
        self.number = make.queue(self.ledger, *WANTED)
        self.queues = {each: self.sit(each) for each in PEOPLE}

    def sit(self, actor):
        return Queue(Ledger(self.url, actor=actor, clock=self.clock), self.number)

    def read(self, kind):
        events = self.ledger.bodies(kind).filter(queue=self.number)
        return events.select("session_id", "actor", "seq", "at").rows()

    def count(self):
        """Slow definition: who labelled, holds and skipped each item."""
        given = [(*key, seq) for *key, seq, _ in self.read("label.set")]
        skipped = [(*key, seq) for *key, seq, _ in self.read("item.skipped")]
        last = {(name, actor): seq for name, actor, seq in [*given, *skipped]}
        held = {
            (row["session_id"], row["actor"])
            for row in self.ledger.bodies("item.reserved").rows(named=True)
            if row["expires_at"] > self.clock.now
            and row["seq"] > last.get((row["session_id"], row["actor"]), 0)
        }
        labelled = {key[:2] for key in given}
        return labelled, held, {key[:2] for key in skipped} - labelled

    @rule(actor=st.sampled_from(PEOPLE), ahead=st.integers(1, 2))
    def reserve(self, actor, ahead):
        before = self.count()
        offered = names(self.queues[actor].reserve(ahead=ahead, minutes=HOLD))
        labelled, held, skipped = self.count()
        assert len(offered) <= ahead
        for name in offered:
            wanted = WANTED[int(name[1:]) - 1]
            others = {who for one, who in labelled | held if one == name} - {actor}
            assert (name, actor) in held - labelled - skipped
            assert len(others) < wanted
        assert held - before[1] <= {(name, actor) for name in offered}

    @rule(actor=st.sampled_from(PEOPLE), item=st.integers(1, len(WANTED)), fails=st.booleans())
    def label(self, actor, item, fails):
        name, (labelled, *_) = f"s{item}", self.count()
        full = sum(one == name for one, _ in labelled) >= WANTED[item - 1]
        self.queues[actor].submit(give(name, "fail" if fails else "pass"))
        counted = self.ledger.bodies("label.set")["queue"][-1]
        assert counted == (None if full and (name, actor) not in labelled else self.number)

    @rule(actor=st.sampled_from(PEOPLE), item=st.integers(1, len(WANTED)))
    def skip(self, actor, item):
        name, head = f"s{item}", self.ledger.head()
        labelled, *_ = self.count()
        try:
            self.queues[actor].skip(name, "too long")
        except LabelError:
            assert (name, actor) in labelled
            assert self.ledger.head() == head

    @rule(minutes=st.sampled_from([5, 16, 31]))
    def wait(self, minutes):
        self.clock.go_on(minutes=minutes)

    @invariant()
    def the_state_is_what_the_ledger_says(self):
        labelled, held, skipped = self.count()
        state = self.sit("eva").state()  # read anew
        for name, wanted, *counts in state.select(pl.exclude("reasons", "state")).rows():
            sets = (labelled, held, skipped)
            assert counts == [sum(one == name for one, _ in each) for each in sets]
            assert counts[0] <= wanted
        assert all(state.equals(self.queues[actor].state()) for actor in PEOPLE)
        progress = self.queues["ana"].progress()
        assert progress["done"] == state.filter(state="done").height
        assert progress["done"] + progress["left"] == len(WANTED)
        assert progress["by_me"] == sum(who == "ana" for _, who in labelled)

    def teardown(self):
        """All that was drawn can be reached once the holds ran out."""
        self.clock.go_on(hours=2)
        for actor in ("dan", "eva", "fay"):
            queue, given = self.sit(actor), []
            while offered := names(queue.reserve(ahead=2, minutes=HOLD)):
                queue.submit(give(offered[0]))
                given.append(offered[0])
            assert len(given) == len(set(given))
        assert set(self.sit("ana").state()["state"]) == {"done"}
        assert find_queues(self.ledger).is_empty()
        assert self.ledger.verify() is None
        self.folder.cleanup()


TestAnnotators = Annotators.TestCase
TestAnnotators.settings = settings(
    max_examples=12, stateful_step_count=15, deadline=None, phases=[Phase.generate]
)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def draw(tmp_path, clock):
    """Draw a queue of items that want so many annotators each; give a way to sit down at it."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    ledger = Ledger(url, actor="curator", clock=clock)
    make.modes(ledger, "rude")

    def write(*wanted, surface="shop"):
        number = make.queue(ledger, *wanted, surface=surface)
        return lambda actor: Queue(Ledger(url, actor=actor, clock=clock), number)

    write.ledger = ledger
    return write


def test_what_others_began_comes_first_and_a_reopened_notebook_resumes(draw, clock):
    sit = draw(1, 1, 2, 2)
    sit("ana").submit(give("s3"))
    assert names(sit("cem").reserve(minutes=HOLD)) == ["s3"]
    assert names(sit("ben").reserve(ahead=3, minutes=HOLD)) == ["s1", "s2", "s4"]
    assert names(sit("ben").reserve(ahead=1, minutes=HOLD)) == ["s1"]
    sit("ben").skip("s1", "too long")
    assert names(sit("ana").reserve(ahead=3, minutes=HOLD)) == ["s4", "s1"]
    clock.go_on(minutes=50)  # the holds ran out, and nobody took them
    assert names(sit("ben").reserve(ahead=2, minutes=HOLD)) == ["s2", "s4"]


def test_a_hold_ends_on_the_minute_and_is_renewed_when_half_of_it_is_gone(draw, clock):
    sit = draw(1)
    for _ in range(4):
        sit("ana").reserve(minutes=HOLD)
        clock.go_on(minutes=5)
    assert draw.ledger.events("item.reserved").height == 2
    clock.go_on(minutes=24)
    assert sit("ben").reserve(minutes=HOLD) == []
    clock.go_on(minutes=1)
    assert names(sit("ben").reserve(minutes=HOLD)) == ["s1"]


def test_an_item_that_everybody_skips_is_told(draw):
    sit = draw(1, 2)
    for person in ("ana", "ben"):
        sit(person).skip("s1", f"{person} cannot read Finnish")
    sit("ana").submit(give("s2"))
    assert sit("ben").state().rows() == [
        ("s1", 1, 0, 0, 2, [f"{who} cannot read Finnish" for who in ("ana", "ben")], "skipped"),
        ("s2", 2, 1, 0, 0, [], "open"),
    ]
    sit("cem").reserve(ahead=2, minutes=HOLD)
    assert sit("ana").state()["state"].to_list() == ["held", "held"]


def test_a_note_is_written_with_its_label_and_skipping_needs_a_reason(draw):
    queue = draw(1, 1)("ana")
    with pytest.raises(LedgerError, match=r"item\.skipped: reason"):
        queue.skip("s1", " ")
    seq = queue.submit(give("s1"), note=" odd tone ")
    note, label = queue.ledger.events(since=seq - 2).iter_rows(named=True)
    assert (note["kind"], label["kind"], label["seq"]) == ("note.added", "label.set", seq)
    [note] = queue.ledger.bodies("note.added", subject="s1").to_dicts()
    assert (note["text"], note["surface"], note["session_id"]) == ("odd tone", "shop", "s1")
    with pytest.raises(LabelError, match="s1 has your label already"):
        queue.skip("s1", "too long")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (give("s1", "fail", modes=["rude", "slow"]), "no mode 'slow' counts in the codebook"),
        (give("s1", "fail", anchors=[ANCHOR]), "no mode 'cold' counts in the codebook of shop"),
        (give("s1", modes=["rude"]), "'pass' names no mode"),
        (give("s9"), "has no session s9"),
        (Label(surface="bank", session_id="s1", verdict="pass"), "is of shop, not of bank"),
    ],
)
def test_a_label_that_does_not_fit_is_refused_by_name(draw, label, message):
    queue = draw(1)("ana")
    with pytest.raises(LabelError, match=message):
        queue.submit(label)
    assert queue.ledger.events("label.set").is_empty()


def test_queues_that_are_not_done_are_found_and_others_say_what_to_do(draw):
    assert find_queues(draw.ledger).is_empty()
    with pytest.raises(LabelError, match=r"no queue 1: there is none yet; notebook 02_sample"):
        Queue(draw.ledger, 1).reserve(minutes=HOLD)
    first, second, third = draw(1), draw(1, 2), draw(1, surface="bank")
    with pytest.raises(LabelError, match=rf"no queue 99: there are {first('ana').number}, "):
        _ = Queue(draw.ledger, 99).body
    first("ana").submit(give("s1"))
    head = draw.ledger.head()
    for name in ("s1", "s2", "s2"):
        second("ana").submit(give(name))
    queues = find_queues(draw.ledger)
    assert queues["queue"].to_list() == [second("ana").number, third("ana").number]
    assert find_queues(draw.ledger, "shop").select("items", "done").rows() == [(2, 1)]
    assert find_queues(draw.ledger, "shop", until=head)["done"].to_list() == [0]


def test_speed_is_not_slowed_by_a_break(draw, clock):
    queue = draw(*[1] * 20)("ana")
    assert queue.progress()["sessions_per_hour"] is None
    for number in range(1, 21):
        clock.go_on(minutes=2)
        if number == 10:
            clock.go_on(hours=3)
        queue.submit(give(f"s{number}", "fail" if number % 4 == 0 else "pass"))
    progress = queue.progress()
    assert progress["sessions_per_hour"] == pytest.approx(30)
    assert (progress["failures"], progress["minutes_left"]) == (5, 0)


def test_the_time_left_is_of_what_this_annotator_may_still_have(draw, clock):
    sit = draw(*[1] * 10)
    assert sit("ana").progress()["minutes_left"] is None
    for number in range(1, 4):
        clock.go_on(minutes=2)
        sit("ana").submit(give(f"s{number}"))
    sit("ben").submit(give("s4"))
    sit("ana").skip("s5", "too long")
    assert sit("ana").progress()["minutes_left"] == pytest.approx(5 * 2)


def test_measured_seconds_win_over_the_times_of_labels():
    # Of ana's 1, 10, 2 and 120 minutes the median is 6; ben's only label has no time.
    given = [("ana", 0, 60.0), ("ana", 10, None), ("ben", 20, None), ("ana", 30, 120.0)]
    rows = [(who, make.START + timedelta(minutes=at), took) for who, at, took in given]
    rows.insert(2, ("ana", make.START + timedelta(minutes=50), 7_200.0))
    labels = pl.DataFrame(rows, schema=["actor", "at", "seconds"], orient="row")
    assert add_minutes(labels).select("actor", "minutes").rows() == [
        ("ana", 1), ("ana", 10), ("ben", None), ("ana", 2), ("ana", 6)
    ]  # fmt: skip


def test_cadence_counts_minutes_against_the_slot():
    given = [(name, who, "pass", []) for name in "xy" for who in ("ana", "ben")]
    weeks = pl.lit(make.START) + pl.duration(weeks=pl.col("seq") // 4)
    labels = make.labels(*given).with_columns(at=weeks, seconds=pl.lit(600.0))
    cadence = measure_cadence(labels, slot_minutes=120)
    columns = ("annotators", "labels", "minutes", "slot_percent", "sessions_an_hour")
    assert cadence.select(columns).rows() == [
        (2, 3, pytest.approx(30), pytest.approx(12.5), pytest.approx(6)),
        (1, 1, pytest.approx(10), pytest.approx(100 / 12), pytest.approx(6)),
    ]
    untimed = labels.with_columns(seconds=pl.lit(None, pl.Float64)).head(2)
    assert measure_cadence(untimed, slot_minutes=120)["minutes"].to_list() == [None]


@pytest.mark.parametrize("mean", [1, 1.2, 1.37, 2, 2.5])
def test_an_overlap_share_holds_in_expectation(mean):
    rng = np.random.default_rng(5)
    draws = np.array([assign_annotators(37, mean, rng=rng) for _ in range(4_000)])
    assert set(np.unique(draws)) <= {int(np.floor(mean)), int(np.ceil(mean))}
    totals = draws.sum(axis=1)
    assert np.abs(totals - 37 * mean).max() < 1
    assert totals.mean() == pytest.approx(37 * mean, abs=0.03)
    assert draws.mean(axis=0) == pytest.approx(np.full(37, mean), abs=0.04)
    with pytest.raises(ValueError, match=r"annotators_per_item must be at least 1, got 0\.5"):
        assign_annotators(3, 0.5, rng=rng)


def test_repeats_are_sessions_read_before_in_no_draw_and_after_what_is_always_read():
    names = [f"s{number:02d}" for number in range(60)]
    frame = pl.DataFrame({"surface": ["shop"] * 60, "session_id": names}).with_columns(
        drawn=pl.int_range(60) < 40, labelled=pl.int_range(60) >= 10
    )
    drawn = (
        frame[40:]
        .select("surface", "session_id")
        .with_columns(
            stratum=pl.lit("a"),
            inclusion_probability=pl.when(pl.int_range(20) < 2).then(1.0).otherwise(0.4),
            reason=pl.lit(""),
            annotators=pl.lit(1, pl.Int64),
        )
    )
    rng = np.random.default_rng(3)
    items = add_repeats(drawn, frame, share=0.25, rng=rng)
    again = items.filter(pl.col("inclusion_probability").is_null())
    assert (items.height, again.height) == (25, 5)
    assert set(again["session_id"]) <= set(names[10:40])
    assert items["session_id"][:2].to_list() == ["s40", "s41"]
    assert items["inclusion_probability"][-5:].null_count() < 5  # they are not last in a row
    assert items.filter(pl.col("inclusion_probability").is_not_null()).equals(drawn)
    assert add_repeats(drawn, frame, share=0.0, rng=rng).equals(drawn)
    body = {"surface": "shop", "seed": 1, "design": Design(by=()), "lake_versions": {}}
    draw = QueueDrawn(**body, items=items.drop("surface").to_dicts())
    placed = place_draw(7, draw, frame.with_columns(stratum=pl.lit("a")))
    assert set(placed.filter("drawn")["session_id"]) == set(drawn["session_id"])
    assert placed["inclusion_probability"][0] == pytest.approx(20 / 60)
