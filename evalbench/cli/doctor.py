"""``evalbench doctor``: what works here, what does not, and what to do about it, a line each."""

import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from evalbench.cli.options import Workspace
from evalbench.errors import EvalbenchError
from evalbench.settings import Settings, load_settings

LITTLE, TIGHT = 1e9, 10e9  # bytes that are too few to work with, and few


class Finding(NamedTuple):
    """What was found: ``ok``, a ``note`` on what works in part, or ``broken``; and the remedy."""

    state: str
    about: str
    remedy: str = ""


def doctor(
    workspace: Workspace = None,
    network: Annotated[
        bool, typer.Option("--network", help="Ask a database and a lake elsewhere too.")
    ] = False,
    model: Annotated[str, typer.Option(help="Ask this model one question.")] = "",
) -> None:
    """Say what works here and what does not, with a remedy. Status 1 where something is broken."""
    from evalbench.store.workspace import find_folder

    folder, settings = find_folder(workspace), Settings()
    findings = [*_check_programs()]
    try:
        settings = load_settings(folder / "evalbench.toml")
    except EvalbenchError as error:
        findings.append(("settings", Finding("broken", str(error), "mend that line of the file")))
    findings += [
        ("database", _check_database(folder, settings, network)),
        ("lake", _check_lake(folder, settings, network)),
        ("models", _check_models(model)),
        ("disk", _check_disk(folder)),
        ("secrets", _check_secrets(folder, settings)),
    ]
    for name, (state, about, remedy) in findings:
        typer.echo(f"{state:<7}{name:<12}{about}" + (f". Remedy: {remedy}" if remedy else ""))
    if any(finding.state == "broken" for _, finding in findings):
        raise typer.Exit(1)


def _check_programs() -> Iterator[tuple[str, Finding]]:
    from packaging.requirements import Requirement

    from evalbench.report import runbook

    wanted = [Requirement(line) for line in metadata.requires("evalbench") or ()]
    lacking = [str(each) for each in wanted if not (each.marker or _has(each.name, each.specifier))]
    about = f"Python {platform.python_version()}, evalbench {metadata.version('evalbench')}"
    remedy = "pip install --upgrade evalbench"
    lacks = Finding("broken", f"{about}, without {', '.join(lacking)}", remedy)
    yield "environment", lacks if lacking else Finding("ok", about)
    names = sorted(path.stem for path in runbook.NOTEBOOKS.glob("*.ipynb"))
    none = Finding(
        "broken", f"none in {runbook.NOTEBOOKS}", "pip install --force-reinstall evalbench"
    )
    yield "notebooks", Finding("ok", f"{len(names)} in {runbook.NOTEBOOKS}") if names else none
    browser, remedy = runbook.find_browser(), "install Chromium or Chrome"
    none = Finding("note", "none: reports are pages without PDF and slides", remedy)
    yield "browser", Finding("ok", browser) if browser else none


def _has(name: str, specifier: object) -> bool:
    try:
        return metadata.version(name) in specifier  # type: ignore[operator]
    except metadata.PackageNotFoundError:
        return False


def _check_database(folder: Path, settings: Settings, network: bool) -> Finding:
    from sqlalchemy import select

    from evalbench.store.database import HEAD, describe, inspect_database, read_address, transact
    from evalbench.store.workspace import locate_ledger

    try:
        address = read_address(locate_ledger(folder, settings))
        if not folder.exists():
            return Finding("note", f"no workspace at {folder}", "evalbench ingest makes it")
        if address.get_backend_name() != "sqlite" and not network:
            where = address.render_as_string(hide_password=True).partition("?")[0]
            return Finding("note", f"{where}, not asked", "evalbench doctor --network asks it")
        if not Path(address.database or "").exists() and not any(folder.rglob("secret")):
            return Finding("note", f"none in {folder}", "evalbench ingest makes it")
        with inspect_database(locate_ledger(folder, settings)) as (engine, writable):
            with transact(engine, reads=True) as connection:
                last = connection.execute(select(HEAD.c.seq)).scalar() or 0
            about = f"{last:,} events in {describe(engine)}"
    except (EvalbenchError, OSError) as error:
        return Finding("broken", str(error), "put it back, or mend ledger in evalbench.toml")
    readable = Finding("note", f"{about}, to read only", "give yourself the right to write there")
    return Finding("ok", about) if writable else readable


def _check_lake(folder: Path, settings: Settings, network: bool) -> Finding:
    from evalbench.store.lake import Lake
    from evalbench.store.workspace import locate_lake

    place = locate_lake(folder, settings)
    if "://" in place and not network:
        return Finding("note", f"{place}, not asked", "evalbench doctor --network asks it")
    if "://" not in place and not Path(place).exists():
        return Finding("note", f"nothing at {place}", "evalbench ingest fills it")
    try:
        versions = Lake(place, settings.lake_options).versions()
    except (EvalbenchError, OSError) as error:
        return Finding("broken", str(error), "mend lake and lake_options in evalbench.toml")
    tables = ", ".join(f"{table} {version}" for table, version in versions.items()) or "empty"
    return Finding("ok", f"{place}: {tables}")


def _check_models(model: str) -> Finding:
    keys = sorted(name for name in os.environ if name.endswith(("_API_KEY", "_API_BASE")))
    if not model:
        remedy = "set OPENAI_API_KEY, say, for a model to judge; offline/rubric needs no key"
        none = Finding("note", "no key in the environment", remedy)
        return Finding("ok", f"{', '.join(keys)} set; --model NAME asks one") if keys else none
    from evalbench import llm

    asked = [{"role": "user", "content": "Answer with the word yes."}]
    try:
        reply = llm.complete(asked, model=model, limits=llm.Limits(tries=1, timeout_seconds=20))
    except EvalbenchError as error:
        return Finding("broken", str(error), "set its key, or mend its name")
    failed = Finding("broken", f"{model}: {reply.error}", "check its name, key and address")
    return failed if reply.error else Finding("ok", f"{model} answers")


def _check_disk(folder: Path) -> Finding:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(there).free
    state = "broken" if free < LITTLE else "note" if free < TIGHT else "ok"
    remedy = "" if state == "ok" else "make room, or move the workspace"
    return Finding(state, f"{free / 1e9:,.1f} GB free at {there}", remedy)


def _check_secrets(folder: Path, settings: Settings) -> Finding:
    from evalbench.store.workspace import SECRET

    own = folder / SECRET
    if (folder / settings.lake).exists() and not (own.exists() or settings.user_key_secret):
        remedy = "put it back, or set user_key_secret in evalbench.toml"
        return Finding("broken", f"{own} was lost: users get other keys", remedy)
    holds_secret = settings.user_key_secret or settings.lake_options or ":" in settings.ledger
    private = [own, *([folder / "evalbench.toml"] if holds_secret else [])]
    open_ones = [str(file) for file in private if file.exists() and file.stat().st_mode & 0o077]
    if open_ones:
        remedy = f"chmod 600 {' '.join(open_ones)}"
        return Finding("broken", "others may read what keys the hashes of users", remedy)
    return Finding("ok", "nobody else may read them" if own.exists() else "none yet")
