"""Evaluators that need no model, over sessions on Spark's executors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from evalbench.evaluate.finding import Finding
from evalbench.evaluate.spec import Specification
from evalbench.session import Session, make_session
from evalbench.session.spans import COLUMNS
from evalbench.store.engines import scan_with_spark, start_spark
from evalbench.store.lake import Lake

if TYPE_CHECKING:
    import pyarrow as pa

# A way to judge sessions that needs no model.
Look = Callable[[Sequence[Session]], list[Finding]]
FOUND = {
    "place": "int64",
    **dict.fromkeys(("session_id", "rationale", "evidence", "error"), "string"),
    "fails": "bool",
    **dict.fromkeys(("score", "latency_ms"), "double"),
}


class Spread(NamedTuple):
    """What one evaluator of several, by its ``place``, found in a session."""

    place: int
    session_id: str
    finding: Finding
    latency_ms: float


def look_with_spark(
    lake: Lake,
    surface: str,
    session_ids: Sequence[str],
    specifications: Sequence[Specification],
    prepare: Callable[[Specification], Look],
) -> Iterator[Spread]:
    """Give what each evaluator finds in each session that the lake has, in no order."""
    import pyarrow as pa
    from pyspark.sql import functions
    from pyspark.sql.pandas.types import from_arrow_schema

    named = start_spark().createDataFrame(pa.table({"session_id": list(session_ids)}))
    stored = scan_with_spark(lake, "session", surface=surface).join(named, "session_id", "semi")
    rows = stored.select("session_id", functions.struct(*stored.columns).alias("row"))
    spans = scan_with_spark(lake, "span", surface=surface).select("session_id", *COLUMNS)
    whole = spans.join(rows, "session_id").repartition("session_id")
    schema = from_arrow_schema(pa.schema(FOUND.items()))
    look = partial(_look, surface=surface, specifications=specifications, prepare=prepare)
    found = whole.sortWithinPartitions("session_id").mapInArrow(look, schema)
    for row in found.toLocalIterator():
        about = {name: row[name] for name in ("fails", "score", "rationale", "error")}
        finding = Finding(**about, evidence=json.loads(row["evidence"]))
        yield Spread(row["place"], row["session_id"], finding, row["latency_ms"])


def _look(
    batches: Iterable[pa.RecordBatch],
    *,
    surface: str,
    specifications: Sequence[Specification],
    prepare: Callable[[Specification], Look],
) -> Iterator[pa.RecordBatch]:
    """Judge the sessions of one partition, whose spans lie together."""
    import pyarrow as pa

    schema = pa.schema(FOUND.items())
    looks = [prepare(each) for each in specifications]
    for spans in _gather(batches):
        sessions = [
            make_session(surface, str(name), part.drop("row"), part["row"][0])
            for (name,), part in spans.group_by("session_id", maintain_order=True)
        ]
        rows: list[Mapping[str, Any]] = []
        for place, look in enumerate(looks):
            start = time.perf_counter()
            findings = look(sessions)
            each_ms = (time.perf_counter() - start) * 1e3 / max(len(sessions), 1)
            for session, finding in zip(sessions, findings, strict=True):
                told = {"place": place, "session_id": session.session_id, "latency_ms": each_ms}
                evidence = json.dumps([dict(each) for each in finding.evidence])
                rows.append({**vars(finding), **told, "evidence": evidence})
        yield pa.RecordBatch.from_pylist(rows, schema=schema)


def _gather(batches: Iterable[pa.RecordBatch]) -> Iterator[pl.DataFrame]:
    """Give frames of whole sessions: the last of a batch may go on in the next."""
    held = pl.DataFrame()
    for batch in batches:
        held = pl.concat([held, pl.DataFrame(batch)]) if len(held) else pl.DataFrame(batch)
        going_on = held["session_id"] == held["session_id"][-1]
        yield held.filter(~going_on)
        held = held.filter(going_on)
    if len(held):
        yield held
