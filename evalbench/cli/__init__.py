"""The command line. It only forwards: what it does, a notebook or a function does."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

import evalbench as eb
from evalbench.cli.doctor import doctor
from evalbench.cli.gate import gate, override
from evalbench.cli.golden import golden
from evalbench.cli.issues import issues
from evalbench.cli.options import (
    Columns,
    Pairs,
    Release,
    Sources,
    Suite,
    Surface,
    Table,
    Workspace,
    Written,
    pairs_of,
    show_progress,
    tell,
)
from evalbench.cli.project import init
from evalbench.cli.record import print_scorecard, record
from evalbench.cli.team import forget, grant
from evalbench.errors import CellError, EvalbenchError

app = typer.Typer(
    help="Evaluate an AI product on its real production traffic.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich takes half a second to load
)


@app.command()
def demo(
    workspace: Workspace = None,
    sessions: Annotated[int, typer.Option(min=60, help="Sessions a surface.")] = 5000,
    seed: Annotated[int, typer.Option(help="Same seed, same company.")] = 7,
) -> None:
    """Run the whole journey on a simulated company."""
    from evalbench.demo.journey import run_demo

    run_demo(workspace or Path("data/demo"), sessions_per_surface=sessions, seed=seed)


@app.command()
def ingest(
    path: Annotated[str, typer.Argument(help="Traces: a file, or a pattern of files or objects.")],
    surface: Annotated[
        str, typer.Option(help="Product surface the traces belong to.  [required]")
    ] = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="Write nothing: say how it would be read.")
    ] = False,
    trace_format: Annotated[str, typer.Option("--format", help="Else told by its names.")] = "auto",
    columns: Sources = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Read a source anew, in place of what it brought.")
    ] = False,
    run: Annotated[str, typer.Option(help="They are outputs of this run on a suite.")] = "",
    suite: Suite = None,
    release: Release = None,
    workspace: Workspace = None,
) -> None:
    """Read traces into the lake. What was read before is counted as duplicate."""
    how: dict[str, Any] = {"format": trace_format, "columns": dict(columns or ())}
    if explain:
        from evalbench.observe.explain import explain as say

        typer.echo(say(path, surface=surface or "my_product", **how))
        return
    if not surface:
        raise typer.BadParameter("Missing option '--surface'.")
    ws = eb.open(workspace)
    surface = f"{surface}@{run}" if run else surface
    with show_progress(f"ingest {Path(path).name}") as progress:
        how |= {"replace": replace, "progress": progress}
        report = eb.observe.ingest(ws, path, surface=surface, **how)
    collisions = ["collisions"] if report.collisions else []
    counts = ("sessions", "spans", "rejected", "duplicates", *collisions)
    tell(report, *counts, hint=f"See evalbench ingest --explain {path}, or name")
    _record_runs(ws, [surface], suite=suite, release=release)


def _record_runs(ws: Any, surfaces: Sequence[str], **about: Any) -> None:
    from evalbench.release.runs import is_run, record_run

    for recorded in (record_run(ws, each, **about) for each in surfaces if is_run(each)):
        counts = f"cases={recorded.cases} repeats={recorded.repeats}"
        said = f"run={recorded.run} suite={recorded.suite} version={recorded.suite_version}"
        typer.echo(f"{said} {counts}", err=True)


@app.command()
def baseline(
    surface: Annotated[str, typer.Argument(help="Product surface.")],
    run: Annotated[str, typer.Argument(help="A run that is on record.")],
    workspace: Workspace = None,
) -> None:
    """Compare later candidates of a surface with this run."""
    from evalbench.release.runs import set_baseline

    body = set_baseline(eb.open(workspace), surface, run)
    typer.echo(f"baseline of {body.surface}, suite {body.suite}: {body.run}")


@app.command()
def show(
    surface: Annotated[str, typer.Argument(help="Product surface.")],
    session_id: Annotated[str, typer.Argument(help="The session.")],
    workspace: Workspace = None,
) -> None:
    """Print a session as text, as people and judges see it."""
    typer.echo(eb.read_session(eb.open(workspace), surface, session_id).text())


@app.command()
def run(
    notebook: Annotated[str, typer.Argument(help="A notebook by name, such as 11_impact.")],
    parameters: Annotated[Pairs, pairs_of("-p", "NAME VALUE", "Set a parameter.")] = None,
    workspace: Workspace = None,
    reports: Annotated[Path, typer.Option(help="Folder that takes the reports.")] = Path("reports"),
) -> None:
    """Execute a notebook, and print where its report is."""
    from evalbench.report import runbook

    ws, found = eb.open(workspace), runbook.find_notebook(notebook)
    if found.resolve().parent != runbook.NOTEBOOKS:
        typer.echo(f"runs {found}", err=True)
    with show_progress(f"run {notebook}") as progress:
        how: dict[str, Any] = {"workspace": ws, "reports": reports, "progress": progress}
        done = runbook.run(notebook, dict(parameters or ()), **how)
    if done.pdf is None:
        typer.echo("no PDF: no Chromium or Chrome was found", err=True)
    typer.echo(done.html)


Person = Annotated[str, typer.Option("--user", help="Whose page.  [default: the computer's user]")]
Port = Annotated[int, typer.Option(min=1, max=65485, help="Port on this computer, or one near.")]
Browser = Annotated[bool, typer.Option(help="Whether to open the page.")]


def _serve(first: str, workspace: Path | None, user: str, port: int, browser: bool, **how: object):
    from evalbench.widgets.served import PAGES
    from evalbench.widgets.server import serve

    def opened(address: str) -> None:
        typer.echo(address)
        if browser:
            typer.launch(address)

    ws = eb.open(workspace, user=user or None)
    serve(PAGES, first, workspace=ws, port=port, opened=opened, **how)


@app.command()
def annotate(
    workspace: Workspace = None,
    surface: Annotated[str, typer.Option(help="Only queues of this surface.")] = "all",
    queue: Annotated[int, typer.Option(min=0, help="Its number; 0 is the newest open one.")] = 0,
    user: Person = "",
    port: Port = 8866,
    browser: Browser = True,
) -> None:
    """Label by keyboard: serve the desk on this computer until Ctrl-C, or open one that is."""
    _serve("annotate", workspace, user, port, browser, surface=surface, queue=queue)


@app.command()
def adjudicate(
    workspace: Workspace = None,
    surface: Annotated[str, typer.Option(help="Whose sessions.  [default: the first]")] = "",
    user: Person = "",
    port: Port = 8866,
    browser: Browser = True,
) -> None:
    """Decide where annotators disagree: serve the desk until Ctrl-C, or open one that is."""
    _serve("adjudicate", workspace, user, port, browser, surface=surface)


@app.command()
def browse(
    query: Annotated[str, typer.Argument(help='Words and filters: "late refund" release=2.1')] = "",
    surface: Annotated[str, typer.Option(help="Whose sessions.  [default: the first]")] = "",
    workspace: Workspace = None,
    user: Person = "",
    port: Port = 8866,
    browser: Browser = True,
) -> None:
    """Look through all sessions: serve them on this computer until Ctrl-C, or open a server."""
    _serve("browse", workspace, user, port, browser, surface=surface, query=query)


labels, codebook, verdicts = (typer.Typer(no_args_is_help=True) for _ in range(3))
app.add_typer(labels, name="labels", help="Labels, ratings and notes to a file, and from one.")
app.add_typer(codebook, name="codebook", help="Failure modes to a file, and from one.")
app.command()(init)
app.command()(doctor)
app.command()(gate)
app.command()(grant)
app.command()(forget)
app.add_typer(override, name="override", help="Ship in spite of a gate, on the record.")
app.add_typer(golden, name="golden", help="Cases that a release must not fail again.")
app.add_typer(issues, name="issues", help="Failures, followed until a fix is shown.")
app.add_typer(record, name="record", help="Metrics, targets, releases and decisions.")
app.command("scorecard")(print_scorecard)
app.add_typer(verdicts, name="verdicts", help="Verdicts of evaluators elsewhere.")


@labels.command("export")
def export_labels(path: Written, surface: Surface = None, workspace: Workspace = None) -> None:
    """Write every label, rating and note to a file."""
    typer.echo(f"written={eb.label.export_labels(eb.open(workspace), path, surface=surface)}")


@labels.command("import")
def import_labels(
    path: Table,
    surface: Surface = None,
    annotator: Annotated[str | None, typer.Option(help="Who gave rows that name nobody.")] = None,
    criterion: Annotated[str | None, typer.Option(help="What the value of a row rates.")] = None,
    columns: Columns = None,
    traces_elsewhere: Annotated[
        bool, typer.Option("--traces-elsewhere", help="Take sessions that the lake does not know.")
    ] = False,
    workspace: Workspace = None,
) -> None:
    """Read labels, ratings and notes into the ledger. What it has is counted as duplicate."""
    how: dict[str, Any] = {"surface": surface, "annotator": annotator, "criterion": criterion}
    how |= {"columns": dict(columns or ()), "traces_elsewhere": traces_elsewhere}
    report = eb.label.import_labels(eb.open(workspace), path, **how)
    tell(report, "added", "rejected", "duplicates")


@codebook.command("export")
def export_codebook(path: Written, surface: Surface = None, workspace: Workspace = None) -> None:
    """Write every failure mode that stands to a file."""
    typer.echo(f"written={eb.label.export_codebook(eb.open(workspace), path, surface=surface)}")


@codebook.command("import")
def import_codebook(
    path: Table, surface: Surface = None, columns: Columns = None, workspace: Workspace = None
) -> None:
    """Define failure modes from a file, and edit those that it says otherwise of."""
    from evalbench.label.codebook.acts import read_codebook

    how: dict[str, Any] = {"surface": surface, "columns": dict(columns or ())}
    ws = eb.open(workspace)
    report = eb.label.import_codebook(ws, path, **how)
    for mode in read_codebook(ws.ledger).modes.values():
        if mode.missing and not mode.ended and mode.surface == (surface or mode.surface):
            typer.echo(f"{mode.mode} is a draft: it lacks {', '.join(mode.missing)}", err=True)
    tell(report, "added", "rejected", "duplicates")


@verdicts.command("import")
def import_verdicts(
    path: Table,
    surface: Annotated[str, typer.Option(help="Surface of the sessions.")],
    evaluator: Annotated[str, typer.Option(help="Whose verdicts they are.")],
    mode: Annotated[
        str | None, typer.Option(help="Of rows that name none; '' is the session as a whole.")
    ] = None,
    columns: Columns = None,
    version: Annotated[str, typer.Option(help="Version of the evaluator.")] = "1",
    fails_when: Annotated[str, typer.Option(help="Scores that fail, as '<0.5' or '=1'.")] = "",
    values: Annotated[Pairs, pairs_of("--value", "WRITTEN=READ", "Read Tie as 0.")] = None,
    suite: Suite = None,
    release: Release = None,
    workspace: Workspace = None,
) -> None:
    """Read verdicts into the lake. One that cannot be read is kept as silent, and counted."""
    how: dict[str, Any] = {
        "surface": surface,
        "evaluator": evaluator,
        "version": version,
        "mode": mode,
    }
    how |= {"columns": dict(columns or ()), "values": dict(values or ()), "fails_when": fails_when}
    ws = eb.open(workspace)
    report = eb.evaluate.import_verdicts(ws, path, **how)
    tell(report, "added", "silent", "rejected", "duplicates")
    _record_runs(ws, report.surfaces, suite=suite, release=release)


@app.command()
def anchor(
    file: Annotated[Path, typer.Argument(help="File to write, and to keep elsewhere.")],
    key: Annotated[Path | None, typer.Option(help="SSH key that signs it, as FILE.sig.")] = None,
    workspace: Workspace = None,
) -> None:
    """Write number and hash of the ledger's last event to a file for evalbench verify."""
    from evalbench.store.anchor import write_anchor

    written = write_anchor(workspace, file, key=key)
    typer.echo(f"seq={written.seq} hash={written.hash}")


@app.command()
def bundle(
    report: Annotated[Path, typer.Argument(help="Folder of a report.")],
    file: Annotated[Path, typer.Argument(help="Zip file to write, for evalbench verify.")],
    workspace: Workspace = None,
) -> None:
    """Pack a report with the events and versions that it rests on, for an auditor."""
    from evalbench.store.bundle import write_bundle

    typer.echo(f"events={write_bundle(eb.open(workspace), report, file)}")


@app.command("verify")
def verify_all(
    reports: Annotated[Path, typer.Option(help="Folder of reports.")] = Path("reports"),
    anchor: Annotated[Path | None, typer.Option(help="File of evalbench anchor.")] = None,
    signers: Annotated[
        Path | None, typer.Option(help="Allowed signers, one of whom signed the anchor.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Check this bundle instead.")] = None,
    workspace: Workspace = None,
) -> None:
    """Check ledger, lake, reports and an anchor. Prints 0, or what is broken with status 1."""
    from evalbench.store.bundle import verify_bundle
    from evalbench.store.verification import verify

    how: dict[str, Any] = {"reports": reports, "anchor": anchor, "signers": signers}
    found = verify_bundle(bundle) if bundle else verify(workspace, **how)
    for note in found.notes:
        typer.echo(note, err=True)
    typer.echo("\n".join(found.flaws) or 0)
    if found.flaws:
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

    Status 2 is a wrong command line, 3 a refusal, and 1 what nobody meant to happen, or a file of
    which nothing could be used.
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
        refused = isinstance(error, EvalbenchError) and not isinstance(error, CellError)
        message = f"{type(error).__name__}: {error} (unexpected; --debug shows where)"
        typer.echo(f"evalbench: {error if refused else message}", err=True)
    sys.exit(3 if refused else 1)
