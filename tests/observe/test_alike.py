import json

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from evalbench.observe.batch import Plan, process_part
from evalbench.observe.formats import opentelemetry
from evalbench.observe.source import Chunk
from evalbench.store.lake import Lake

ATTRIBUTES = {
    "openinference.span.kind": st.sampled_from(["LLM", "TOOL", "RETRIEVER", "own", 3, None]),
    "session.id": st.sampled_from(["chat", "", None, 7]),
    "llm.model_name": st.sampled_from(["m", None]),
    "llm.token_count.prompt": st.sampled_from([3, 3.0, "4", None, "many", 1.5]),
    "llm.token_count.prompt_details.cache_read": st.sampled_from([2, 0, None]),
    "llm.token_count.total": st.sampled_from([3, 5]),
    "llm.input_messages.0.message.role": st.sampled_from(["user", None]),
    "llm.input_messages.0.message.content": st.sampled_from(["hé \n", "", None]),
    "llm.input_messages.0.message.tool_calls.0.tool_call.function.name": st.just("f"),
    "llm.output_messages.0.message.contents.0.message_content.text": st.sampled_from(["a", None]),
    "gen_ai.output.messages": st.sampled_from(['[{"role":"assistant","content":"b"}]', "plain"]),
    "gen_ai.system_instructions": st.sampled_from(["be kind", [{"content": "be kind"}]]),
    "input.value": st.sampled_from(["q", {"a": [1]}, None]),
    "tool.parameters": st.sampled_from(['{"n":1}', {"n": 1}]),
    "retrieval.documents.0.document.content": st.sampled_from(["text", 5]),
    "retrieval.documents.0.document.score": st.sampled_from([0.5, "0.5", "high"]),
    "annotations.0.annotation.name": st.sampled_from(["thumbs", "tone"]),
    "annotations.0.annotation.score": st.sampled_from([1, 0.5]),
    "metadata": st.sampled_from(['{"tier":"gold","release":"v2"}', {"tier": 1}, None]),
    "error.type": st.just("Timeout"),
    "own.name": st.sampled_from([1, None, {"deep": []}]),
}
FIELDS = {
    "name": st.sampled_from(["n", None]),
    "parent_id": st.sampled_from(["", None, "p"]),
    "start_time": st.sampled_from(
        ["2026-05-01T12:00:00Z", "2026-05-01T12:00:01Z", "2026-02-30T12:00:00Z", 1_777_636_800]
    ),
    "end_time": st.sampled_from(["2026-05-01T14:00:02.25+02:00", "2026-05-01T12:00:00+00:00", ""]),
    "status": st.sampled_from(["OK", 2, None, {"code": 2, "message": "late"}]),
    "status_message": st.sampled_from(["", "slow"]),
    "span_kind": st.sampled_from(["TOOL", None]),
    "links": st.sampled_from([[], None, [1]]),
    "resource": st.sampled_from([{"service.version": "v3"}, {"attributes": {}}, None]),
    "events": st.sampled_from(
        [[], None, [{"name": "exception", "attributes": {"exception.message": "boom"}}]]
    ),
}


@st.composite
def spans_of_one_kind(draw):
    """Spans with the same names and values that vary; the mapping of some columns."""
    names = draw(st.lists(st.sampled_from(list(ATTRIBUTES)), unique=True))
    fields = draw(st.lists(st.sampled_from(list(FIELDS)), unique=True))
    records = [
        {
            "context": {"trace_id": "t", "span_id": f"s{number}", "own": number},
            **{name: draw(FIELDS[name]) for name in fields},
            "attributes": {name: draw(ATTRIBUTES[name]) for name in names},
        }
        for number in range(draw(st.integers(2, 6)))
    ]
    return records, draw(st.sampled_from([{}, {"segments.own": "context.own", "release": "name"}]))


def written(row):
    return {name: value for name, value in row.items() if value is not None}


@given(spans_of_one_kind())
def test_spans_read_together_are_read_as_each_alone(case):
    records, mapped = case
    taken = [opentelemetry.take_apart(json.loads(json.dumps(record))) for record in records]
    assert len({names for names, _ in taken}) == 1
    try:
        alone = [opentelemetry.parse(record, mapped) for record in records]
    except ValueError:
        alone = None
    try:
        columns, verdicts = opentelemetry.read_alike(
            taken[0][0], [value for _, values in taken for value in values], mapped
        )
    except ValueError:
        assert alone is None
        return
    assert alone is not None
    assert verdicts == [(place, v) for place, each in enumerate(alone) for v in each.verdicts]
    for place, each in enumerate(alone):
        row = {name: values[place] for name, values in columns.items()}
        for name in ("input_messages", "output_messages", "attributes"):
            row[name] = json.loads(json.dumps(row.get(name)))
            each.spans[0][name] = json.loads(each.spans[0].get(name) or "null")
        if row.get("documents"):
            row["documents"] = [
                dict(zip(("id", "content", "score"), one, strict=True)) for one in row["documents"]
            ]
        assert written(row) == written(each.spans[0])


def process(tmp_path, records):
    plan = Plan(Lake(str(tmp_path)), "web", "i", "n", ("opentelemetry",), {}, False, "secret")
    text = b"\n".join(json.dumps(record).encode() for record in records)
    outcome = process_part(Chunk(0, 0, text=text), plan)
    rows = {
        table: pl.read_parquet(f"{tmp_path}/{table}/{staged.path}")
        for table, staged in outcome.staged.items()
    }
    return outcome, rows


def span(number, trace="t", **attributes):
    return {
        "name": "n",
        "context": {"trace_id": trace, "span_id": f"s{number}"},
        "start_time": "2026-05-01T12:00:00Z",
        "attributes": attributes,
    }


def test_a_bad_span_takes_none_of_its_names_with_it(tmp_path):
    counts = [{"llm.token_count.prompt": number} for number in range(9)]
    counts[3] = {"llm.token_count.prompt": "many"}
    counts[7] = {"llm.token_count.prompt": 2**63}
    outcome, rows = process(tmp_path, [span(i, **each) for i, each in enumerate(counts)])
    assert [reject.line for reject in outcome.rejects] == [3, 7]
    assert ["not a number" in reject.reason for reject in outcome.rejects] == [True, False]
    assert sorted(rows["span"]["prompt_tokens"]) == [0, 1, 2, 4, 5, 6, 8]


def test_a_span_without_a_session_has_the_one_its_trace_names(tmp_path):
    score = {"annotations.0.annotation.name": "tone", "annotations.0.annotation.score": 0.5}
    records = [span(0), span(1, **{"session.id": "chat"}), span(2, **score), span(3, trace="u")]
    _, rows = process(tmp_path, records)
    sessions = rows["span"].sort("span_id")["session_id"]
    assert sessions.to_list() == ["chat", "chat", "chat", "u"]
    assert rows["verdict"]["session_id"].to_list() == ["chat"]
