"""What an evaluator may be used for, from its definition to its archive."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

import evalbench as eb
from evalbench import stats
from evalbench.errors import EvaluatorError
from evalbench.evaluate import status
from evalbench.evaluate.calibrate import record_calibrations
from evalbench.evaluate.spec import Specification, define
from evalbench.schema import VERDICT
from evalbench.settings import Evaluators

SETTINGS = Evaluators()
MODES = pl.DataFrame({"surface": ["shop"], "mode": ["rude"], "name": ["Is rude"]}).with_columns(
    severity=pl.lit("user impact")
)
JUDGE = Specification(
    surface="shop", mode="rude", kind="judge", owner="ana", prompt="Is it rude?", model="m"
)
NAME = JUDGE.evaluator_id
NOW = datetime(2026, 9, 1, tzinfo=UTC)


class Bench:
    """A workspace with one judge; time and its model move as a test says."""

    def __init__(self, folder):
        self.ws = eb.open(folder, user="ana")
        self.now = NOW
        object.__setattr__(self.ws.ledger, "clock", lambda: self.now)
        define(self.ws.ledger, JUDGE, modes=MODES)

    def judge(self, fingerprint, *, version=JUDGE.version, model="m-1"):
        self.now += timedelta(hours=1)
        row = {"surface": "shop", "session_id": "s", "mode": JUDGE.mode, "repeat": 0}
        row |= {"evaluator_id": NAME, "evaluator_version": version, "fails": True}
        row["judged_at"] = self.now
        row |= {"model": model, "model_fingerprint": fingerprint}
        self.ws.lake.upsert("verdict", pl.DataFrame([row], schema=VERDICT))

    def calibrate(self, *, cells=(60, 2, 2, 60), version=JUDGE.version):
        self.now += timedelta(hours=1)
        tp, fn, fp, tn = cells
        truth = [1] * (tp + fn) + [0] * (fp + tn)
        verdict = [1] * tp + [0] * fn + [1] * fp + [0] * tn
        found = stats.alignment(truth, verdict, rng=np.random.default_rng(1)).mcc
        row = dict(zip(("tp", "fn", "fp", "tn"), cells, strict=True)) | {"level": 0.95}
        row |= {"mcc": found.estimate, "mcc_low": found.low, "mcc_high": found.high}
        row |= {"evaluator_id": NAME, "evaluator_version": version}
        pins = {"lake_versions": self.ws.lake.versions(), "ledger_seq": self.ws.ledger.head()}
        return record_calibrations(self.ws, pl.DataFrame([row]), **pins)

    @property
    def row(self):
        statuses = status.read_statuses(
            self.ws.ledger, self.ws.lake.verdicts(), settings=SETTINGS, now=self.now
        )
        [row] = statuses.to_dicts()
        return row

    @property
    def status(self):
        return self.row["status"]

    def covered(self):
        statuses = pl.DataFrame([self.row], schema=status.STATUS)
        rates = pl.DataFrame({"surface": ["shop"], "mode": ["rude"], "estimate": [0.1]})
        counting = status.counting_verdicts(self.ws.lake.verdicts(), statuses).height
        shares = status.measure_coverage(statuses, MODES, rates)["share"].to_list()
        return shares == [1, 1, 1], counting


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_draft_counts_nowhere_until_a_person_promotes_it(bench):
    assert bench.status == "draft"
    with pytest.raises(EvaluatorError, match="it is draft \\(not calibrated\\): calibrate it"):
        eb.evaluate.promote(bench.ws, NAME)
    bench.judge("f1")
    assert bench.calibrate() == 1
    assert (bench.status, bench.row["ready"]) == ("draft", True)
    assert bench.covered() == (False, 0)
    eb.evaluate.promote(bench.ws, NAME)
    assert bench.status == "gating"
    assert bench.covered() == (True, 1)
    with pytest.raises(EvaluatorError, match="counts already"):
        eb.evaluate.promote(bench.ws, NAME)


@pytest.mark.parametrize(
    ("cells", "reads"),
    [
        ((25, 25, 25, 25), "not aligned"),
        ((5, 4, 0, 90), "insufficient"),  # nine failures
        ((0, 40, 0, 60), "insufficient"),  # it never fires
        ((8, 4, 2, 10), "insufficient"),  # an interval from under .4 to over .6
        ((90, 20, 20, 90), "insufficient"),  # MCC .64, shown to be above .53
    ],
)
def test_what_is_not_aligned_cannot_be_promoted(bench, cells, reads):
    bench.calibrate(cells=cells)
    assert bench.status == reads
    with pytest.raises(EvaluatorError, match=f"cannot be promoted, it is {reads}"):
        eb.evaluate.promote(bench.ws, NAME)


def test_a_promotion_written_past_the_guard_counts_for_nothing(bench):
    bench.calibrate(cells=(25, 25, 25, 25))
    body = {"evaluator_id": NAME, "version": JUDGE.version, "calibration": 2}
    bench.ws.ledger.append("evaluator.promoted", NAME, body)
    assert bench.status == "not aligned"


@pytest.mark.parametrize("changed", [{"fingerprint": "f2"}, {"fingerprint": "f1", "model": "m-2"}])
def test_another_model_is_out_at_once_and_back_after_recalibration(bench, changed):
    bench.judge("f1")
    bench.calibrate()
    eb.evaluate.promote(bench.ws, NAME)
    bench.judge(**changed)
    assert bench.status == "needs recalibration"
    assert bench.covered() == (False, 0)
    bench.calibrate()
    assert bench.status == "gating"
    assert bench.covered() == (True, 1)


def test_a_calibration_holds_for_ninety_days(bench):
    bench.calibrate(cells=(90, 15, 15, 90))
    eb.evaluate.promote(bench.ws, NAME)
    bench.now += timedelta(days=90)
    assert bench.status == "aligned"
    bench.now += timedelta(days=1)
    assert bench.status == "needs recalibration"


def test_another_rubric_needs_calibration_and_a_person_again(bench):
    bench.calibrate()
    eb.evaluate.promote(bench.ws, NAME)
    again = Specification(**JUDGE.model_dump() | {"prompt": "Is it insulting?"})
    define(bench.ws.ledger, again, modes=MODES)
    assert bench.status == "needs recalibration"
    bench.calibrate()  # of the version before: says nothing of this one
    assert bench.status == "needs recalibration"
    bench.calibrate(version=again.version)
    assert (bench.status, bench.row["ready"]) == ("draft", True)
    eb.evaluate.promote(bench.ws, NAME)
    assert bench.status == "gating"


def test_archived_is_archived_until_it_is_defined_again(bench):
    bench.calibrate()
    bench.ws.ledger.append("evaluator.archived", NAME, {"evaluator_id": NAME, "reason": "merged"})
    assert (bench.status, bench.row["why"], bench.row["ready"]) == ("archived", "merged", False)
    with pytest.raises(EvaluatorError, match="it is archived"):
        eb.evaluate.promote(bench.ws, NAME)
    again = Specification(**JUDGE.model_dump() | {"prompt": "Is it insulting?"})
    define(bench.ws.ledger, again, modes=MODES)
    assert bench.status == "draft"


def test_the_same_calibration_is_written_once(bench):
    assert bench.calibrate() == 1
    pins = bench.ws.ledger.bodies("evaluator.calibrated").row(0, named=True)
    row = {name: pins[name] for name in ("tp", "fn", "fp", "tn", "mcc", "mcc_low", "mcc_high")}
    row |= {"evaluator_id": NAME, "evaluator_version": JUDGE.version, "level": 0.95}
    same = {"lake_versions": bench.ws.lake.versions(), "ledger_seq": pins["ledger_seq"]}
    assert record_calibrations(bench.ws, pl.DataFrame([row]), **same) == 0
    again = same | {"ledger_seq": bench.ws.ledger.head()}  # of a run killed before its report
    assert record_calibrations(bench.ws, pl.DataFrame([row]), **again) == 0
    assert record_calibrations(bench.ws, pl.DataFrame([row | {"evaluator_id": "x"}]), **same) == 0


def test_coverage_weighs_by_severity_and_frequency_and_names_the_rest():
    rows = [
        ("shop", "leak", "Leaks", "safety"),
        ("shop", "rude", "Is rude", "user impact"),
        ("shop", "nit", "Nitpicks", "polish"),
    ]
    modes = pl.DataFrame(rows, schema=["surface", "mode", "name", "severity"], orient="row")
    standing = [
        ("leak", "judge", "draft"),
        ("rude", "check", "aligned"),
        ("rude", "judge", "gating"),
    ]
    rows = [{"surface": "shop", "mode": m, "kind": k, "status": s} for m, k, s in standing]
    statuses = pl.DataFrame(rows, schema=status.STATUS)
    rates = modes.select("surface", "mode").with_columns(
        estimate=pl.Series([0.01, 0.1, None], dtype=pl.Float64),
        per_1000=pl.Series([10.0, 100.0, None]),
        low_per_1000=pl.Series([5.0, 80.0, None]),
        high_per_1000=pl.Series([20.0, 120.0, None]),
    )
    coverage = status.measure_coverage(statuses, modes, rates)
    assert coverage["share"].to_list() == pytest.approx([1 / 3, 3 / 13, 0.3 / 0.39])
    assert coverage["uncovered"].to_list()[-1] == "Leaks; Nitpicks"
    listed = status.list_uncovered(statuses, modes, rates)
    assert listed["standing"].to_list() == ["judge: draft", "none"]
    assert listed["per_1000"].to_list() == [10.0, None]


def test_all_looks_at_all_candidates_together_spend_five_percent():
    looks = [(1 - status.shown_level(0.95, before=k, beside=1)) / 2 for k in range(10_000)]
    assert looks[0] == pytest.approx(0.025)
    assert sum(looks) == pytest.approx(0.05, abs=1e-5)
    three = (1 - status.shown_level(0.95, before=0, beside=3)) / 2
    assert 3 * three + sum(looks[3:]) == pytest.approx(0.05, abs=1e-5)


@pytest.mark.slow
def test_a_chance_judge_is_never_aligned_by_luck():
    rng = np.random.default_rng(11)
    read = []
    for _ in range(500):
        truth, verdict = rng.random((2, 100)) < rng.choice([0.2, 0.5])
        found = stats.alignment(truth, verdict, rng=rng)
        row = found.counts._asdict() | {"mcc": found.mcc.estimate}
        row |= {"mcc_low": found.mcc.low, "mcc_high": found.mcc.high}
        read.append(status.read_calibration(row, SETTINGS).status)
    assert sum(each in status.COUNTING for each in read) <= 5
    assert read.count("not aligned") >= 450
