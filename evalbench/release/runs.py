"""Runs: what one version of the product answered on the cases of a suite.

The outputs of a run are sessions of a surface of their own, ``SURFACE@RUN``: one a case, called by
the case's name, or ``CASE#1``, ``CASE#2`` where it was asked repeatedly. Whoever asks the lake for
all surfaces is given production alone.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import polars as pl

from evalbench.errors import ReleaseError
from evalbench.release.golden import hash_suite, read_cases
from evalbench.schema import RUN_SIGN, TIME, BaselineSet, RunRecorded, Suite, columns
from evalbench.store.ledger import Ledger
from evalbench.store.workspace import Workspace

RUN_KEY = ["surface", "run"]
RUNS = columns(
    (pl.Int64, "seq"),
    (TIME, "at"),
    (pl.String, "surface run suite suite_version release"),
    (pl.Int64, "cases repeats"),
)
BASELINES = columns((pl.String, "surface suite run"))
_CASE = r"(?s)^(.*?)(?:#([0-9]{1,9}))?$"
_NAMED = 5
"""Cases that an error names."""


def name_run(surface: str, run: str) -> str:
    """Name the surface in the lake that holds a run of a surface."""
    return f"{surface}{RUN_SIGN}{run}"


def is_run(surface: str) -> bool:
    """Tell whether a surface of the lake holds a run."""
    return RUN_SIGN in surface


def with_cases(rows: pl.DataFrame) -> pl.DataFrame:
    """Say of sessions or verdicts of runs of which ``surface, run, case`` and ``repeat`` they are.

    A verdict's own ``repeat`` is then ``again``: how often the same output was judged before.
    """
    surface = pl.col("surface").str.splitn(RUN_SIGN, 2)
    judged = {"again": "repeat"} if "repeat" in rows.columns else {}
    found = rows.select(
        surface.struct[0].alias("surface"),
        surface.struct[1].alias("run"),
        pl.col("session_id").str.extract(_CASE, 1).alias("case"),
        pl.col("session_id").str.extract(_CASE, 2).cast(pl.Int64).fill_null(0).alias("repeat"),
        *(pl.col(column).alias(name) for name, column in judged.items()),
        pl.exclude("surface", "session_id", "repeat"),
    )
    return found.sort("surface", "run", "case", "repeat", maintain_order=True)


def record_run(
    ws: Workspace, surface: str, *, suite: Suite | None = None, release: str | None = None
) -> RunRecorded:
    """Record what is in the lake of a run, ``SURFACE@RUN``, once; ReleaseError where it is unclear.

    Without outputs the cases are those that verdicts speak of. ``release`` is by default theirs;
    what nobody says of a run that is on record stays as it is.
    """
    product, _, run = surface.partition(RUN_SIGN)
    named = ["surface", "session_id", "release", "first_input"]
    known = ws.lake.sessions(surface=surface).select(named).collect()
    if known.is_empty():
        judged = ws.lake.verdicts(surface=surface).select("surface", "session_id").unique()
        known = judged.with_columns(release=None, first_input=None).collect()
    if known.is_empty():
        raise ReleaseError(
            f"nothing of run {run!r} of {product} is in the lake: ingest its outputs first"
        )
    outputs = with_cases(known)
    spans = ws.lake.spans(surface=surface)
    traces = spans.group_by("session_id").agg(n=pl.col("trace_id").n_unique()).collect()
    if len(double := traces.filter(pl.col("n") > pl.col("n").median())["session_id"]):
        raise ReleaseError(
            f"run {run!r} of {product} has more than one answer to {_name(double.to_list())}:"
            " name repeats apart, --map 'session_id={case}#{repeat}', and ingest with --replace"
        )
    last = ws.ledger.bodies("run.recorded", subject=surface).tail(1).to_dicts()
    before: dict[str, Any] = last[0] if last else {"suite": "golden", "release": None}
    of_suite: Any = suite or before["suite"]
    released = [*outputs["release"].unique(), None]
    body = RunRecorded(
        surface=product,
        run=run,
        suite=of_suite,
        suite_version=_find_version(outputs, read_cases(ws.ledger)["case"]),
        release=release or (released[0] if len(released) == 2 else None) or before["release"],
        cases=outputs["case"].n_unique(),
        repeats=outputs["repeat"].n_unique(),
    )
    if {name: before.get(name) for name in RunRecorded.model_fields} != body.model_dump():
        ws.ledger.append("run.recorded", surface, body)
    return body


def _find_version(outputs: pl.DataFrame, golden: pl.Series) -> str:
    """Find the version of what was asked; the names of golden cases say what they ask."""
    if outputs["case"].is_in(golden.implode()).all():
        return hash_suite(outputs["case"].unique())
    asked = outputs.group_by("case").agg(pl.col("first_input").fill_null("").min()).sort("case")
    return hashlib.sha256(json.dumps(asked.rows()).encode()).hexdigest()[:16]


def set_baseline(ws: Workspace, surface: str, run: str) -> BaselineSet:
    """Let later candidates of the surface be compared with a run on record."""
    known = read_runs(ws.ledger).filter(surface=surface)
    check_recorded(known, surface, run)
    body = BaselineSet(surface=surface, suite=known.filter(run=run)["suite"][0], run=run)
    ws.ledger.append("baseline.set", name_run(surface, run), body)
    return body


def read_runs(ledger: Ledger, *, until: int | None = None) -> pl.DataFrame:
    """Read the runs on record as :data:`RUNS`, each as it was recorded last, the oldest first."""
    bodies = ledger.bodies("run.recorded", until=until).select(list(RUNS)).cast(RUNS)
    return bodies.unique(RUN_KEY, keep="last").sort("seq")


def read_baselines(ledger: Ledger, *, until: int | None = None) -> pl.DataFrame:
    """Read the baseline of each surface and suite as :data:`BASELINES`."""
    bodies = ledger.bodies("baseline.set", until=until).select(list(BASELINES)).cast(BASELINES)
    return bodies.unique(["surface", "suite"], keep="last", maintain_order=True)


def check_recorded(runs: pl.DataFrame, surface: str, *names: str) -> None:
    """Refuse runs of a surface that are not on record; ``runs`` are its own."""
    for name in sorted({*names} - {*runs["run"]}):
        raise ReleaseError(
            f"no run {name!r} of {surface} is on record (there are"
            f" {', '.join(runs['run']) or 'none yet'}): evalbench ingest OUTPUTS --surface"
            f" {surface} --run {name}"
        )


def check_comparable(runs: pl.DataFrame, outputs: pl.DataFrame) -> None:
    """Refuse runs that were not asked the same, by name; ``outputs`` are ``run, case, repeat``."""
    first = runs.row(0, named=True)
    for row in runs.iter_rows(named=True):
        for what in ("suite", "suite_version"):
            if row[what] != first[what]:
                raise ReleaseError(
                    f"runs {first['run']} and {row['run']} cannot be compared: their"
                    f" {what.replace('_', ' ')} is {first[what]} and {row[what]};"
                    " run both on the same cases"
                )
    asked = outputs.select("case", "repeat").unique()
    for run in runs["run"]:
        given = outputs.filter(run=run)
        missing = asked.join(given, on=["case", "repeat"], how="anti")["case"].unique().sort()
        if len(missing):
            raise ReleaseError(
                f"run {run} lacks cases or repeats that others have: {_name(missing.to_list())};"
                " ingest its outputs on them"
            )


def _name(cases: list[str]) -> str:
    more = f" and {len(cases) - _NAMED} more" if len(cases) > _NAMED else ""
    return ", ".join(sorted(cases)[:_NAMED]) + more


def choose_runs(
    runs: pl.DataFrame,
    baselines: pl.DataFrame,
    surface: str,
    *,
    names: str = "",
    baseline: str = "",
) -> pl.DataFrame:
    """Choose the runs of a surface to compare, the baseline first; names set off by ";".

    By default every run on the cases of the baseline, which is the one set, else the oldest on the
    cases of the newest.
    """
    known = runs.filter(surface=surface)
    wanted = [name.strip() for name in names.split(";") if name.strip()]
    check_recorded(known, surface, *wanted, *filter(None, [baseline]))
    suite = ["suite", "suite_version"]
    meant = known.filter(pl.col("run").is_in([baseline] if baseline else wanted or known["run"]))
    same = known.join(meant.tail(1).select(suite), on=suite, how="semi")
    marked = same.join(baselines.filter(surface=surface), on=["suite", "run"], how="semi")
    first = baseline or [*marked["run"], *same["run"], ""][0]
    chosen = known.filter(pl.col("run").is_in([*wanted, first])) if wanted else same
    if chosen.height < 2:
        raise ReleaseError(
            f"{surface} has {chosen.height} runs to compare, and it takes two on the same cases:"
            " evalbench ingest OUTPUTS --surface SURFACE --run RUN records one"
        )
    return chosen.sort(pl.col("run") != first, "seq")
