"""LangSmith runs. ``session_id`` of a run is its tracing project, not the conversation."""

from __future__ import annotations

from collections.abc import Mapping

from evalbench.observe.formats.feedback import add_scores
from evalbench.observe.formats.mapping import Mapping as Names
from evalbench.observe.formats.mapping import read_span, read_table
from evalbench.observe.record import Parsed, Row, apply_columns, from_json, is_missing

NAMES = ("langsmith",)
SIGNATURES = ({"id", "run_type", "inputs"}, {"id", "run_type", "dotted_order"})
MAPPING = Names(
    source="langsmith",
    columns=read_table("""
        trace_id: trace_id
        span_id: id
        parent_id: parent_run_id
        name: name
        start: start_time
        end: end_time
        status: status
        failed: error
        status_message: error
        session_id: extra.metadata.session_id extra.metadata.conversation_id
            extra.metadata.thread_id
        kind: run_type
        model: extra.metadata.ls_model_name extra.invocation_params.model
            extra.invocation_params.model_name
        provider: extra.metadata.ls_provider
        input: inputs
        output: outputs
        input_messages: inputs
        output_messages: outputs
        documents: outputs.documents
        prompt_tokens: prompt_tokens
        completion_tokens: completion_tokens
        cached_tokens: prompt_token_details.cache_read
        cache_writes: prompt_token_details.cache_creation
        total_tokens: total_tokens
        cost_usd: total_cost
        metadata: extra.metadata
        tags: tags
        scores: feedback_stats
    """),
)


def parse(record: Row, columns: Mapping[str, str]) -> Parsed:
    """Return the span of one run, and the verdicts of its feedback by its mean."""
    run = {name: value for name, value in record.items() if not is_missing(value)}
    run.setdefault("trace_id", run.get("id"))
    row = read_span(run, MAPPING)
    stats = from_json(row.pop("scores", None))
    scores = [
        {"name": name, "score": held.get("avg") if isinstance(held, dict) else held}
        for name, held in (stats.items() if isinstance(stats, dict) else ())
    ]
    verdicts = add_scores(row, (score for score in scores if score["score"] is not None))
    apply_columns(row, record, columns)
    return Parsed([row], verdicts)
