"""Overrides: a person ships in spite of what a gate says, on the record and for a while."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl
from pydantic import ValidationError

from evalbench.errors import ReleaseError
from evalbench.schema import TIME, GateDecided, GateOverridden, columns
from evalbench.settings import Decision, say_invalid
from evalbench.store.ledger import Ledger

LONGEST = {"low": 90, "medium": 30, "high": 7}
"""Days for which a decision of this risk may be overridden."""
OVERRIDES = columns(
    (pl.Int64, "override"),
    (TIME, "at"),
    (pl.String, "actor role"),
    (pl.Int64, "gate"),
    (pl.String, "surface decision candidate verdict"),
    (pl.List(pl.String), "rows"),
    (pl.String, "reason evidence"),
    (TIME, "expires_at"),
    (pl.String, "rollback standing outcome"),
)
"""``standing`` is "in force", "expired" or "closed"; ``outcome`` is what production did."""


def read_gates(ledger: Ledger, *, until: int | None = None) -> dict[int, GateDecided]:
    """Read what every gate decided, by the number of its event."""
    events = ledger.events("gate.decided", until=until)
    bodies = map(GateDecided.model_validate_json, events["body"])
    return dict(zip(events["seq"], bodies, strict=True))


def read_overrides(
    ledger: Ledger, *, until: int | None = None, surface: str | None = None
) -> pl.DataFrame:
    """Read every override as :data:`OVERRIDES`, as of event ``until`` and the time of that.

    Without ``until`` it is the present time at which an override expires.
    """
    events = ledger.events("gate.overridden", until=until)
    gates = read_gates(ledger, until=until)
    closed = dict(
        ledger.bodies("override.closed", until=until).select("override", "outcome").iter_rows()
    )
    now = ledger.clock()
    if until:
        now = ledger.events(since=until - 1, until=until)["at"][0]
    rows = []
    for seq, at, actor, text in events.select("seq", "at", "actor", "body").iter_rows():
        body = GateOverridden.model_validate_json(text)
        about = gates[body.gate].model_dump(include={"surface", "decision", "candidate", "verdict"})
        standing = "expired" if body.expires_at <= now else "in force"
        about |= {"standing": "closed" if seq in closed else standing, "outcome": closed.get(seq)}
        rows.append(body.model_dump() | about | {"override": seq, "at": at, "actor": actor})
    frame = pl.DataFrame(rows, schema=OVERRIDES)
    return frame if surface is None else frame.filter(surface=surface)


def override(ledger: Ledger, decisions: Mapping[str, Decision], **body: object) -> int:
    """Override open rows of a gate, in the fields of GateOverridden; give the event's number.

    The verdict stays as it is. Raises ReleaseError where something is not said (role, rows, reason,
    evidence, expiry, rollback), there is no such gate, a row is not open, or it would last too long
    for the risk of the decision.
    """
    try:
        given = GateOverridden.model_validate(body)
    except ValidationError as error:
        raise ReleaseError(f"an override needs {say_invalid(error, shows_value=False)}") from None
    decided = _find_gate(ledger, given.gate)
    open_rows = _list_open(decided)
    if unknown := [row for row in given.rows if row not in open_rows]:
        raise ReleaseError(
            f"{unknown[0]!r} is no open row of gate {given.gate}; open are:"
            f" {'; '.join(open_rows) or 'none, it passes'}"
        )
    for name in ("role", "reason", "evidence", "rollback"):
        if not getattr(given, name).strip():
            raise ReleaseError(f"an override needs {name}: it is empty")
    decision = decisions.get(decided.decision)
    days = LONGEST[decision.risk if decision else "high"]
    if given.expires_at.tzinfo is None:
        raise ReleaseError(f"an override needs expires_at with a time zone, got {given.expires_at}")
    lasts = given.expires_at - ledger.clock()
    if not timedelta(0) < lasts <= timedelta(days=days):
        raise ReleaseError(
            f"expires_at must lie ahead, by {days} days at most at this risk;"
            f" got {given.expires_at:%Y-%m-%d}"
        )
    return ledger.append("gate.overridden", f"{decided.decision}/{decided.candidate}", given)


def close(ledger: Ledger, number: int, *, outcome: str) -> int:
    """Close an override with what production did afterwards.

    Raises ReleaseError where there is no such override, or it is closed already.
    """
    known = read_overrides(ledger).filter(override=number)
    if known.is_empty() or known["standing"][0] == "closed":
        raise ReleaseError(f"event {number} is no override that is open")
    subject = f"{known['decision'][0]}/{known['candidate'][0]}"
    return ledger.append("override.closed", subject, {"override": number, "outcome": outcome})


def find_uncovered(ledger: Ledger, number: int) -> tuple[GateDecided, list[str]]:
    """Return what a gate decided, and its open rows that no override in force now speaks of."""
    decided = _find_gate(ledger, number)
    in_force = read_overrides(ledger).filter(pl.col("standing") == "in force", gate=number)
    covered = set(in_force["rows"].explode())
    return decided, [row for row in _list_open(decided) if row not in covered]


def _find_gate(ledger: Ledger, number: int) -> GateDecided:
    gates = read_gates(ledger)
    if number not in gates:
        raise ReleaseError(
            f"event {number} is no gate; there are"
            f" {', '.join(map(str, gates)) or 'none yet'}: `evalbench gate` decides one"
        )
    return gates[number]


def _list_open(decided: GateDecided) -> list[str]:
    return [row.row for row in decided.rows if row.reading != "pass"]
