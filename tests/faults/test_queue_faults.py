"""Eight annotators in eight processes at one queue; they are killed, and their holds run out."""

import time
from itertools import count

import make
import numpy as np
import polars as pl
from forked import start

from evalbench.label.annotation.queue import Queue
from evalbench.schema import Label
from evalbench.store.ledger import Ledger

ITEMS, EACH, KILLS = 100, 2, 16
ANNOTATORS = [f"annotator {number}" for number in range(8)]
SKIPPING = ANNOTATORS[:3]
HOLD_SECONDS = 0.5
DEADLINE_SECONDS = 180


def annotate(url, number, annotator, log, seed):
    """Label until the queue is done, noting each label once the ledger told that it has it."""
    queue = Queue(Ledger(url, actor=annotator), number)
    rng = np.random.default_rng(seed)
    with log.open("a", buffering=1) as told:
        while True:
            items = queue.reserve(ahead=2, minutes=HOLD_SECONDS / 60)
            if not items:
                if set(queue.state()["state"]) == {"done"}:
                    return
                time.sleep(0.05)
                continue
            name, chance = items[0].session_id, rng.random()
            time.sleep(1.5 * HOLD_SECONDS if chance < 0.02 else rng.uniform(0, 0.02))
            if annotator in SKIPPING and 0.9 < chance:
                queue.skip(name, "too long")
                continue
            seq = queue.submit(Label(surface="shop", session_id=name, verdict="pass"))
            told.write(f"{seq}\t{name}\t{annotator}\n")


def work_with_kills(url, number, folder):
    """Let all work, kill one after the other, and send each back after a while; count the kills."""
    rng, seeds = np.random.default_rng(8), count()

    def send(annotator):
        log = folder / f"{annotator}.tsv"
        return start(annotate, url, number, annotator, log, next(seeds))

    working, away, kills = {each: send(each) for each in ANNOTATORS}, {}, 0
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        while away or any(process.is_alive() for process in working.values()):
            assert time.monotonic() < deadline, "the queue does not come to its end"
            time.sleep(0.1)
            for annotator in [each for each, back in away.items() if back < time.monotonic()]:
                del away[annotator]
                working[annotator] = send(annotator)
            alive = [each for each, process in working.items() if process.is_alive()]
            if kills < KILLS and alive:
                victim = str(rng.choice(alive))
                working[victim].kill()
                working.pop(victim).join()
                away[victim] = time.monotonic() + rng.uniform(0, 3 * HOLD_SECONDS)
                kills += 1
    finally:
        for process in working.values():
            process.kill()
    assert {process.exitcode for process in working.values()} == {0}
    return kills


def test_every_item_gets_its_labels_whoever_is_killed(ledger_url, tmp_path):
    ledger = Ledger(ledger_url, actor="curator")
    number = make.queue(ledger, *[EACH] * ITEMS)

    kills = work_with_kills(ledger_url, number, tmp_path)

    labels = ledger.bodies("label.set")
    counted = labels.filter(queue=number).group_by("session_id")
    per_item = counted.agg(labels=pl.len(), annotators=pl.col("actor").n_unique())
    assert per_item.height == ITEMS
    assert per_item.unique(["labels", "annotators"]).select("labels", "annotators").rows() == [
        (EACH, EACH)
    ]
    assert labels.select("session_id", "actor").is_unique().all()
    told = {
        tuple(line.split("\t"))
        for log in tmp_path.glob("*.tsv")
        for line in log.read_text().splitlines()
    }
    kept = {(str(seq), *rest) for seq, *rest in labels.select("seq", "session_id", "actor").rows()}
    assert told <= kept
    assert len(kept - told) <= kills  # written, and killed before it could be noted
    assert ledger.verify() is None
    assert set(Queue(ledger, number).state()["state"]) == {"done"}
    # People were killed, skipped items, and lost some that others then took.
    key = ["session_id", "actor"]
    gave_back = ledger.bodies("item.skipped").select(key)
    held = ledger.bodies("item.reserved").select(key).unique().join(gave_back, on=key, how="anti")
    assert (kills, gave_back.height > 0) == (KILLS, True)
    assert held.group_by("session_id").len()["len"].max() > EACH
