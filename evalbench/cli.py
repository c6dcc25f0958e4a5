"""The command line. It only forwards: what it does, a notebook or a function does."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from evalbench.errors import EvalbenchError

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="evalbench",
    help="Evaluate an AI product on its real production traffic.",
    no_args_is_help=True,
    add_completion=False,
)

_FOLDER = "Folder of the workspace, made on first use.  [default: data/workspace]"
WorkspaceOption = Annotated[
    Path | None, typer.Option("--workspace", help=_FOLDER, show_default=False)
]
Pairs = list[str] | None


def _pairs(name: str, form: str, what: str) -> Any:
    return typer.Option(name, metavar=form, help=f"{what} Repeatable.")


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error; the callable takes what is done and what there is to do."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _parse_pairs(pairs: Sequence[str] | None, form: str) -> dict[str, str]:
    parsed = {}
    for pair in pairs or ():
        name, found, value = pair.partition("=")
        if not (found and name):
            raise typer.BadParameter(f"expected {form}, got {pair!r}")
        parsed[name] = value
    return parsed


def _tell(report: Any, *counts: str) -> None:
    """Say what became of a file; the counts are the last line."""
    if report.rejected:
        typer.echo(f"rejects, with line and reason: {report.rejects_path}", err=True)
    typer.echo(" ".join(f"{name}={getattr(report, name)}" for name in counts))


@app.command()
def demo(
    workspace: WorkspaceOption = None,
    sessions: Annotated[int, typer.Option(min=60, help="Sessions a surface.")] = 5000,
    seed: Annotated[int, typer.Option(help="Same seed, same company.")] = 7,
) -> None:
    """Run the whole journey on a simulated company, and print where its report is."""
    from evalbench.demo.journey import run_demo

    run_demo(workspace or Path("data/demo"), sessions_per_surface=sessions, seed=seed)


@app.command()
def ingest(
    path: Annotated[Path, typer.Argument(help="Traces: JSONL, JSON, CSV or Parquet, .gz or .zst.")],
    surface: Annotated[str, typer.Option(help="Product surface the traces belong to.")],
    source_format: Annotated[
        str, typer.Option("--format", help="Trace format; auto tells by the names it finds.")
    ] = "auto",
    columns: Annotated[
        Pairs,
        _pairs("--map", "COLUMN=SOURCE", "Column from a field, a dotted path or a {template}."),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Read traces into the lake. What was read before is counted as duplicate."""
    import evalbench as eb

    ws = eb.open(workspace)
    with _progress(f"ingest {path.name}") as progress:
        report = eb.observe.ingest(
            ws,
            path,
            surface=surface,
            format=source_format,
            columns=_parse_pairs(columns, "--map COLUMN=SOURCE"),
            progress=progress,
        )
    _tell(report, "sessions", "spans", "rejected", "duplicates")


@app.command()
def show(
    surface: Annotated[str, typer.Argument(help="Product surface.")],
    session_id: Annotated[str, typer.Argument(help="The session.")],
    workspace: WorkspaceOption = None,
) -> None:
    """Print a session as text, as people and judges see it."""
    import evalbench as eb

    typer.echo(eb.read_session(eb.open(workspace), surface, session_id).text())


@app.command()
def run(
    notebook: Annotated[str, typer.Argument(help="A notebook by name, such as 11_impact.")],
    parameters: Annotated[Pairs, _pairs("-p", "NAME VALUE", "Set a parameter.")] = None,
    workspace: WorkspaceOption = None,
    reports: Annotated[Path, typer.Option(help="Folder that takes the reports.")] = Path("reports"),
) -> None:
    """Execute a notebook on the workspace and print the path of its report."""
    import evalbench as eb
    from evalbench.report import runbook

    ws = eb.open(workspace)
    with _progress(f"run {notebook}") as progress:
        given = _parse_pairs(parameters, "-p NAME VALUE")
        done = runbook.run(notebook, given, workspace=ws, reports=reports, progress=progress)
    if done.pdf is None:
        typer.echo("no PDF: no Chromium or Chrome was found", err=True)
    typer.echo(done.html)


@app.command()
def annotate(
    workspace: WorkspaceOption = None,
    surface: Annotated[str, typer.Option(help="Only queues of this surface.")] = "all",
    queue: Annotated[int, typer.Option(min=0, help="Its number; 0 is the newest open one.")] = 0,
    user: Annotated[str, typer.Option(help="Who labels.  [default: the computer's user]")] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this computer.")] = 8866,
    browser: Annotated[bool, typer.Option(help="Whether to open the page.")] = True,
) -> None:
    """Serve 04_annotate without code, on this computer alone, until Ctrl-C."""
    import evalbench as eb
    from evalbench.report import runbook

    parameters = {"surface": surface, "queue": queue, "annotator": user}
    ws = eb.open(workspace, user=user or None)

    def opened(address: str) -> None:
        typer.echo(address)
        if browser:
            typer.launch(address)

    runbook.serve("04_annotate", parameters, workspace=ws, port=port, opened=opened)


labels = typer.Typer(help="Labels out to other tools, and in from them.", no_args_is_help=True)
app.add_typer(labels, name="labels")


@labels.command("export")
def export_labels(
    path: Annotated[Path, typer.Argument(help="File to write.")],
    label_format: Annotated[
        str, typer.Option("--format", help="csv, jsonl, label-studio or argilla.")
    ] = "jsonl",
    surface: Annotated[str | None, typer.Option(help="Only labels of this surface.")] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Write every label and rating to a file."""
    import evalbench as eb

    ws = eb.open(workspace)
    typer.echo(f"written={eb.label.export_labels(ws, path, format=label_format, surface=surface)}")


@labels.command("import")
def import_labels(
    path: Annotated[
        Path, typer.Argument(help="CSV, JSONL, Label Studio tasks or Argilla records.")
    ],
    surface: Annotated[str | None, typer.Option(help="Surface of rows that name none.")] = None,
    columns: Annotated[
        Pairs, _pairs("--map", "FIELD=COLUMN", "Field of a label from a column or a {template}.")
    ] = None,
    constants: Annotated[
        Pairs, _pairs("--set", "FIELD=VALUE", "Field of rows that name none.")
    ] = None,
    traces_elsewhere: Annotated[
        bool, typer.Option("--traces-elsewhere", help="Take sessions that the lake does not know.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Read labels and ratings into the ledger. What it says already is counted as duplicate."""
    import evalbench as eb

    report = eb.label.import_labels(
        eb.open(workspace),
        path,
        surface=surface,
        columns=_parse_pairs(columns, "--map FIELD=COLUMN"),
        constants=_parse_pairs(constants, "--set FIELD=VALUE"),
        traces_elsewhere=traces_elsewhere,
    )
    _tell(report, "added", "rejected", "duplicates")


verdicts = typer.Typer(help="Verdicts of evaluators elsewhere.", no_args_is_help=True)
app.add_typer(verdicts, name="verdicts")


@verdicts.command("import")
def import_verdicts(
    path: Annotated[Path, typer.Argument(help="CSV or JSONL, a verdict a row.")],
    surface: Annotated[str, typer.Option(help="Surface of the sessions.")],
    evaluator: Annotated[str, typer.Option(help="Whose verdicts they are.")],
    columns: Annotated[
        list[str],
        _pairs("--map", "COLUMN=SOURCE", "Column of a verdict from a column or a {template}."),
    ],
    version: Annotated[str, typer.Option(help="Version of the evaluator.")] = "1",
    mode: Annotated[
        str | None,
        typer.Option(help="Failure mode of all, where no column has it; '' is the whole session."),
    ] = None,
    fails_when: Annotated[
        str, typer.Option(metavar="RULE", help="Scores that fail, such as '<0.5' or '=1'.")
    ] = "",
    values: Annotated[Pairs, _pairs("--value", "WRITTEN=READ", "Read Tie as 0.")] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Read verdicts into the lake. One that cannot be read is kept as silent, and counted."""
    import evalbench as eb

    report = eb.evaluate.import_verdicts(
        eb.open(workspace),
        path,
        surface=surface,
        evaluator=evaluator,
        version=version,
        columns=_parse_pairs(columns, "--map COLUMN=SOURCE"),
        mode=mode,
        values=_parse_pairs(values, "--value WRITTEN=READ"),
        fails_when=fails_when,
    )
    _tell(report, "added", "silent", "rejected", "duplicates")


@app.command()
def verify(workspace: WorkspaceOption = None) -> None:
    """Recompute the ledger's hash chain; print 0, or the first broken event's number."""
    import evalbench as eb

    broken = eb.open(workspace).ledger.verify()
    typer.echo(broken or 0)
    if broken is not None:
        typer.echo(f"the chain is broken at event {broken}: it was changed or removed", err=True)
        raise typer.Exit(1)


def _join_parameters(arguments: Sequence[str]) -> list[str]:
    """Turn ``-p NAME VALUE``, as papermill writes it, into the one value an option can take."""
    rest, joined = list(arguments), []
    while rest:
        joined.append(rest.pop(0))
        if joined[-1] == "-p" and len(rest) >= 2:
            joined.append(f"{rest.pop(0)}={rest.pop(0)}")
    return joined


def main(arguments: Sequence[str] | None = None) -> Any:
    """Entry point: one clear line and status 3 for an error, a traceback only with ``--debug``."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        sys.exit(app(_join_parameters(given), standalone_mode=False) or 0)
    except TyperException as error:
        message = error.format_message()
    except Exception as error:
        if debug:
            raise
        message = f"{type(error).__name__}: {error} (unexpected; --debug shows where)"
        if isinstance(error, EvalbenchError):
            message = str(error)
    typer.echo(f"evalbench: {message}", err=True)
    sys.exit(3)
