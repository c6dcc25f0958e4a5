"""The command line. It only forwards: what it does, a notebook or a function does."""

from __future__ import annotations

import json
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


MAP = "--map FIELD=COLUMN"
Columns = Annotated[Pairs, _pairs(*MAP.split(), "Field from a column or a {template}.")]
SurfaceOption = Annotated[str | None, typer.Option("--surface", help="Surface of the rows.")]
Read = Annotated[Path, typer.Argument(help="CSV, JSONL, JSON list, Parquet or XLSX.")]
Written = Annotated[Path, typer.Argument(help="File to write: .csv, else JSONL.")]
GROUP: dict[str, Any] = {"no_args_is_help": True}


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


def _tell(report: Any, *names: str) -> None:
    """Say what became of a file; the counts are the last line. Status 1 where all was rejected."""
    counts = {name: getattr(report, name) for name in names}
    if unused := getattr(report, "unused", ()):
        typer.echo(f"columns that nothing was read from: {', '.join(unused)}", err=True)
    if report.rejected:
        typer.echo(f"rejects, with line and reason: {report.rejects_path}", err=True)
    typer.echo(" ".join(f"{name}={count}" for name, count in counts.items()))
    if report.rejected and report.rejected == sum(counts.values()):
        with report.rejects_path.open(encoding="utf-8") as rejects:
            first = json.loads(next(rejects))
        typer.echo(
            f"Nothing was taken in: every row was rejected. Line {first['line']}: "
            f"{first['reason']}. Name the right columns with --map, or mend each text in "
            "the file of rejects and give that file in place of the first.",
            err=True,
        )
        raise typer.Exit(1)


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


labels = typer.Typer(help="Labels, ratings and notes to a file, and from one.", **GROUP)
codebook = typer.Typer(help="The codebook to a file, and from one.", **GROUP)
verdicts = typer.Typer(help="Verdicts of evaluators elsewhere.", **GROUP)
app.add_typer(labels, name="labels")
app.add_typer(codebook, name="codebook")
app.add_typer(verdicts, name="verdicts")


@labels.command("export")
def export_labels(
    path: Written, surface: SurfaceOption = None, workspace: WorkspaceOption = None
) -> None:
    """Write every label, rating and note to a file."""
    import evalbench as eb

    typer.echo(f"written={eb.label.export_labels(eb.open(workspace), path, surface=surface)}")


@labels.command("import")
def import_labels(
    path: Read,
    surface: SurfaceOption = None,
    annotator: Annotated[str | None, typer.Option(help="Who gave rows that name nobody.")] = None,
    criterion: Annotated[str | None, typer.Option(help="What the value of a row rates.")] = None,
    columns: Columns = None,
    traces_elsewhere: Annotated[
        bool, typer.Option("--traces-elsewhere", help="Take sessions that the lake does not know.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Read labels, ratings and notes into the ledger. What it has is counted as duplicate."""
    import evalbench as eb

    report = eb.label.import_labels(
        eb.open(workspace),
        path,
        surface=surface,
        annotator=annotator,
        criterion=criterion,
        columns=_parse_pairs(columns, MAP),
        traces_elsewhere=traces_elsewhere,
    )
    _tell(report, "added", "rejected", "duplicates")


@codebook.command("export")
def export_codebook(
    path: Written, surface: SurfaceOption = None, workspace: WorkspaceOption = None
) -> None:
    """Write every failure mode that stands to a file."""
    import evalbench as eb

    typer.echo(f"written={eb.label.export_codebook(eb.open(workspace), path, surface=surface)}")


@codebook.command("import")
def import_codebook(
    path: Read,
    surface: SurfaceOption = None,
    columns: Columns = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Define failure modes from a file, and edit those that it says otherwise of."""
    import evalbench as eb

    mapped = _parse_pairs(columns, MAP)
    ws = eb.open(workspace)
    report = eb.label.import_codebook(ws, path, surface=surface, columns=mapped)
    _tell(report, "added", "rejected", "duplicates")


@verdicts.command("import")
def import_verdicts(
    path: Read,
    surface: Annotated[str, typer.Option(help="Surface of the sessions.")],
    evaluator: Annotated[str, typer.Option(help="Whose verdicts they are.")],
    mode: Annotated[
        str | None,
        typer.Option(help="Failure mode of rows that name none; '' is the whole session."),
    ] = None,
    columns: Columns = None,
    version: Annotated[str, typer.Option(help="Version of the evaluator.")] = "1",
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
        mode=mode,
        version=version,
        columns=_parse_pairs(columns, MAP),
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
    """Run a command; an error is one clear line, and a traceback only with ``--debug``.

    Status 2 is a wrong command line, 1 a file of which nothing could be used, 3 any other error.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        sys.exit(app(_join_parameters(given), standalone_mode=False) or 0)
    except TyperException as error:
        typer.echo(f"evalbench: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        message = f"{type(error).__name__}: {error} (unexpected; --debug shows where)"
        if isinstance(error, EvalbenchError):
            message = str(error)
    typer.echo(f"evalbench: {message}", err=True)
    sys.exit(3)
