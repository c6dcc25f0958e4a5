"""``evalbench init``: a project folder with notebooks to edit, settings and an example for CI."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

SETTINGS = Path(__file__).with_name("evalbench.toml")
IGNORED = "/data/workspace/*\n!/data/workspace/evalbench.toml\n/reports/\n"


def init(folder: Annotated[Path, typer.Argument(help="Made on first use.")] = Path()) -> None:
    """Lay a project folder: notebooks to edit, settings, an example for CI. Overwrites nothing."""
    from evalbench.report.runbook import NOTEBOOKS

    examples = NOTEBOOKS.parent / "docs/ci"
    wanted = {Path("data/workspace/evalbench.toml"): SETTINGS}
    wanted |= {Path("notebooks", path.name): path for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    wanted |= {Path("docs/ci", path.name): path for path in sorted(examples.iterdir())}
    (folder / "data/workspace").mkdir(parents=True, exist_ok=True)
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text(IGNORED, encoding="utf-8")
    kept = [name for name in wanted if (folder / name).exists()]
    for name, source in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name not in kept:
            shutil.copy(source, folder / name)
    typer.echo(
        f"{len(wanted) - len(kept)} files made in {folder}; evalbench run takes its notebooks"
    )
    if kept:
        typer.echo(f"kept as they are: {', '.join(map(str, kept))}")
    typer.echo("next: evalbench ingest --explain FILE there says how it would read your traces")
