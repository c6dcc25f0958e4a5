"""Golden cases by the command line."""

from pathlib import Path
from typing import Annotated, Any

import typer

import evalbench as eb
from evalbench.cli.options import Columns, Surface, Table, Workspace, Written, one_line, tell

golden = typer.Typer(no_args_is_help=True)
Place = Annotated[str, typer.Argument(help="Product surface.")]
Held = Annotated[
    str, typer.Option(help="golden, regression, adversarial, policy, segment or canary.")
]
Shape = Annotated[
    str | None, typer.Option("--as", help="promptfoo, inspect, deepeval, langfuse or braintrust.")
]


@golden.command("add")
def add_case(
    surface: Place,
    session_id: Annotated[str, typer.Argument(help="The session that failed.")],
    mode: Annotated[str, typer.Option(help="The failure mode that it shows.")],
    expected: Annotated[str, typer.Option(help="What the product should have done.")],
    suite: Held = "golden",
    workspace: Workspace = None,
) -> None:
    """Make a case of a failure that people confirmed."""
    from evalbench.snapshot.cases import keep_case

    asked = {"mode": mode, "expected": expected, "suite": suite}
    typer.echo(keep_case(eb.open(workspace), surface, session_id, **asked).case)


@golden.command("list")
def list_cases(surface: Surface = None, workspace: Workspace = None) -> None:
    """Print the suites, their live cases, and where these leak."""
    from evalbench.release import golden as suites
    from evalbench.snapshot import take_snapshot

    view = take_snapshot(eb.open(workspace), surface=surface)
    cases = view.cases
    for suite in suites.list_suites(cases).iter_rows(named=True):
        counts = " ".join(f"{name}={suite[name]}" for name in ("version", "cases", "retired"))
        typer.echo(f"{suite['surface']} {suite['suite']}: {counts}")
        own = suites.live(cases).filter(surface=suite["surface"], suite=suite["suite"])
        for case in own.iter_rows(named=True):
            shown = ", ".join(filter(None, (case["severity"], case["mode"])))
            typer.echo("  " + one_line(f"{case['case']} {shown}: {case['expected']}"))
    for leak in view.leaks.iter_rows(named=True):
        typer.echo(
            one_line(f"{leak['case']} leaks: {leak['place']} ({leak['similarity']:.0%} alike)")
        )


@golden.command("retire")
def retire_case(
    surface: Place,
    case: Annotated[str, typer.Argument(help="Name of the case, or how it begins.")],
    reason: Annotated[str, typer.Option(help="Why it is in no suite any longer.")],
    workspace: Workspace = None,
) -> None:
    """Retire a case, with a reason."""
    from evalbench.release.golden import retire_case as retire

    typer.echo(f"seq={retire(eb.open(workspace).ledger, surface, case, reason=reason)}")


@golden.command("export")
def export_cases(
    path: Written,
    surface: Surface = None,
    suite: Annotated[str | None, typer.Option(help="One suite alone.")] = None,
    shape: Shape = None,
    workspace: Workspace = None,
) -> None:
    """Write live cases to a file."""
    from evalbench.release import dataset_shapes

    how: dict[str, Any] = {"surface": surface, "suite": suite, "shape": shape}
    typer.echo(f"written={dataset_shapes.export_cases(eb.open(workspace), path, **how)}")


@golden.command("import")
def import_cases(
    path: Table,
    surface: Surface = None,
    suite: Held = "golden",
    shape: Shape = None,
    columns: Columns = None,
    workspace: Workspace = None,
) -> None:
    """Add the cases of a file. What the suite holds is counted as duplicate."""
    _import(workspace, path, surface=surface, suite=suite, shape=shape, columns=columns)


@golden.command("starter")
def add_starter(surface: Place, workspace: Workspace = None) -> None:
    """Add a first adversarial suite: attacks that any product should stand."""
    path = Path(eb.__file__).parent / "release" / "starter.jsonl"
    _import(workspace, path, surface=surface, suite="adversarial")


def _import(workspace: Path | None, path: Path, *, columns: Columns = None, **how: Any) -> None:
    from evalbench.release import dataset_shapes
    from evalbench.snapshot import take_snapshot

    view = take_snapshot(eb.open(workspace))
    how |= {"columns": dict(columns or ()), "places": view.places}
    tell(dataset_shapes.import_cases(view.ws, path, **how), "added", "rejected", "duplicates")
