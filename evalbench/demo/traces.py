"""Traces of the simulated sessions as files, each surface in the format that its product logs."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from evalbench.demo.conversation import Step, write_conversation
from evalbench.demo.records import LoggedStep, to_langsmith, to_openinference, to_opentelemetry
from evalbench.demo.simulate import Simulated

UNIFORMS = 200
"""Draws that writing one session may take."""


class TraceFormat(NamedTuple):
    """A trace format, and the names of the product's own that must be mapped (as ``--map``)."""

    to_record: Callable[[LoggedStep], dict[str, Any]]
    suffix: str
    columns: Mapping[str, str] = {}


OWN_NAMES = (
    "release segments.tier segments.locale segments.intent cost_usd outcome thumbs edited_chars "
    "regenerated schema_valid confidence reported abandoned"
)
FORMATS = {
    "support_copilot": TraceFormat(to_openinference, ".openinference.jsonl.gz"),
    "code_reviewer": TraceFormat(
        to_opentelemetry,
        ".opentelemetry.jsonl",
        {name: f"attributes.app.{name.removeprefix('segments.')}" for name in OWN_NAMES.split()},
    ),
    "sales_research": TraceFormat(to_langsmith, ".langsmith.jsonl"),
}
"""Two of the surfaces use names that are known; the third one's own names are mapped."""


def write_traces(simulated: Simulated, path: Path, *, rng: np.random.Generator) -> None:
    """Write the traces of one surface, a span a line, sessions in order of time; ``.gz`` packs."""
    to_record = FORMATS[simulated.surface.surface].to_record
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as plain:
        # Neither a name nor a time goes into the header: the same seed gives the same bytes.
        packed = gzip.GzipFile("", "wb", 1, plain, mtime=0) if path.suffix == ".gz" else None
        for spans in _sessions(simulated, rng=rng):
            lines = (orjson.dumps(to_record(s), option=orjson.OPT_APPEND_NEWLINE) for s in spans)
            (packed or plain).write(b"".join(lines))
        if packed:
            packed.close()


def _sessions(simulated: Simulated, *, rng: np.random.Generator) -> Iterator[Iterator[LoggedStep]]:
    modes = {mode.mode: mode for mode in simulated.surface.modes}
    draws = rng.random((simulated.sessions.height, UNIFORMS), dtype=np.float32)
    starts = simulated.sessions["started_at"].dt.timestamp("us").to_list()
    rows = simulated.sessions.iter_rows(named=True)
    for row, started, uniforms in zip(rows, starts, draws, strict=True):
        turns = write_conversation(
            simulated.surface,
            row["intent"],
            [modes[mode] for mode in row["modes"]],
            started=started,
            uniforms=iter(uniforms.tolist()),
        )
        signals = {name: row[name] for name in simulated.surface.signals if row[name] is not None}
        yield _number_spans(row, turns, signals)


def _number_spans(
    row: dict[str, Any], turns: list[list[Step]], signals: dict[str, Any]
) -> Iterator[LoggedStep]:
    """Give each turn a trace; the last one's root carries what was recorded after the session."""
    numbers = count()
    for number, turn in enumerate(turns):
        root = None
        for step in turn:
            trace_id, span_id = (
                f"{row['session_id']}{number:016x}",
                f"{row['session_id'][:12]}{next(numbers):04x}",
            )
            recorded = signals if root is None and number == len(turns) - 1 else {}
            yield LoggedStep(row, step, trace_id, span_id, root, recorded)
            root = root or span_id
