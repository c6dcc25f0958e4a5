"""Braintrust exports of logs and experiments, as JSON, JSONL, or CSV whose cells hold JSON.

A row is a span of the trace ``root_span_id``; its own id is ``span_id``. Scores become verdicts of
``braintrust/<name>`` as those of Langfuse do. ``expected`` stays in ``attributes``.
"""

from __future__ import annotations

from collections.abc import Mapping

from evalbench.observe.formats.feedback import add_scores
from evalbench.observe.formats.mapping import Mapping as Names
from evalbench.observe.formats.mapping import read_span, read_table, read_words
from evalbench.observe.record import Parsed, Row, apply_columns, from_json, is_missing

NAMES = ("braintrust",)
SIGNATURES = (
    {"span_id", "root_span_id", "created"},
    {"span_id", "root_span_id", "span_attributes"},
    {"span_id", "root_span_id", "input"},
)
MAPPING = Names(
    source="braintrust",
    columns=read_table("""
        trace_id: root_span_id
        span_id: span_id
        parent_id: span_parents.0
        name: span_attributes.name name
        start: metrics.start created
        end: metrics.end
        failed: error
        status_message: error.message error
        session_id: metadata.session_id metadata.conversation_id metadata.thread_id
        user_key: metadata.user_id metadata.user
        kind: span_attributes.type type
        model: metadata.model
        provider: metadata.provider
        input: input
        output: output
        input_messages: input
        output_messages: output
        prompt_tokens: metrics.prompt_tokens
        completion_tokens: metrics.completion_tokens
        cached_tokens: metrics.prompt_cached_tokens metrics.cached
        cache_writes: metrics.prompt_cache_creation_tokens
        total_tokens: metrics.tokens
        cost_usd: metrics.estimated_cost metrics.cost
        metadata: metadata
        tags: tags
        scores: scores
    """),
    kinds=read_words("""
        evaluator: score
        chain: function task eval
    """),
)


def parse(record: Row, columns: Mapping[str, str]) -> Parsed:
    """Return the span of one row, and the verdicts of its scores."""
    fields = {name: value for name, value in record.items() if not is_missing(value)}
    row = read_span(fields, MAPPING)
    row["status"] = row["status"] or "ok"
    scores = from_json(row.pop("scores", None))
    verdicts = add_scores(
        row,
        (
            {"name": name, "score": value, "time": fields.get("created")}
            for name, value in (scores.items() if isinstance(scores, dict) else ())
            if value is not None
        ),
    )
    apply_columns(row, record, columns)
    return Parsed([row], verdicts)
