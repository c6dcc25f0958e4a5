"""What is said and done in one simulated session, in no trace format yet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from evalbench.demo.company import Mode, Surface

TURN_SHARES = (0.25, 0.7)  # chance of one turn, and of at most two; the rest have three
# Chance that a tool call fails once and the same call then succeeds: no failure of the product.
RETRY_SHARE = 0.06
CHARACTERS_PER_TOKEN = 4
MILLISECOND = 1000

Uniforms = Iterator[float]
# What a session is about: the values of the placeholders in its sentences, by name.
Facts = Mapping[str, str]
Message = dict[str, str]


class Step(NamedTuple):
    """One span. Times are in microseconds; ``arguments`` and ``tool_call`` are of a tool."""

    kind: str
    name: str
    started: int
    duration: int
    input: str = ""
    output: str = ""
    messages: tuple[Message, ...] = ()
    provider: str = ""
    tool_call: str | None = None
    arguments: Mapping[str, str] = {}
    documents: tuple[dict[str, Any], ...] = ()
    error: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


def write_conversation(
    surface: Surface,
    intent: str,
    modes: list[Mode],
    *,
    facts: Facts,
    started: int,
    uniforms: Uniforms,
) -> list[list[Step]]:
    """Write one session in which these modes fail, as steps by turn, the first of which spans it.

    A mode of tool or documents shows in the first turn, another in one that is drawn. ``started``
    is in microseconds since the epoch; up to 150 of ``uniforms`` are taken.
    """
    script = surface.script
    plan = next(each for each in script["intents"] if each["name"] == intent)
    draw = next(uniforms)
    turns = min(1 + sum(draw >= share for share in TURN_SHARES), 1 + len(plan["follows"]))
    rotation = int(next(uniforms) * len(plan["follows"]))
    shown: list[list[Mode]] = [[] for _ in range(turns)]
    for mode in modes:
        in_first = mode.tool or mode.arguments or mode.result or mode.tool_error or mode.documents
        shown[0 if in_first else int(next(uniforms) * turns)].append(mode)

    opening: Message = {"role": "system", "content": script["system"]}
    writer = _Writer(script, plan, facts, uniforms, started, (opening,))
    written = []
    for number, failing in enumerate(shown):
        if number == 0:
            question, answer = _pick(plan["opens"], uniforms), _pick(plan["answers"], uniforms)
        else:
            question, answer = plan["follows"][(rotation + number) % len(plan["follows"])]
        asks = [mode.asks for mode in failing if mode.asks]
        question = " ".join([question, *asks] if number == 0 else asks or [question])
        if failing:
            answer = " ".join(_pick(mode.says, uniforms) for mode in failing)
        question, answer = question.format_map(facts), answer.format_map(facts)
        written.append(writer.write_turn(question, answer, failing, first=number == 0))
        writer.moment += int((8 + 90 * next(uniforms)) * 1000 * MILLISECOND)
    return written


@dataclass
class _Writer:
    """Writes the turns of one session as its time goes on."""

    script: Mapping[str, Any]
    plan: Mapping[str, Any]
    facts: Facts
    uniforms: Uniforms
    moment: int
    history: tuple[Message, ...]

    def write_turn(
        self, question: str, answer: str, failing: list[Mode], *, first: bool
    ) -> list[Step]:
        started = self.moment
        self.moment += 2 * MILLISECOND
        self.history += ({"role": "user", "content": question},)
        context, steps = self.history, []
        draw = next(self.uniforms)
        if first or draw < 0.3:
            content = {"input": question, "documents": self.retrieve(failing)}
            took = 30 + 150 * next(self.uniforms)
            steps.append(self.step("retriever", self.script["retriever"], took, **content))
        if first or draw > 0.8:
            steps += self.call_tool(context, failing)
            context += ({"role": "tool", "content": steps[-1].error or steps[-1].output},)
        steps.append(self.ask_model(context, answer))
        self.history += ({"role": "assistant", "content": answer},)
        name, took = self.script["assistant"], self.moment - started
        return [Step("agent", name, started, took, question, answer), *steps]

    def step(self, kind: str, name: str, milliseconds: float, **content: Any) -> Step:
        step = Step(kind, name, self.moment, int(milliseconds * MILLISECOND), **content)
        self.moment += step.duration + MILLISECOND
        return step

    def ask_model(self, messages: tuple[Message, ...], output: str, **content: Any) -> Step:
        model = self.script["model"]
        prompt = sum(len(each["content"]) for each in messages) // CHARACTERS_PER_TOKEN
        completion = len(output or str(content)) // CHARACTERS_PER_TOKEN + 4
        cost = (
            prompt * model["usd_per_million_input"] + completion * model["usd_per_million_output"]
        )
        content |= {"provider": model["provider"], "messages": messages, "output": output}
        content |= {"prompt_tokens": prompt, "completion_tokens": completion}
        took = (350 + 14 * completion) * (0.7 + 0.6 * next(self.uniforms))
        return self.step("llm", model["name"], took, cost_usd=round(cost / 1e6, 8), **content)

    def call_tool(self, context: tuple[Message, ...], failing: list[Mode]) -> list[Step]:
        """Let the model call the tool, and the tool answer, after errors or with errors alone."""
        tool, arguments = self.plan["tool"], dict(self.plan["arguments"])
        result, recovers = self.plan["result"], True
        errors = ["HTTP 429: too many requests"] if next(self.uniforms) < RETRY_SHARE else []
        for mode in failing:
            tool, result = mode.tool or tool, mode.result or result
            arguments |= mode.arguments
            if mode.tool_error:
                errors, recovers = [mode.tool_error] * mode.tool_repeats, False
        given = {name: value.format_map(self.facts) for name, value in arguments.items()}
        steps = [self.ask_model(context, "", tool_call=tool, arguments=given)]
        for error in errors:
            took = 2000 + 4000 * next(self.uniforms)
            steps.append(self.step("tool", tool, took, arguments=given, error=error))
        if recovers:
            took, output = 60 + 500 * next(self.uniforms), result.format_map(self.facts)
            steps.append(self.step("tool", tool, took, arguments=given, output=output))
        return steps

    def retrieve(self, failing: list[Mode]) -> tuple[dict[str, Any], ...]:
        """Rank documents at random, those that a failure shows first."""
        wanted = [name for mode in failing for name in mode.documents]
        documents = self.script["documents"]
        offset = int(next(self.uniforms) * len(documents))
        ranked = sorted(
            documents[offset:] + documents[:offset], key=lambda each: each["id"] not in wanted
        )
        return tuple(
            {
                "id": document["id"],
                "content": document["content"].format_map(self.facts),
                "score": round(0.93 - 0.11 * rank - 0.05 * next(self.uniforms), 3),
            }
            for rank, document in enumerate(ranked[:3])
        )


def draw_facts(surface: Surface, uniforms: Uniforms) -> Facts:
    """Draw what one session is about; it takes up to 50 of ``uniforms``."""
    options = surface.script["facts"]
    facts = {name: _pick(values, uniforms) for name, values in options.items()}
    for name, value in facts.items():
        for _ in range(value.count("#")):
            value = value.replace("#", str(int(next(uniforms) * 10)), 1)
        facts[name] = value
    facts["email"] = f"{facts['first']}.{facts['last']}@example.com".lower()
    return facts


def _pick(options: list[str], uniforms: Uniforms) -> str:
    return options[int(next(uniforms) * len(options))]
