"""What is said and done in one simulated session, in no trace format yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from evalbench.demo.company import Mode, Surface

TURN_SHARES = (0.25, 0.7)
"""Chance of one turn, and of at most two; the rest have three."""
RETRY_SHARE = 0.06
"""Chance that a tool call fails once and the same call then succeeds: no failure of the product."""
CHARACTERS_PER_TOKEN = 4
MILLISECOND = 1000

Uniforms = Iterator[float]
Facts = Mapping[str, str]


class Step(NamedTuple):
    """One span. Times are in microseconds; ``arguments`` and ``tool_call`` are of a tool."""

    kind: str
    name: str
    started: int
    duration: int
    input: str = ""
    output: str = ""
    messages: tuple[dict[str, str], ...] = ()
    tool_call: str | None = None
    arguments: Mapping[str, str] = {}
    documents: tuple[dict[str, Any], ...] = ()
    error: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


Turn = list[Step]
"""A question and its answer: the first step spans the turn, the others are inside it."""


def write_conversation(
    surface: Surface, intent: str, modes: list[Mode], *, started: int, uniforms: Uniforms
) -> list[Turn]:
    """Write one session of an intent in which these modes fail.

    A mode of the tool or the documents shows in the first turn, which has both; any other in a turn
    that is drawn. ``started`` is in microseconds since the epoch; of ``uniforms``, draws from
    [0, 1), it takes up to 150.
    """
    script = surface.script
    plan = next(each for each in script["intents"] if each["name"] == intent)
    facts = _draw_facts(script["facts"], uniforms)
    draw = next(uniforms)
    turns = min(1 + sum(draw >= share for share in TURN_SHARES), 1 + len(plan["follows"]))
    rotation = int(next(uniforms) * len(plan["follows"]))
    shown: list[list[Mode]] = [[] for _ in range(turns)]
    for mode in modes:
        in_first = mode.tool or mode.arguments or mode.result or mode.tool_error or mode.documents
        shown[0 if in_first else int(next(uniforms) * turns)].append(mode)

    history = [{"role": "system", "content": script["system"]}]
    written: list[Turn] = []
    moment = started
    for number, failing in enumerate(shown):
        if number == 0:
            question, answer = _pick(plan["opens"], uniforms), _pick(plan["answers"], uniforms)
        else:
            question, answer = plan["follows"][(rotation + number) % len(plan["follows"])]
        asks = [mode.asks for mode in failing if mode.asks]
        question = " ".join([question, *asks] if number == 0 else asks or [question])
        if failing:
            answer = " ".join(_pick(mode.says, uniforms) for mode in failing)
        turn = _write_turn(
            surface,
            plan,
            failing,
            question=question.format_map(facts),
            answer=answer.format_map(facts),
            facts=facts,
            history=history,
            started=moment,
            first=number == 0,
            uniforms=uniforms,
        )
        written.append(turn)
        history += [
            {"role": "user", "content": turn[0].input},
            {"role": "assistant", "content": turn[0].output},
        ]
        moment += turn[0].duration + int((8 + 90 * next(uniforms)) * 1000 * MILLISECOND)
    return written


def _write_turn(
    surface: Surface,
    plan: Mapping[str, Any],
    failing: list[Mode],
    *,
    question: str,
    answer: str,
    facts: Facts,
    history: list[dict[str, str]],
    started: int,
    first: bool,
    uniforms: Uniforms,
) -> Turn:
    script = surface.script
    steps: list[Step] = []
    moment = started + 2 * MILLISECOND

    def add(kind: str, name: str, milliseconds: float, **content: Any) -> None:
        nonlocal moment
        steps.append(Step(kind, name, moment, int(milliseconds * MILLISECOND), **content))
        moment += steps[-1].duration + MILLISECOND

    def add_model(messages: tuple[dict[str, str], ...], output: str, **content: Any) -> None:
        written = len(output or str(content)) // CHARACTERS_PER_TOKEN + 4
        add(
            "llm",
            script["model"]["name"],
            (350 + 14 * written) * (0.7 + 0.6 * next(uniforms)),
            input=messages[-1]["content"],
            output=output,
            messages=messages,
            prompt_tokens=sum(len(each["content"]) for each in messages) // CHARACTERS_PER_TOKEN,
            completion_tokens=written,
            **content,
        )

    asked = (*history, {"role": "user", "content": question})
    draw = next(uniforms)
    if first or draw < 0.3:
        documents = _retrieve(script["documents"], failing, facts, uniforms)
        add(
            "retriever",
            script["retriever"],
            30 + 150 * next(uniforms),
            input=question,
            documents=documents,
        )
    if first or draw > 0.8:
        tool, arguments, result, errors, recovers = _plan_call(plan, failing, facts, uniforms)
        add_model(asked, "", tool_call=tool, arguments=arguments)
        for _ in errors:
            add("tool", tool, 2000 + 4000 * next(uniforms), arguments=arguments, error=errors[0])
        if recovers:
            add("tool", tool, 60 + 500 * next(uniforms), arguments=arguments, output=result)
        asked = (*asked, {"role": "tool", "content": result if recovers else errors[0]})
    add_model(asked, answer)
    root = Step("agent", script["assistant"], started, moment - started, question, answer)
    return [root, *steps]


def _plan_call(
    plan: Mapping[str, Any], failing: list[Mode], facts: Facts, uniforms: Uniforms
) -> tuple[str, dict[str, str], str, list[str], bool]:
    """Tool, arguments, result, the errors before it, and whether the result is reached at all."""
    tool, arguments, result = plan["tool"], dict(plan["arguments"]), plan["result"]
    errors, recovers = [], True
    if next(uniforms) < RETRY_SHARE:
        errors = ["HTTP 429: too many requests"]
    for mode in failing:
        tool, result = mode.tool or tool, mode.result or result
        arguments |= mode.arguments
        if mode.tool_error:
            errors, recovers = [mode.tool_error] * mode.tool_repeats, False
    filled = {name: value.format_map(facts) for name, value in arguments.items()}
    return tool, filled, result.format_map(facts), errors, recovers


def _retrieve(
    documents: list[dict[str, str]], failing: list[Mode], facts: Facts, uniforms: Uniforms
) -> tuple[dict[str, Any], ...]:
    wanted = [name for mode in failing for name in mode.documents]
    offset = int(next(uniforms) * len(documents))
    ranked = sorted(
        documents[offset:] + documents[:offset], key=lambda document: document["id"] not in wanted
    )
    return tuple(
        {
            "id": document["id"],
            "content": document["content"].format_map(facts),
            "score": round(0.93 - 0.11 * rank - 0.05 * next(uniforms), 3),
        }
        for rank, document in enumerate(ranked[:3])
    )


def _draw_facts(options: Mapping[str, list[str]], uniforms: Uniforms) -> dict[str, str]:
    facts = {name: _pick(values, uniforms) for name, values in options.items()}
    for name, value in facts.items():
        for _ in range(value.count("#")):
            value = value.replace("#", str(int(next(uniforms) * 10)), 1)
        facts[name] = value
    facts["email"] = f"{facts['first']}.{facts['last']}@example.com".lower()
    return facts


def _pick(options: list[str], uniforms: Uniforms) -> str:
    return options[int(next(uniforms) * len(options))]
