"""``evalbench doctor``: what works here, what does not, and what to do about it, a line each."""

import os
import platform
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalbench.cli.options import Workspace
from evalbench.errors import EvalbenchError

if TYPE_CHECKING:
    from evalbench.settings import Settings

LITTLE, TIGHT = 1e9, 10e9  # bytes that are too few to work with, and few
ASK = "evalbench doctor --network asks it"


def doctor(
    workspace: Workspace = None,
    network: Annotated[
        bool, typer.Option("--network", help="Ask a database and a lake elsewhere too.")
    ] = False,
    model: Annotated[str, typer.Option(help="Ask this model one question.")] = "",
) -> None:
    """Say what works here and what does not, with a remedy. Status 1 where something is broken."""
    from evalbench.settings import Settings, load_settings
    from evalbench.store.workspace import find_folder

    folder, settings, broken = find_folder(workspace), Settings(), []

    def check(name: str, look: Callable[[], tuple[str, str]], remedy: str) -> None:
        """Print what a check finds: what holds, and what is to be done where it is not all well."""
        try:
            about, to_do = look()
        except (EvalbenchError, OSError) as error:
            broken.append(name)
            about, to_do = str(error), remedy
        state = "broken" if name in broken else "note" if to_do else "ok"
        typer.echo(f"{state:<7}{name:<12}{about}" + (f". Remedy: {to_do}" if to_do else ""))

    check("environment", _check_environment, "pip install --force-reinstall evalbench")
    check("browser", _check_browser, "")
    try:
        settings = load_settings(folder / "evalbench.toml")
    except EvalbenchError as error:
        why = str(error)
        check("settings", lambda: _refuse(why), "mend that line of the file")
    check("database", lambda: _check_database(folder, settings, network), "put it back")
    check("lake", lambda: _check_lake(folder, settings, network), "mend it in evalbench.toml")
    check("models", lambda: _check_models(model), "mend its name, key or address")
    check("disk", lambda: _check_disk(folder), "make room, or move the workspace")
    check("secrets", lambda: _check_secrets(folder, settings), "chmod 600 the files")
    if broken:
        raise typer.Exit(1)


def _refuse(why: str) -> tuple[str, str]:
    raise EvalbenchError(why)


def _check_environment() -> tuple[str, str]:
    from packaging.requirements import Requirement

    from evalbench.report.runbook import NOTEBOOKS

    have = {each.name.lower().replace("_", "-"): each.version for each in metadata.distributions()}
    wanted = [Requirement(line) for line in metadata.requires("evalbench") or ()]
    own = [each for each in wanted if not each.marker]
    lacking = [str(each) for each in own if not each.specifier.contains(have.get(each.name, "0"))]
    books = sum(1 for _ in NOTEBOOKS.glob("*.ipynb"))
    about = f"Python {platform.python_version()}, evalbench {metadata.version('evalbench')}"
    if lacking or not books:
        _refuse(f"{about}, without {', '.join(lacking) or f'a notebook in {NOTEBOOKS}'}")
    return f"{about}, {books} notebooks", ""


def _check_browser() -> tuple[str, str]:
    from evalbench.report.runbook import find_browser

    browser = find_browser()
    return browser or "none: reports have no PDF", "" if browser else "install Chromium or Chrome"


def _check_database(folder: Path, settings: "Settings", network: bool) -> tuple[str, str]:
    from sqlalchemy import select

    from evalbench.store.database import HEAD, describe, inspect_database, read_address, transact
    from evalbench.store.workspace import SECRET, locate_ledger

    address = read_address(locate_ledger(folder, settings))
    if address.get_backend_name() != "sqlite":
        if not network:
            return f"{address.host}/{address.database}, not asked", ASK
    elif not (folder / SECRET).exists() and not Path(address.database or "").exists():
        return f"no workspace at {folder}", "evalbench ingest makes it"
    with inspect_database(locate_ledger(folder, settings)) as (engine, writable):
        with transact(engine, reads=True) as connection:
            last = connection.execute(select(HEAD.c.seq)).scalar() or 0
        about = f"{last:,} events in {describe(engine)}"
    return about, "" if writable else "it can only be read: ask for the right to write"


def _check_lake(folder: Path, settings: "Settings", network: bool) -> tuple[str, str]:
    from evalbench.store.lake import Lake
    from evalbench.store.workspace import locate_lake

    place = locate_lake(folder, settings)
    if "://" in place and not network:
        return f"{place}, not asked", ASK
    versions = Lake(place, settings.lake_options).versions()
    tables = ", ".join(f"{table} {version}" for table, version in versions.items())
    return f"{place}: {tables or 'empty'}", "" if tables else "evalbench ingest fills it"


def _check_models(model: str) -> tuple[str, str]:
    keys = sorted(name for name in os.environ if name.endswith(("_API_KEY", "_API_BASE")))
    if not model:
        to_do = "set OPENAI_API_KEY, say, for a model to judge; offline/rubric needs no key"
        return f"{', '.join(keys) or 'no key'} in the environment", "" if keys else to_do
    from evalbench import llm

    asked = [{"role": "user", "content": "Answer with the word yes."}]
    reply = llm.complete(asked, model=model, limits=llm.Limits(tries=1, timeout_seconds=20))
    return _refuse(f"{model}: {reply.error}") if reply.error else (f"{model} answers", "")


def _check_disk(folder: Path) -> tuple[str, str]:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(there).free
    about = f"{free / 1e9:,.1f} GB free at {there}"
    return _refuse(about) if free < LITTLE else (about, "soon make room" if free < TIGHT else "")


def _check_secrets(folder: Path, settings: "Settings") -> tuple[str, str]:
    from evalbench.store.workspace import SECRET

    own, file = folder / SECRET, folder / "evalbench.toml"
    if (folder / settings.lake).exists() and not (own.exists() or settings.user_key_secret):
        to_do = "put it back, or set user_key_secret in evalbench.toml"
        _refuse(f"{own} was lost, so that users get other keys: {to_do}")
    holds = settings.user_key_secret or settings.lake_options or ":" in settings.ledger
    told = [each for each in (own, *([file] if holds else [])) if each.exists()]
    if readable := [str(each) for each in told if each.stat().st_mode & 0o077]:
        _refuse(f"others may read {' and '.join(readable)}")
    return "nobody else may read them" if told else "none yet", ""
