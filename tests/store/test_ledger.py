import traceback
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from sqlalchemy import Connection

from evalbench.errors import LedgerError, StoreError
from evalbench.schema import BODIES, TIME, Label
from evalbench.store.ledger import Ledger

LABEL = {"surface": "airline", "session_id": "s1", "verdict": "fail", "modes": ["refund", "tone"]}


def test_an_event_is_read_as_it_was_written(ledger_url):
    oslo = timezone(timedelta(hours=2))
    ledger = Ledger(ledger_url, actor="ana", clock=lambda: datetime(2026, 3, 1, 1, 30, tzinfo=oslo))

    seq = ledger.append("label.set", "s1", LABEL)

    event = ledger.events("label.set").row(0, named=True)
    assert seq == event["seq"] == ledger.head() == 1
    assert event["at"] == datetime(2026, 2, 28, 23, 30, tzinfo=UTC)
    assert (event["actor"], event["kind"], event["subject"]) == ("ana", "label.set", "s1")
    assert Label.model_validate_json(event["body"]) == Label.model_validate(LABEL)
    assert ledger.verify() is None


def test_both_databases_hold_the_same_hashes(tmp_path, postgresql_url):
    def write(url: str) -> pl.DataFrame:
        ledger = Ledger(url, actor="ana", clock=lambda: datetime(2026, 3, 1, tzinfo=UTC), salt=str)
        ledger.append("note.added", "s1", {"text": "naïve “quotes” \\ \n 🎈"})
        ledger.append("label.set", "s1", LABEL)
        return ledger.events()

    assert write(f"sqlite:///{tmp_path / 'l.sqlite'}").equals(write(postgresql_url))


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("label.sett", LABEL, r"no kind of event is 'label.sett'; there are .*label\.set, .*note"),
        ("label.set", {**LABEL, "verdict": "bad"}, r"label\.set: verdict: .*'pass'.*got 'bad'"),
        ("label.set", {**LABEL, "colour": 1}, r"label\.set: colour: Extra inputs"),
        ("note.added", {}, r"note\.added: text: Field required"),
        ("note.added", Label.model_validate(LABEL), r"note\.added: body: "),
        (
            "queue.drawn",
            {"surface": "a", "seed": 1, "design": {"floor": 0}, "lake_versions": {}, "items": []},
            r"queue\.drawn: design\.floor: .*got 0",
        ),
    ],
)
def test_a_body_that_does_not_fit_is_refused_by_kind_and_field(ledger, kind, body, message):
    with pytest.raises(LedgerError, match=message):
        ledger.append(kind, "s1", body)
    assert ledger.head() == 0


def test_extend_writes_all_or_none(ledger):
    assert ledger.extend([("note.added", f"s{n}", {"text": "x"}) for n in range(30)]) == 30
    with pytest.raises(LedgerError):
        ledger.extend([("note.added", "s", {"text": "x"}), ("note.added", "s", {"text": ""})])
    assert ledger.extend([]) == ledger.head() == 30
    assert ledger.verify() is None


def test_events_may_be_chosen_by_what_is_in_the_ledger(ledger):
    ledger.extend([("note.added", f"s{n}", {"text": "x"}) for n in range(3)])

    def answer_last(connection: Connection) -> list[tuple]:
        last = ledger.events(since=2, connection=connection)
        return [("note.added", subject, {"text": "y"}) for subject in last["subject"]]

    assert ledger.extend(answer_last) == 4
    assert ledger.bodies("note.added", subject="s2", since=3)["text"].to_list() == ["y"]
    with pytest.raises(LedgerError, match="text"):
        ledger.extend(
            lambda connection: [("note.added", "s", {"text": text}) for text in ("z", "")]
        )
    assert ledger.extend(lambda connection: []) == ledger.head() == 4
    assert ledger.verify() is None


def test_events_are_chosen_by_kind_subject_and_time(ledger):
    ledger.extend([("note.added", "s1", {"text": "a"})], actor="ben")
    ledger.append("label.set", "s1", Label.model_validate(LABEL))
    ledger.append("note.added", "s2", {"text": "b"})
    assert ledger.events()["actor"].to_list() == ["ben", "tester", "tester"]

    def read(*kind: object, **options: object) -> list[int]:
        return ledger.events(*kind, **options)["seq"].to_list()

    assert read() == [1, 2, 3]
    assert read(until=0) == read(since=3) == []
    assert ledger.bodies("note.added", until=0).is_empty()
    assert ledger.bodies("note.added", until=2)["text"].to_list() == ["a"]
    assert ledger.bodies("label.set", since=0)["modes"].to_list() == [["refund", "tone"]]
    assert read("note.added") == [1, 3]
    assert read(["note.added", "label.set"], until=2) == [1, 2]
    assert read(since=1, until=2) == [2]
    assert read(subject="s1") == [1, 2]
    assert read("note.added", subject="s1", until=3) == [1]
    with pytest.raises(LedgerError, match="no kind of event is 'note'"):
        ledger.events("note")


def test_bodies_are_typed_columns(ledger):
    ledger.append(
        "queue.drawn",
        "airline",
        {
            "surface": "airline",
            "start": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-5))),
            "seed": 7,
            "design": {"by": ["release"], "weights": {"reported": 2.0}},
            "lake_versions": {"span": 3},
            "items": [
                {"session_id": "s", "stratum": "1", "inclusion_probability": 0.5, "reason": "r"}
            ],
        },
    )

    drawn = ledger.bodies("queue.drawn")

    assert drawn.columns[:4] == ["seq", "at", "actor", "subject"]
    assert drawn.schema["start"] == TIME
    row = drawn.row(0, named=True)
    assert row["start"] == datetime(2026, 1, 1, 5, tzinfo=UTC)
    assert row["end"] is None
    assert row["lake_versions"] == '{"span":3}'
    assert row["design"]["by"] == ["release"]
    assert row["design"]["weights"] == '{"reported":2.0}'
    assert row["items"][0]["inclusion_probability"] == 0.5


@pytest.mark.parametrize("kind", sorted(BODIES))
def test_bodies_have_their_columns_before_the_first_event(workspace, kind):
    empty = workspace.ledger.bodies(kind)
    assert empty.columns == ["seq", "at", "actor", "subject", *BODIES[kind].model_fields]
    assert empty.is_empty()
    assert pl.Null not in empty.dtypes


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "not a database URL"),
        ("postgres//ana:hidden@h/x", "not a database URL"),
        ("postgresql://h:hidden/x", "not a database URL"),
        ("mysql://localhost/x", "must be a sqlite or a postgresql URL"),
        ("sqlite:////proc/x/l.sqlite", "cannot make /proc/x"),
        ("sqlite:///{folder}/l.sqlite", "not a database"),
        ("postgresql://ana:hidden@127.0.0.1:1/x", "ledger postgresql"),
        ("postgresql://127.0.0.1:1/x?user=ana&password=hidden", "ledger postgresql"),
    ],
)
def test_a_database_that_cannot_be_opened_is_one_clear_error_without_the_password(
    url, message, tmp_path
):
    (tmp_path / "l.sqlite").write_bytes(b"not a database, but long enough to look like one" * 40)
    with pytest.raises(StoreError, match=message) as refused:
        Ledger(url.format(folder=tmp_path), actor="ana").append("note.added", "s", {"text": "x"})
    shown = traceback.format_exception(refused.value)
    assert "hidden" not in "".join(line for line in shown if 'File "' not in line)
