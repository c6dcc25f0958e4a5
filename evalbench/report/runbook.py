"""Run a notebook with strict parameters, and leave a report that says what it was made from."""

import ast
import hashlib
import platform
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import orjson
import papermill  # type: ignore[import-untyped]
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError  # type: ignore[import-untyped]
from pydantic import TypeAdapter, ValidationError

from evalbench import errors
from evalbench.errors import CellError, NotebookError
from evalbench.label.annotation.markdown import render_markdown
from evalbench.report.kernel import ENGINE, start_kernel
from evalbench.report.report import write_json
from evalbench.schema import ReportPublished
from evalbench.store.chain import GENESIS
from evalbench.store.workspace import Workspace

_PACKAGE = Path(__file__).parents[1]
NOTEBOOKS = next(filter(Path.is_dir, [_PACKAGE / "notebooks"]), _PACKAGE.parent / "notebooks")
"""The notebooks lie inside the package in a wheel, and beside it in the repository."""

_TEMPLATES = Path(__file__).parent / "templates"
_BROWSERS = (
    *"chromium chromium-browser google-chrome google-chrome-stable chrome msedge".split(),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_HEADLESS = (
    # Containers have no sandbox; the page runs no script and loads nothing.
    *"--headless --no-sandbox --disable-gpu --no-first-run --no-pdf-header-footer".split(),
    # The browser's maker is not asked for anything either: no name is found, no proxy is there.
    *"--disable-background-networking --disable-component-update --disable-sync".split(),
    "--host-resolver-rules=MAP * ~NOTFOUND",
    *"--proxy-server=127.0.0.1:9 --proxy-bypass-list=<-loopback>".split(),
)
Progress = Callable[[int, int], None]
_PLACES = ("workspace", "folder")
_PINS: dict[str, Any] = {"lake_versions": dict[str, int], "ledger_seq": int}


@dataclass(frozen=True, slots=True)
class Run:
    """Where one run of a notebook left its report: ``{reports}/{notebook}/{run}``.

    In the ``folder`` lie the executed ``notebook``, the page ``html``, which loads nothing, ``pdf``
    (None without a browser), ``result`` and ``manifest``: what it was made from.
    """

    folder: Path
    notebook: Path
    html: Path
    pdf: Path | None
    result: Path
    manifest: Path


def run(
    notebook: str,
    parameters: Mapping[str, object],
    *,
    workspace: Workspace,
    reports: str | Path,
    progress: Progress = lambda done, total: None,
) -> Run:
    """Execute a notebook on a workspace and publish its report under ``reports``.

    ``notebook`` is a name such as "11_impact" or a path; a parameter given as text is read as the
    type of its default; ``progress`` is called with the number of cells done and of all.

    What the parameters do not pin is pinned to the present. Reports themselves do not move the pin,
    so the same parameters on the same data give the same folder, ``result.json`` and tables, byte
    for byte. The report is made aside and takes its place whole; the ledger hears of it only then.

    Raises NotebookError for no such notebook, a parameter that is unknown, missing or of another
    type, a pin that the ledger has not reached, or a cell that
    refused; CellError for one that failed otherwise.
    """
    source = find_notebook(notebook)
    start_kernel()
    given = _check_parameters(source, parameters)
    _pin(given, workspace)
    ledger = _read_hash(workspace, given["ledger_seq"])
    identity = orjson.dumps([source.stem, given], option=orjson.OPT_SORT_KEYS)
    folder = Path(reports).absolute() / source.stem / hashlib.sha256(identity).hexdigest()[:12]
    made = folder.with_name(f".{folder.name}-unfinished-{uuid.uuid4().hex[:8]}")
    made.mkdir(parents=True)
    executed, result = made / source.name, made / "result.json"
    places = {"workspace": str(workspace.path.absolute()), "folder": str(made)}
    _execute(source, executed, {**given, **places}, progress)
    if not result.exists():
        raise NotebookError(f"{source.name} wrote no result.json: its last cell must do so")
    if (pins := made / "pins.json").exists():
        given |= orjson.loads(pins.read_bytes())
        pins.unlink()
    executed.write_text(executed.read_text("utf-8").replace(made.name, folder.name), "utf-8")
    digest = hashlib.sha256(result.read_bytes()).hexdigest()
    html = made / "report.html"
    html.write_text(_render_html(executed, ledger), encoding="utf-8")
    pdf = _print_pdf(html, made / "report.pdf")
    _draw_slides(html, made / "figures")
    about = {"ledger": ledger, "result_sha256": digest, "workspace": workspace.identity}
    write_json(made / "manifest.json", _manifest(source, given) | about)
    _put_in_place(made, folder)
    _publish(workspace, f"{source.stem}/{folder.name}", given, digest)
    shown = folder / html.name, pdf and folder / pdf.name
    return Run(folder, folder / source.name, *shown, folder / result.name, folder / "manifest.json")


def find_notebook(notebook: str) -> Path:
    """Find a notebook by name, first in ``notebooks`` of this folder, or take the path of one."""
    if notebook.endswith(".ipynb"):
        places = [Path(notebook)]
    else:
        places = [folder / f"{notebook}.ipynb" for folder in (Path("notebooks"), NOTEBOOKS)]
    if path := next(filter(Path.is_file, places), None):
        return path
    names = ", ".join(sorted(file.stem for file in NOTEBOOKS.glob("*.ipynb")))
    raise NotebookError(f"no notebook {notebook}; there are: {names or 'none'} in {NOTEBOOKS}")


def _check_parameters(source: Path, parameters: Mapping[str, object]) -> dict[str, Any]:
    """Every parameter of the notebook with its value: given, or its default."""
    declared = papermill.inspect_notebook(source)
    defaults = {name: ast.literal_eval(each["default"]) for name, each in declared.items()}
    if lacking := [name for name in (*_PLACES, *_PINS) if name not in defaults]:
        raise NotebookError(f"{source.name} must have the parameters: {', '.join(lacking)}")
    known = [name for name in defaults if name not in _PLACES]
    if unknown := [name for name in parameters if name not in known]:
        there = ", ".join(known)
        raise NotebookError(f"{source.name} has no parameter {unknown[0]!r}; it knows: {there}")
    given = {**defaults, **parameters}
    values = {name: _coerce(name, given[name], defaults[name]) for name in known}
    if missing := [name for name, value in values.items() if value is ...]:
        raise NotebookError(f"{source.name} needs a value for: {', '.join(missing)}")
    return values


def _coerce(name: str, value: object, default: object) -> Any:
    """Read a value as a pin, or as the type of the default; ``...`` stands for required text."""
    if value is default:
        return value
    kind = _PINS.get(name, str if default is ... else type(default))
    adapter = TypeAdapter(kind)
    try:
        if isinstance(value, str) and kind not in (str, bool, int, float):
            return adapter.validate_json(value)
        return adapter.validate_python(value)
    except ValidationError as error:
        why = error.errors()[0]["msg"]
        raise NotebookError(f"parameter {name!r}: {why} (got {value!r})") from None


def _pin(given: dict[str, Any], workspace: Workspace) -> None:
    """Fill the pins that were not given with the present state."""
    given["lake_versions"] = workspace.lake.pin(given["lake_versions"])
    if given["ledger_seq"] is None:
        # A report says what was read; that it was made changes nothing that the next one reads.
        reports = set(workspace.ledger.events("report.published")["seq"])
        seen = range(workspace.ledger.head(), 0, -1)
        given["ledger_seq"] = next((seq for seq in seen if seq not in reports), 0)


def _read_hash(workspace: Workspace, seq: int) -> dict[str, Any]:
    """Read the hash of the last event that counts, which seals all those before it."""
    if seq > (head := workspace.ledger.head()):
        raise NotebookError(
            f"parameter 'ledger_seq': the ledger ends with event {head} (got {seq})"
        )
    known = workspace.ledger.events(since=seq - 1, until=seq)["hash"]
    return {"seq": seq, "hash": known[0] if seq else GENESIS}


def _execute(source: Path, executed: Path, parameters: dict[str, Any], progress: Progress) -> None:
    total = len(nbformat.read(source, as_version=4).cells) + 1
    try:
        papermill.execute_notebook(
            source,
            executed,
            parameters,
            progress_bar=False,
            engine_name=ENGINE,
            on_cell_complete=lambda cell_index, **_: progress(cell_index + 1, total),
        )
    except PapermillExecutionError as error:
        refused = isinstance(getattr(errors, error.ename, None), type)
        raise (NotebookError if refused else CellError)(
            f"{source.name}, cell {error.cell_index}: {error.ename}: {error.evalue}"
            f" (the executed notebook: {executed})"
        ) from None


def _render_html(executed: Path, ledger: dict[str, Any]) -> str:
    """One page without code that loads nothing from outside; its policy forbids even to try."""
    hidden = dict.fromkeys(("exclude_input", "exclude_input_prompt", "exclude_output_prompt"), True)
    templates = [str(_TEMPLATES)]
    exporter = HTMLExporter(template_name="evalbench", extra_template_basedirs=templates, **hidden)
    notebook = nbformat.read(executed, as_version=4)
    title = notebook.cells[0].source.splitlines()[0].lstrip("# ")
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    if front := [
        each.metadata["title"] for each in outputs if each.get("metadata", {}).get("title")
    ]:
        # A first page has a headline of its own; what the notebook asks stands in its place.
        title, notebook.cells = front[0], notebook.cells[1:]
    for place, cell in enumerate(notebook.cells):
        cell["id"] = str(place)  # papermill names the cell that it adds at random
    notebook.metadata.update(title=title, ledger=ledger)
    exporter.register_filter("markdown2html", render_markdown)
    page, _ = exporter.from_notebook_node(notebook)
    return str(page)


def find_browser() -> str | None:
    """Find a Chromium or Chrome that can print; None where there is none."""
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


def _print_pdf(html: Path, pdf: Path) -> Path | None:
    browser = find_browser()
    if browser is None:
        return None
    _browse(browser, html, f"--print-to-pdf={pdf}")
    if not pdf.exists():
        raise NotebookError(f"{browser} printed no PDF of {html}")
    # The hour of printing is no part of a report: the same page gives the same bytes.
    undated = re.sub(rb"/\w+Date \(D:[^)]*\)", lambda date: b" " * len(date[0]), pdf.read_bytes())
    pdf.write_bytes(undated)
    return pdf


def _draw_slides(html: Path, folder: Path) -> None:
    """Draw every figure as a slide, ``{folder}/{its name}.png``, and the top of the page."""
    browser, page = find_browser(), html.read_text("utf-8")
    figures = list(re.finditer(r'(?s)<figure\b[^>]* id="([\w-]+)".*?</figure>', page))
    if browser is None or not figures:
        return
    folder.mkdir()
    styles = "".join(re.findall(r"(?s)<style.*?</style>", page))
    jobs = [(html, f"--screenshot={folder / 'page.png'}", "--window-size=1280,1560")]
    for found in figures:
        slide = folder / f"{found[1]}.html"
        # All sizes are in units of the root's font, so that a slide is the page, larger.
        head = f'<!DOCTYPE html><html style="font-size:30px"><meta charset="utf-8">{styles}'
        body = f'<body class="slide"><main><div class="front">{found[0]}</div></main></html>'
        slide.write_text(head + body, encoding="utf-8")
        picture = f"--screenshot={slide.with_suffix('.png')}"
        jobs.append((slide, picture, "--window-size=1920,1080"))
    with ThreadPoolExecutor() as pool:  # each browser works for most of a second
        list(pool.map(lambda job: _browse(browser, *job, "--hide-scrollbars"), jobs))
    for slide, *_ in jobs[1:]:
        slide.unlink()


def _browse(browser: str, page: Path, *asked: str) -> None:
    """Open a page in a browser without a window, in a profile of its own."""
    with tempfile.TemporaryDirectory() as profile, suppress(subprocess.TimeoutExpired):
        command = [browser, *_HEADLESS, f"--user-data-dir={profile}", *asked, page.as_uri()]
        subprocess.run(command, capture_output=True, timeout=120, check=False)


def _put_in_place(made: Path, folder: Path) -> None:
    """Move a finished report to where it belongs; one that stood there goes only now."""
    before = made.with_name(f"{made.name}-before")
    with suppress(FileNotFoundError):
        folder.rename(before)
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(made)  # somebody who made the same report was faster
    shutil.rmtree(before, ignore_errors=True)


def _split_pins(given: dict[str, Any]) -> dict[str, Any]:
    """Set the pins apart from the other parameters."""
    rest = {name: value for name, value in given.items() if name not in _PINS}
    return {"parameters": rest, **{name: given[name] for name in _PINS}}


def _manifest(source: Path, given: dict[str, Any]) -> dict[str, Any]:
    required = [line for line in metadata.requires("evalbench") or () if "extra ==" not in line]
    wanted = ["evalbench", *(re.split(r"[^\w.-]", line)[0] for line in required)]
    installed = {each.metadata["Name"] for each in metadata.distributions()}
    return {
        "notebook": source.stem,
        **_split_pins(given),
        "seed": given.get("seed"),
        "git_commit": _git_commit(),
        "packages": {name: metadata.version(name) for name in wanted if name in installed},
        "python": platform.python_version(),
    }


def _git_commit() -> str | None:
    """Name the commit of the code that ran, "-dirty" where files differ; None outside of git."""
    if NOTEBOOKS.parent == _PACKAGE:  # a wheel: what encloses it has commits of its own
        return None
    command = ["git", "-C", str(NOTEBOOKS.parent), "describe", "--always", "--abbrev=40", "--dirty"]
    with suppress(OSError, subprocess.SubprocessError):
        quiet: Any = {"stderr": subprocess.DEVNULL, "text": True, "timeout": 10}
        return str(subprocess.check_output(command, **quiet)).strip()
    return None


def _publish(workspace: Workspace, subject: str, given: dict[str, Any], digest: str) -> None:
    """Record the report in the ledger, once for the same result."""
    notebook, name = subject.split("/")
    body = ReportPublished(notebook=notebook, run=name, **_split_pins(given), result_sha256=digest)
    known = workspace.ledger.events("report.published", subject=subject)["body"]
    if body not in [ReportPublished.model_validate_json(text) for text in known]:
        workspace.ledger.append("report.published", subject, body)
