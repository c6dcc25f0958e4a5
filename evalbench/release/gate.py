"""May this ship? A candidate beside its baseline, by the rows of a decision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl

from evalbench.errors import ReleaseError
from evalbench.release import compare, decision_rows, golden
from evalbench.release.runs import check_comparable, check_recorded
from evalbench.schema import GateDecided, GateRow, columns
from evalbench.settings import Decision
from evalbench.stats import gating
from evalbench.store.ledger import Ledger

GATING = "gating"
KEY = ["mode", "evaluator_id", "evaluator_version"]
TURNED = columns(
    (pl.String, "surface mode name case"), (pl.Int64, "repeat"), (pl.String, "rationale asked")
)


@dataclass(frozen=True)
class Case:
    """What a gate decides on: two runs, what they did, and who may judge it.

    ``verdicts`` and ``outputs`` are by ``run, case, repeat``; ``modes`` are the live failure modes.
    """

    name: str
    decision: Decision
    baseline: str
    candidate: str
    runs: pl.DataFrame
    verdicts: pl.DataFrame
    outputs: pl.DataFrame
    statuses: pl.DataFrame
    modes: pl.DataFrame
    golden: pl.DataFrame
    pins: Mapping[str, Any]

    @cached_property
    def judged(self) -> pl.DataFrame:
        """The verdicts that count; ReleaseError, by name, where the runs cannot be compared."""
        both = [self.baseline, self.candidate]
        runs = pl.concat([self.runs.filter(run=run) for run in both])
        if (suite := runs["suite"][1]) != self.decision.suite:
            raise ReleaseError(
                f"decision {self.name} is made on the {self.decision.suite} suite, and run"
                f" {self.candidate} answered the {suite} suite: run that one"
            )
        own = self._standing(self.verdicts.join(self._evaluators, on=KEY).filter(again=0))
        given = own if self.outputs.is_empty() else self._standing(self.outputs)
        check_comparable(runs, given.select("run", "case", "repeat").unique())
        self._check_models(own)
        wanted = given.select("run", "case", "repeat").unique().join(self._evaluators, how="cross")
        lacking = wanted.join(own, on=["run", "case", "repeat", *KEY], how="anti")
        if len(lacking):
            row = lacking.sort("run", "case").row(0, named=True)
            raise ReleaseError(
                f"{row['evaluator_id']} has not judged case {row['case']} of run {row['run']}"
                f" ({lacking.height:,} verdicts are missing): score or import them first"
            )
        return own

    @property
    def release(self) -> str:
        """The release that the candidate is of; the name of its run where it tells none."""
        row = self.runs.filter(run=self.candidate).row(0, named=True)
        return str(row["release"] or row["run"])

    @property
    def judging(self) -> pl.DataFrame:
        """The failure modes that have a verdict that counts: ``mode, name, severity``."""
        named = self.modes.select("mode", "name", "severity")
        found = self._evaluators.select("mode").join(named, on="mode", how="left").sort("mode")
        return found.with_columns(pl.coalesce("name", pl.lit("The whole answer")))

    @property
    def unguarded(self) -> pl.DataFrame:
        """The live failure modes that no gating evaluator judges."""
        return self.modes.join(self._evaluators, on="mode", how="anti")

    @cached_property
    def sides(self) -> decision_rows.Sides:
        """Both runs by case and repeat."""
        segments = {
            case: json.loads(text or "{}")
            for case, text in self.golden.select("case", "segments").iter_rows()
        }
        runs = {"baseline": self.baseline, "candidate": self.candidate}
        outputs = self._standing(self.outputs)
        return decision_rows.line_up(self.judged, outputs, segments, **runs)

    @property
    def unasked(self) -> int:
        """How many live cases of the suite were not asked; 0 where runs answered none of them."""
        own = set(golden.live(self.golden.filter(suite=self.decision.suite))["case"])
        return len(own - set(self.sides.cases)) if own & set(self.sides.cases) else 0

    def _standing(self, rows: pl.DataFrame) -> pl.DataFrame:
        return golden.drop_retired(rows, self.golden, self.decision.suite)

    @cached_property
    def _evaluators(self) -> pl.DataFrame:
        """The evaluator of each mode: of those that judged, the one that people agree with most."""
        key = [pl.col("mode"), pl.col("evaluator_id")]
        gating_here = (
            self.statuses.filter(status=GATING)
            .select(*key, pl.col("version").alias("evaluator_version"), "mcc")
            .join(self.verdicts, on=KEY, how="semi")
        )
        if known := sorted({*self.decision.trusted} & {*self.statuses["evaluator_id"]}):
            raise ReleaseError(
                f"{known[0]} is defined here, so it cannot be trusted unmeasured:"
                " calibrate and promote it"
            )
        trusted = pl.col("evaluator_id").is_in(self.decision.trusted)
        elsewhere = self.verdicts.filter(trusted).select(KEY).unique()
        double = elsewhere.filter(pl.struct("mode", "evaluator_id").is_duplicated())
        if len(double):
            raise ReleaseError(
                f"{double['evaluator_id'][0]} judged in versions"
                f" {', '.join(sorted(double['evaluator_version'].unique()))}: one must judge both"
            )
        of_both = pl.concat([gating_here, elsewhere.with_columns(mcc=pl.lit(None, pl.Float64))])
        if of_both.is_empty():
            standing = "; ".join(
                f"{row['evaluator_id']}: {row['status']}, {row['why']}"
                for row in self.statuses.iter_rows(named=True)
            )
            raise ReleaseError(
                f"no evaluator of {self.decision.surface} is gating, so nothing may block a"
                f" release ({standing or 'none is defined'}): calibrate one with 07_calibrate and"
                " promote it, or name one made elsewhere under `trusted` of the decision"
            )
        best = of_both.sort("mcc", "evaluator_id", descending=[True, False], nulls_last=True)
        return best.unique("mode", keep="first", maintain_order=True).select(KEY)

    def _check_models(self, own: pl.DataFrame) -> None:
        """Refuse verdicts of one evaluator by several models or versions of one."""
        spoken = own.filter(pl.col("error").is_null())
        model = pl.concat_str("model", "model_fingerprint", separator=" ", ignore_nulls=True)
        models = spoken.group_by("evaluator_id").agg(model.unique().sort().alias("models"))
        for name, several in models.sort("evaluator_id").iter_rows():
            if len(several) > 1:
                raise ReleaseError(
                    f"{name} judged runs {self.baseline} and {self.candidate} by several versions"
                    f" of its model ({', '.join(several)}): score both by the same one"
                )


def find_decision(decisions: Mapping[str, Decision], name: str) -> Decision:
    """Find a decision by name; ReleaseError where there is none."""
    if name not in decisions:
        raise ReleaseError(
            f"no decision {name!r}: evalbench.toml has {', '.join(sorted(decisions)) or 'none yet'}"
            " under [decisions.NAME]"
        )
    return decisions[name]


def find_runs(
    runs: pl.DataFrame, baselines: pl.DataFrame, decision: Decision, candidate: str, baseline: str
) -> str:
    """Return the baseline that a candidate is compared with: the one given, or the one set."""
    if not baseline:
        named = baselines.filter(suite=decision.suite)["run"].to_list()
        if not named:
            raise ReleaseError(
                f"the {decision.suite} suite of {decision.surface} has no baseline: set one with"
                " `evalbench baseline`, or give the run to compare with"
            )
        baseline = named[0]
    check_recorded(runs, decision.surface, candidate, baseline)
    if candidate == baseline:
        raise ReleaseError(f"run {candidate!r} is candidate and baseline at once")
    return baseline


def answer(case: Case, *, level: float, rng: np.random.Generator) -> GateDecided:
    """Read all rows of a decision: may the candidate ship? The gate reads as the worst of them."""
    asked = case.decision.rows
    rows = decision_rows.measure_rows(asked, case.sides, case.judging, level=level, rng=rng)
    readings, error = gating.read_rows(
        [(row.asked.role, row.asked.limit, row.evidence) for row in rows], level=level
    )
    n = len(case.sides.cases)
    said = [_tell(row, reading, n) for row, reading in zip(rows, readings, strict=True)]
    verdicts = {each.reading for each in said}
    order: tuple[Literal["block", "insufficient", "pass"], ...] = ("block", "insufficient", "pass")
    run = case.runs.filter(run=case.candidate).row(0, named=True)
    return GateDecided(
        decision=case.name,
        surface=case.decision.surface,
        candidate=case.candidate,
        baseline=case.baseline,
        suite=run["suite"],
        suite_version=run["suite_version"],
        verdict=next(each for each in order if each in verdicts),
        rows=tuple(said),
        false_block=error.estimate,
        false_block_low=error.low,
        false_block_high=error.high,
        unasked=case.unasked,
        **case.pins,
    )


def list_turned(case: Case, *, fails: bool) -> pl.DataFrame:
    """List the cases that turned, :data:`TURNED`: newly failing, or fixed where not ``fails``."""
    turned = compare.find_turned(case.judged, case.baseline).filter(pl.col("fails") == fails)
    outputs = case.outputs.filter(run=case.candidate).select("case", "repeat", asked="first_input")
    told = turned if fails else turned.with_columns(rationale="rationale_before")
    joined = told.join(outputs, on=["case", "repeat"], how="left").join(case.judging, on="mode")
    return joined.select(pl.col(name).cast(dtype) for name, dtype in TURNED.items()).sort(
        "mode", "case", "repeat"
    )


def record(ledger: Ledger, decided: GateDecided) -> int:
    """Write what a gate decided into the ledger, but where it said so last; give its number."""
    pins = {"ledger_seq", "lake_versions"}
    subject = f"{decided.decision}/{decided.candidate}"
    last = ledger.events("gate.decided", subject=subject).tail(1)
    for seq, text in last.select("seq", "body").rows():
        known = GateDecided.model_validate_json(text)
        if known.model_dump(exclude=pins) == decided.model_dump(exclude=pins):
            return int(seq)
    return ledger.append("gate.decided", subject, decided)


def _tell(row: decision_rows.Row, read: gating.RowReading, cases: int) -> GateRow:
    found, change = row.evidence.estimate, row.evidence.change
    numbers = {name: getattr(found, name) for name in ("estimate", "low", "high")}
    known = {name: value if found.is_defined else None for name, value in numbers.items()}
    unit = {"bound": "rate", "attack": "rate"}.get(row.asked.kind, "change")
    unit = "relative" if row.asked.metric in decision_rows.MEASURED else unit
    whole = found.is_defined and unit != "relative" and row.asked.kind in ("rate", "bound")
    silent = cases - row.evidence.cases if whole else 0
    return GateRow(
        row=row.name,
        role=row.asked.role,
        owner=row.asked.owner,
        unit=unit,  # type: ignore[arg-type]
        limit=row.asked.limit,
        **known,
        n=row.evidence.cases,
        newly_failing=change.newly_failing if change else None,
        fixed=change.fixed if change else None,
        power=read.power,
        more=read.more,
        reading=read.reading,  # type: ignore[arg-type]
        reason=read.reason + (f"; {silent:,} of {cases:,} cases were not judged" * (silent > 0)),
    )
