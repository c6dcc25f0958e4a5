"""The whole journey on the simulated company, from its traces to reports that know no truth."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import polars as pl

from evalbench.demo.closing import compare_with_truth, say_coverage, write_closing, write_truth
from evalbench.demo.company import ANNOTATORS, QUARTERS, Surface, load_company, quarter_bounds
from evalbench.demo.evaluators import promote_evaluators
from evalbench.demo.judgements import (
    adjudicate_sessions,
    evaluator_id,
    judge_sessions,
    label_sessions,
    note_failures,
)
from evalbench.demo.simulate import Simulated, simulate
from evalbench.demo.traces import FORMATS, write_traces
from evalbench.errors import EvalbenchError
from evalbench.evaluate.proposals.propose import Proposals
from evalbench.label.codebook.acts import read_codebook
from evalbench.observe.ingestion import ingest
from evalbench.observe.sampling.draw import draw
from evalbench.report import runbook
from evalbench.schema import Design, DrawnItem, QueueDrawn, ReleaseShipped
from evalbench.store.workspace import Workspace, open_workspace

LABELLED = 400
"""Sessions that people read a surface and quarter."""
FLOOR = 45
"""Least of them in a stratum. Fewer in the large strata without flags or signals would leave the
intervals of rare modes to their prior."""
DRAWN_AFTER, LABELLED_AFTER, ADJUDICATED_AFTER = (timedelta(days=days) for days in (2, 5, 1))
EVALUATED_AFTER, REPORTED_AFTER = timedelta(days=9), timedelta(days=10)
EVALUATED = "code_reviewer"
"""The surface whose evaluators are proposed and promoted; of the others ``06_evaluators`` does."""
CURATOR = "demo-curator"
ADJUDICATOR = "dario"
Progress = Callable[[str, int, int], None]
"""Takes what is being done, how much of it is done, and how much there is to do."""


@dataclass(frozen=True)
class Journey:
    """What the demo leaves behind.

    ``proposals`` are the evaluators of one surface that were proposed at the end of the year, and
    promoted; ``reports`` the impact report of every quarter, as HTML; ``closing`` the planted truth
    beside every estimate, as :func:`compare_with_truth` gives it, and ``page`` the same as HTML.
    """

    proposals: Proposals
    reports: dict[str, Path]
    closing: pl.DataFrame
    page: Path


@dataclass
class SimulatedClock:
    """A clock that stands where the story is, so that the same seed gives the same chain."""

    now: datetime

    def __call__(self) -> datetime:
        """Return the time of the story."""
        return self.now


def _say_nothing(title: str, done: int, total: int) -> None:
    """Show no progress."""


def run(
    ws: Workspace,
    *,
    seed: int,
    sessions_per_surface: int,
    quarters: Sequence[str] = QUARTERS,
    progress: Progress = _say_nothing,
) -> Journey:
    """Play the year on an empty workspace, report its ``quarters``, and compare with the truth.

    The same seed gives the same company and the same ledger. The workspace gets the lake, the
    ledger, ``traces``, ``truth`` and ``reports``.
    """
    play_year(
        ws,
        seed=seed,
        sessions_per_surface=sessions_per_surface,
        quarters=quarters,
        progress=progress,
    )
    clock = SimulatedClock(quarter_bounds(quarters[-1])[1] + EVALUATED_AFTER)
    ws = replace(ws, ledger=replace(ws.ledger, actor=CURATOR, clock=clock))
    progress("propose evaluators", 0, 1)
    proposals = promote_evaluators(ws, EVALUATED, rng=np.random.default_rng(seed))
    clock.now = quarter_bounds(quarters[-1])[1] + REPORTED_AFTER
    reports, rates = {}, []
    for number, quarter in enumerate(quarters):
        progress(f"report {quarter}", number, len(quarters))
        parameters = {"quarter": quarter, "seed": seed}
        done = runbook.run("11_impact", parameters, workspace=ws, reports=ws.path / "reports")
        reports[quarter] = done.html
        rates += orjson.loads(done.result.read_bytes())["rates"]
    closing = compare_with_truth(pl.DataFrame(rates, infer_schema_length=None), ws.path / "truth")
    page = write_closing(closing, reports, ws.path / "reports" / "demo.html")
    return Journey(proposals, reports, closing, page)


def play_year(
    ws: Workspace,
    *,
    seed: int,
    sessions_per_surface: int,
    quarters: Sequence[str] = QUARTERS,
    progress: Progress = _say_nothing,
) -> list[Simulated]:
    """Let the year happen: traces come in, a judge scores them, people label a draw a quarter."""
    company = load_company()
    clock = SimulatedClock(quarter_bounds(QUARTERS[0])[0])
    ws = replace(ws, ledger=replace(ws.ledger, actor=CURATOR, clock=clock))
    simulating, tracing, judging, reading, deciding = np.random.default_rng(seed).spawn(5)
    simulated = simulate(company, sessions_per_surface=sessions_per_surface, rng=simulating)
    write_truth(simulated, ws.path / "truth")
    for each in simulated:
        name = each.surface.surface
        progress(f"write the traces of {name}", 0, 1)
        path = ws.path / "traces" / f"{name}{FORMATS[name].suffix}"
        write_traces(each, path, rng=tracing)
        told = partial(progress, f"ingest {name}")
        ingest(ws, path, surface=name, columns=FORMATS[name].columns, progress=told)
        ws.lake.append("verdict", judge_sessions(each, rng=judging))
    _define_modes(ws, company)
    shipped_until = datetime.min.replace(tzinfo=UTC)
    for number, quarter in enumerate(quarters):
        progress("draw and label", number, len(quarters))
        end = quarter_bounds(quarter)[1]
        _ship_releases(ws, company, clock, shipped_until, end)
        shipped_until = end
        clock.now = end + DRAWN_AFTER
        queues = [_draw_queue(ws, each, quarter, rng=reading) for each in simulated]
        clock.now += LABELLED_AFTER
        for each, queue in zip(simulated, queues, strict=True):
            _label_queue(ws, each, queue, rng=reading)
        clock.now += ADJUDICATED_AFTER
        labels = ws.ledger.bodies("label.set", since=queues[0].number)
        codebook = read_codebook(ws.ledger).live
        for each, queue in zip(simulated, queues, strict=True):
            own = labels.filter(queue=queue.number)
            decided = adjudicate_sessions(each, own, codebook, rng=deciding)
            events = [("label.adjudicated", ruling.session_id, ruling) for ruling in decided]
            ws.ledger.extend(events, actor=ADJUDICATOR)
    return simulated


def run_demo(path: Path, *, sessions_per_surface: int, seed: int) -> Journey:
    """Run the journey in a folder of its own, showing what happens, and print what came of it.

    Raises EvalbenchError where the folder holds something that no earlier demo made.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    if path.exists() and any(path.iterdir()):
        if not (path / "truth").is_dir():
            raise EvalbenchError(f"{path} is not empty; give the demo a folder of its own")
        shutil.rmtree(path)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("simulate the company", total=None)

        def show(title: str, done: int, total: int) -> None:
            bar.update(task, description=title, completed=done, total=total)

        ws = open_workspace(path, user=CURATOR)
        journey = run(ws, seed=seed, sessions_per_surface=sessions_per_surface, progress=show)
    console = Console(highlight=False, soft_wrap=True)
    console.print(say_coverage(journey.closing))
    proposed = journey.proposals.modes
    console.print(
        f"{proposed['kind'].count()} of {proposed.height} failure modes of {EVALUATED} have an"
        " evaluator that agrees with people"
    )
    for title, report in journey.reports.items():
        console.print(f"{title}: {report}")
    console.print(str(journey.page))
    return journey


def _define_modes(ws: Workspace, company: Sequence[Surface]) -> None:
    fields = ("mode", "name", "definition", "example", "severity", "failure_class", "owner")
    planted = [(surface.surface, vars(mode)) for surface in company for mode in surface.modes]
    ws.ledger.extend(
        ("mode.defined", mode["mode"], {"surface": surface} | {name: mode[name] for name in fields})
        for surface, mode in planted
    )


def _ship_releases(
    ws: Workspace,
    company: Sequence[Surface],
    clock: SimulatedClock,
    start: datetime,
    end: datetime,
) -> None:
    """Ship what came between two moments, in order of time."""
    shipped = sorted(
        (release.shipped_at, surface.surface, release.release, tuple(release.targets))
        for surface in company
        for release in surface.releases
        if start <= release.shipped_at < end
    )
    for moment, surface, release, targets in shipped:
        clock.now = max(clock.now, moment)
        body = ReleaseShipped(surface=surface, release=release, shipped_at=moment, targets=targets)
        ws.ledger.append("release.shipped", f"{surface}/{release}", body)


class _Queue(NamedTuple):
    number: int
    session_ids: list[str]


def _draw_queue(
    ws: Workspace, simulated: Simulated, quarter: str, *, rng: np.random.Generator
) -> _Queue:
    """Draw what people will read."""
    surface = simulated.surface.surface
    start, end = quarter_bounds(quarter)
    evaluators = tuple(evaluator_id(mode.mode) for mode in simulated.surface.modes)
    design = Design(floor=FLOOR, by=("release",), always=("reported",), evaluators=evaluators)
    seed = int(rng.integers(2**31))
    drawn = draw(
        ws.lake.sessions(surface=surface, start=start, end=end).collect(),
        LABELLED,
        design=design,
        verdicts=ws.lake.verdicts(surface=surface, start=start).collect(),
        rng=np.random.default_rng(seed),
    )
    items = drawn.items.with_columns(annotators=len(ANNOTATORS)).select(*DrawnItem.model_fields)
    body = QueueDrawn(
        surface=surface,
        start=start,
        end=end,
        seed=seed,
        design=design,
        lake_versions=ws.lake.versions(),
        items=tuple(DrawnItem(**item) for item in items.iter_rows(named=True)),
    )
    number = ws.ledger.append("queue.drawn", f"{surface}/{quarter}", body)
    return _Queue(number, items["session_id"].to_list())


def _label_queue(
    ws: Workspace, simulated: Simulated, queue: _Queue, *, rng: np.random.Generator
) -> None:
    """Let people label what was drawn, and note what they saw."""
    labels = label_sessions(simulated, queue.session_ids, queue=queue.number, rng=rng)
    for annotator, given in labels.items():
        notes = note_failures(simulated, queue.session_ids, rng=rng)
        ws.ledger.extend(
            (("label.set", label.session_id, label) for label in given), actor=annotator
        )
        ws.ledger.extend((("note.added", str(n.session_id), n) for n in notes), actor=annotator)
