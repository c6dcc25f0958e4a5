"""The one view of a session: what desk, browser, judge, check, classifier and clustering read.

``messages`` reads what a span says, ``history`` puts it where it happened, ``turns`` comes out.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

import polars as pl

from evalbench.errors import StoreError
from evalbench.schema import SESSION
from evalbench.session.history import History
from evalbench.session.messages import Message
from evalbench.session.spans import COLUMNS, order_spans
from evalbench.session.threads import Node, Step
from evalbench.session.turns import Call as Call
from evalbench.session.turns import Document as Document
from evalbench.session.turns import Session as Session
from evalbench.session.turns import Turn as Turn
from evalbench.store.lake import Lake
from evalbench.store.workspace import Workspace

# Part of every judge's version: a judge that read sessions otherwise was calibrated otherwise.
VIEW_VERSION = 1
BATCH = 512  # sessions whose spans are read at once


def read_session(ws: Workspace, surface: str, session_id: str) -> Session:
    """Read one session; StoreError where the lake has none such."""
    for session in read_sessions(ws.lake, surface, [session_id]):
        return session
    raise StoreError(f"the lake has no session {session_id!r} of {surface!r}")


def read_sessions(
    lake: Lake, surface: str, ids: Sequence[str], *, versions: Mapping[str, int] | None = None
) -> Iterator[Session]:
    """Read sessions in the order of ``ids``, at pinned ``versions``, but for those not there."""
    pins = versions or {}

    def load(wanted: Sequence[str]) -> list[Session]:
        chosen = pl.col("session_id").is_in(list(wanted))
        stored = lake.sessions(surface=surface, version=pins.get("session")).filter(chosen)
        logged = lake.spans(surface=surface, version=pins.get("span")).filter(chosen)
        sessions, spans = pl.collect_all([stored, logged.select("session_id", *COLUMNS)])
        known = {row["session_id"]: row for row in sessions.iter_rows(named=True)}
        of_session: dict[str, list[dict[str, Any]]] = {}
        for span in spans.iter_rows(named=True):
            of_session.setdefault(span["session_id"], []).append(span)
        held = (key for key in wanted if key in known and key in of_session)
        return [make_session(surface, key, of_session[key], known[key]) for key in held]

    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    with ThreadPoolExecutor(1) as ahead:  # the next batch is read while this one is worked on
        coming = [ahead.submit(load, batch) for batch in batches[:1]]
        for following in [*batches[1:], None]:
            loaded = coming.pop().result() if coming else []
            if following is not None:
                coming.append(ahead.submit(load, following))
            yield from loaded


def make_session(
    surface: str,
    session_id: str,
    spans: pl.DataFrame | Sequence[Mapping[str, Any]],
    row: Mapping[str, Any] | None = None,
) -> Session:
    """Make the view of a session of its spans; ``row`` is that of the session table."""
    if isinstance(spans, pl.DataFrame):
        spans = spans.select(COLUMNS).to_dicts()
    rows = [{name: each.get(name) for name in COLUMNS} for each in spans]
    history = History(order_spans(rows))
    history.settle()
    nodes = _list_nodes(history)
    _place_orphans(history, nodes)
    session = _make(surface, session_id, history, nodes)
    facts = dict(row) if row else {name: getattr(session, name) for name in OUTLINE}
    session.row.update({name: facts.get(name) for name in SESSION} | facts)
    return session


OUTLINE = ("first_input", "final_output", "n_turns")


def outline(rows: Sequence[Mapping[str, Any]]) -> tuple[str | None, str | None, int]:
    """Return ``first_input``, ``final_output`` and ``n_turns`` of one session's whole spans."""
    history = History(order_spans(rows))
    # What tools did behind a turn changes none of its words.
    threads, line = _name_threads(history)
    said = tuple(
        _Said(node.message.role, node.message.text, threads.get(id(node), ""))
        for node in _list_nodes(history)
    )
    session = Session("", "", {}, cast("tuple[Turn, ...]", said), line=line)
    return session.first_input, session.final_output, session.n_turns


class _Said(NamedTuple):
    """What of a turn says who said what."""

    role: str
    text: str
    thread: str


def _list_nodes(history: History) -> list[Node]:
    """List the turns that are shown, in order."""
    nodes = [node for thread in history.threads for node in thread.nodes if not node.ghost]
    nodes.sort(key=lambda node: node.order)
    return nodes


def _make(surface: str, session_id: str, history: History, nodes: Sequence[Node]) -> Session:
    numbers = {id(node): number for number, node in enumerate(nodes, 1)}
    threads, line = _name_threads(history)
    turns = tuple(_make_turn(node, numbers, threads.get(id(node), "")) for node in nodes)
    return Session(surface, session_id, {}, turns, tuple(history.gaps), line)


def _place_orphans(history: History, nodes: list[Node]) -> None:
    """Put steps that no message asked for behind the turn, or the question, before them."""
    questions: dict[str, Node] = {}
    answered: set[str] = set()
    for node in nodes:
        trace = node.span.trace_id
        if node.message.role in ("assistant", "other"):
            answered.add(trace)
        elif trace not in answered:
            questions[trace] = node
    for step in sorted(history.orphans, key=lambda step: step.order):
        before = [node for node in nodes if node.order < step.order]
        trace = [node for node in before if node.span.trace_id == step.span.trace_id]
        own = [node for node in trace if node.span.agent == step.span.agent] or trace
        question = questions.get(step.span.trace_id)
        if not (places := own or ([question] if question else before)):
            nobody = Message("other", "", "")
            places = [Node(step.order, nobody, step.span)]
            nodes.insert(0, places[0])
        places[-1].steps.append(step)


def _name_threads(history: History) -> tuple[dict[int, str], frozenset[str]]:
    """Name the thread of each node, "" the first that no other encloses; and those none does."""
    spoken = [[n.order for n in thread.nodes if not n.ghost] for thread in history.threads]
    enclosed = [
        any(other and own and other[0] < own[0] and own[-1] < other[-1] for other in spoken)
        for own in spoken
    ]
    main = next((n for n, inside in enumerate(enclosed) if not inside), 0)
    names: list[str] = []
    for number, thread in enumerate(history.threads):
        name = thread.agent or thread.origin or "thread"
        while name in names:
            name = f"{name.rstrip('0123456789 ')} {number + 1}"
        names.append("" if number == main else name)
    line = frozenset(name for name, inside in zip(names, enclosed, strict=True) if not inside)
    named = zip(names, history.threads, strict=True)
    return {id(node): name for name, thread in named for node in thread.nodes}, line


def _make_turn(node: Node, numbers: Mapping[int, int], thread: str) -> Turn:
    message, span = node.message, node.span
    rewritten = "rewritten history" if node.rewritten else ""
    if node.cut_before:
        rewritten = f"given a history without turns up to {numbers[id(node.cut_before)]}"
    speaker = span.agent if message.role == "assistant" else ""
    said = message.role, message.name or speaker, thread, message.text, message.reasoning
    documents = tuple(document for step in node.steps for document in step.documents)
    origin = node.error, span.span_id, span.row["started_at"], rewritten, node.receiver
    return Turn(numbers[id(node)], *said, tuple(map(_make_call, node.steps)), documents, *origin)


def _make_call(step: Step) -> Call:
    result, *others = step.results or [""]
    told = "".join(f"\n[the model was later given:] {other}" for other in others)
    given = step.arguments, result + told, step.error, step.call_id, step.span.span_id, step.kind
    return Call(step.name, *given)
