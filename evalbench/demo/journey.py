"""The whole journey on the simulated company, from its traces to reports that know no truth."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from evalbench.demo import judgements
from evalbench.demo.closing import (
    compare_catches,
    compare_changes,
    compare_trends,
    compare_with_truth,
    say_coverage,
    write_closing,
    write_truth,
)
from evalbench.demo.company import ANNOTATORS, QUARTERS, Surface, load_company, quarter_bounds
from evalbench.demo.conversation import Facts
from evalbench.demo.operating import (
    close_quarter,
    open_issues,
    set_targets,
    ship_fixes,
    verify_fixes,
)
from evalbench.demo.releasing import answer_last, collect_cases, decide_release, write_settings
from evalbench.demo.simulate import Simulated, simulate
from evalbench.demo.traces import SUFFIX, write_traces
from evalbench.errors import EvalbenchError
from evalbench.evaluate import calibrate
from evalbench.evaluate.proposals.propose import Proposals, adopt, propose
from evalbench.evaluate.score import score
from evalbench.evaluate.split import with_split
from evalbench.evaluate.status import COUNTING, promote
from evalbench.label.annotation.queue import record_draw
from evalbench.label.codebook.acts import read_codebook
from evalbench.observe.ingestion import ingest
from evalbench.observe.sampling.draw import draw
from evalbench.operate import impact
from evalbench.report import runbook
from evalbench.report.kernel import start_kernel
from evalbench.schema import Design
from evalbench.snapshot import take_snapshot
from evalbench.store.workspace import Workspace, open_workspace


def promote_evaluators(ws: Workspace, surface: str, *, rng: np.random.Generator) -> Proposals:
    """Propose evaluators, define, score and calibrate them as 06 and 07 do, and promote them."""
    view = take_snapshot(ws, surface)
    truth = view.truth.rename({"fails": "truth"})
    proposals = propose(ws, truth, view.modes, rng=rng)
    proposed = proposals.modes["evaluator_id"].drop_nulls().to_list()
    adopted = adopt(ws, proposals, proposed, modes=view.modes)
    labelled = with_split(view.sessions.join(truth, on=calibrate.SESSION_KEY, how="semi"))
    score(ws, adopted, labelled.filter(split="test"))
    view = take_snapshot(ws, surface)
    own = view.every_verdict.filter(pl.col("evaluator_id").is_in(list(view.specifications)))
    verdicts = calibrate.current_verdicts(own.collect(), view.specifications)
    pairs = calibrate.pair_verdicts(verdicts, truth, view.frame, view.specifications)
    how: dict[str, Any] = {"settings": ws.settings.evaluators, "level": ws.settings.level}
    measured = calibrate.measure_alignment(
        pairs, by=calibrate.KEY, tried=view.tried, rng=rng, **how
    )
    calibrate.record_calibrations(ws, measured, **view.pins)
    for name in measured.filter(pl.col("status").is_in(COUNTING))["evaluator_id"]:
        promote(ws, name)
    return proposals


LABELLED = 400  # sessions that people read a surface and quarter
# Least of them in a stratum. Fewer in the large strata without flags or signals would leave the
# intervals of rare modes to their prior.
FLOOR = 45
DRAWN_AFTER, LABELLED_AFTER, ADJUDICATED_AFTER = (timedelta(days=days) for days in (2, 5, 1))
EVALUATED_AFTER, REPORTED_AFTER = timedelta(days=9), timedelta(days=10)
# The surface whose evaluators are proposed and promoted; of the others ``06_evaluators`` does.
GATED = "support_copilot"
EVALUATED = "code_reviewer"
CURATOR = "demo-curator"
ADJUDICATOR = "dario"
TRUTH = "truth/sessions.parquet"
DEFINED = ("mode", "name", "definition", "example", "severity", "failure_class", "owner")
Say = Callable[[str], object]  # takes what is being done


@dataclass(frozen=True)
class Journey:
    """What the demo leaves: proposals, reports as HTML, planted truth beside every estimate."""

    proposals: Proposals
    reports: dict[str, Path]
    closing: pl.DataFrame
    told: list[str]
    page: Path
    memo: Path


def run(
    ws: Workspace,
    *,
    seed: int,
    sessions_per_surface: int,
    quarters: Sequence[str] = QUARTERS,
    say: Say = str,
) -> Journey:
    """Play the year on an empty workspace, report its quarters, and compare with the truth."""
    play_year(ws, seed=seed, sessions_per_surface=sessions_per_surface, quarters=quarters, say=say)
    ws = open_workspace(ws.path, user=ws.user)
    end = quarter_bounds(quarters[-1])[1]
    say("propose evaluators")
    start_kernel()
    rng = np.random.default_rng(seed)
    proposals = promote_evaluators(_at(ws, end + EVALUATED_AFTER), EVALUATED, rng=rng)
    ws = _at(ws, end + REPORTED_AFTER)
    reports, rates, changes, cards = dict[str, Path](), list[Any](), list[Any](), list[Any]()
    for quarter in quarters:
        say(f"report {quarter}")
        if quarter == quarters[-1]:
            verify_fixes(ws, pl.DataFrame(changes, schema=impact.CHANGES))
        parameters = {"quarter": quarter, "seed": seed}
        done = runbook.run("11_impact", parameters, workspace=ws, reports=ws.path / "reports")
        reports[quarter] = done.html
        result = orjson.loads(done.result.read_bytes())
        rates, changes = rates + result["rates"], changes + result["changes"]
        cards += [card | {"reported": quarter} for card in result["scorecard"]]
    company, start = load_company(), quarter_bounds(quarters[0])[0]
    planted = pl.read_parquet(ws.path / TRUTH).filter(pl.col("started_at").is_between(start, end))
    closing = compare_with_truth(pl.DataFrame(rates, schema=impact.RATES), planted, company)
    compared = compare_changes(pl.DataFrame(changes, schema=impact.CHANGES), company)
    trends = compare_trends(pl.DataFrame(result["trends"], schema=impact.TRENDS), company)
    catches = compare_catches(pl.DataFrame(cards), planted, ws.lake.verdicts().collect())
    told = say_coverage(closing, compared, trends, catches)
    page = write_closing(
        closing, told, reports, ws.path / "reports" / "demo.html", level=ws.settings.level
    )
    say("decide on the last release")
    asked = {"decision": GATED, "seed": seed} | answer_last(ws, company, GATED, seed=seed)
    memo = runbook.run("08_gate", asked, workspace=ws, reports=ws.path / "reports").html
    return Journey(proposals, reports, closing, told, page, memo)


def play_year(
    ws: Workspace,
    *,
    seed: int,
    sessions_per_surface: int,
    quarters: Sequence[str] = QUARTERS,
    say: Say = str,
) -> None:
    """Let the year happen: traces come in, a judge scores them, people label a draw a quarter."""
    company = load_company()
    ws = write_settings(ws, company)
    simulating, tracing, judging, reading, deciding = np.random.default_rng(seed).spawn(5)
    simulated = simulate(company, sessions_per_surface=sessions_per_surface, rng=simulating)
    write_truth(simulated, ws.path / TRUTH)
    facts = dict[str, Facts]()
    for each in simulated:
        name = each.surface.surface
        say(f"write and ingest the traces of {name}")
        path = ws.path / "traces" / f"{name}{SUFFIX}"
        facts |= write_traces(each, path, rng=tracing)
        ingest(ws, path, surface=name)
        ws.lake.append("verdict", judgements.judge_sessions(each, rng=judging))
    now = quarter_bounds(QUARTERS[0])[0]
    _define_modes(_at(ws, now), company)
    set_targets(_at(ws, now).ledger, company)
    releases = sorted(
        (release.shipped_at, surface.surface, surface, release)
        for surface in company
        for release in surface.releases
    )
    for quarter in quarters:
        say(f"draw and label {quarter}")
        end = quarter_bounds(quarter)[1]
        while releases and releases[0][0] < end:
            moment, name, surface, release = releases.pop(0)
            now = max(now, moment)
            decide_release(_at(ws, now), surface, release, seed=seed)
            body = {"surface": name, "release": release.release, "shipped_at": moment}
            shipped = f"{name}/{release.release}", {**body, "targets": release.targets}
            _at(ws, now).ledger.append("release.shipped", *shipped)
            ship_fixes(_at(ws, now).ledger, surface, release)
        now = end + DRAWN_AFTER
        queues = [_draw_queue(_at(ws, now), each, quarter, rng=reading) for each in simulated]
        now += LABELLED_AFTER
        for each, (number, session_ids) in zip(simulated, queues, strict=True):
            _label_queue(_at(ws, now), each, number, session_ids, facts, rng=reading)
        now += ADJUDICATED_AFTER
        codebook = read_codebook(ws.ledger).live
        for each, (number, _) in zip(simulated, queues, strict=True):
            labels = ws.ledger.bodies("label.set", since=number).filter(queue=number)
            rulings = judgements.adjudicate_sessions(each, labels, codebook, rng=deciding)
            _write(_at(ws, now), "label.adjudicated", rulings, actor=ADJUDICATOR)
        view = take_snapshot(_at(ws, now))
        placed = with_split(view.sessions).select(*calibrate.SESSION_KEY, "split")
        truth = view.truth.join(placed, on=calibrate.SESSION_KEY, maintain_order="left")
        for surface in company:
            open_issues(_at(ws, now).ledger, surface, truth)
            collect_cases(_at(ws, now), surface, truth)
        close_quarter(_at(ws, now).ledger, quarter, end=end)


def run_demo(path: Path, *, sessions_per_surface: int, seed: int) -> Journey:
    """Run the journey in a folder that is empty or a demo's own, and print what came of it."""
    from rich.console import Console

    if path.exists() and any(path.iterdir()):
        if not (path / TRUTH).exists():
            raise EvalbenchError(f"{path} is not empty; give the demo a folder of its own")
        shutil.rmtree(path)
    ws = open_workspace(path, user=CURATOR)
    with Console(stderr=True).status("simulate the company") as status:
        journey = run(ws, seed=seed, sessions_per_surface=sessions_per_surface, say=status.update)
    console = Console(highlight=False, soft_wrap=True)
    console.print("\n".join(journey.told))
    proposed = journey.proposals.modes
    console.print(
        f"{proposed['kind'].count()} of {proposed.height} failure modes of {EVALUATED} have an"
        " evaluator that agrees with people"
    )
    for title, report in journey.reports.items():
        console.print(f"{title}: {report}")
    console.print(f"May the last release ship? {journey.memo}")
    console.print(str(journey.page))
    return journey


def _at(ws: Workspace, moment: datetime) -> Workspace:
    """Return the workspace at a time of the story, so that the same seed gives the same chain."""
    return replace(ws, ledger=replace(ws.ledger, actor=CURATOR, clock=lambda: moment, salt=str))


def _define_modes(ws: Workspace, company: Sequence[Surface]) -> None:
    for surface in company:
        bodies = [{name: getattr(mode, name) for name in DEFINED} for mode in surface.modes]
        about = {"surface": surface.surface}
        ws.ledger.extend(("mode.defined", body["mode"], body | about) for body in bodies)


def _draw_queue(
    ws: Workspace, simulated: Simulated, quarter: str, *, rng: np.random.Generator
) -> tuple[int, list[str]]:
    """Draw what people will read; give the number of the queue, and the sessions in it."""
    start, end = quarter_bounds(quarter)
    window: dict[str, Any] = {"surface": simulated.surface.surface, "start": start, "end": end}
    evaluators = tuple(judgements.evaluator_id(mode.mode) for mode in simulated.surface.modes)
    design = Design(floor=FLOOR, by=("release",), always=("reported",), evaluators=evaluators)
    seed = int(rng.integers(2**31))
    drawn = draw(
        ws.lake.sessions(**window).collect(),
        LABELLED,
        design=design,
        verdicts=ws.lake.verdicts(surface=window["surface"], start=start).collect(),
        rng=np.random.default_rng(seed),
    )
    number = record_draw(
        ws.ledger,
        drawn.items.with_columns(annotators=len(ANNOTATORS)),
        **window,
        quarter=quarter,
        seed=seed,
        design=design,
        lake_versions=ws.lake.versions(),
    )
    return number, drawn.items["session_id"].to_list()


def _label_queue(
    ws: Workspace,
    simulated: Simulated,
    queue: int,
    drawn: list[str],
    facts: Mapping[str, Facts],
    *,
    rng: np.random.Generator,
) -> None:
    """Let people label what was drawn, and note what they saw."""
    labels = judgements.label_sessions(simulated, drawn, queue=queue, rng=rng)
    for annotator, given in labels.items():
        _write(ws, "label.set", given, actor=annotator)
        notes = judgements.note_failures(simulated, drawn, facts, rng=rng)
        _write(ws, "note.added", notes, actor=annotator)


def _write(ws: Workspace, kind: str, bodies: Sequence[Any], *, actor: str) -> None:
    ws.ledger.extend(((kind, body.session_id, body) for body in bodies), actor=actor)
