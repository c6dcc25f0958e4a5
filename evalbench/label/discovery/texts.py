"""The notes of a surface in clusters, and where in them signals are raised."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from evalbench import stats
from evalbench.label.annotation import retraction
from evalbench.label.annotation.markdown import escape_text
from evalbench.label.annotation.transcript import SIGNALS
from evalbench.label.discovery import clustering
from evalbench.label.discovery.clustering import Clusters
from evalbench.label.discovery.induction import LOST, Induced, count_calls, induce
from evalbench.label.discovery.naming import Proposal, propose_all
from evalbench.label.discovery.suggestions import measure_similarity
from evalbench.label.discovery.vectors import FEW, OFFLINE, embed_texts, unfold
from evalbench.schema import columns
from evalbench.store.ledger import Ledger
from evalbench.store.workspace import Workspace

LONG = 2000  # characters of a text that its cluster is chosen by
ANY = "any signal"

NOTES = columns((pl.Int64, "seq"), (pl.String, "session_id text"))
NAMED = columns((pl.Int64, "cluster"), (pl.String, "name examples named_by why"))
RATES = columns(
    (pl.Int64, "cluster"),
    (pl.String, "signal"),
    (pl.Int64, "n raised"),
    (pl.Float64, "rate rate_low rate_high"),
)


@dataclass(frozen=True)
class Discovery:
    """Notes of one surface in clusters, with names that nobody has taken yet.

    ``texts`` are ``seq, session_id, text`` and ``labelled``, the only mode that the note's writer
    gave its session, none where too few differ; ``position`` is on the map; ``induced`` is what a
    model made of them.
    """

    surface: str
    texts: pl.DataFrame
    clusters: Clusters
    position: np.ndarray
    proposals: tuple[Proposal, ...]
    seed: int
    ledger_seq: int
    induced: Induced | None = None

    @property
    def summary(self) -> pl.DataFrame:
        """Return one row a cluster: size, stability, examples, its name and who gave it."""
        stability = self.clusters.stability
        rows = [
            (one, each.name, " / ".join(q[:120] for q in each.quotes[:2]), each.source, each.why)
            for one, each in enumerate(self.proposals)
        ]
        named = pl.DataFrame(rows, schema=NAMED, orient="row")
        named = named.with_columns(stability=stability, stable=stability >= clustering.STABLE)
        counted = self.placed.group_by("cluster").agg(
            n=pl.len().cast(pl.Int64),
            n_unsure=pl.col("sure").not_().sum().cast(pl.Int64),
            n_sessions=pl.col("session_id").n_unique().cast(pl.Int64),
        )
        return named.join(counted, on="cluster", maintain_order="left")

    @property
    def placed(self) -> pl.DataFrame:
        """Return one row a text: its cluster, how sure that is, and where it lies on the map."""
        assignment, confidence = self.clusters.assignment, self.clusters.confidence
        names = np.array([each.name for each in self.proposals], dtype=object)
        return self.texts.drop("seq", "labelled").with_columns(
            cluster=assignment.astype(np.int64),
            name=pl.Series(names[assignment], dtype=pl.String),
            confidence=confidence,
            sure=confidence >= clustering.SURE,
            x=self.position[:, 0].astype(float),
            y=self.position[:, 1].astype(float),
        )


def discover(
    ws: Workspace,
    surface: str,
    *,
    embeddings: str = "",
    model: str = "",
    calls: int = 100,
    seed: int,
    ledger_seq: int,
) -> Discovery:
    """Cluster the notes of a surface that were written up to event ``ledger_seq``.

    ``embeddings`` is by default the model of the settings; ``model`` proposes kinds of failure in
    at most ``calls``, else typical notes name clusters. ModelError where the embeddings cannot be
    had.
    """
    notes = _read_labelled(ws.ledger, surface, until=ledger_seq)
    short = notes["text"].str.slice(0, LONG).to_list()
    n_different = len(set(map(clustering.fold_text, short)))
    if n_different < clustering.FEWEST:
        reason = (
            f"{n_different} different notes: clusters take {clustering.FEWEST}. "
            "Read more sessions and note what fails: `evalbench annotate`."
        )
        nothing = clustering.find_none(reason)
        return Discovery(surface, notes.clear(), nothing, np.zeros((0, 2)), (), seed, ledger_seq)
    rng = np.random.default_rng(seed)
    distinct, members = np.unique(np.array(short, dtype=object), return_inverse=True)
    embedding = embeddings or ws.settings.embeddings
    vectors = embed_texts(distinct.tolist(), model=embedding, rng=rng)[members]
    read = partial(induce, model=model, calls=calls, rng=rng)
    asks, induced = bool(model) and not model.startswith("offline/"), None
    if embedding != OFFLINE or n_different >= FEW:
        found = clustering.cluster(short, vectors=vectors, rng=rng)
        if asks:  # of many notes the most typical ones are read
            typical = np.concatenate(found.representatives)
            induced = read([short[index] for index in typical])
            passes = np.full((len(induced.passes), len(short)), LOST)
            passes[:, typical] = induced.passes
            induced = replace(induced, passes=passes)
    else:
        induced = read(short) if asks else None
        alike = measure_similarity(vectors)
        if induced and induced.agrees:
            alike = induced.blend(alike)
            vectors = unfold(alike)
        found = clustering.cluster(short, alike=alike, rng=rng)
    named = tuple(propose_all(short, found, induced=induced))
    position = clustering.lay_out(vectors, found.assignment)
    return Discovery(surface, notes, found, position, named, seed, ledger_seq, induced)


def _read_labelled(ledger: Ledger, surface: str, *, until: int) -> pl.DataFrame:
    """Read the notes with the mode of their writer's last label, where it names no other."""
    notes = retraction.read_notes(ledger, until=until).filter(surface=surface)
    labels = retraction.read_bodies(ledger, "label.set", until=until).filter(surface=surface)
    said = labels.sort("seq").unique(["session_id", "actor"], keep="last")
    one = said.filter(pl.col("modes").list.len() == 1)
    named = one.select("session_id", "actor", labelled=pl.col("modes").list.first())
    joined = notes.join(named, on=["session_id", "actor"], how="left", maintain_order="left")
    return joined.select(*NOTES, "labelled").cast({"seq": pl.Int64})


def read_notes(ledger: Ledger, surface: str, *, until: int) -> pl.DataFrame:
    """Read the notes of a surface that stand: ``seq, session_id, text``, in their order."""
    notes = retraction.read_notes(ledger, until=until).filter(surface=surface)
    return notes.select(*NOTES).cast(NOTES)


def signal_rates(
    sessions: pl.DataFrame, placed: pl.DataFrame, *, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Count in each cluster the sessions a signal was raised in, of those it is recorded for."""
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


def say_cost(ws: Workspace, surface: str, *, model: str, calls: int, ledger_seq: int) -> str:
    """Say before a model is asked how often that will be, and what it will be given."""
    different = read_notes(ws.ledger, surface, until=ledger_seq)["text"].unique()
    if not model or model.startswith("offline/") or not len(different):
        return ""
    asked, tokens = count_calls(different.to_list())
    stops = f" It stops after {calls:,}, the rest unread." if asked > calls else ""
    return (
        f"{escape_text(model)} will be asked about {asked:,} times, with some {tokens:,} tokens, "
        f"to read {len(different):,} notes.{stops}"
    )


def headline(discovery: Discovery) -> str:
    """Say in Markdown what was found, and whether it can be trusted."""
    clusters = discovery.clusters
    if not discovery.proposals:
        return clusters.reason
    trust = f"They agree with those of other draws by {clusters.agreement:.2f} (ARI)."
    if clusters.weak:
        trust = (
            "**These clusters are weak: other draws of the notes give others. Read the notes one "
            "by one, and trust no cluster for its shape.**"
        )
    about = f"{discovery.texts.height:,} notes of {escape_text(discovery.surface)}"
    read = f" {escape_text(discovery.induced.say())}." if discovery.induced else ""
    return f"{about}: {clusters.reason}. {trust}{read}"
