import uuid
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from evalbench.errors import StoreError
from evalbench.schema import KEYS, TABLES, TIME
from evalbench.store.files import Place, write_file
from evalbench.store.lake import Lake

DAY = datetime(2026, 1, 1, tzinfo=UTC)
ODD = "a b/ü%=x~[*]"


@pytest.fixture(params=["folder", "file URL", "object store"])
def lake(tmp_path, request):
    if request.param == "object store":
        options = request.getfixturevalue("object_store")
        return Lake(f"s3://traces/{uuid.uuid4().hex}", options)
    folder = tmp_path / "lake"
    return Lake(folder.as_uri() if request.param == "file URL" else str(folder))


def make(table: str, ids: range, *, surface: str = "airline", **values: object) -> pl.DataFrame:
    """Rows of a table whose text keys are made of ``ids``, a day apart."""
    schema = TABLES[table]
    time = "judged_at" if table == "verdict" else "started_at"
    known = {
        **{key: [f"{key} {each}" for each in ids] for key in KEYS[table]},
        time: [DAY + timedelta(days=each) for each in ids],
        "surface": [surface] * len(ids),
        **{name: [value] * len(ids) for name, value in values.items()},
    }
    if table == "verdict":
        known["repeat"] = [0] * len(ids)
    frame = pl.DataFrame(known, schema={name: schema[name] for name in known})
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items()]
    return frame.with_columns(each for each in absent if each.meta.output_name() not in known)


def read_ids(lake: Lake, **options: object) -> list[int]:
    ids = lake.sessions(**options).collect()["session_id"].str.extract(r"(\d+)").cast(pl.Int64)
    return sorted(ids)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_an_absent_table_is_an_empty_frame_of_its_schema(lake, table):
    rows = getattr(lake, f"{table}s")(surface="x", start=DAY, end=DAY)
    assert rows.collect_schema() == TABLES[table]
    assert rows.collect().is_empty()
    assert lake.versions() == {}


@pytest.mark.parametrize("table", sorted(TABLES))
@pytest.mark.parametrize("surface", ["airline", ODD])
def test_rows_are_read_as_they_were_written(lake, table, surface):
    frame = make(table, range(3), surface=surface).select(reversed(TABLES[table].names()))
    if table == "span":
        documents = [[{"id": "d", "content": "c", "score": 0.5}], None, []]
        frame = frame.with_columns(
            documents=pl.Series(documents, dtype=TABLES["span"]["documents"])
        )
    before = frame.clone()

    assert lake.append(table, frame) == 3

    stored = getattr(lake, f"{table}s")(surface=surface).collect()
    assert list(stored.schema.items()) == list(TABLES[table].items())
    assert stored.equals(before.select(TABLES[table].names()))
    assert frame.equals(before)


def test_append_counts_what_is_there_and_what_comes_twice(lake):
    lake.append("session", make("session", range(10)))
    mixed = pl.concat([make("session", range(8, 12)), make("session", range(10, 14))])
    assert lake.append("session", mixed) == 4
    assert lake.append("session", mixed) == 0
    assert lake.versions() == {"session": 2}
    assert read_ids(lake) == list(range(14))


def test_the_same_id_on_another_surface_is_another_row(lake):
    two = pl.concat([make("session", range(3)), make("session", range(3), surface=ODD)])
    assert lake.append("session", two) == 6
    assert read_ids(lake, surface=ODD) == [0, 1, 2]


def test_readers_are_bounded_from_start_to_before_end(lake):
    lake.append("session", make("session", range(5)))
    bounds = {"start": DAY + timedelta(days=1), "end": DAY + timedelta(days=3)}
    assert read_ids(lake, **bounds) == [1, 2]
    assert lake.sessions(start=DAY + timedelta(days=9)).explain().count(".parquet") == 0
    with pytest.raises(ValueError, match="start: must have a time zone, got 2026"):
        lake.sessions(start=datetime(2026, 1, 1))  # noqa: DTZ001
    lake.append("verdict", make("verdict", range(5)))
    assert lake.verdicts(**bounds).collect()["judged_at"].dt.day().to_list() == [2, 3]


def test_what_is_staged_is_seen_once_it_is_committed(lake, tmp_path):
    parts = [make("session", range(n, n + 2)) for n in (0, 2)]
    staged = [lake.stage("session", part, folder=tmp_path) for part in parts]
    assert lake.versions() == {}
    assert read_ids(lake) == []
    states = lake.commit("session", staged, folder=tmp_path)
    assert states.rows() == [(0, 0, "new"), (0, 1, "new"), (1, 0, "new"), (1, 1, "new")]
    assert lake.versions() == {"session": 1}
    again = lake.commit("session", staged, folder=tmp_path)
    assert set(again["state"]) == {"duplicate"}
    assert lake.versions() == {"session": 1}
    assert read_ids(lake) == [0, 1, 2, 3]


def test_rows_of_a_key_that_is_there_are_duplicates_or_collide(lake, tmp_path):
    lake.append("session", make("session", range(2), n_turns=1))
    parts = [make("session", range(1, 4), n_turns=1), make("session", (0, 3, 4), n_turns=2)]
    staged = [lake.stage("session", part, folder=tmp_path) for part in parts]
    states = lake.commit("session", staged, folder=tmp_path)
    told = ["duplicate", "new", "new", "collision", "collision", "new"]
    assert states["state"].to_list() == told
    assert read_ids(lake) == [0, 1, 2, 3, 4]
    turns = lake.sessions().collect().sort("started_at")["n_turns"]
    assert turns.to_list() == [1, 1, 1, 1, 2]


@pytest.mark.parametrize("surface", ["airline", ODD])
def test_upsert_puts_rows_in_the_place_of_their_key(lake, surface):
    for ids in (range(4), range(4, 8), range(8, 12)):
        lake.append("session", make("session", ids, surface=surface, n_turns=1))
    lake.append("session", make("session", range(2), surface="other", n_turns=1))

    lake.upsert("session", make("session", range(6, 14), surface=surface, n_turns=2))

    turns = lake.sessions(surface=surface).collect().sort("started_at")["n_turns"]
    assert turns.to_list() == [1] * 6 + [2] * 8
    assert read_ids(lake, surface="other") == [0, 1]
    assert lake.versions() == {"session": 5}
    assert lake.sessions(version=4).collect()["n_turns"].unique().to_list() == [1]


def test_upsert_of_equal_keys_keeps_the_last_and_again_changes_nothing(lake):
    rows = pl.concat([make("session", range(2), n_turns=n) for n in (1, 2)])
    before = rows.clone()
    for _ in range(2):
        lake.upsert("session", rows)
    assert lake.sessions().collect()["n_turns"].to_list() == [2, 2]
    assert rows.equals(before)


def test_a_version_can_be_pinned(lake):
    for n in range(12):
        lake.append("session", make("session", range(n, n + 1)))
    pinned = lake.sessions(version=5)
    lake.upsert("session", make("session", range(12), n_turns=9))
    assert pinned.collect().equals(lake.sessions(version=5).collect())
    assert read_ids(lake, version=5) == [0, 1, 2, 3, 4]
    assert read_ids(lake, version=-1) == []
    with pytest.raises(StoreError, match="version 99"):
        lake.sessions(version=99)
    with pytest.raises(StoreError, match="there is no table"):
        lake.verdicts(version=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop("n_turns"), "columns of a session.*n_turns"),
        (lambda frame: frame.with_columns(extra=1), "columns of a session.*extra"),
        (lambda frame: frame.with_columns(pl.col("n_turns").cast(pl.Int8)), "n_turns"),
        (lambda frame: frame.with_columns(session_id=pl.lit(None, pl.String)), "session_id must"),
    ],
)
def test_a_frame_that_is_not_of_the_table_is_refused(lake, change, message):
    frame = change(make("session", range(2)))
    with pytest.raises(ValueError, match=f"frame: .*{message}"):
        lake.append("session", frame)
    assert lake.versions() == {}


def test_a_row_without_a_time_is_kept(lake):
    rows = make("session", range(2)).with_columns(started_at=pl.lit(None, TIME))
    lake.append("session", rows)
    assert read_ids(lake) == [0, 1]
    assert read_ids(lake, start=DAY) == []


def test_a_folder_that_is_no_table_is_one_clear_error(lake):
    lake.append("session", make("session", range(1)))
    place = Place(lake.url, lake.options, "session")
    for version in range(2):
        write_file(place, f"_delta_log/{version:020}.json", b"{broken")
    with pytest.raises(StoreError, match="cannot read the latest version"):
        lake.sessions()
