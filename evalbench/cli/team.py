"""Commands for a team: who may do what, and what is kept of users."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import evalbench as eb
from evalbench.cli.options import Workspace
from evalbench.errors import SettingsError

Role = Literal["annotator", "analyst", "release_owner", "reader"]


def grant(
    member: Annotated[str, typer.Argument(metavar="USER", help="A user of the database.")],
    role: Annotated[Role, typer.Argument(help="reader takes all other roles away.")],
    workspace: Workspace = None,
) -> None:
    """Let a user of the ledger's PostgreSQL append what a role may; for the database's owner."""
    eb.open(workspace).ledger.grant(member, role)
    typer.echo(f"{member}: {role}")


def forget(
    user: Annotated[str, typer.Argument(help="Id of the user, as the source has it.")] = "",
    session: Annotated[
        str, typer.Option(metavar="SURFACE/ID", help="Whoever had this session.")
    ] = "",
    expired: Annotated[
        bool, typer.Option("--expired", help="Sessions older than [retention] keeps them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reports: Annotated[Path, typer.Option(help="Folder of reports.")] = Path("reports"),
    workspace: Workspace = None,
) -> None:
    """Erase what a user said for good: lake, texts of the ledger, copies and reports with them."""
    from evalbench.observe.batch import hash_user
    from evalbench.store import forget as forgetting

    ws = eb.open(workspace)
    if [bool(user), bool(session), expired].count(True) != 1:
        raise typer.BadParameter("name a USER, a --session SURFACE/ID, or --expired")
    if expired and not ws.settings.retention:
        raise SettingsError("evalbench.toml has no [retention], such as: support = 90")
    if expired:
        sessions = forgetting.find_expired(ws)
    elif session:
        surface, _, session_id = session.partition("/")
        sessions = forgetting.find_user_of(ws, surface, session_id)
    else:
        sessions = forgetting.find_user(ws, [hash_user(user, ws.secret)])
    if sessions.is_empty() and user:
        typer.echo("the lake has no such user: give the id as its source has it", err=True)
    if not (yes or typer.confirm(f"Erase {len(sessions)} sessions for good?")):
        return
    reason, names = "expired" if expired else "asked", [user] if user else []
    done = forgetting.forget(ws, sessions, reason=reason, names=names, reports=reports)
    for each in done:
        typer.echo(each, err=True)
    typer.echo(f"sessions={len(sessions)}")
