"""One row a session, with every signal somebody recorded, from the spans of its traces.

The same narwhals expressions run on a Polars ``LazyFrame``, DuckDB and PySpark. Each group of
columns is an aggregation of its own: a streaming engine never holds the text of all spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import narwhals as nw
import polars as pl

from evalbench.observe.parallel import map_parallel
from evalbench.schema import SESSION, SIGNALS
from evalbench.session import outline
from evalbench.session.spans import COLUMNS

KEY = ["surface", "session_id"]
ORDER = ("started_at", "span_id")
NAMES = ("user_key", "group_key", "release", "environment", "segments")
MEASURES = ("prompt_tokens", "completion_tokens", "cost_usd")
RAISED_BY_ANY = ("regenerated", "abandoned", "escalated", "refused", "reported")
LAST_RECORDED = ("outcome", "thumbs", "stars", "confidence")
MICROSECOND = timedelta(microseconds=1)
SPANS_AT_ONCE = 10_000  # spans of which whole sessions are outlined at a time
# Columns of the session table that its view gives, not a fold over spans.
VIEWED = ("first_input", "final_output", "n_turns")
TEXTS = tuple(
    "input output input_messages output_messages tool_arguments tool_result documents attributes"
    "".split()
)
OUTLINE = pl.Schema({name: SESSION[name] for name in (*KEY, *VIEWED, "n_spans")})
TYPES = nw.Schema.from_polars(SESSION)

TOOL = nw.col("kind") == "tool"
WRAPPER = nw.col("kind").is_in(["agent", "chain"])


def session_signals(spans: Any) -> Any:
    """Fold spans into sessions: columns of the session table but :data:`VIEWED`.

    What no span recorded is null, never false. Spans go by ``(started_at, span_id)``, without a
    time first; the frame that comes back is of the kind given.

    Names are the one recorded, of several the last in text order; ``group_key`` is the ``user_key``
    where none was mapped. ``ended_at`` is the last of start + latency, ``latency_p95_ms`` linear
    over all spans. ``n_retries`` are tool calls of a name and arguments that were called before.
    Tokens and cost are sums; ``agent`` and ``chain`` spans, which repeat what is inside, count only
    where nothing else recorded any. Of :data:`LAST_RECORDED` the last holds; of
    :data:`RAISED_BY_ANY` any that is true; ``schema_valid`` is true where all are.
    """
    frame = nw.from_native(spans)
    return _join([part(frame) for part in PARTS])


def fold_sessions(spans: pl.LazyFrame, outlines: Sequence[pl.DataFrame] = ()) -> pl.DataFrame:
    """Fold spans into rows of the session table: their signals, and the outline of what is said.

    Memory is bounded where the spans of a session lie together; ``outlines`` of
    :func:`outline_sessions` spare the reading of sessions that they know whole.
    """
    signals = collect_signals(spans)
    sizes = signals.select(*KEY, "n_spans")
    given = pl.concat([OUTLINE.to_frame(), *(each for each in outlines if len(each))])
    known = given.join(sizes, on=sizes.columns, how="semi")
    left = sizes.join(known, on=KEY, how="anti")
    if len(left) < len(sizes):
        # Not a join: this is asked while a file is read, so that no other text is unpacked.
        spans = spans.filter(pl.col("session_id").is_in(left["session_id"].implode()))
    made: Iterable[pl.DataFrame] = ()
    if 0 < left["n_spans"].sum() <= SPANS_AT_ONCE:
        made = [outline_sessions(spans.select(*KEY, *COLUMNS).collect(engine="streaming"))]
    elif len(left):
        made = map_parallel(outline_sessions, _gather_sessions(spans, left))
    told = pl.concat([known, *made]).drop("n_spans")
    return signals.join(told, on=KEY, how="left").select(SESSION.names())


def collect_signals(spans: pl.LazyFrame) -> pl.DataFrame:
    """Fold part by part with the streaming engine, of arguments and surfaces stand-ins."""
    arguments = pl.col("tool_arguments")
    hashed = pl.when(arguments.is_not_null()).then(arguments.hash())
    surface = pl.col("surface").cast(pl.Categorical)
    frame = nw.from_native(spans.with_columns(surface, tool_arguments=hashed))
    parts = [part(frame).to_native().collect(engine="streaming").lazy() for part in PARTS]
    return _join([nw.from_native(part) for part in parts]).collect()


def _gather_sessions(spans: pl.LazyFrame, sizes: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Give frames of whole sessions, each as soon as all of its spans have been seen."""
    wanted = spans.select(*KEY, *COLUMNS)
    held = wanted.collect_schema().to_frame()
    for batch in wanted.collect_batches(chunk_size=SPANS_AT_ONCE, engine="streaming"):
        held = pl.concat([held, batch])
        seen = held.group_by(KEY).agg(n_spans=pl.len().cast(pl.Int64))
        whole = seen.join(sizes, on=[*KEY, "n_spans"], how="semi")
        yield held.join(whole, on=KEY, how="semi")
        held = held.join(whole, on=KEY, how="anti")


def outline_sessions(spans: pl.DataFrame) -> pl.DataFrame:
    """Outline each session of some spans, columns of :data:`OUTLINE`; texts as in the lake."""
    plain = [name for name in (*KEY, *COLUMNS) if name not in TEXTS]
    texts = {name: spans[name] for name in TEXTS}
    of_session: dict[tuple[str, str], list[_Row]] = {}
    for place, values in enumerate(spans.select(plain).iter_rows()):
        row = _Row(zip(plain, values, strict=True))
        row.texts, row.place = texts, place
        of_session.setdefault(values[:2], []).append(row)
    rows = [(*key, *outline(each), len(each)) for key, each in of_session.items()]
    return pl.DataFrame(rows, schema=OUTLINE, orient="row")


class _Row(dict[str, Any]):
    """A span whose texts are unpacked when they are asked for: of most nobody asks."""

    __slots__ = ("place", "texts")
    texts: dict[str, pl.Series]
    place: int

    def __missing__(self, name: str) -> Any:
        value = self.texts[name].item(self.place)
        self[name] = value.to_list() if isinstance(value, pl.Series) else value
        return self[name]


def _join(parts: list[Any]) -> Any:
    *rest, sessions = parts
    for part in rest:
        sessions = sessions.join(part, on=KEY, how="left")
    sessions = sessions.with_columns(
        nw.col("n_retries").fill_null(0),
        *(nw.coalesce(name, f"wrapped_{name}").alias(name) for name in MEASURES),
        group_key=nw.coalesce("group_key", "user_key"),
    )
    return sessions.select(*(_typed(name) for name in SESSION if name not in VIEWED)).to_native()


def _facts(spans: Any) -> Any:
    latency = (nw.col("latency_ms") * 1000).round().cast(nw.Int64) * nw.lit(MICROSECOND)
    return spans.group_by(KEY).agg(
        nw.col(*NAMES).max(),
        nw.col("started_at").min(),
        *(_total(nw.when(~WRAPPER).then(name)).alias(name) for name in MEASURES),
        *(_total(nw.when(WRAPPER).then(name)).alias(f"wrapped_{name}") for name in MEASURES),
        ended_at=nw.coalesce(nw.col("started_at") + latency, "started_at").max(),
        n_spans=nw.len(),
        n_tool_calls=_count(TOOL),
        n_tool_errors=_count(TOOL & (nw.col("status") == "error")),
    )


def _recorded_signals(spans: Any) -> Any:
    is_recorded = {name: ~nw.col(name).is_null() for name in SIGNALS}
    recorded = spans.filter(nw.any_horizontal(*is_recorded.values(), ignore_nulls=False))
    to_go = {
        name: nw.col(name).cum_count(reverse=True).over(*KEY, order_by=ORDER)
        for name in LAST_RECORDED
    }
    return (
        recorded.with_columns(
            nw.when(left == 1).then(_number(name)).alias(name) for name, left in to_go.items()
        )
        .group_by(KEY)
        .agg(
            nw.col(*LAST_RECORDED).max(),
            *(_number(name).max() for name in RAISED_BY_ANY),
            _number("schema_valid").min(),
            edited_chars=_total(nw.col("edited_chars")),
        )
    )


def _number(name: str) -> Any:
    """Give a signal as a number: not every engine has a largest truth."""
    return nw.col(name).cast(nw.Int64) if TYPES[name] == nw.Boolean else nw.col(name)


def _latencies(spans: Any) -> Any:
    return spans.group_by(KEY).agg(latency_p95_ms=nw.col("latency_ms").quantile(0.95, "linear"))


def _retries(spans: Any) -> Any:
    call = [*KEY, "tool_name", "tool_arguments"]
    calls = spans.filter(TOOL).drop_nulls(call).group_by(call).agg(calls=nw.len())
    return calls.group_by(KEY).agg(n_retries=(nw.col("calls") - 1).sum())


# The heaviest first: what it takes, the others take again. The last has every session.
PARTS = (_retries, _latencies, _recorded_signals, _facts)


def _count(condition: Any) -> Any:
    return nw.when(condition).then(1).otherwise(0).sum()


def _total(values: Any) -> Any:
    return nw.when(values.count() > 0).then(values.sum())


def _typed(name: str) -> Any:
    dtype = TYPES[name]
    if dtype == nw.Boolean:
        return nw.col(name).cast(nw.Int64) == 1
    return nw.col(name) if dtype.is_temporal() else nw.col(name).cast(dtype)
