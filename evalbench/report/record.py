"""What is on record of a report's surface, as its appendix lists it: gates, overrides, reading."""

import polars as pl

from evalbench.label.agreement.consensus import SESSION_KEY, latest_labels
from evalbench.label.annotation.retraction import read_bodies
from evalbench.label.annotation.workload import add_minutes
from evalbench.operate.figures import find_caught, name_gated
from evalbench.report.glossary import VERDICTS
from evalbench.report.sentences import say_count, say_interval
from evalbench.snapshot import Snapshot

RUN = ("surface", "candidate")


def read_own(view: Snapshot, kind: str) -> pl.DataFrame:
    """Read events of a kind, of the snapshot's surface and of the company, or of all surfaces."""
    bodies = read_bodies(view.ws.ledger, kind, until=view.ledger_seq)
    own = pl.col("surface").is_null() | (pl.col("surface") == (view.surface or pl.col("surface")))
    return bodies.filter(own)


def list_gates(view: Snapshot) -> pl.DataFrame:
    """List what each gate decided."""
    return read_own(view, "gate.decided").drop("rows")


def list_overrides(view: Snapshot) -> pl.DataFrame:
    """List overrides; until a person closes one, its outcome is what production shows."""
    given = pl.Series(view.overrides["outcome"].to_list(), dtype=pl.String)
    shown = [say_aftermath(view, *row) for row in view.overrides.select(*RUN).iter_rows()]
    outcome = given.fill_null(pl.Series(shown, dtype=pl.String))
    return view.overrides.with_columns(outcome=outcome)


def list_caught(view: Snapshot) -> pl.DataFrame:
    """List the regressions that production shows, and what the gate had said of the release."""
    gated = name_gated(read_own(view, "gate.decided"), view.runs)
    return find_caught(view.changes, gated).with_columns(pl.col("gate").fill_null("no gate"))


def say_aftermath(view: Snapshot, surface: str, candidate: str) -> str:
    """Say what production shows of the release that a gate's candidate became."""
    runs = view.runs.filter(surface=surface, run=candidate)["release"].drop_nulls()
    release = runs.last() if len(runs) else candidate
    own = view.every_change.filter(surface=surface, release=release)
    worse = own.filter(pl.col("reading").str.ends_with("regression"))
    told = [
        f"{row['name']} {VERDICTS[row['reading']]}:"
        f" {say_interval(*(1000 * row[end] for end in ('delta', 'low', 'high')), signed=True)}"
        " per 1,000 sessions"
        for row in worse.iter_rows(named=True)
    ]
    unknown = own.filter(reading="cannot tell").height
    if unknown == own.height:
        return "Production cannot tell yet."
    calm = f"no failure is shown to be more frequent in {say_count(own.height - unknown, 'rate')}"
    rest = f"; {unknown} cannot be told" if unknown else ""
    return f"{'; '.join(told) or calm[:1].upper() + calm[1:]}{rest}."


def list_reading(view: Snapshot) -> pl.DataFrame:
    """Count by surface who read how many of the report's sessions, and how long it took."""
    given = add_minutes(view.labels).join(view.frame, on=SESSION_KEY, how="semi")
    ruled = view.rulings.join(view.frame, on=SESSION_KEY, how="semi")
    by, one = "surface", pl.struct(SESSION_KEY)
    twice = latest_labels(given).group_by(SESSION_KEY).len().filter(pl.col("len") > 1)
    read = given.group_by(by).agg(
        sessions=one.n_unique(),
        annotators=pl.col("actor").n_unique(),
        labels=pl.len(),
        hours=pl.col("minutes").sum() / 60,
    )
    counts = {"twice": twice, "adjudicated": ruled.unique(SESSION_KEY)}
    for name, rows in counts.items():
        read = read.join(rows.group_by(by).agg(pl.len().alias(name)), on=by, how="left")
    whole = pl.col("sessions", "annotators", "labels", *counts).fill_null(0).cast(pl.Int64)
    return read.with_columns(whole).sort(by)
