"""What the owner of a metric, a release or a decision says, by the command line."""

from datetime import datetime
from typing import Annotated, Any

import typer

from evalbench.cli.issues import Moment, in_utc
from evalbench.cli.options import Surface, Workspace, one_line, open_at
from evalbench.errors import EvalbenchError

record = typer.Typer(no_args_is_help=True)
Owner = Annotated[str, typer.Option(help="Who answers for it.")]
Metric = Annotated[str, typer.Argument(help="Name of the metric; evalbench scorecard lists them.")]
End = Annotated[float | None, typer.Option(help="End of its interval.")]


@record.command("metric")
def record_metric(
    metric: Metric,
    value: Annotated[float, typer.Argument(help="Its value; a share is between 0 and 1.")],
    owner: Owner,
    low: End = None,
    high: End = None,
    source: Annotated[str, typer.Option(help="Where it was measured.")] = "",
    surface: Surface = None,
    at: Moment = None,
    workspace: Workspace = None,
) -> None:
    """Record a metric that is measured elsewhere."""
    from evalbench.operate.scorecard import check_metric

    check_metric(metric, low, value, high)
    ledger = open_at(workspace, surface).ledger
    body: dict[str, Any] = {"metric": metric, "value": value, "owner": owner}
    body |= {"low": low, "high": high, "source": source, "surface": surface}
    body["observed_at"] = in_utc(at).get("at", ledger.clock())
    if body["observed_at"] > ledger.clock():
        raise EvalbenchError("nothing is observed in the future: give a time up to now, with --at")
    typer.echo(f"seq={ledger.append('metric.observed', metric, body)}")


@record.command("target")
def record_target(
    metric: Metric,
    target: Annotated[float, typer.Argument(help="What it is held to.")],
    owner: Owner,
    mode: Annotated[str | None, typer.Option(help="Of a failure mode: its highest rate.")] = None,
    surface: Surface = None,
    workspace: Workspace = None,
) -> None:
    """Set the target of a metric, or the highest rate of a failure mode."""
    from evalbench.operate.scorecard import check_metric

    ledger = open_at(workspace, surface).ledger
    if mode is None:
        check_metric(metric, target)
    else:
        _check_modes(ledger, surface, mode)
        if not 0 <= target < 1:
            raise EvalbenchError(f"a failure mode is held to a share, such as 0.01; got {target:g}")
    body = {"metric": metric, "target": target, "owner": owner, "mode": mode, "surface": surface}
    typer.echo(f"seq={ledger.append('target.set', metric, body)}")


@record.command("decision")
def record_decision(
    decision: Annotated[str, typer.Argument(help="A short name, by which it is followed up.")],
    text: Annotated[str, typer.Option(help="What was decided.")],
    owner: Owner,
    due: Annotated[datetime, typer.Option(help="By when.")],
    done: Annotated[bool, typer.Option("--done", help="It is done.")] = False,
    mode: Annotated[str | None, typer.Option(help="The failure mode that it is about.")] = None,
    surface: Surface = None,
    workspace: Workspace = None,
) -> None:
    """Record what leadership decided, or that it is done."""
    body: dict[str, Any] = {"decision": decision, "text": text, "owner": owner, "done": done}
    body |= {"due": in_utc(due)["at"], "surface": surface, "mode": mode}
    ledger = open_at(workspace, surface).ledger
    if mode:
        _check_modes(ledger, surface, mode)
    known = ledger.bodies("decision.recorded", subject=decision)["surface"].to_list()
    if known and surface not in known:
        of = f"of surface {known[-1]}: give --surface {known[-1]}" if known[-1] else "the company's"
        raise EvalbenchError(f"decision {decision!r} is {of}, or take another name")
    typer.echo(f"seq={ledger.append('decision.recorded', decision, body)}")


@record.command("release")
def record_release(
    release: Annotated[str, typer.Argument(help="Name of the release, as traces have it.")],
    surface: Annotated[str, typer.Option(help="Product surface.")],
    target: Annotated[list[str], typer.Option(help="A failure mode to fix. Repeatable.")] = [],  # noqa: B006
    at: Moment = None,
    workspace: Workspace = None,
) -> None:
    """Announce a release, and the failure modes that it set out to fix."""
    ledger = open_at(workspace, surface).ledger
    about = {"surface": surface, "release": release}
    _check_modes(ledger, surface, *target)
    for day in ledger.bodies("release.shipped").filter(**about)["shipped_at"]:
        raise EvalbenchError(f"release {release} of {surface} was announced for {day:%Y-%m-%d}")
    body: dict[str, Any] = about | {"targets": tuple(target)}
    body["shipped_at"] = in_utc(at).get("at", ledger.clock())
    typer.echo(f"seq={ledger.append('release.shipped', f'{surface}/{release}', body)}")


def _check_modes(ledger: Any, surface: str | None, *modes: str) -> None:
    from evalbench.label.codebook.acts import read_codebook

    if surface is None:
        raise EvalbenchError("a failure mode is one of a product: name it with --surface")
    book = read_codebook(ledger)
    for mode in modes:
        book.find(surface, mode)


def print_scorecard(
    surface: Surface = None,
    quarter: Annotated[str, typer.Option(help="Such as 2026Q3.")] = "all",
    workspace: Workspace = None,
) -> None:
    """Print every metric with its value, target, owner and trend."""
    from evalbench.report.operating_words import say_scorecard
    from evalbench.snapshot import take_snapshot

    view = take_snapshot(open_at(workspace, surface), surface=surface, quarter=quarter)
    for row in say_scorecard(view.scorecard).iter_rows(named=True):
        told = [row["value_said"], row["status"], row["trend"], row["reason"]]
        told += [f"target {row['target_said']}"] if row["target_said"] else []
        told += [f"owner {row['owner']}"] if row["owner"] else []
        said = "; ".join(dict.fromkeys(filter(None, told)))
        typer.echo(one_line(f"{row['metric']}: {row['name']}: {said}"))
