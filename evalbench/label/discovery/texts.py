"""What there is to read of a surface, in clusters: its notes, or sessions before there are any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.label.annotation.markdown import escape_text
from evalbench.label.annotation.transcript import SIGNALS
from evalbench.label.discovery.clustering import (
    FEWEST,
    STABLE,
    SURE,
    Clusters,
    cluster,
    fold_text,
    lay_out,
)
from evalbench.label.discovery.naming import Proposal, propose_all
from evalbench.label.discovery.vectors import embed_texts
from evalbench.schema import columns
from evalbench.session import Session, read_sessions

if TYPE_CHECKING:
    from evalbench.store.workspace import Workspace

Of = Literal["notes", "inputs", "outputs", "tools"]
LONG = 2000
"""Characters of a text that its cluster is chosen by."""
CALLS = 40
"""Tool calls of a session that its pattern is made of."""
ANY = "any signal"
READ_MORE = "Read more sessions and note what fails: `evalbench annotate`."
BRING_MORE = "Bring in more sessions: `evalbench ingest`."

TEXTS = columns((pl.Int64, "seq"), (pl.String, "session_id text"))
SUMMARY = columns(
    (pl.Int64, "cluster n n_unsure n_sessions"),
    (pl.String, "name"),
    (pl.Float64, "stability"),
    (pl.Boolean, "stable"),
    (pl.String, "examples named_by why"),
)
PLACED = columns(
    (pl.String, "session_id text"),
    (pl.Int64, "cluster"),
    (pl.String, "name"),
    (pl.Float64, "confidence"),
    (pl.Boolean, "sure"),
    (pl.Float64, "x y"),
)
RATES = columns(
    (pl.Int64, "cluster"),
    (pl.String, "signal"),
    (pl.Int64, "n raised"),
    (pl.Float64, "rate rate_low rate_high"),
)


@dataclass(frozen=True)
class Discovery:
    """Texts of one surface in clusters, with names that nobody has taken yet.

    ``texts`` are ``seq`` (of the note; null for a session), ``session_id`` and ``text``; there are
    no ``clusters`` where too few of them differ: ``reason`` then says what to do. ``position`` is
    where ``lay_out`` places each text; ``seed`` and ``ledger_seq`` are what all of it can be made
    from again.
    """

    surface: str
    of: Of
    texts: pl.DataFrame
    clusters: Clusters | None
    position: np.ndarray
    proposals: tuple[Proposal, ...]
    reason: str
    seed: int
    ledger_seq: int

    @property
    def summary(self) -> pl.DataFrame:
        """Return one row a cluster: size, stability, examples, its name and who gave it."""
        if self.clusters is None:
            return pl.DataFrame(schema=SUMMARY)
        proposed, stability = self.proposals, self.clusters.stability
        named = {
            "cluster": range(len(proposed)),
            "name": [each.name for each in proposed],
            "stability": stability,
            "stable": stability >= STABLE,
            "examples": [" / ".join(q[:120] for q in each.quotes[:2]) for each in proposed],
            "named_by": [each.source for each in proposed],
            "why": [each.why for each in proposed],
        }
        counted = self.placed.group_by("cluster").agg(
            n=pl.len(),
            n_unsure=pl.col("sure").not_().sum(),
            n_sessions=pl.col("session_id").n_unique(),
        )
        return pl.DataFrame(named).join(counted, on="cluster").select(*SUMMARY).cast(SUMMARY)

    @property
    def placed(self) -> pl.DataFrame:
        """Return one row a text: its cluster, how sure that is, and where it lies on the map."""
        if self.clusters is None:
            return pl.DataFrame(schema=PLACED)
        assignment, confidence = self.clusters.assignment, self.clusters.confidence
        placed = self.texts.with_columns(
            cluster=pl.Series(assignment),
            name=pl.Series([self.proposals[one].name for one in assignment]),
            confidence=pl.Series(confidence),
            sure=pl.Series(confidence >= SURE),
            x=pl.Series(self.position[:, 0]),
            y=pl.Series(self.position[:, 1]),
        )
        return placed.select(*PLACED).cast(PLACED)


def discover(
    ws: Workspace,
    surface: str,
    *,
    of: Of = "notes",
    embeddings: str = "",
    model: str = "",
    seed: int,
    lake_versions: Mapping[str, int] | None = None,
    ledger_seq: int | None = None,
) -> Discovery:
    """Cluster the notes of a surface, or its sessions by what they hold.

    ``of`` is notes, or sessions by their first input, final output or the tools they called in
    order. ``embeddings`` is a model as ``embed_texts`` takes it, by default that of the settings;
    ``model`` proposes names, by default words of the texts do. ``lake_versions`` and ``ledger_seq``
    pin what counts. ValueError where ``of`` is none of the four, ModelError where the embedding
    model cannot be loaded or reached.
    """
    ledger_seq = ws.ledger.head() if ledger_seq is None else ledger_seq
    texts = read_texts(ws, surface, of=of, lake_versions=lake_versions, ledger_seq=ledger_seq)
    short = texts["text"].str.slice(0, LONG)
    n_different = len({fold_text(text) for text in short})
    if n_different < FEWEST:
        more = READ_MORE if of == "notes" else BRING_MORE
        reason = f"{n_different} different {of}: clusters take {FEWEST}. {more}"
        nothing = np.zeros((0, 2))
        return Discovery(surface, of, texts, None, nothing, (), reason, seed, ledger_seq)
    rng = np.random.default_rng(seed)
    distinct, members = np.unique(short.to_numpy(), return_inverse=True)
    embedding = embeddings or ws.settings.embeddings
    vectors = embed_texts(distinct.tolist(), model=embedding, rng=rng)[members]
    found = cluster(short.to_list(), vectors=vectors, rng=rng)
    position = lay_out(vectors, found.assignment)
    named = tuple(propose_all(short.to_list(), found, model=model))
    return Discovery(surface, of, texts, found, position, named, found.reason, seed, ledger_seq)


def read_texts(
    ws: Workspace,
    surface: str,
    *,
    of: Of,
    lake_versions: Mapping[str, int] | None = None,
    ledger_seq: int | None = None,
) -> pl.DataFrame:
    """Read what is to be clustered: ``seq, session_id, text``, in a set order, none empty."""
    if of not in get_args(Of):
        raise ValueError(f"of must be notes, inputs, outputs or tools; got {of!r}")
    if of == "notes":
        notes = ws.ledger.bodies("note.added", until=ledger_seq).filter(surface=surface)
        read = notes.with_columns(session_id=pl.coalesce("session_id", "subject"))
    else:
        pins = lake_versions or {}
        column = "final_output" if of == "outputs" else "first_input"
        sessions = ws.lake.sessions(surface=surface, version=pins.get("session"))
        read = sessions.select("session_id", seq=None, text=column).sort("session_id").collect()
    if of == "tools":
        opened = read_sessions(ws.lake, surface, read["session_id"].to_list(), versions=pins)
        rows = [(None, each.session_id, _name_calls(each)) for each in opened]
        read = pl.DataFrame(rows, TEXTS, orient="row")
    return read.select(*TEXTS).cast(TEXTS).filter(pl.col("text").str.strip_chars() != "")


def _name_calls(session: Session) -> str:
    calls = [call for call in session.calls if call.kind == "tool"][:CALLS]
    return ", ".join(f"{call.name} failed" if call.error else call.name for call in calls)


def signal_rates(
    sessions: pl.DataFrame, placed: pl.DataFrame, *, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Count in each cluster the sessions that a signal was raised in, of those it is recorded for.

    Takes the sessions of one surface, and ``session_id, cluster``; a session may lie in several.
    Returns :data:`RATES`; ``signal`` is a phrase or :data:`ANY`, and one that no session of a
    cluster records has no row.
    """
    raised = {phrase: pl.col(name) == value for name, value, phrase in SIGNALS}
    raised["Tool error"] = pl.col("n_tool_errors") > 0
    recorded = pl.any_horizontal(*(each.is_not_null() for each in raised.values()))
    seen = pl.any_horizontal(*(each.fill_null(False) for each in raised.values()))
    raised[ANY] = pl.when(recorded).then(seen)
    joined = placed.select("session_id", "cluster").unique().join(sessions, on="session_id")
    long = joined.select("cluster", **raised).unpivot(index="cluster", variable_name="signal")
    known = long.drop_nulls("value").sort("cluster", "signal")
    rows = []
    for (one, signal), part in known.group_by("cluster", "signal", maintain_order=True):
        rate = stats.proportion(part["value"].to_numpy(), level=level, rng=rng)
        counts = (part.height, part["value"].sum())
        rows.append((one, signal, *counts, rate.estimate, rate.low, rate.high))
    return pl.DataFrame(rows, schema=RATES, orient="row")


def rank_clusters(summary: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Order clusters by where a signal is surely most frequent; adds ``rate`` with its interval."""
    raised = rates.filter(signal=ANY).select("cluster", "rate", "rate_low", "rate_high")
    ranked = summary.join(raised, on="cluster", how="left")
    return ranked.sort("rate_low", "n", descending=True, nulls_last=True)


def headline(discovery: Discovery) -> str:
    """Say in Markdown what was found, and whether it can be trusted."""
    if discovery.clusters is None:
        return discovery.reason
    trust = (
        "**These clusters are weak: other draws of the texts give others. Read the texts one by "
        "one, and trust no cluster for its shape.**"
        if discovery.clusters.weak
        else f"They agree with those of other draws by {discovery.clusters.agreement:.2f} (ARI)."
    )
    about = f"{discovery.texts.height:,} {discovery.of} of {escape_text(discovery.surface)}"
    return f"{about}: {discovery.reason}. {trust}"
