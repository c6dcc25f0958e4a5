"""Issues by the command line."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

import evalbench as eb
from evalbench.cli.options import Surface, Workspace, one_line, open_at
from evalbench.errors import IssueError

issues = typer.Typer(no_args_is_help=True)
Moment = Annotated[
    datetime | None, typer.Option("--at", help="When, in UTC.  [default: now]", show_default=False)
]
Text = str | None


def in_utc(moment: datetime | None) -> dict[str, Any]:
    """Give the moment in UTC, under no name where none is given."""
    return {"at": moment.replace(tzinfo=UTC)} if moment else {}


@issues.command("open")
def open_one(
    surface: Annotated[str, typer.Option(help="Product surface.")],
    mode: Annotated[
        Text, typer.Option(help="Its failure mode, which names title and owner.")
    ] = None,
    session: Annotated[list[str], typer.Option(help="A session with it. Repeatable.")] = [],  # noqa: B006
    title: Annotated[Text, typer.Option(help="What fails, in a few words.")] = None,
    severity: Annotated[Text, typer.Option(help="safety, user impact or polish.")] = None,
    owner: Annotated[Text, typer.Option(help="Who answers for it.")] = None,
    source: Annotated[Text, typer.Option(help="production failure, incident or red team.")] = None,
    runbook: Annotated[Text, typer.Option(help="Where it is written what to do.")] = None,
    at: Moment = None,
    workspace: Workspace = None,
) -> None:
    """Follow a failure from now on; one that people found in a session is confirmed at once."""
    from evalbench.operate.issues import check_sessions, open_issue
    from evalbench.snapshot import take_snapshot

    view = take_snapshot(open_at(workspace, surface), surface=surface)
    given = {"title": title, "severity": severity, "owner": owner, "source": source}
    given |= {"runbook": runbook, "observed_at": in_utc(at).get("at")}
    fields: dict[str, Any] = {name: value for name, value in given.items() if value}
    if mode:
        typer.echo(view.open_issue(mode, *session, **fields))
        return
    if missing := [each for each in ("title", "severity", "owner") if each not in fields]:
        raise IssueError(f"give --{missing[0]}, or a --mode that has one")
    check_sessions(view.sessions, surface, session)
    fields |= {"surface": surface, "session_ids": tuple(session)}
    typer.echo(open_issue(view.ws.ledger, **fields))


@issues.command("move")
def move_one(
    issue: Annotated[str, typer.Argument(help="Name of the issue.")],
    state: Annotated[str, typer.Argument(help="confirmed, reproduced, fix-shipped, verified, …")],
    release: Annotated[Text, typer.Option(help="That ships the fix, or showed it again.")] = None,
    mode: Annotated[Text, typer.Option(help="Its failure mode, where it had none.")] = None,
    reason: Annotated[Text, typer.Option(help="Why, where it will not be fixed.")] = None,
    at: Moment = None,
    workspace: Workspace = None,
) -> None:
    """Move an issue on. A fix is verified only where the rate is shown to be lower."""
    from evalbench.snapshot import take_snapshot

    words = state.replace("-", " ").replace("wont", "won't")
    given = {"release": release, "mode": mode, "reason": reason, "moved_at": in_utc(at).get("at")}
    fields = {name: value for name, value in given.items() if value}
    typer.echo(f"seq={take_snapshot(eb.open(workspace)).move_issue(issue, words, **fields)}")


@issues.command("list")
def list_issues(surface: Surface = None, workspace: Workspace = None) -> None:
    """Print the issues, the open and most severe first, and what the rates speak for."""
    from evalbench.snapshot import take_snapshot

    view = take_snapshot(open_at(workspace, surface), surface=surface)
    checked = {row["issue"]: row for row in view.fixes.iter_rows(named=True)}
    for row in view.issues.iter_rows(named=True):
        told = [row["severity"], row["state"], f"owner {row['owner']}", row["title"]]
        told += [f"next: {row['next_step']}"] if row["next_step"] else []
        found = checked.get(row["issue"], {})
        told += [f"the rates speak for: {found['proposed']}"] if found.get("proposed") else []
        typer.echo(one_line(f"{row['issue']}: {'; '.join(told)}"))


@issues.command("export")
def export_issues(
    shape: Annotated[str, typer.Option("--as", help="github or jira.")] = "github",
    project: Annotated[Text, typer.Option(help="Key of the project in Jira.")] = None,
    surface: Surface = None,
    workspace: Workspace = None,
) -> None:
    """Print the issues as JSON that GitHub or Jira takes."""
    from evalbench.operate.trackers import TRACKERS
    from evalbench.snapshot import take_snapshot

    if shape not in TRACKERS or (shape == "jira") != bool(project):
        raise IssueError("say --as github, or --as jira with --project")
    table = take_snapshot(open_at(workspace, surface), surface=surface).issues
    how = {"project": project} if project else {}
    typer.echo(json.dumps(TRACKERS[shape](table, **how), indent=2, ensure_ascii=False))
