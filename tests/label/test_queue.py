from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evalbench.errors import LabelError, LedgerError
from evalbench.label.annotation.queue import Queue, assign_annotators, find_queues
from evalbench.label.annotation.workload import add_minutes
from evalbench.schema import Label
from evalbench.store.ledger import Ledger

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
MODE = {
    "mode": "rude",
    "surface": "shop",
    "name": "Is rude",
    "definition": "The assistant is rude to the customer.",
    "example": "That is your problem.",
    "severity": "user impact",
    "failure_class": "answer quality",
    "owner": "ana",
}


class Clock:
    def __init__(self):
        self.now = MONDAY

    def __call__(self):
        return self.now

    def go_on(self, **time):
        self.now += timedelta(**time)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def draw(tmp_path, clock):
    """Draw a queue of items that want so many annotators each; give a way to sit down at it."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    ledger = Ledger(url, actor="curator", clock=clock)
    ledger.append("mode.defined", "rude", MODE)

    def write(*wanted, surface="shop"):
        items = [
            {
                "session_id": f"s{number}",
                "stratum": "all",
                "inclusion_probability": 0.5,
                "reason": "random",
                "annotators": annotators,
            }
            for number, annotators in enumerate(wanted, start=1)
        ]
        body = {"surface": surface, "seed": 1, "design": {}, "lake_versions": {}, "items": items}
        number = ledger.append("queue.drawn", surface, body)
        return lambda actor: Queue(Ledger(url, actor=actor, clock=clock), number)

    write.ledger = ledger
    return write


def names(items):
    return [item.session_id for item in items]


def give(session, verdict="pass", **fields):
    return Label(surface="shop", session_id=session, verdict=verdict, **fields)


def states(queue):
    return queue.state()["state"].to_list()


def test_items_come_in_the_order_of_the_queue_each_to_one_person(draw):
    sit = draw(1, 1, 1)
    ana, ben = sit("ana"), sit("ben")
    assert names(ana.reserve(minutes=30)) == ["s1"]
    assert names(ben.reserve(ahead=2, minutes=30)) == ["s2", "s3"]
    ana.submit(give("s1"))
    assert ana.reserve(minutes=30) == []
    assert ana.ledger.verify() is None


def test_what_others_began_comes_first_so_that_pairs_get_finished(draw):
    sit = draw(1, 1, 2, 2)
    sit("ana").submit(give("s3"))
    assert names(sit("cem").reserve(minutes=30)) == ["s3"]
    assert names(sit("ben").reserve(ahead=3, minutes=30)) == ["s1", "s2", "s4"]
    sit("ben").skip("s1", "too long")
    assert names(sit("ana").reserve(ahead=3, minutes=30)) == ["s4", "s1"]


def test_a_reopened_notebook_resumes_at_the_same_item(draw, clock):
    sit = draw(2, 2, 2)
    assert names(sit("ana").reserve(ahead=2, minutes=30)) == ["s1", "s2"]
    clock.go_on(minutes=20)
    sit("ana").reserve(ahead=1, minutes=30)
    sit("ben").submit(give("s2"))
    assert names(sit("ana").reserve(ahead=2, minutes=30)) == ["s1", "s2"]
    clock.go_on(minutes=50)  # both holds ran out, and nobody took them
    assert names(sit("ana").reserve(ahead=2, minutes=30)) == ["s1", "s2"]


def test_a_hold_that_ran_out_goes_to_somebody_else(draw, clock):
    sit = draw(1)
    ana, ben = sit("ana"), sit("ben")
    ana.reserve(minutes=30)
    clock.go_on(minutes=29)
    assert ben.reserve(minutes=30) == []
    clock.go_on(minutes=1)
    assert names(ben.reserve(minutes=30)) == ["s1"]
    assert ana.reserve(minutes=30) == []


def test_a_hold_is_renewed_only_when_half_of_it_is_gone(draw, clock):
    queue = draw(1)("ana")
    queue.reserve(minutes=30)
    for _ in range(3):
        clock.go_on(minutes=5)
        queue.reserve(minutes=30)
    assert queue.ledger.events("item.reserved").height == 2
    clock.go_on(minutes=29)
    assert states(queue) == ["held"]


def test_an_item_never_comes_twice_to_the_same_person(draw, clock):
    sit = draw(2, 2)
    ana = sit("ana")
    for session in ("s1", "s2"):
        assert names(ana.reserve(minutes=30)) == [session]
        ana.submit(give(session))
        clock.go_on(hours=2)
    assert sit("ana").reserve(minutes=30) == []
    assert states(ana) == ["open", "open"]


def test_a_label_that_comes_late_is_kept_but_does_not_count(draw, clock):
    sit = draw(1)
    sit("ana").reserve(minutes=30)
    clock.go_on(minutes=31)
    sit("ben").submit(give("s1"))
    late = sit("ana").submit(give("s1", "fail", modes=["rude"]))
    labels = draw.ledger.bodies("label.set")
    assert labels.select("seq", "actor", "queue").rows()[1] == (late, "ana", None)
    assert labels["queue"][0] == sit("ben").number
    assert sit("ana").state()["labelled"].to_list() == [1]


def test_a_late_label_counts_where_there_is_room(draw, clock):
    sit = draw(1)
    sit("ana").reserve(minutes=30)
    clock.go_on(minutes=31)
    sit("ben").reserve(minutes=30)
    sit("ana").submit(give("s1"))
    assert draw.ledger.bodies("label.set")["queue"].to_list() == [sit("ana").number]
    assert sit("ben").reserve(minutes=30) == []  # he need not read it in vain


def test_a_second_label_replaces_the_first(draw):
    sit = draw(1, 1)
    ana = sit("ana")
    ana.submit(give("s1", "fail", modes=["rude"]))
    ana.submit(give("s1"))
    assert draw.ledger.bodies("label.set")["queue"].to_list() == [ana.number] * 2
    assert ana.state()["labelled"].to_list() == [1, 0]
    assert ana.progress(120).minutes_per_failure is None


def test_a_note_is_written_with_its_label(draw):
    queue = draw(1)("ana")
    seq = queue.submit(give("s1"), note=" odd tone ")
    note, label = queue.ledger.events(since=seq - 2).iter_rows(named=True)
    assert (note["kind"], label["kind"], label["seq"]) == ("note.added", "label.set", seq)
    assert queue.ledger.bodies("note.added", subject="s1")["text"].item() == "odd tone"


def test_a_skipped_item_does_not_come_back_to_that_person(draw, clock):
    sit = draw(1, 1)
    ana = sit("ana")
    ana.reserve(ahead=2, minutes=30)
    ana.skip("s1", "I wrote this prompt")
    clock.go_on(hours=2)
    assert names(sit("ana").reserve(ahead=2, minutes=30)) == ["s2"]
    assert names(sit("ben").reserve(minutes=30)) == ["s1"]


def test_an_item_that_everybody_skips_is_told(draw):
    sit = draw(1, 2)
    for person in ("ana", "ben"):
        sit(person).reserve(minutes=30)
        sit(person).skip("s1", f"{person} cannot read Finnish")
    sit("ana").submit(give("s2"))
    stuck = sit("ben").state().row(0, named=True)
    assert (stuck["state"], stuck["skipped"], stuck["held"]) == ("skipped", 2, 0)
    assert stuck["reasons"] == ["ana cannot read Finnish", "ben cannot read Finnish"]
    assert names(sit("cem").reserve(ahead=2, minutes=30)) == ["s2", "s1"]
    assert sit("ana").state()["state"][0] == "held"


def test_skipping_needs_a_reason_and_an_item_without_a_label(draw):
    queue = draw(1)("ana")
    with pytest.raises(LedgerError, match=r"item\.skipped: reason"):
        queue.skip("s1", " ")
    queue.submit(give("s1"))
    with pytest.raises(LabelError, match="s1 has your label already"):
        queue.skip("s1", "too long")
    assert queue.ledger.events("item.skipped").is_empty()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (give("s1", "fail", modes=["rude", "slow"]), "codebook of shop has no mode 'slow'"),
        (
            give("s1", "fail", anchors=[{"span_id": "1", "quote": "no", "mode": "cold"}]),
            "codebook of shop has no mode 'cold'",
        ),
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


def test_the_state_adds_up(draw, clock):
    sit = draw(1, 2, 1, 1)
    sit("ana").submit(give("s1"))
    sit("ana").submit(give("s2"))
    sit("ana").skip("s3", "too long")
    sit("ben").reserve(ahead=2, minutes=30)
    state = sit("ana").state()
    assert state.drop("reasons").rows() == [
        ("s1", 1, 1, 0, 0, "done"),
        ("s2", 2, 1, 1, 0, "held"),
        ("s3", 1, 0, 1, 1, "held"),
        ("s4", 1, 0, 0, 0, "open"),
    ]
    progress = sit("ben").progress(120)
    assert (progress.done, progress.left, progress.by_me) == (1, 3, 0)
    assert progress.done + progress.left == state.height
    clock.go_on(hours=1)
    assert states(sit("ben")) == ["done", "open", "open", "open"]


def test_pace_is_not_slowed_by_a_break(draw, clock):
    queue = draw(*[1] * 20)("ana")
    assert queue.progress(120).sessions_per_hour is None
    for number in range(1, 21):
        clock.go_on(minutes=2)
        if number == 10:
            clock.go_on(hours=3)
        verdict = {"verdict": "fail", "modes": ["rude"]} if number % 4 == 0 else {}
        queue.submit(give(f"s{number}", **verdict))
    progress = queue.progress(120)
    assert progress.sessions_per_hour == pytest.approx(30)
    assert progress.minutes_per_failure == pytest.approx(8)
    assert progress.minutes_left == pytest.approx(80)
    clock.go_on(days=7)
    assert queue.progress(120).minutes_left == 120
    assert queue.progress(120).sessions_per_hour == pytest.approx(30)


def test_measured_seconds_win_over_the_times_of_labels():
    labels = pl.DataFrame(
        {
            "actor": ["ana", "ana", "ben", "ana", "ana"],
            "at": [MONDAY + timedelta(minutes=10 * step) for step in (0, 1, 2, 5, 3)],
            "seconds": [60.0, None, None, 7_200.0, 120.0],
        }
    )
    before = labels.clone()
    minutes = add_minutes(labels)
    assert labels.equals(before)
    # Of ana's 1, 10, 2 and 120 minutes the median is 6; ben's only label has no time.
    assert minutes["actor"].to_list() == ["ana", "ana", "ben", "ana", "ana"]
    assert minutes["minutes"].to_list() == [1, 10, None, 2, 6]


def test_a_queue_that_was_not_drawn_says_what_to_do(draw):
    with pytest.raises(LabelError, match=r"no queue 1: there is none yet; notebook 02_sample"):
        Queue(draw.ledger, 1).reserve(minutes=30)
    number = draw(1)("ana").number
    with pytest.raises(LabelError, match=rf"no queue 99: there are {number}; notebook"):
        _ = Queue(draw.ledger, 99).body


def test_queues_that_are_not_done_are_found(draw):
    assert find_queues(draw.ledger).is_empty()
    first, second, third = draw(1), draw(1, 2), draw(1, surface="bank")
    first("ana").submit(give("s1"))
    second("ana").submit(give("s1"))
    second("ana").submit(give("s2"))
    second("ana").submit(give("s2"))
    found = find_queues(draw.ledger)
    assert found["queue"].to_list() == [second("ana").number, third("ana").number]
    assert find_queues(draw.ledger, "shop").select("items", "done").rows() == [(2, 1)]


@pytest.mark.parametrize("mean", [1, 1.2, 1.37, 2, 2.5])
def test_an_overlap_share_holds_in_expectation(mean):
    rng = np.random.default_rng(5)
    draws = np.array([assign_annotators(37, mean, rng=rng) for _ in range(4_000)])
    assert set(np.unique(draws)) <= {int(np.floor(mean)), int(np.ceil(mean))}
    totals = draws.sum(axis=1)
    assert np.abs(totals - 37 * mean).max() < 1
    assert totals.mean() == pytest.approx(37 * mean, abs=0.03)
    assert draws.mean(axis=0) == pytest.approx(np.full(37, mean), abs=0.04)


def test_the_same_seed_shares_out_the_same():
    def again(seed):
        return assign_annotators(50, 1.3, rng=np.random.default_rng(seed)).tolist()

    assert again(3) == again(3)
    assert again(3) != again(4)
    assert assign_annotators(0, 1.3, rng=np.random.default_rng(3)).size == 0
    with pytest.raises(ValueError, match=r"annotators_per_item must be at least 1, got 0\.5"):
        assign_annotators(3, 0.5, rng=np.random.default_rng(3))
