"""The whole journey on the simulated company, from its traces to reports that know no truth."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from evalbench.demo.closing import compare_with_truth, say_coverage, write_closing, write_truth
from evalbench.demo.company import QUARTERS, Company, load_company, quarter_bounds
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
from evalbench.label.agreement.consensus import decide
from evalbench.label.codebook.acts import read_codebook
from evalbench.observe.ingestion import ingest
from evalbench.observe.sampling.draw import draw
from evalbench.report import runbook
from evalbench.schema import Design, DrawnItem, ModeDefined, QueueDrawn, ReleaseShipped
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


@dataclass(frozen=True)
class Journey:
    """What the demo leaves behind.

    Attributes
    ----------
    proposals : Proposals
        The evaluators of one surface that were proposed at the end of the year, and promoted.
    reports : dict of str to Path
        The impact report of every quarter, as HTML.
    closing : polars.DataFrame
        Planted truth beside every estimate, as :func:`compare_with_truth` gives it.
    page : Path
        The same as HTML, with links to the reports.
    """

    proposals: Proposals
    reports: dict[str, Path]
    closing: pl.DataFrame
    page: Path


class SimulatedClock:
    """A clock that stands where the story is, so that the same seed gives the same chain."""

    def __init__(self, now: datetime):
        self.now = now

    def __call__(self) -> datetime:
        """Tell the time of the story."""
        return self.now


def run(
    ws: Workspace,
    *,
    seed: int,
    sessions_per_surface: int,
    quarters: tuple[str, ...] = QUARTERS,
    progress: Progress = lambda title, done, total: None,
) -> Journey:
    """Play the year on an empty workspace, report it, and compare with the truth.

    Parameters
    ----------
    ws : Workspace
        Empty; gets the lake, the ledger, ``traces``, ``truth`` and ``reports``.
    seed : int
        Same seed, same company, same ledger.
    quarters : tuple of str
        Quarters that are labelled and reported.
    progress : callable
        Takes what is being done, and how much of it is done and to do.
    """
    play_year(
        ws,
        seed=seed,
        sessions_per_surface=sessions_per_surface,
        quarters=quarters,
        progress=progress,
    )
    progress("propose evaluators", 0, 1)
    done = _at(ws, quarters, EVALUATED_AFTER)
    proposals = promote_evaluators(done, EVALUATED, rng=np.random.default_rng(seed))
    return _report(ws, proposals, quarters, seed=seed, progress=progress)


def play_year(
    ws: Workspace,
    *,
    seed: int,
    sessions_per_surface: int,
    quarters: tuple[str, ...],
    progress: Progress,
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
        ingest(
            ws,
            path,
            surface=name,
            columns=FORMATS[name].columns,
            progress=partial(progress, f"ingest {name}"),
        )
        ws.lake.append("verdict", judge_sessions(each, rng=judging))
    _define_modes(ws, company)
    for number, quarter in enumerate(quarters):
        progress("draw and label", number, len(quarters))
        _ship_releases(ws, company, clock, quarter, first=number == 0)
        clock.now = quarter_bounds(quarter)[1] + DRAWN_AFTER
        queues = [_draw_queue(ws, company, each, quarter, rng=reading) for each in simulated]
        clock.now += LABELLED_AFTER
        given = [
            _label_queue(ws, company, each, queue, session_ids, rng=reading)
            for each, (queue, session_ids) in zip(simulated, queues, strict=True)
        ]
        clock.now += ADJUDICATED_AFTER
        for each, labels in zip(simulated, given, strict=True):
            _adjudicate(ws, company, each, labels, rng=deciding)
    return simulated


def run_demo(path: Path, *, sessions_per_surface: int, seed: int) -> Journey:
    """Run the journey in a folder of its own, showing what happens, and print what came of it.

    Raises
    ------
    EvalbenchError
        The folder holds something that no earlier demo made.
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
        journey = run(
            open_workspace(path, user=CURATOR),
            seed=seed,
            sessions_per_surface=sessions_per_surface,
            progress=lambda title, done, total: bar.update(
                task, description=title, completed=done, total=total
            ),
        )
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


def _define_modes(ws: Workspace, company: Company) -> None:
    ws.ledger.extend(
        [
            (
                "mode.defined",
                mode.mode,
                ModeDefined(
                    mode=mode.mode,
                    surface=surface.surface,
                    name=mode.name,
                    definition=mode.definition,
                    example=mode.example,
                    severity=mode.severity,
                    failure_class=mode.failure_class,
                    owner=mode.owner,
                ),
            )
            for surface in company.surfaces
            for mode in surface.modes
        ]
    )


def _ship_releases(
    ws: Workspace, company: Company, clock: SimulatedClock, quarter: str, *, first: bool
) -> None:
    """Ship what the quarter brings; with the first, also what was in use before."""
    start, end = quarter_bounds(quarter)
    shipped = sorted(
        (release.shipped_at, surface.surface, release.release, tuple(release.targets))
        for surface in company.surfaces
        for release in surface.releases
        if release.shipped_at < end and (first or release.shipped_at >= start)
    )
    for moment, surface, release, targets in shipped:
        clock.now = max(clock.now, moment)
        body = ReleaseShipped(surface=surface, release=release, shipped_at=moment, targets=targets)
        ws.ledger.append("release.shipped", f"{surface}/{release}", body)


def _draw_queue(
    ws: Workspace,
    company: Company,
    simulated: Simulated,
    quarter: str,
    *,
    rng: np.random.Generator,
) -> tuple[int, list[str]]:
    """Draw what people will read; give the queue's number and its sessions."""
    surface = simulated.surface.surface
    start, end = quarter_bounds(quarter)
    sessions = ws.lake.sessions(surface=surface, start=start, end=end).collect()
    design = Design(
        floor=FLOOR,
        by=("release",),
        always=("reported",),
        evaluators=tuple(evaluator_id(mode.mode) for mode in simulated.surface.modes),
    )
    seed = int(rng.integers(2**31))
    drawn = draw(
        sessions,
        LABELLED,
        design=design,
        verdicts=ws.lake.verdicts(surface=surface, start=start).collect(),
        rng=np.random.default_rng(seed),
    )
    chosen = drawn.items.with_columns(annotators=len(company.annotators))
    items = chosen.select(list(DrawnItem.model_fields)).to_dicts()
    queue = ws.ledger.append(
        "queue.drawn",
        f"{surface}/{quarter}",
        QueueDrawn(
            surface=surface,
            start=start,
            end=end,
            seed=seed,
            design=design,
            lake_versions=ws.lake.versions(),
            items=tuple(DrawnItem(**item) for item in items),
        ),
    )
    return queue, drawn.items["session_id"].to_list()


def _label_queue(
    ws: Workspace,
    company: Company,
    simulated: Simulated,
    queue: int,
    session_ids: list[str],
    *,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Let people label what was drawn; give their labels as the ledger has them."""
    labels = label_sessions(company, simulated, session_ids, queue=queue, rng=rng)
    written = []
    for annotator, given in labels.items():
        events = [("label.set", label.session_id, label) for label in given]
        last = ws.ledger.extend(events, actor=annotator)
        said = [
            label.model_dump(include={"surface", "session_id", "verdict", "modes"})
            for label in given
        ]
        seq = pl.int_range(last - len(given) + 1, last + 1)
        written.append(pl.DataFrame(said).with_columns(actor=pl.lit(annotator), seq=seq))
        notes = note_failures(simulated, session_ids, rng=rng)
        ws.ledger.extend(
            [("note.added", str(note.session_id), note) for note in notes], actor=annotator
        )
    return pl.concat(written)


def _adjudicate(
    ws: Workspace,
    company: Company,
    simulated: Simulated,
    given: pl.DataFrame,
    *,
    rng: np.random.Generator,
) -> None:
    modes = read_codebook(ws.ledger).live
    votes = (
        decide(given, given.clear(), modes)
        .filter(pl.col("n_fail") > 0)
        .with_columns(agreed=pl.col("n_fail") == pl.col("n_annotators"))
        .group_by("session_id", maintain_order=True)
        .agg(
            agreed=pl.col("mode").filter("agreed"),
            disputed=pl.col("mode").filter(~pl.col("agreed")),
        )
        .filter(pl.col("disputed").list.len() > 0)
        .join(
            given.group_by("session_id").agg(labels="seq"),
            on="session_id",
            maintain_order="left",
        )
    )
    decided = adjudicate_sessions(company, simulated, votes, rng=rng)
    events = [("label.adjudicated", str(each.session_id), each) for each in decided]
    ws.ledger.extend(events, actor=ADJUDICATOR)


def _at(ws: Workspace, quarters: tuple[str, ...], delay: timedelta) -> Workspace:
    """Open the workspace as the curator, some time after the last quarter."""
    clock = SimulatedClock(quarter_bounds(quarters[-1])[1] + delay)
    return replace(ws, ledger=replace(ws.ledger, actor=CURATOR, clock=clock))


def _report(
    ws: Workspace,
    proposals: Proposals,
    quarters: tuple[str, ...],
    *,
    seed: int,
    progress: Progress,
) -> Journey:
    ws = _at(ws, quarters, REPORTED_AFTER)
    reports: dict[str, Path] = {}
    rates = []
    for number, quarter in enumerate(quarters):
        progress(f"report {quarter}", number, len(quarters))
        done = runbook.run(
            "11_impact",
            {"quarter": quarter, "seed": seed},
            workspace=ws,
            reports=ws.path / "reports",
        )
        reports[quarter] = done.html
        rates += orjson.loads(done.result.read_bytes())["rates"]
    closing = compare_with_truth(pl.DataFrame(rates, infer_schema_length=None), ws.path / "truth")
    page = write_closing(closing, reports, ws.path / "reports" / "demo.html")
    return Journey(proposals, reports, closing, page)
