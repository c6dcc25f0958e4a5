"""The stages composed for a first month: what of the starter plan is done, when and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import polars as pl

from evalbench.evaluate import status
from evalbench.label.agreement.consensus import SESSION_KEY
from evalbench.label.agreement.measures import FEWEST
from evalbench.label.annotation import retraction
from evalbench.schema import TIME, columns
from evalbench.snapshot.monitoring import Monitoring


class Step(NamedTuple):
    """In which week a step is due, and how many of what it counts make it done."""

    week: int
    wanted: int = 1


STEPS = {
    "traces": Step(1),
    "observed": Step(1),
    "drawn": Step(1),
    "read": Step(1, 100),
    "modes": Step(2),
    "twice": Step(2, FEWEST),
    "agreed": Step(2),
    "evaluators": Step(3),
    "calibrated": Step(3),
    "counting": Step(3),
    "cases": Step(4),
    "gate": Step(4),
    "report": Step(4),
}
"""The steps in their order; with fewer sessions than a step wants, all of them are enough."""
NOTEBOOKS = {"observed": "01_observe", "agreed": "05_agreement", "report": "11_impact"}
"""The report that a step asks for."""
ALL = "all"
ROWS = columns((pl.String, "step surface item actor"), (TIME, "at"))
PLAN = columns(
    (pl.String, "surface step"),
    (pl.Int64, "week wanted have"),
    (TIME, "done_at"),
    (pl.List(pl.String), "by"),
    (pl.Int64, "day"),
    (pl.List(pl.Int64), "elsewhere"),
    (pl.String, "standing"),
)
"""One row a surface and step. ``day`` counts from the first that is on record of the surface;
``elsewhere`` are those days of the other surfaces; ``standing`` is done, next or later."""


class Planning(Monitoring):
    """The starter plan of each surface, as of what is pinned."""

    @property
    def plan(self) -> pl.DataFrame:
        """How far the surfaces are with each step: :data:`PLAN`, empty without traces."""
        every = replace(self, surface=None).whole
        sizes = every.sessions.group_by("surface").agg(sessions=pl.len().cast(pl.Int64))
        steps = pl.DataFrame(
            [(name, order, *step) for order, (name, step) in enumerate(STEPS.items())],
            {"step": pl.String, "order": pl.Int64, "week": pl.Int64, "wanted": pl.Int64},
            orient="row",
        )
        key, step = ["surface", "step"], pl.col("step")
        due = sizes.join(steps, how="cross").with_columns(
            wanted=pl.min_horizontal("wanted", "sessions")
        )
        counted = every._counted.sort("at").unique([*key, "item"], keep="first").sort("at", "item")
        counted = counted.with_columns(nth=pl.int_range(1, pl.len() + 1).over(key))
        by_then = pl.col("nth") <= pl.col("wanted")
        reached = (
            due.join(counted, on=key)
            .group_by(key)
            .agg(
                have=pl.len().cast(pl.Int64),
                done_at=pl.col("at").filter(pl.col("nth") == pl.col("wanted")).first(),
                by=pl.col("actor").filter(by_then).unique().sort(),
            )
        )
        began = counted.group_by("surface").agg(began=pl.min("at"))
        have = pl.when(step == "traces").then("sessions").otherwise(pl.col("have").fill_null(0))
        day = (pl.col("done_at").dt.date() - pl.col("began").dt.date()).dt.total_days() + 1
        found = (
            due.join(reached, on=key, how="left")
            .join(began, on="surface", how="left")
            .with_columns(have=have, day=day)
            .sort("surface", "order")
        )
        undone = pl.col("have") < pl.col("wanted")
        first = undone & (undone.cum_sum().over("surface") == 1)
        open_one = pl.when(first).then(pl.lit("next")).when(undone).then(pl.lit("later"))
        standing = open_one.otherwise(pl.lit("done"))
        days = found.drop_nulls("day").select("step", other="surface", days="day")
        elsewhere = (
            found.select(key)
            .join(days, on="step")
            .filter(pl.col("other") != pl.col("surface"))
            .group_by(key)
            .agg(elsewhere=pl.col("days").sort())
        )
        told = found.join(elsewhere, on=key, how="left", maintain_order="left")
        return self._own(told.with_columns(standing=standing).select(*PLAN))

    @property
    def _counted(self) -> pl.DataFrame:
        rows = (
            table.select(ROWS.names()[1:]).with_columns(step=pl.lit(step)).select(ROWS.names())
            for step, table in self._count()
        )
        return pl.concat([ROWS.to_frame(), *rows])

    def _count(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """Give what each step counts, as ``item``, with who did it ``at`` which time."""
        yield "drawn", self._events("queue.drawn").with_columns(item="subject")
        session = self.labels.with_columns(item="session_id")
        yield "read", session
        notes = retraction.read_notes(self.ws.ledger, until=self.ledger_seq)
        yield "read", notes.with_columns(item="session_id")
        live = self.modes.select("surface", "mode", item="mode")
        for kind in ("mode.defined", "mode.promoted"):
            yield "modes", self._events(kind).join(live, on=["surface", "mode"])
        firsts = session.sort("at").unique([*SESSION_KEY, "actor"], keep="first")
        second = pl.int_range(1, pl.len() + 1).over(SESSION_KEY) == 2
        yield "twice", firsts.sort("at").filter(second)
        surfaces = {name: each.surface for name, each in self.specifications.items()}
        counts = self.statuses.filter(pl.col("status").is_in(status.COUNTING))["evaluator_id"]
        evaluator = pl.col("evaluator_id")
        place = evaluator.replace_strict(surfaces, default=None, return_dtype=pl.String)
        for step, kind in (
            ("evaluators", "evaluator.defined"),
            ("calibrated", "evaluator.calibrated"),
            ("counting", "evaluator.promoted"),
        ):
            events = self.ws.ledger.bodies(kind, until=self.ledger_seq)
            kept = evaluator.is_in(list(counts)) if step == "counting" else pl.lit(True)
            yield step, events.filter(kept).with_columns(surface=place, item=evaluator)
        made = self._events("verdicts.imported")
        yield "evaluators", made.with_columns(item="evaluator")
        yield "cases", self._events("golden.added").with_columns(item="subject")
        yield "gate", self._events("gate.decided").with_columns(item="subject")
        # That a report was made moves no pin: it counts where it was made from what is pinned here.
        reports = self.ws.ledger.bodies("report.published")
        reports = reports.filter(pl.col("ledger_seq") <= self.ledger_seq).with_columns(
            surface=pl.col("parameters").str.json_path_match("$.surface"), item="run"
        )
        for step, notebook in NOTEBOOKS.items():
            own = reports.filter(notebook=notebook)
            yield step, own.filter(pl.col("surface") != ALL)
            everywhere = own.filter(surface=ALL).drop("surface")
            yield step, everywhere.join(self.sessions.select("surface").unique(), how="cross")
