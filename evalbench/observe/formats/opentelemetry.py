"""Spans of OpenTelemetry: OTLP/JSON, one span a line, OpenInference, Phoenix, Vercel.

A record is an OTLP envelope, a line of JSONL, or a row of Phoenix's data frame, whose
``attributes.*`` columns are its attributes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from evalbench.observe.formats.feedback import add_scores
from evalbench.observe.formats.mapping import Mapping as Names
from evalbench.observe.formats.mapping import read_span, read_table, read_words
from evalbench.observe.record import Parsed, Row, apply_columns, from_json, is_missing, to_text

NAMES = ("opentelemetry", "openinference", "vercel")
SIGNATURES = (
    {"resourceSpans"},
    {"trace_id", "span_id", "attributes"},
    {"trace_id", "span_id", "start_time"},
    {"traceId", "spanId"},
    {"context", "attributes"},
    {"context", "start_time"},
    {"context.trace_id", "context.span_id"},
)
DEEPEST = 64
MAPPING = Names(
    source="opentelemetry",
    dialects={"openinference.": "openinference", "llm.": "openinference", "ai.": "vercel"},
    columns=read_table("""
        trace_id: trace_id traceId
        span_id: span_id spanId
        parent_id: parent_id parentSpanId parent_span_id
        name: name
        start: start_time startTimeUnixNano start_time_unix_nano
        end: end_time endTimeUnixNano end_time_unix_nano
        status: status_code status
        failed: error.type
        status_message: status_message exception.message error.message
        session_id: session.id gen_ai.session.id langfuse.session.id
            traceloop.association.properties.session_id langsmith.trace.session_id session_id
            wandb.thread_id ai.telemetry.metadata.threadId gen_ai.conversation.id
        user_key: user.id enduser.id langfuse.user.id traceloop.association.properties.user_id
            ai.telemetry.metadata.userId
        kind: openinference.span.kind gen_ai.operation.name traceloop.span.kind ai.operationId
            llm.request.type span_kind
        model: llm.model_name gen_ai.response.model gen_ai.request.model ai.response.model
            ai.model.id
        provider: llm.provider gen_ai.provider.name gen_ai.system llm.system ai.model.provider
        prompt_tokens: llm.token_count.prompt gen_ai.usage.input_tokens gen_ai.usage.prompt_tokens
            ai.usage.promptTokens
        completion_tokens: llm.token_count.completion gen_ai.usage.output_tokens
            gen_ai.usage.completion_tokens ai.usage.completionTokens
        cached_tokens: llm.token_count.prompt_details.cache_read
            gen_ai.usage.cache_read.input_tokens ai.usage.cachedInputTokens
        total_tokens: llm.token_count.total gen_ai.usage.total_tokens ai.usage.totalTokens
        cache_writes: llm.token_count.prompt_details.cache_write
            gen_ai.usage.cache_creation.input_tokens
        cost_usd: llm.cost.total gen_ai.usage.cost
        tool_name: tool.name gen_ai.tool.name ai.toolCall.name
        tool_arguments: gen_ai.tool.call.arguments ai.toolCall.args tool.parameters
        tool_result: gen_ai.tool.call.result ai.toolCall.result
        input: input.value
        output: output.value ai.response.text ai.response.object
        system: gen_ai.system_instructions
        input_messages: llm.input_messages gen_ai.input.messages ai.prompt.messages ai.prompt
        output_messages: llm.output_messages gen_ai.output.messages ai.response.toolCalls
        documents: retrieval.documents reranker.output_documents
        release: release langfuse.release langfuse.version service.version resource.service.version
            resource.attributes.service.version
        environment: langfuse.environment deployment.environment.name deployment.environment
            resource.deployment.environment.name resource.deployment.environment
            resource.attributes.deployment.environment
        metadata: metadata
        tags: tag.tags
        scores: annotations evaluations
        events: events
    """),
    kinds=read_words("""
        llm: chat text_completion generate_content ai.generateText.doGenerate ai.streamText.doStream
            ai.generateObject.doGenerate ai.streamObject.doStream
        chain: ai.generateText ai.streamText ai.generateObject ai.streamObject workflow task
            invoke_workflow
        agent: invoke_agent create_agent
        tool: execute_tool ai.toolCall
        embedding: embeddings ai.embed.doEmbed ai.embedMany.doEmbed
        retriever: retrieval retrieve
        reranker: rerank
    """),
    lists=read_words("""
        input_messages: llm.input_messages. gen_ai.prompt.
        output_messages: llm.output_messages. gen_ai.completion.
        documents: retrieval.documents. reranker.output_documents.
        scores: annotations. evaluations.
    """),
    facts=(
        "ai.telemetry.metadata.",
        "langfuse.trace.metadata.",
        "traceloop.association.properties.",
        "metadata.",
    ),
)


def parse(record: Row, columns: Mapping[str, str]) -> Parsed:
    """Return the span of a record, or those of an OTLP envelope, with verdicts of their scores."""
    parsed = Parsed([], [])
    for span in envelope_spans(record) if "resourceSpans" in record else (record,):
        fields, attributes = _flatten(span)
        row = read_span(fields, MAPPING)
        scores, events = row.pop("scores", ()), from_json(row.pop("events", None))
        if scores or events:
            parsed.verdicts.extend(add_scores(row, [*scores, *_read_events(events, row)]))
        if columns:
            apply_columns(row, {**span, "attributes": attributes}, columns)
        parsed.spans.append(row)
    return parsed


def _flatten(span: Row) -> tuple[Row, Row]:
    """Put a span's own fields, its context and its attributes side by side."""
    attributes = plain_attributes(span.get("attributes"))
    if "context.span_id" in span:
        cells = {name: value for name, value in span.items() if not is_missing(value)}
        inner = {n[11:]: value for n, value in cells.items() if n.startswith("attributes.")}
        attributes = {**attributes, **inner}
        span = {n.removeprefix("context."): v for n, v in cells.items() if n[:11] != "attributes."}
    fields = {**attributes, **span}
    fields.pop("attributes", None)
    if not attributes.keys().isdisjoint(span):
        twice = attributes.keys() & span.keys()
        fields |= {f"attributes.{name}": attributes[name] for name in twice}
    if isinstance(context := fields.get("context"), dict):
        del fields["context"]
        fields |= context
    if isinstance(status := fields.get("status"), dict):
        del fields["status"]
        fields["status_code"] = status.get("code", status.get("status_code", 0))
        if told := status.get("message") or status.get("description"):
            fields["status_message"] = told
    return fields, attributes


def envelope_spans(document: Mapping[str, Any]) -> Iterator[Row]:
    """Return an OTLP document's spans with resource and scope, if it has lists of them."""
    for resource_spans in _objects(document, "resourceSpans"):
        held = resource_spans.get("resource")
        resource = plain_attributes(held.get("attributes")) if isinstance(held, dict) else {}
        for scope_spans in _objects(resource_spans, "scopeSpans", "instrumentationLibrarySpans"):
            scope = scope_spans.get("scope") or scope_spans.get("instrumentationLibrary") or {}
            for span in _objects(scope_spans, "spans"):
                yield {**span, "resource": resource, "scope": scope}


def _objects(holder: Mapping[str, Any], *names: str) -> Iterator[Row]:
    for name in names:
        items = holder.get(name) or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ValueError(f"OTLP {name!r} is not a list of objects")
        yield from items


def plain_attributes(attributes: Any) -> Row:
    """Return attributes as one flat object, from one, JSON text or OTLP's list; else ValueError."""
    attributes = from_json(attributes)
    if isinstance(attributes, dict):
        return attributes
    if attributes is None:
        return {}
    if not isinstance(attributes, list):
        raise ValueError(f"attributes are not an object: {str(attributes)[:80]!r}")
    try:
        return {item["key"]: _plain(item.get("value"), 0) for item in attributes}
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("attributes are not a list of keys and values") from error


def _plain(value: Any, depth: int) -> Any:
    """Return the plain value of an OTLP AnyValue."""
    if not isinstance(value, dict):
        return value
    if depth > DEEPEST:
        raise ValueError(f"an attribute is nested deeper than {DEEPEST}")
    for name, held in value.items():
        if name == "intValue":
            return int(held)
        if name == "arrayValue":
            return [_plain(item, depth + 1) for item in held.get("values") or ()]
        if name == "kvlistValue":
            pairs = held.get("values") or ()
            return {pair["key"]: _plain(pair.get("value"), depth + 1) for pair in pairs}
        if name == "bytesValue":
            return held if isinstance(held, str) else base64.b64encode(bytes(held)).decode()
        return held
    return None


def _read_events(events: Any, row: Row) -> Iterator[Row]:
    """Give the scores in a span's events; an exception's message becomes the status message."""
    for event in events if isinstance(events, list) else ():
        held = plain_attributes(event.get("attributes")) if isinstance(event, dict) else {}
        if row.get("status_message") is None:
            row["status_message"] = to_text(held.get("exception.message"))
        if "gen_ai.evaluation.name" in held:
            yield {
                "name": held["gen_ai.evaluation.name"],
                "score": held.get("gen_ai.evaluation.score.value"),
                "label": held.get("gen_ai.evaluation.score.label"),
                "explanation": held.get("gen_ai.evaluation.explanation"),
                "time": event.get("timeUnixNano") or event.get("timestamp"),
            }
