"""Three sessions of each failure, shortened and without personal data, to read beside its rate."""

import hashlib
from typing import NamedTuple

import polars as pl

from evalbench.evaluate.excerpt import find_stems
from evalbench.operate.windows import SESSION_KEY
from evalbench.pii.redact import redact_text
from evalbench.session import Session, Turn, read_sessions
from evalbench.session.turns import SPEAKERS
from evalbench.snapshot import Snapshot

SHOWN = 3
LONGEST = 280
"""Characters of a turn that an excerpt keeps."""


class Shown(NamedTuple):
    """One session: when it was and of which release, and ``(role, text)`` of the turns shown."""

    session_id: str
    about: str
    turns: tuple[tuple[str, str], ...]


class Example(NamedTuple):
    """What the page shows of one failure, under its anchor."""

    surface: str
    mode: str
    name: str
    anchor: str
    sessions: tuple[Shown, ...]


def choose_examples(view: Snapshot, failures: pl.DataFrame) -> tuple[Example, ...]:
    """Choose of each failure the newest sessions of the quarter that people failed for it."""
    failing = (
        view.truth.filter("fails")
        .join(view.frame.select(*SESSION_KEY, "started_at"), on=SESSION_KEY)
        .sort("started_at", "session_id", descending=True, nulls_last=True)
        .group_by("surface", "mode", maintain_order=True)
        .agg(pl.col("session_id").head(SHOWN))
    )
    wanted = failures.join(failing, on=["surface", "mode"], maintain_order="left")
    read: dict[tuple[str, str], Session] = {}
    for (surface,), own in wanted.group_by("surface", maintain_order=True):
        ids = own["session_id"].explode().unique(maintain_order=True).to_list()
        found = read_sessions(view.ws.lake, str(surface), ids, versions=view.lake_versions)
        read |= {(each.surface, each.session_id): each for each in found}
    words = {key: f"{mode.name} {mode.definition}" for key, mode in view.codebook.modes.items()}
    examples = []
    for row in wanted.iter_rows(named=True):
        key = row["surface"], row["mode"]
        stems = find_stems(words.get(key, row["name"]))
        sessions = (read.get((row["surface"], name)) for name in row["session_id"])
        shown = tuple(_shorten(each, stems, view.ws.secret) for each in sessions if each)
        anchor = "examples-" + hashlib.sha256("\0".join(key).encode()).hexdigest()[:8]
        if shown:
            examples.append(Example(*key, row["name"], anchor, shown))
    return tuple(examples)


def _shorten(session: Session, stems: set[str], secret: str) -> Shown:
    """Show the answer that shares most words with the failure's name, and the turn before it."""
    answers = [turn for turn in session.turns if turn.role in SPEAKERS and turn.text.strip()]
    turns: list[Turn] = []
    if answers:
        chosen = max(answers, key=lambda turn: (len(stems & find_stems(turn.text)), turn.number))
        asked = [t for t in session.turns if t.role == "user" and t.number < chosen.number]
        turns = [*asked[-1:], chosen]
    texts = [
        (turn.role, redact_text(turn.text, session.session_id, secret=secret)) for turn in turns
    ]
    moment, release = session.row.get("started_at"), session.row.get("release")
    when = f"{moment.day} {moment:%B %Y}" if moment else "no date"
    about = when + (f", release {release}" if release else "")
    return Shown(session.session_id, about, tuple((role, _cut(text)) for role, text in texts))


def _cut(text: str) -> str:
    """Cut a long text at a word, and say how much is left out."""
    line = " ".join(text.split())
    if len(line) <= LONGEST:
        return line
    kept = line[:LONGEST].rsplit(" ", 1)[0]
    return f"{kept} … [{len(line) - len(kept):,} characters left out]"
