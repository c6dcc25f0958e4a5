"""What each OpenTelemetry attribute name means: a column, a piece of a message, or neither.

:data:`PLANS` maps an attribute's name to its plan. Names come in their thousands of variants
(``llm.input_messages.3.message.role``), so the plan of a name is worked out once and kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

COLUMNS = {
    "input.value": "input",
    "output.value": "output",
    "llm.model_name": "model",
    "llm.provider": "provider",
    "session.id": "session_id",
    "user.id": "user_key",
    "tool.name": "tool_name",
    "openinference.span.kind": "kind",
    "llm.token_count.prompt": "prompt_tokens",
    "llm.token_count.completion": "completion_tokens",
    "llm.token_count.prompt_details.cache_read": "cached_tokens",
    "llm.cost.total": "cost_usd",
    "gen_ai.system_instructions": "system",
}
"""The one name of a column that wins over the others."""

ALTERNATES: dict[str, tuple[str, ...]] = {
    "session_id": (
        "gen_ai.session.id",
        "langfuse.session.id",
        "traceloop.association.properties.session_id",
        "langsmith.trace.session_id",
        "session_id",
        "wandb.thread_id",
        "ai.telemetry.metadata.threadId",
        "gen_ai.conversation.id",
    ),
    "user_key": (
        "enduser.id",
        "langfuse.user.id",
        "traceloop.association.properties.user_id",
        "ai.telemetry.metadata.userId",
    ),
    "kind": (
        "gen_ai.operation.name",
        "traceloop.span.kind",
        "ai.operationId",
        "llm.request.type",
    ),
    "model": ("gen_ai.response.model", "gen_ai.request.model", "ai.response.model", "ai.model.id"),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.system", "ai.model.provider"),
    "prompt_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "ai.usage.promptTokens",
    ),
    "completion_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "ai.usage.completionTokens",
    ),
    "cached_tokens": ("gen_ai.usage.cache_read.input_tokens", "ai.usage.cachedInputTokens"),
    "cost_usd": ("gen_ai.usage.cost",),
    "tool_name": ("gen_ai.tool.name", "ai.toolCall.name"),
    "tool_arguments": ("gen_ai.tool.call.arguments", "ai.toolCall.args", "tool.parameters"),
    "tool_result": ("gen_ai.tool.call.result", "ai.toolCall.result"),
    "output": ("ai.response.text", "ai.response.object"),
    "status_message": ("exception.message", "error.message"),
    "release": ("release", "langfuse.release", "langfuse.version", "service.version"),
    "environment": (
        "langfuse.environment",
        "deployment.environment.name",
        "deployment.environment",
    ),
    "input_messages": ("gen_ai.input.messages", "ai.prompt.messages", "ai.prompt"),
    "output_messages": ("gen_ai.output.messages", "ai.response.toolCalls"),
}
"""Other names of a column, the first one present wins; the losers stay in ``attributes``."""

SLOTS = {
    "llm.input_messages.": "input_messages",
    "llm.output_messages.": "output_messages",
    "gen_ai.prompt.": "input_messages",
    "gen_ai.completion.": "output_messages",
    "retrieval.documents.": "documents",
    "reranker.output_documents.": "documents",
    "annotations.": "scores",
    "evaluations.": "scores",
}
"""Prefixes of names that number a list, and where the list goes."""

WRAPPED = ("message.", "document.", "annotation.", "evaluation.")
NESTED = ("tool_call.function.", "tool_call.", "function.", "message_content.")
LISTS = ("tool_calls", "contents")
FACTS = (
    "ai.telemetry.metadata.",
    "langfuse.trace.metadata.",
    "traceloop.association.properties.",
    "metadata.",
)
ROOTS = frozenset(
    "llm openinference input output session user retrieval reranker tool gen_ai ai "
    "llm.input_messages llm.output_messages llm.token_count llm.token_count.prompt_details "
    "llm.cost retrieval.documents reranker.output_documents annotations evaluations".split()
)
MEMORY = 50_000


class Alternate(NamedTuple):
    """A name that fills a column where no better name does."""

    rank: int
    column: str
    name: str


class Piece(NamedTuple):
    """A name that holds one field of one item of a numbered list, or of a list inside the item."""

    slot: str
    position: int
    field: str
    inner_position: int = 0
    inner_field: str = ""


class Fact(NamedTuple):
    """A name that holds a field of the session's metadata."""

    name: str


class Nested(NamedTuple):
    """A name that may hold an object whose leaves have names of their own, as Phoenix exports."""

    name: str


Plan = str | Alternate | Piece | Fact | Nested | None
_ALTERNATE = {
    name: Alternate(rank, column, name)
    for column, names in ALTERNATES.items()
    for rank, name in enumerate(names)
}


def plan_of(name: str) -> Plan:
    """Column, alternate, piece of a list, ..., or None for a name that has no place in a span."""
    if name in COLUMNS:
        return COLUMNS[name]
    if name in _ALTERNATE:
        return _ALTERNATE[name]
    for prefix, slot in SLOTS.items():
        if name.startswith(prefix):
            return _piece(slot, name[len(prefix) :])
    for prefix in FACTS:
        if name.startswith(prefix):
            return Fact(name[len(prefix) :])
    return Nested(name) if name in ROOTS else None


def _piece(slot: str, rest: str) -> Piece | None:
    index, _, field = rest.partition(".")
    for wrapper in WRAPPED:
        field = field.removeprefix(wrapper)
    if not (index.isdecimal() and index.isascii() and len(index) < 9 and field):
        return None
    head, _, tail = field.partition(".")
    inner, _, leaf = tail.partition(".")
    if head not in LISTS or not (inner.isdecimal() and inner.isascii() and len(inner) < 9):
        return Piece(slot, int(index), field)
    for wrapper in NESTED:
        leaf = leaf.removeprefix(wrapper)
    return Piece(slot, int(index), head, int(inner), leaf) if leaf else None


class _Plans(dict[str, Any]):
    def __missing__(self, name: str) -> Plan:
        plan = plan_of(name)
        if len(self) < MEMORY:  # a source that makes up names without end must not fill the memory
            self[name] = plan
        return plan


PLANS: dict[str, Any] = _Plans()
