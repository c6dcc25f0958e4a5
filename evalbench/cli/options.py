"""What commands share: their options, and how they tell what became of a file."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from evalbench.errors import EvalbenchError


def _parse_pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"expected NAME=VALUE, got {text!r}")
    return name, value


def pairs_of(name: str, form: str, what: str) -> Any:
    """Make an option that takes pairs of a name and a value."""
    return typer.Option(name, metavar=form, parser=_parse_pair, help=f"{what} Repeatable.")


Pairs = list[tuple] | None
Table = Annotated[Path, typer.Argument(help="CSV, JSONL, JSON list, Parquet or XLSX.")]
Written = Annotated[Path, typer.Argument(help="File to write: .csv, else JSONL.")]
Surface = Annotated[str | None, typer.Option("--surface", help="Surface of the rows.")]
Columns = Annotated[Pairs, pairs_of("--map", "FIELD=COLUMN", "Field from a column or {template}.")]
Sources = Annotated[
    Pairs, pairs_of("--map", "COLUMN=SOURCE", "Column from a field, a dotted path or a {template}.")
]
_FOLDER = "Folder of the workspace, made on first use.  [default: data/workspace]"
Suite = Annotated[
    Literal["golden", "regression", "adversarial", "policy", "segment", "canary"] | None,
    typer.Option(help="Suite of cases that a run was on.  [default: golden]", show_default=False),
]
Release = Annotated[str | None, typer.Option(help="Release that a run is of.")]
Workspace = Annotated[Path | None, typer.Option("--workspace", help=_FOLDER, show_default=False)]


@contextmanager
def show_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error; the callable takes what is done and what there is to do."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def tell(report: Any, *names: str, hint: str = "Name") -> None:
    """Say what became of a file; the counts are the last line. Status 1 where all was rejected."""
    counts = {name: getattr(report, name) for name in names}
    if unused := getattr(report, "unused", ()):
        typer.echo(f"columns that nothing was read from: {', '.join(unused)}", err=True)
    if warning := getattr(report, "warning", ""):
        typer.echo(warning, err=True)
    if report.rejects_path:
        typer.echo(f"rejects, with line and reason: {report.rejects_path}", err=True)
    typer.echo(" ".join(f"{name}={count}" for name, count in counts.items()))
    refused = report.rejected + counts.get("collisions", 0)
    if refused and refused == sum(counts.values()):
        with report.rejects_path.open(encoding="utf-8") as rejects:
            first = json.loads(next(rejects))
        typer.echo(
            f"Nothing was taken in: every row was rejected. Line {first['line']}: "
            f"{first['reason']}. {hint} the right columns with --map, or mend each text in "
            "the file of rejects and give that file in place of the first.",
            err=True,
        )
        raise typer.Exit(1)


def one_line(text: str) -> str:
    """Write what people wrote on one line of a terminal, its hidden characters shown."""
    from evalbench.label.annotation.markdown import visible

    return " ".join(visible(text).split())


def open_at(workspace: Path | None, surface: str | None) -> Any:
    """Open a workspace; EvalbenchError where neither lake nor codebook knows the surface."""
    from evalbench.label.codebook.acts import read_codebook
    from evalbench.store.workspace import open_workspace

    ws = open_workspace(workspace)
    known = {*ws.lake.sessions().select("surface").unique().collect()["surface"]}
    known |= {where for where, _ in read_codebook(ws.ledger).modes}
    if surface and known and surface not in known:
        named = ", ".join(sorted(known))
        raise EvalbenchError(f"no surface is called {surface!r}; there are {named}")
    return ws
