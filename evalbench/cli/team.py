"""Commands for a team: who may do what."""

from typing import Annotated, Literal

import typer

import evalbench as eb
from evalbench.cli.options import Workspace

Role = Literal["annotator", "analyst", "release_owner", "reader"]


def grant(
    member: Annotated[str, typer.Argument(metavar="USER", help="A user of the database.")],
    role: Annotated[Role, typer.Argument(help="reader takes all other roles away.")],
    workspace: Workspace = None,
) -> None:
    """Let a user of the ledger's PostgreSQL append what a role may; for the database's owner."""
    eb.open(workspace).ledger.grant(member, role)
    typer.echo(f"{member}: {role}")
