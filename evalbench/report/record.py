"""What is on record of a report's surface, as its appendix lists it: gates, overrides, reading."""

import polars as pl

from evalbench.label.agreement.consensus import SESSION_KEY, latest_labels
from evalbench.label.annotation.retraction import read_bodies
from evalbench.label.annotation.workload import add_minutes
from evalbench.snapshot import Snapshot


def read_own(view: Snapshot, kind: str) -> pl.DataFrame:
    """Read events of a kind, of the snapshot's surface and of the company, or of all surfaces."""
    bodies = read_bodies(view.ws.ledger, kind, until=view.ledger_seq)
    own = pl.col("surface").is_null() | (pl.col("surface") == (view.surface or pl.col("surface")))
    return bodies.filter(own)


def list_gates(view: Snapshot) -> pl.DataFrame:
    """List what each gate decided, with the ``day``."""
    gates = read_own(view, "gate.decided")
    return gates.with_columns(day=pl.col("at").dt.strftime("%Y-%m-%d")).drop("rows")


def list_overrides(view: Snapshot) -> pl.DataFrame:
    """List the overrides of gates, with the day ``until`` which each holds, and the outcome."""
    return view.overrides.with_columns(until=pl.col("expires_at").dt.strftime("%Y-%m-%d"))


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
