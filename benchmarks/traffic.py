"""Made-up traffic for benchmarks: OpenInference spans as JSONL, ten a session, 1.5 KB each."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

SPANS_PER_SESSION = 10
WORDS = (
    "order refund invoice delivery account password address payment status window policy carrier "
    "warehouse customer agent ticket delay parcel receipt warranty return exchange discount "
    "voucher please check again today tomorrow before after because however therefore could would "
    "should the a of and to in for with on at from by it this that is was has have had not can will"
).split()
PERSONAL = (
    "my mail is {name}.{number}@example.com",
    "call me at +1 415-555-{short}",
    "the card was 4111 1111 1111 1111",
    "I logged in from 203.0.113.{byte}",
)
TIERS = ("free", "pro", "team")
TOOLS = ("get_order", "search_policy", "create_refund", "track_parcel", "get_account")


def write_traffic(path: Path, spans: int, seed: int = 7) -> None:
    """Write ``spans`` spans, ten a session; the same seed gives the same bytes."""
    chooser = random.Random(seed)
    texts = [_text(chooser) for _ in range(400)]
    with path.open("w", encoding="utf-8") as file:
        for session in range(spans // SPANS_PER_SESSION):
            file.writelines(_session(session, texts, chooser))


def _text(chooser: random.Random) -> str:
    """Make a text of some paragraphs, as people and models write: quotes, lists, dates, prices."""
    lines = [" ".join(chooser.choices(WORDS, k=chooser.randint(2, 9))) for _ in range(4)]
    lines[1] = f'- "{lines[1]}" on 2026-0{chooser.randint(1, 9)}-1{chooser.randint(0, 9)}'
    lines[2] = f"- €{chooser.randint(5, 900)}.90 – {lines[2]}"
    return "\n".join(lines)


def _session(session: int, texts: list[str], chooser: random.Random) -> Iterator[str]:
    trace = f"{chooser.getrandbits(128):032x}"
    second = session % 86_400
    moment = f"2026-{session // 86_400 % 12 + 1:02}-{session % 28 + 1:02}T{second // 3600:02}"
    question = chooser.choice(texts)
    if chooser.random() < 0.1:
        question += ". " + chooser.choice(PERSONAL).format(
            name=chooser.choice(WORDS),
            number=session,
            short=1000 + session % 9000,
            byte=session % 256,
        )
    system = texts[session % 7]
    answer = chooser.choice(texts)
    for index in range(SPANS_PER_SESSION):
        common = {"session.id": f"session-{session:07}", "user.id": f"user-{session % 40_000:06}"}
        kind, fields = _span(index, session, question, answer, system, texts, chooser)
        minute = f"{moment}:{second // 60 % 60:02}"
        line = {
            "name": f"{kind.lower()}.{index}",
            "context": {"trace_id": trace, "span_id": f"{chooser.getrandbits(64):016x}"},
            "parent_id": None if index == 0 else f"{session:015x}0",
            "start_time": f"{minute}:{index * 3:02}.{session % 1000:03}000+00:00",
            "end_time": f"{minute}:{index * 3 + 2:02}.{chooser.randrange(1000):03}000+00:00",
            "status_code": "ERROR" if chooser.random() < 0.02 else "OK",
            "attributes": {"openinference.span.kind": kind, **common, **fields},
        }
        yield json.dumps(line) + "\n"


def _span(
    index: int,
    session: int,
    question: str,
    answer: str,
    system: str,
    texts: list[str],
    chooser: random.Random,
) -> tuple[str, dict[str, object]]:
    """Attributes of one span, named and doubled as OpenInference's instrumentors write them."""
    if index == 0:
        return "AGENT", {
            "input.value": question,
            "output.value": answer,
            "metadata": json.dumps({"tier": TIERS[session % 3], "locale": "en"}),
        }
    if index % 3 == 1:
        return "LLM", _llm(index, session, question, answer, system)
    if index % 3 == 2:
        tool = TOOLS[chooser.randrange(len(TOOLS))]
        arguments = {"order_id": f"ORD-{chooser.randrange(10**9)}", "note": texts[session % 50]}
        result = {"status": "ok", "items": [{"sku": index, "text": chooser.choice(texts)}]}
        return "TOOL", {
            "tool.name": tool,
            "tool.parameters": json.dumps(arguments),
            "input.value": json.dumps(arguments),
            "input.mime_type": "application/json",
            "output.value": json.dumps(result),
            "output.mime_type": "application/json",
        }
    fields: dict[str, object] = {"input.value": question, "input.mime_type": "text/plain"}
    for place in range(3):
        fields[f"retrieval.documents.{place}.document.id"] = f"doc-{chooser.randrange(5000)}"
        fields[f"retrieval.documents.{place}.document.content"] = chooser.choice(texts)
        fields[f"retrieval.documents.{place}.document.score"] = round(chooser.random(), 4)
    return "RETRIEVER", fields


def _llm(index: int, session: int, question: str, answer: str, system: str) -> dict[str, object]:
    settings = {"model": "large-1", "temperature": 0.2, "max_tokens": 800}
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    fields: dict[str, object] = {
        "llm.model_name": "large-1",
        "llm.provider": "openai",
        "llm.invocation_parameters": json.dumps(settings),
        "llm.token_count.prompt": 300 + session % 200,
        "llm.token_count.completion": 40 + index,
        "llm.token_count.total": 340 + session % 200 + index,
        "llm.cost.total": 0.0001 * index,
        "input.value": json.dumps({"messages": messages, **settings}),
        "input.mime_type": "application/json",
        "output.value": answer,
        "output.mime_type": "text/plain",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": answer,
    }
    for place, message in enumerate(messages):
        fields[f"llm.input_messages.{place}.message.role"] = message["role"]
        fields[f"llm.input_messages.{place}.message.content"] = message["content"]
    return fields
