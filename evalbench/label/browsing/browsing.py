"""One person among the sessions of a surface: what they ask for, and each one whole."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import polars as pl

from evalbench.errors import LabelError
from evalbench.label.agreement.consensus import latest_labels
from evalbench.label.annotation.alike import find_alike
from evalbench.label.annotation.answering import Answer, Desk
from evalbench.label.annotation.markdown import visible
from evalbench.label.annotation.queue import queue_picked
from evalbench.label.annotation.retraction import read_bodies
from evalbench.label.annotation.transcript import transcript
from evalbench.label.browsing.queries import contains, parse_query
from evalbench.label.codebook.acts import read_codebook
from evalbench.label.codebook.restate import restate
from evalbench.schema import SESSION
from evalbench.session import read_sessions
from evalbench.session.copies import find_copies
from evalbench.store.search import KEY, TEXT
from evalbench.store.tabular import write_frame
from evalbench.store.workspace import Workspace

ROWS = 50  # sessions of a list that are sent at a time
FEWEST_SHARED = 30  # values that a column may have and still be offered value by value
LEFT_OUT = ("surface", "user_key", "group_key", "final_output")
TOLD = "session_id release n_turns n_tool_errors people evaluators".split()
NOTHING = pl.DataFrame(schema=TEXT)
ALIKE = re.compile(r'(?:^|(?<=\s))alike:("[^"]+"|\S+)')
EXCERPT = 60  # characters that are shown before a word that was found


class Browsing(Desk):
    """What one person sees of a surface's sessions; words are sought in copies of texts."""

    ACTS = ("ask", "open", "draw", "export")

    def __init__(self, ws: Workspace, *, surface: str = "", query: str = "") -> None:
        self._ws, self.query = ws, query
        known = ws.lake.sessions().select(pl.col("surface").unique().sort()).collect()
        self.surfaces: list[str] = known["surface"].to_list()
        if surface and surface not in self.surfaces:
            raise LabelError(f"no sessions of {surface}; there are: {', '.join(self.surfaces)}")
        self.surface = surface or (self.surfaces[0] if self.surfaces else "")
        self._frames: dict[str, pl.DataFrame] = {}
        self._found = pl.DataFrame()

    def ask(self, *, surface: str, query: str, start: int = 0, sort: str = "started_at") -> Answer:
        """Find the sessions that a query asks for, the most of a column first, and show some.

        ``alike:s-17`` in a query asks for those most like a session, the most alike first.
        """
        frame = self._read(surface)
        whole = frame.height
        if like := ALIKE.search(query):
            near = find_alike(self._ws, surface, like[1].strip('"'), n=ROWS)
            frame, sort = frame.join(near, on="session_id"), "alike"
        asked = parse_query(ALIKE.sub("", query), frame.schema)
        self._found, searched, said = frame.filter(*asked.filters), whole, NOTHING
        if asked.words:
            copies, searched = find_copies(self._ws, surface, frame.select(list(KEY)))
            said = copies.filter(contains(pl.col("text"), asked.words)).collect()
            named = contains(pl.col("session_id"), asked.words)
            hit = pl.col("session_id").is_in(said["session_id"].implode())
            self._found = self._found.filter(hit | named)
        by = sort if sort in frame.columns else "started_at"
        self._found = self._found.sort(by, "session_id", descending=[True, False])
        shown = self._found.slice(start, ROWS)
        return {
            "tell": "listed",
            "surface": surface,
            "query": query,
            "start": start,
            "total": self._found.height,
            "of": whole,
            "searched": searched,
            "rows": _show(shown, said, asked.words),
            "facets": _facets(self._found) if not start else [],
        }

    def open(self, *, session_id: str) -> Answer:
        """Read a session whole."""
        held = read_sessions(self._ws.lake, self.surface, [session_id])
        session = next(held, None)
        if session is None:
            raise LabelError(f"the lake has no session {session_id} of {self.surface}")
        self._session = session
        return {"tell": "item", "item": transcript(session)}

    def draw(self, *, sessions: list[str] | None = None, query: str = "") -> Answer:
        """Make a queue of these sessions, else of all that were found; they count in no rate."""
        chosen = self._found
        if sessions:
            chosen = self._read(self.surface).filter(pl.col("session_id").is_in(sessions))
        return queue_picked(self._ws, self.surface, chosen["session_id"], reason=query)

    def export(self, *, form: str) -> Answer:
        """Write what was found, whole rows and texts, to a file: ``form`` is jsonl or parquet."""
        if form not in ("jsonl", "parquet"):
            raise LabelError(f"sessions are written as jsonl or parquet, not as {form!r}")
        ids = self._found["session_id"].to_list()
        rows = self._ws.lake.sessions(surface=self.surface).collect()
        of = self._ws.lake, self.surface, ids
        texts = [(each.session_id, each.text()) for each in read_sessions(*of)]
        said = pl.DataFrame(texts, {"session_id": pl.String, "text": pl.String}, orient="row")
        surface = re.sub(r"[^\w.-]+", "-", self.surface)
        name = f"{surface}-{len(ids)}-sessions-{datetime.now(UTC):%Y%m%d-%H%M%S}.{form}"
        path = self._ws.path / "exports" / name
        write_frame(
            path, said.join(rows, on="session_id", maintain_order="left").select(*SESSION, "text")
        )
        return {"tell": "exported", "name": name, "path": str(path), "sessions": len(ids)}

    def _read(self, surface: str) -> pl.DataFrame:
        """Read the sessions of a surface once, with what people and evaluators said of them."""
        if surface not in self.surfaces:
            raise LabelError(f"there are no sessions of {surface}")
        self.surface = surface
        if surface not in self._frames:
            stored = self._ws.lake.sessions(surface=surface).drop(LEFT_OUT)
            rows = stored.with_columns(pl.col("first_input").str.slice(0, 300)).collect()
            segments = _unnest(rows["segments"])
            said = self._judge(surface)
            frame = rows.drop("segments").hstack(segments)
            self._frames = {surface: frame.join(said, on="session_id", how="left")}
            find_copies(self._ws, surface, frame.select(list(KEY)))  # those that lack are made
        return self._frames[surface]

    def _judge(self, surface: str) -> pl.DataFrame:
        """Return ``session_id``, ``people`` and ``evaluators``: who saw which failures, by name."""
        book = read_codebook(self._ws.ledger)
        given = read_bodies(self._ws.ledger, "label.set").filter(surface=surface)
        labels = latest_labels(restate(given, book))
        names = {mode.mode: mode.name for mode in book.modes.values()}
        failing = pl.col("modes").list.eval(pl.element().replace(names)).list.join(", ")
        told = pl.when(failing != "").then(failing).otherwise("verdict")
        people = labels.group_by("session_id").agg(people=told.unique().sort().str.join("; "))
        verdicts = self._ws.lake.verdicts(surface=surface).filter("fails")
        flagged = verdicts.select("session_id", pl.col("mode").replace(names)).collect()
        seen = pl.col("mode").replace("", "fail").unique().sort().str.join(", ")
        evaluators = flagged.group_by("session_id").agg(evaluators=seen)
        return people.join(evaluators, on="session_id", how="full", coalesce=True)


def _show(rows: pl.DataFrame, said: pl.DataFrame, words: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return what a list shows of sessions: where a word was found, else how they began."""
    own = said.join(rows, on="session_id", how="semi")
    passages = dict(own.select("session_id", "text").rows())
    shown, told_of = [], [each for each in (*TOLD, "alike") if each in rows.columns]
    for row in rows.iter_rows(named=True):
        text = _excerpt(passages.get(row["session_id"], ""), words) or row["first_input"] or ""
        started = f"{row['started_at']:%Y-%m-%d %H:%M}" if row["started_at"] else ""
        told = {"started": started, "text": visible(text), "name": visible(row["session_id"])}
        shown.append({each: row[each] for each in told_of} | told)
    return shown


def _unnest(segments: pl.Series) -> pl.DataFrame:
    """Make a column of text of each segment; of names that a session has itself, none."""
    rows = [json.loads(text or "{}") for text in segments]
    names = sorted({name for row in rows for name in row} - set(SESSION))
    return pl.DataFrame(
        {
            name: [None if (v := row.get(name)) is None else str(v) for row in rows]
            for name in names
        },
        schema=dict.fromkeys(names, pl.String),
    )


def _excerpt(text: str, words: tuple[str, ...]) -> str:
    at = text.lower().find(words[0].lower()) if words else -1
    if at < 0:
        return ""
    return ("\u2026" if at > EXCERPT else "") + text[max(0, at - EXCERPT) : at + 240]


def _facets(found: pl.DataFrame) -> list[dict[str, Any]]:
    """Say what the columns of these sessions hold: counts of few values, else least and most."""
    facets: list[dict[str, Any]] = []
    for name, dtype in found.schema.items():
        values = found[name].drop_nulls()
        if values.is_empty() or name in ("session_id", "first_input", "alike"):
            continue
        if dtype.is_numeric() or dtype.is_temporal():
            bounds = values.min(), values.max()
            facets.append({"name": name, "bounds": [_write(each) for each in bounds]})
            continue
        part = name in ("people", "evaluators")  # several names in one text
        if part:
            names = values.str.replace_all("; ", ", ", literal=True).str.split(", ")
            values = names.list.unique().explode()
        if (counts := values.value_counts(sort=True)).height <= FEWEST_SHARED:
            rows = [(_write(value), n) for value, n in counts.head(8).rows()]
            if missing := found[name].null_count():
                rows.append(("none", missing))
            facets.append({"name": name, "values": rows, "part": part})
    return facets


def _write(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return visible(value) if isinstance(value, str) else f"{value:.4g}"
