"""Gates by the command line: an exit status that is an answer, and overrides on the record."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

import evalbench as eb
from evalbench.cli.options import Pairs, Workspace, pairs_of, show_progress

STATUSES = {"pass": 0, "block": 10, "insufficient": 11}
"""Anything else is an error, and never an answer."""
override = typer.Typer(no_args_is_help=True)
Number = Annotated[int, typer.Option(help="Event of the gate, as `evalbench gate` prints it.")]


def gate(
    parameters: Annotated[Pairs, pairs_of("-p", "NAME VALUE", "Set a parameter.")] = None,
    workspace: Workspace = None,
    reports: Annotated[Path, typer.Option(help="Folder that takes the reports.")] = Path("reports"),
) -> None:
    """Decide whether a candidate may ship: 0 it may, 10 it is blocked, 11 too few cases to tell."""
    from evalbench.report import runbook

    ws = eb.open(workspace)
    with show_progress("gate") as progress:
        how: dict[str, Any] = {"workspace": ws, "reports": reports, "progress": progress}
        done = runbook.run("08_gate", dict(parameters or ()), **how)
    decided = json.loads((done.folder / "gate.json").read_text("utf-8"))
    typer.echo((done.folder / "memo.md").read_text("utf-8"))
    typer.echo(f"gate={decided['gate']}\nverdict={decided['verdict']}\n{done.html}")
    raise typer.Exit(STATUSES[decided["verdict"]])


@override.command("add")
def add_override(
    gate: Number,
    role: Annotated[str, typer.Option(help="The role in which you decide.")],
    row: Annotated[list[str], typer.Option(help="An open row, by its name. Repeatable.")],
    reason: Annotated[str, typer.Option(help="Why it ships all the same.")],
    evidence: Annotated[str, typer.Option(help="What that rests on.")],
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day it ends.")],
    rollback: Annotated[str, typer.Option(help="When it is taken back.")],
    workspace: Workspace = None,
) -> None:
    """Ship in spite of open rows, on the record: the verdict stays as it is."""
    from evalbench.release import overrides

    ws = eb.open(workspace)
    said: dict[str, Any] = {"gate": gate, "role": role, "rows": row, "reason": reason}
    said |= {"evidence": evidence, "expires_at": until.replace(tzinfo=UTC), "rollback": rollback}
    typer.echo(f"override={overrides.override(ws.ledger, ws.settings.decisions, **said)}")


@override.command("check")
def check_override(gate: Number, workspace: Workspace = None) -> None:
    """Tell whether overrides in force speak of every open row: 0, else the gate's own status."""
    from evalbench.release import overrides

    ledger = eb.open(workspace).ledger
    decided, open_rows = overrides.find_uncovered(ledger, gate)
    typer.echo("\n".join(open_rows) or "every open row is overridden, or there is none")
    raise typer.Exit(STATUSES[decided.verdict] if open_rows else 0)


@override.command("close")
def close_override(
    number: Annotated[int, typer.Argument(help="Event of the override.")],
    outcome: Annotated[str, typer.Option(help="Empty: what the rates show.")] = "",
    workspace: Workspace = None,
) -> None:
    """Close an override with what production did, so that reports need not tell of it."""
    from evalbench.release import overrides
    from evalbench.report.record import RUN, say_aftermath
    from evalbench.snapshot import take_snapshot

    view = take_snapshot(eb.open(workspace))
    own = view.overrides.filter(override=number).select(RUN).rows()
    outcome = outcome or next((say_aftermath(view, *row) for row in own), "nothing")
    typer.echo(f"closed={overrides.close(view.ws.ledger, number, outcome=outcome)}\n{outcome}")
