"""What the annotators of a session say together: the one rule that decides labels."""

import polars as pl

SESSION_KEY = ["surface", "session_id"]
ITEM_KEY = [*SESSION_KEY, "mode"]
ANY = "any"  # the mode that stands for the verdict itself: pass or fail


def decide(labels: pl.DataFrame, rulings: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
    """Decide for every labelled session and failure mode of its surface whether it fails.

    What an adjudicator ruled holds; else the majority of the annotators, by the label of each that
    counts: see :func:`latest_labels`. "unsure" says nothing. Takes ``label.set`` and
    ``label.adjudicated`` events as ``ledger.bodies`` gives them, and the codebook (``surface,
    mode``). Gives, sorted, :data:`ITEM_KEY`, ``fails`` (null in a tie, or where nobody is sure),
    ``n_annotators`` (those who are sure) and ``n_fail``.
    """
    latest, sure = latest_labels(labels), pl.col("verdict") != "unsure"
    sessions = latest.group_by(SESSION_KEY).agg(n_annotators=sure.sum().cast(pl.Int64))
    named = latest.filter(sure).select(*SESSION_KEY, "actor", mode="modes").explode("mode")
    votes = named.unique().group_by(ITEM_KEY).agg(n_fail=pl.len().cast(pl.Int64))
    last = rulings.sort("seq").unique(SESSION_KEY, keep="last")
    ruled = last.select(*SESSION_KEY, ruling="verdict", ruled="modes")
    twice = pl.col("n_fail") * 2
    vote = pl.when(twice != pl.col("n_annotators")).then(twice > pl.col("n_annotators"))
    seen = pl.when(pl.col("ruling") != "unsure").then(pl.col("ruled").list.contains(pl.col("mode")))
    return (
        sessions.join(modes.select("surface", "mode"), on="surface")
        .join(votes, on=ITEM_KEY, how="left")
        .join(ruled, on=SESSION_KEY, how="left")
        .with_columns(pl.col("n_fail").fill_null(0))
        .with_columns(fails=pl.when(pl.col("ruling").is_null()).then(vote).otherwise(seen))
        .select(*ITEM_KEY, "fails", "n_annotators", "n_fail")
        .sort(ITEM_KEY)
    )


def latest_labels(labels: pl.DataFrame) -> pl.DataFrame:
    """Return the label of each session by each annotator that counts, in the order of writing.

    It is the last that they gave before they saw a judge's verdict, else the last.
    """
    own_last = labels.sort(~pl.col("after_suggestion"), "seq")
    return own_last.unique([*SESSION_KEY, "actor"], keep="last").sort("seq")


def judgements(
    labels: pl.DataFrame, modes: pl.DataFrame, *, with_any: bool = False
) -> pl.DataFrame:
    """Spread labels over the codebook: what each annotator who is sure says of each mode.

    Takes what :func:`decide` does; ``with_any`` adds the verdict as the mode :data:`ANY`. Gives
    :data:`ITEM_KEY`, ``annotator, value`` (true: fails) and ``at``.
    """
    sure = latest_labels(labels).filter(pl.col("verdict") != "unsure")
    fails = pl.col("modes").list.contains(pl.col("mode"))
    spread = sure.join(modes.select("surface", "mode"), on="surface").with_columns(value=fails)
    verdicts = sure.with_columns(mode=pl.lit(ANY), value=pl.col("verdict") == "fail")
    whole = pl.concat([verdicts, spread], how="diagonal") if with_any else spread
    at = pl.coalesce("labelled_at", "at")
    return whole.select(*ITEM_KEY, "value", annotator="actor", at=at)
