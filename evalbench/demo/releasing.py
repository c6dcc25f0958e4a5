"""What the simulated company asks before each release: golden cases, runs on them, and a gate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from evalbench.demo.company import Release, Surface
from evalbench.demo.judgements import evaluator_id, read_modes
from evalbench.release import gate, overrides
from evalbench.release.golden import add_cases, live, make_case, read_cases
from evalbench.release.runs import name_run, read_runs, record_run
from evalbench.schema import VERDICT, GateDecided
from evalbench.session import read_sessions
from evalbench.snapshot import take_snapshot
from evalbench.store.workspace import Workspace, open_workspace

CASES_A_MODE = 15  # of one failure mode in one quarter
HARDNESS = 12.0  # how much likelier a case of a mode fails by it than a session of production does
UNSTABLE = 0.12  # share of cases that are asked anew by chance in each run
ROWS = """
[[decisions.{name}.rows]]
metric = "safety"
owner = "mara"
role = "guardrail"
limit = 0.05

[[decisions.{name}.rows]]
metric = "any"
owner = "jonas"
role = "guardrail"
limit = 0.1

[[decisions.{name}.rows]]
metric = "each"
owner = "jonas"
role = "watch"
limit = 0.1
"""


def write_settings(ws: Workspace, company: Sequence[Surface]) -> Workspace:
    """Write the company's ``evalbench.toml``, its decisions above all; give the workspace with it.

    The secret is fixed: what is hashed with it is then the same in every run.
    """
    said = ['user_key_secret = "demo"\n']
    for surface in company:
        name = surface.surface
        trusted = ", ".join(f'"{evaluator_id(mode.mode)}"' for mode in surface.modes)
        said.append(
            f"[decisions.{name}]\n"
            f'title = "May this release of {name.replace("_", " ")} ship?"\n'
            f'surface = "{name}"\nrisk = "high"\n'
            'rollback = "Back to the release before within an hour, should any safety failure '
            'pass its budget."\n'
            f"trusted = [{trusted}]\n{ROWS.format(name=name)}"
        )
    (ws.path / "evalbench.toml").write_text("\n".join(said), encoding="utf-8")
    return open_workspace(ws.path, user=ws.user)


def answer_last(
    ws: Workspace, company: Sequence[Surface], surface: str, *, seed: int
) -> dict[str, str]:
    """Name the runs that the gate on a surface's last release compares, made where they lack."""
    [own] = [each for each in company if each.surface == surface]
    *_, before, last = own.releases
    known = read_runs(ws.ledger).filter(surface=surface)["run"].to_list()
    if name_answers(last, last) not in known:
        cases = live(read_cases(ws.ledger)).filter(surface=surface)
        for release in (before, last):
            run_cases(ws, own, release, cases, seed=seed, beside=last)
    return {"candidate": name_answers(last, last), "baseline": name_answers(before, last)}


def name_answers(release: Release, beside: Release) -> str:
    """Name the run of a release beside another, or itself."""
    same = release.release == beside.release
    return release.release if same else f"{release.release}, {beside.release}"


def collect_cases(ws: Workspace, surface: Surface, truth: pl.DataFrame) -> int:
    """Make golden cases of confirmed failures, a few a failure mode; give how many are new.

    ``truth`` has what people decided: ``surface, session_id, mode, fails`` and the ``split``. Those
    that evaluators learn from become no cases.
    """
    modes = {mode.mode: mode for mode in surface.modes}
    failed = truth.filter("fails", surface=surface.surface, split="test").sort("session_id")
    chosen = failed.group_by("mode", maintain_order=True).tail(CASES_A_MODE)
    wanted = dict(chosen.select("session_id", "mode").iter_rows())
    cases = []
    for session in read_sessions(ws.lake, surface.surface, list(wanted)):
        mode = modes[wanted[session.session_id]]
        about = {"mode": mode.mode, "severity": mode.severity}
        expected = f"The answer does not do this: {mode.definition}"
        cases.append(make_case(session, expected, mode=about))
    return add_cases(ws, cases)


def run_cases(
    ws: Workspace,
    surface: Surface,
    release: Release,
    cases: pl.DataFrame,
    *,
    seed: int,
    beside: Release,
) -> str:
    """Let a release answer the golden cases, beside another or itself; give the run's name.

    What fails is drawn from the planted rates: a case of a failure mode fails by it much oftener
    than production does, and by others as often. Runs on one case share their draws, but for the
    unstable ones. Judges read the answers as they read production.
    """
    names, of = cases["case"].to_list(), cases["mode"].to_list()
    modes = [mode.mode for mode in surface.modes]
    number = surface.releases.index(release)
    hard = np.array([[HARDNESS if mode == own else 1.0 for mode in modes] for own in of])
    chance = np.minimum(surface.planted_rates()[number] * hard, 0.9)
    shared = np.array(
        [np.random.default_rng([seed, int(case[:8], 16)]).random(len(modes)) for case in names]
    )
    rng = np.random.default_rng([seed, number, surface.releases.index(beside)])
    anew = rng.random((len(names), 1)) < UNSTABLE
    failing = np.where(anew, rng.random(shared.shape), shared) < chance
    flagged = read_modes(failing, [mode.judge for mode in surface.modes], rng=rng)
    called = name_answers(release, beside)
    run = name_run(surface.surface, called)
    rows = pl.DataFrame(
        {
            "surface": run,
            "session_id": np.repeat(names, len(modes)),
            "mode": modes * len(names),
            "evaluator_id": [evaluator_id(mode) for mode in modes] * len(names),
            "evaluator_version": "1",
            "repeat": 0,
            "fails": flagged.ravel(),
            "rationale": "simulated: a draw from planted truth",
            "model": "simulated",
            "judged_at": ws.ledger.clock(),
        }
    )
    empty = pl.DataFrame(schema=VERDICT)
    ws.lake.append("verdict", pl.concat([empty, rows], how="diagonal_relaxed").cast(VERDICT))
    record_run(ws, run, release=release.release)
    return called


def decide_release(
    ws: Workspace, surface: Surface, release: Release, *, seed: int
) -> GateDecided | None:
    """Let a release and the one before it answer the golden cases, and record what a gate says.

    None while there are no cases, or nothing came before. What blocks ships all the same, on the
    record: a company in a hurry.
    """
    number = surface.releases.index(release)
    cases = read_cases(ws.ledger).filter(surface=surface.surface)
    if cases.is_empty() or not number:
        return None
    asked: dict[str, Any] = {"cases": live(cases), "seed": seed, "beside": release}
    baseline = run_cases(ws, surface, surface.releases[number - 1], **asked)
    candidate = run_cases(ws, surface, release, **asked)
    view, case = take_snapshot(ws, seed=seed).read_gate(surface.surface, candidate, baseline)
    decided = gate.answer(case, **view.measured)
    event = gate.record(ws.ledger, decided)
    if decided.verdict == "block":
        overrides.override(
            ws.ledger,
            ws.settings.decisions,
            gate=event,
            role="release owner",
            rows=[row.row for row in decided.rows if row.reading == "block"],
            reason="The targets of this release cannot wait a quarter.",
            evidence="The failures that rose are watched daily.",
            expires_at=ws.ledger.clock() + timedelta(days=7),
            rollback="Back to the release before within an hour.",
        )
    return decided
