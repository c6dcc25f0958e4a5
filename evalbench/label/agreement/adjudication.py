"""Sessions whose annotators disagree, and what an adjudicator makes of them."""

from collections.abc import Sequence

import polars as pl

from evalbench.errors import LabelError
from evalbench.label.agreement.consensus import ANY, SESSION_KEY, judgements, latest_labels
from evalbench.label.annotation.queue import check_modes
from evalbench.label.annotation.retraction import read_bodies
from evalbench.label.codebook.acts import read_codebook
from evalbench.schema import Judgement, Label
from evalbench.store.ledger import Ledger


def disagreements(labels: pl.DataFrame, modes: pl.DataFrame, rulings: pl.DataFrame) -> pl.DataFrame:
    """List the sessions whose annotators disagree on a mode or the verdict, most disputed first.

    Takes what :func:`decide` does. Gives ``surface, session_id, disputed`` (modes, "any" for the
    verdict), ``said``, ``labels`` (their events) and ``waits``: an adjudicator has not seen them
    all.
    """
    disputed = (
        judgements(labels, modes, with_any=True)
        .group_by([*SESSION_KEY, "mode"])
        .agg(split=pl.col("value").n_unique() > 1)
        .filter("split")
        .group_by(SESSION_KEY)
        .agg(disputed=pl.col("mode").sort())
    )
    named = pl.format("{}: {} ({})", "actor", "verdict", pl.col("modes").list.join(", "))
    plain = pl.format("{}: {}", "actor", "verdict")
    words = pl.when(pl.col("modes").list.len() > 0).then(named).otherwise(plain)
    given = (
        latest_labels(labels)
        .sort("actor")
        .group_by(SESSION_KEY)
        .agg(said=words.str.join("; "), labels=pl.col("seq").sort())
    )
    seen = rulings.group_by(SESSION_KEY).agg(seen=pl.col("labels").explode())
    unseen = pl.col("labels").list.set_difference("seen").list.len()
    return (
        disputed.join(given, on=SESSION_KEY)
        .join(seen, on=SESSION_KEY, how="left")
        .with_columns(waits=unseen.fill_null(1) > 0)
        .drop("seen")
        .sort(pl.col("disputed").list.len(), *SESSION_KEY, descending=[True, False, False])
    )


def ambiguous_modes(
    agreement: pl.DataFrame, disputes: pl.DataFrame, modes: pl.DataFrame
) -> pl.DataFrame:
    """List the modes that people do not agree on: "ambiguous" first, the lowest alpha first.

    Takes a row a mode of ``measure_agreement``, :func:`disagreements` and the codebook. Gives
    ``surface, mode, name, definition, alpha`` with its ends, ``n_items, reading, n_disputed,
    session_ids``.
    """
    key = ["surface", "mode"]
    sessions = (
        disputes.explode("disputed")
        .group_by("surface", mode="disputed")
        .agg(n_disputed=pl.len().cast(pl.Int64), session_ids=pl.col("session_id").sort())
    )
    doubtful = pl.col("reading").is_in(["ambiguous", "not settled"]) & (pl.col("mode") != ANY)
    measured = ("alpha", "alpha_low", "alpha_high", "n_items", "reading")
    return (
        agreement.filter(doubtful)
        .join(modes.select(*key, "name", "definition"), on=key)
        .join(sessions, on=key, how="left")
        .with_columns(pl.col("n_disputed").fill_null(0), pl.col("session_ids").fill_null([]))
        .sort("reading", "alpha", *key)
        .select(*key, "name", "definition", *measured, "n_disputed", "session_ids")
    )


def adjudicate(
    ledger: Ledger,
    surface: str,
    session_id: str,
    *,
    verdict: Judgement,
    modes: Sequence[str] = (),
    reason: str,
) -> int:
    """Rule what holds of a session; gives the event, which notes the labels it rests on.

    LabelError where fewer than two annotators labelled it, or a mode is not in the codebook.
    """
    labels = read_bodies(ledger, "label.set").filter(surface=surface, session_id=session_id)
    numbers = latest_labels(labels)["seq"].to_list()
    if len(numbers) < 2:
        place = f"session {session_id!r} of {surface!r}"
        raise LabelError(f"{place} has {len(numbers)} labels; two can disagree")
    decided = {"surface": surface, "session_id": session_id, "verdict": verdict, "modes": modes}
    body = {**decided, "reason": reason, "labels": numbers}
    check_modes(Label.model_validate(decided), read_codebook(ledger).named)
    return ledger.append("label.adjudicated", session_id, body)
