import json
import os
from dataclasses import replace
from datetime import UTC, datetime

import make
import polars as pl
import pytest

import evalbench as eb
from evalbench.errors import ReadError
from evalbench.observe import ingestion, parallel, source
from evalbench.observe.parallel import map_parallel

START = datetime(2026, 1, 1, tzinfo=UTC)


def span(session, number, **attributes):
    """An OpenInference span as one line of JSONL."""
    return {
        "name": "step",
        "context": {"trace_id": f"trace-{session}", "span_id": f"{session}-{number}"},
        "parent_id": None if number == 0 else f"{session}-0",
        "start_time": f"2026-01-01T00:00:{number:02}+00:00",
        "end_time": f"2026-01-01T00:00:{number:02}.500000+00:00",
        "status_code": "OK",
        "attributes": {
            "openinference.span.kind": "AGENT" if number == 0 else "LLM",
            "session.id": f"session-{session}",
            "user.id": f"user-{session % 3}",
            "input.value": f"question {number} of jane{session}@example.com",
            "output.value": f"answer {number}",
            **attributes,
        },
    }


SPANS = [span(session, number) for session in range(8) for number in range(5)]


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def ws(tmp_path):
    return make.workspace(tmp_path / "workspace")


def ingest(ws, path, **options):
    return eb.observe.ingest(ws, path, **{"surface": "support", **options})


def lake(ws):
    """All that the lake holds, in an order of its own, without the ids of ingests."""
    spans = ws.lake.spans().collect().drop("ingest_id").sort("surface", "trace_id", "span_id")
    return spans, ws.lake.sessions().collect().sort("surface", "session_id")


def rejects(report):
    return [json.loads(line) for line in report.rejects_path.read_text().splitlines()]


def test_spans_and_sessions_arrive(ws, tmp_path):
    path, seen = write(tmp_path / "a.jsonl", SPANS), []
    report = ingest(ws, path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (path.stat().st_size,) * 2
    assert report == eb.observe.IngestReport(8, 40, 0, 0, 40, None)
    spans, sessions = lake(ws)
    assert spans["started_at"].min() == START
    assert set(spans["latency_ms"]) == {500.0}
    assert sessions["n_spans"].to_list() == [5] * 8


def test_users_are_hashed_with_the_workspace_s_secret_and_texts_are_redacted(ws, tmp_path):
    path = write(tmp_path / "a.jsonl", SPANS)
    ingest(ws, path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/evalbench.toml").write_text('user_key_secret = "own"\nredact = false\n')
    other = eb.open(tmp_path / "other")
    ingest(other, path)
    spans, plain = lake(ws)[0], lake(other)[0]
    assert spans["user_key"].n_unique() == plain["user_key"].n_unique() == 3
    assert not set(spans["user_key"]) & set(plain["user_key"])
    assert not any("user-" in row for row in spans.select(pl.all().cast(str)).write_csv().split())
    assert plain["input"].str.contains("@example.com").all()
    assert spans["input"].str.contains(r"question \d of <EMAIL_\d+>").all()
    per_session = spans.group_by("session_id").agg(
        pl.col("input").str.extract(r"(<EMAIL_\d+>)").n_unique()
    )
    assert set(per_session["input"]) == {1}


def test_spans_whose_ids_hold_personal_data_are_known_again(ws, tmp_path):
    named = json.loads(json.dumps(SPANS).replace("session-", "ann@example.com-"))
    for record in named:
        record["context"]["span_id"] += "@example.com"
        record["parent_id"] = record["parent_id"] and record["parent_id"] + "@example.com"
    path = write(tmp_path / "a.jsonl", named)
    assert (report := ingest(ws, path)).sessions == 8
    assert report.spans == len(named)
    again = ingest(ws, write(tmp_path / "b.jsonl", named[::-1]))
    assert (again.spans, again.rejected, again.duplicates) == (0, 0, len(named))
    spans = lake(ws)[0]
    assert not [row for row in spans.rows() if "@example.com" in str(row)]
    assert spans["parent_id"].drop_nulls().is_in(spans["span_id"].to_list()).all()


def test_worker_processes_give_what_one_process_gives(ws, tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", [*SPANS, {"no": "span"}, *SPANS[:3]])
    report = ingest(ws, path)
    monkeypatch.setattr(source, "CHUNK", 2000)
    other = make.workspace(tmp_path / "other")
    again = ingest(other, path)
    assert (again.sessions, again.spans, again.rejected, again.duplicates) == (8, 40, 1, 3)
    assert all(a.equals(b) for a, b in zip(lake(ws), lake(other), strict=True))
    assert rejects(report) == rejects(again)
    assert again.records == report.records == 44


def test_a_source_read_in_portions_gives_what_one_portion_gives(ws, tmp_path, monkeypatch):
    other = [span(1, 0, **{"output.value": "no"}), {"no": "span"}]
    path = write(tmp_path / "a.jsonl", [*SPANS[:37], *other, *SPANS[30:], *other])
    monkeypatch.setattr(parallel, "WORKERS", 1000)  # that is, in this process
    whole = ingest(ws, path)
    monkeypatch.setattr(source, "CHUNK", 2000)
    monkeypatch.setattr(ingestion, "CHUNKS_AT_ONCE", 2)
    divided = make.workspace(tmp_path / "divided")
    report = ingest(divided, path)
    assert replace(report, rejects_path=None) == replace(whole, rejects_path=None)
    assert (report.duplicates, report.collisions, report.rejected, report.sessions) == (7, 2, 2, 8)
    assert rejects(report) == rejects(whole)
    assert all(a.equals(b) for a, b in zip(lake(ws), lake(divided), strict=True))
    assert divided.lake.versions()["span"] > 2
    renamed = {"session_id": "context.trace_id"}
    anew = [ingest(each, path, columns=renamed, replace=True) for each in (ws, divided)]
    assert [each.spans for each in anew] == [40, 40]
    assert all(a.equals(b) for a, b in zip(lake(ws), lake(divided), strict=True))
    assert set(lake(ws)[1]["session_id"]) == {f"trace-{n}" for n in range(8)}


def test_all_files_that_a_pattern_names_are_read(ws, tmp_path):
    for n in range(3):  # the sessions of each go on in the next
        write(tmp_path / f"part-{n}.jsonl", [*SPANS[n::3], {"no": n}])
    report = ingest(ws, tmp_path / "part-*.jsonl")
    assert (report.sessions, report.spans, report.rejected, report.records) == (8, 40, 3, 43)
    assert lake(ws)[1]["n_spans"].to_list() == [5] * 8
    assert len([*ws.rejected.iterdir()]) == 3
    with pytest.raises(ReadError, match="check the pattern"):
        ingest(ws, tmp_path / "none-*.jsonl")


def test_a_worker_that_dies_is_a_clear_error():
    with pytest.raises(ReadError, match=r"a worker process ended.*run the same command again"):
        list(map_parallel(os._exit, range(3)))


def test_what_is_twice_in_a_file_or_already_there_counts_as_duplicate(ws, tmp_path):
    first = ingest(ws, write(tmp_path / "a.jsonl", SPANS[:20] + SPANS[:5]))
    assert (first.spans, first.duplicates) == (20, 5)
    second = ingest(ws, write(tmp_path / "b.jsonl", SPANS))
    assert (second.sessions, second.spans, second.duplicates) == (4, 20, 20)
    whole = make.workspace(ws.path.parent / "whole")
    ingest(whole, write(tmp_path / "b.jsonl", SPANS))
    assert all(a.equals(b) for a, b in zip(lake(ws), lake(whole), strict=True))


def test_a_trace_names_its_session_in_another_chunk_or_an_earlier_file(ws, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "CHUNK", 2000)
    monkeypatch.setattr(parallel, "WORKERS", 1000)  # that is, in this process
    spans = [span(session, number) for session in range(8) for number in range(5)]
    for each in spans:
        if not each["context"]["span_id"].endswith("-4"):
            del each["attributes"]["session.id"]
    del spans[-1]["attributes"]["session.id"]  # of one trace no span names a session
    score = {"annotations.0.annotation.name": "tone", "annotations.0.annotation.score": 0.5}
    spans[0]["attributes"] |= score
    path = write(tmp_path / "spans.jsonl", spans)
    first = ingest(ws, path)
    expected = [f"session-{session}" for session in range(7)] + ["trace-7"]
    assert ws.lake.sessions().collect()["session_id"].sort().to_list() == expected
    assert ws.lake.sessions().collect()["n_spans"].to_list() == [5] * 8
    assert ws.lake.verdicts().collect()["session_id"].to_list() == ["session-0"]
    assert (first.spans, first.sessions, first.duplicates) == (40, 8, 0)
    files = sorted(ws.path.rglob("*.parquet"))
    again = ingest(ws, path)
    assert (again.spans, again.sessions, again.duplicates) == (0, 0, 40)
    assert sorted(ws.path.rglob("*.parquet")) == files  # nothing is left beside the table
    late = span(3, 5)
    del late["attributes"]["session.id"]
    ingest(ws, write(tmp_path / "late.jsonl", [late]))
    sessions = ws.lake.sessions().filter(session_id="session-3").collect()
    assert sessions["n_spans"].item() == 6
    assert len(ws.lake.sessions().collect()) == 8
    assert len(ws.lake.verdicts().collect()) == 1


def test_an_id_that_says_something_else_is_a_collision_and_is_kept_to_be_read_again(ws, tmp_path):
    other = [span(1, number, **{"output.value": "no"}) for number in range(2)]
    report = ingest(ws, write(tmp_path / "a.jsonl", [*SPANS[:10], *other, SPANS[0]]))
    assert (report.spans, report.duplicates, report.collisions, report.rejected) == (10, 1, 2, 0)
    assert report.records == 13
    told = rejects(report)
    assert [each["line"] for each in told] == [11, 12]
    assert "says something else" in told[0]["reason"]
    assert [json.loads(each["text"]) for each in told] == other
    again = ingest(ws, write(tmp_path / "b.jsonl", other))
    assert (again.spans, again.collisions, again.duplicates) == (0, 2, 0)
    # Placeholders are numbered by what was read with them, and are no other content.
    mail = {"input.value": "mail eve@example.com"}
    ingest(ws, write(tmp_path / "c.jsonl", [span(50, 0, **mail), span(50, 1)]))
    assert ingest(ws, write(tmp_path / "d.jsonl", [span(50, 1)])).collisions == 0


def test_rows_that_share_an_id_are_not_duplicates(ws, tmp_path):
    runs = [
        {"id": "r", "trace_id": "t", "run_type": "llm", "inputs": {"q": str(n)}, "outputs": {}}
        for n in range(100)
    ]
    report = ingest(ws, write(tmp_path / "a.jsonl", runs), format="langsmith")
    assert (report.spans, report.duplicates, report.collisions) == (1, 0, 99)


def test_a_wrong_map_is_corrected_by_reading_the_source_anew(ws, tmp_path):
    ingest(ws, write(tmp_path / "other.jsonl", [span(90, n) for n in range(3)]))
    path = write(
        tmp_path / "a.jsonl", [{**each, "run": f"run-{n}"} for n, each in enumerate(SPANS)]
    )
    ingest(ws, path, columns={"session_id": "name"})
    assert set(lake(ws)[1]["session_id"]) == {"step", "session-90"}
    version = ws.lake.versions()["span"]
    wrong = ingest(ws, path, columns={"session_id": "run"})
    assert (wrong.spans, wrong.collisions) == (0, 40)
    mended = ingest(ws, path, columns={"session_id": "run", "release": "name"}, replace=True)
    assert (mended.sessions, mended.spans, mended.collisions, mended.duplicates) == (40, 40, 0, 0)
    spans, sessions = lake(ws)
    assert (len(spans), len(sessions)) == (43, 41)
    assert set(sessions["session_id"]) == {"session-90", *(f"run-{n}" for n in range(40))}
    assert set(spans.filter(pl.col("session_id") != "session-90")["release"]) == {"step"}
    assert len(ws.lake.spans(version=version).filter(session_id="step").collect()) == 40
    (event,) = ws.ledger.events("traces.replaced").iter_rows(named=True)
    assert json.loads(event["body"])["n_spans"] == 40
    (tmp_path / "same").mkdir()
    (tmp_path / "same/evalbench.toml").write_text(f'user_key_secret = "{ws.secret}"\n')
    same = eb.open(tmp_path / "same")
    ingest(same, tmp_path / "other.jsonl")
    ingest(same, path, columns={"session_id": "run", "release": "name"})
    assert all(a.equals(b) for a, b in zip(lake(ws), lake(same), strict=True))


@pytest.mark.parametrize(("sessions", "merged"), [(8, True), (4, False), (210, True)])
def test_a_map_that_merges_many_traces_into_one_session_is_said(ws, tmp_path, sessions, merged):
    spans = [span(n, 0) | {"turn": "a" if n < 201 else str(n)} for n in range(sessions)]
    path = write(tmp_path / "a.jsonl", spans)
    assert ingest(ws, path).warning == ""
    report = ingest(ws, path, columns={"session_id": "turn"}, replace=True)
    assert report.warning.startswith("session 'a' takes in ") == merged
    other = ingest(ws, path, surface="other", columns={"session_id": "context.trace_id"})
    assert other.warning == ""


def test_a_source_of_which_nothing_can_be_read_anew_replaces_nothing(ws, tmp_path):
    path = write(tmp_path / "a.jsonl", SPANS[:5])
    ingest(ws, path)
    report = ingest(ws, path, columns={"cost_usd": "name"}, replace=True)
    assert (report.spans, report.rejected) == (0, 5)
    assert len(lake(ws)[0]) == 5
    assert ws.ledger.events("traces.replaced").is_empty()


def test_rejects_that_somebody_mended_are_not_erased(ws, tmp_path):
    path = write(tmp_path / "a.jsonl", [SPANS[0], span(9, 1, **{"llm.token_count.prompt": -4})])
    first = ingest(ws, path).rejects_path
    mended = first.read_text().replace("-4", "4")
    first.write_text(mended)
    second = ingest(ws, path)
    assert second.rejects_path != first
    assert first.read_text() == mended
    assert ingest(ws, first).spans == 1
    assert first.read_text() == mended


def test_rejects_of_files_that_begin_and_end_alike_stay_apart(ws, tmp_path):
    paths = []
    for word in ("one", "two"):
        lines = [SPANS[0], {"n": "x" * (1 << 20)}, {"word": word}, {"n": "x" * (1 << 20)}]
        paths.append(ingest(ws, write(tmp_path / f"{word}.jsonl", lines)).rejects_path)
    assert ["one" in paths[0].read_text(), "two" in paths[1].read_text()] == [True, True]


def test_the_same_ids_on_another_surface_are_other_spans(ws, tmp_path):
    path = write(tmp_path / "a.jsonl", SPANS)
    ingest(ws, path)
    report = ingest(ws, path, surface="sales")
    assert (report.sessions, report.spans, report.duplicates) == (8, 40, 0)


def test_rejects_tell_line_reason_and_text_and_are_read_again_after_a_fix(ws, tmp_path):
    bad = span(9, 1, **{"llm.token_count.prompt": -4})
    path = tmp_path / "a.jsonl"
    write(path, [*SPANS[:2], bad, *SPANS[2:4]])
    path.write_text(path.read_text() + "\n{broken\n")
    report = ingest(ws, path)
    assert (report.spans, report.rejected, report.records) == (4, 2, 6)
    told = rejects(report)
    assert [each["line"] for each in told] == [3, 7]
    assert told[0]["reason"] == "prompt_tokens is not 0 or more: -4"
    assert told[1]["reason"].startswith("not JSON")
    assert json.loads(told[0]["text"]) == bad
    assert told[1]["text"] == "{broken"
    fixed = told[0]["text"].replace("-4", "4")
    again = ingest(ws, write(tmp_path / "fixed.jsonl", [{**told[0], "text": fixed}, told[1]]))
    assert (again.spans, again.rejected) == (1, 1)
    assert [(each["line"], each["text"]) for each in rejects(again)] == [(2, "{broken")]


def test_one_bad_span_of_an_otlp_envelope_takes_no_other_with_it(ws, tmp_path):
    def otlp(number, tokens):
        return {
            "traceId": "t",
            "spanId": f"s{number}",
            "name": "chat",
            "startTimeUnixNano": "1767225600000000000",
            "endTimeUnixNano": "1767225601000000000",
            "attributes": [
                {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                {"key": "gen_ai.usage.input_tokens", "value": {"intValue": str(tokens)}},
            ],
        }

    scope = {"scope": {"name": "x"}, "spans": [otlp(0, 1), otlp(1, -1), otlp(2, 3)]}
    path = write(tmp_path / "a.jsonl", [{"resourceSpans": [{"scopeSpans": [scope]}]}])
    report = ingest(ws, path)
    assert (report.spans, report.rejected, report.records) == (2, 1, 3)
    text = rejects(report)[0]["text"].replace('"-1"', '"1"')
    again = ingest(ws, write(tmp_path / "b.jsonl", [{"line": 1, "reason": "", "text": text}]))
    assert (again.spans, again.rejected) == (1, 0)


def test_columns_of_the_settings_are_used_and_the_call_s_own_come_first(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "evalbench.toml").write_text(
        '[surfaces.support.columns]\nsession_id = "run"\nrelease = "build"\n'
    )
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    path = write(tmp_path / "a.jsonl", [{"messages": chat, "run": "r1", "build": "b", "v": "c"}])
    ws = eb.open(folder)
    ingest(ws, path, columns={"release": "v"})
    row = lake(ws)[1].row(0, named=True)
    assert (row["session_id"], row["release"]) == ("r1", "c")


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ('{"a": 1}\n{"b": 2}\n', {}, "of a known format"),
        ("time,level\n1,info\n", {}, "of a known format"),
        (json.dumps(SPANS[0]), {"format": "parqet"}, "known are auto"),
        (json.dumps(SPANS[0]), {"columns": {"colour": "x"}}, "colour"),
        (json.dumps(SPANS[0]), {"surface": ""}, "surface"),
        (json.dumps(SPANS[0]), {"surface": "s" * 300}, "choose a shorter"),
        (json.dumps(SPANS[0]), {"surface": "__HIVE_DEFAULT_PARTITION__"}, "no name for a folder"),
    ],
)
def test_an_error_says_what_to_do_and_leaves_the_lake_as_it_was(
    ws, tmp_path, content, options, says
):
    path = tmp_path / "a"
    path.write_text(content)
    with pytest.raises(ReadError, match=says):
        ingest(ws, path, **options)
    assert ws.lake.versions() == {}
    assert not list(ws.path.rglob("*.parquet"))
