"""The stages composed up to production: what people labelled, who judges, and the rates."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import polars as pl

from evalbench.errors import EvalbenchError
from evalbench.evaluate import calibrate, spec, status
from evalbench.evaluate.importing import read_rule
from evalbench.evaluate.split import with_split
from evalbench.label.agreement import consensus, measures
from evalbench.label.annotation import queue
from evalbench.label.codebook import acts, restate
from evalbench.label.codebook.modes import Codebook
from evalbench.label.discovery import drafts, kinds, saturation, texts
from evalbench.observe.sampling.draw import stratify
from evalbench.operate import evidence, impact
from evalbench.schema import QueueDrawn
from evalbench.snapshot.pinned import Pinned, shared

UNNAMED = "Fails, whatever the failure"


class Stages(Pinned):
    """Labels, evaluators and rates, as of what is pinned."""

    @shared
    def codebook(self) -> Codebook:
        """All failure modes that ever were, and what became of them."""
        return acts.read_codebook(self.ws.ledger, until=self.ledger_seq)

    @cached_property
    def modes(self) -> pl.DataFrame:
        """The failure modes that count."""
        return self._own(self.codebook.live)

    @shared
    def labels(self) -> pl.DataFrame:
        """What each annotator said of a session, in the modes of now."""
        return restate.restate(self._events("label.set"), self.codebook)

    @shared
    def rulings(self) -> pl.DataFrame:
        """What adjudicators decided, in the modes of now."""
        return restate.restate(self._events("label.adjudicated"), self.codebook)

    @shared
    def truth(self) -> pl.DataFrame:
        """What people decided of each session and mode: the adjudicator's ruling, else the vote."""
        return consensus.decide(self.labels, self.rulings, self.modes)

    @shared
    def judgements(self) -> pl.DataFrame:
        """What each annotator who is sure says of each mode and of the session as a whole."""
        return measures.with_week(consensus.judgements(self.labels, self.modes, with_any=True))

    @cached_property
    def ratings(self) -> pl.DataFrame:
        """The last rating of each session by each annotator on each scale, as judgements."""
        return measures.latest_ratings(self._events("rating.set"))

    @cached_property
    def queues(self) -> pl.DataFrame:
        """The queues that are not done."""
        return queue.find_queues(self.ws.ledger, self.surface, until=self.ledger_seq)

    def queue_state(self, number: int) -> pl.DataFrame:
        """Tell how every item of a queue stands; 0 is no queue."""
        return queue.read_state(self.ws.ledger, number, until=self.ledger_seq)

    @property
    def comments(self) -> pl.DataFrame:
        """What annotators wrote to whoever leads the labelling."""
        return self._events("comment.added")

    @shared
    def shipped(self) -> pl.DataFrame:
        """The releases that were announced."""
        return self._events("release.shipped")

    @cached_property
    def draws(self) -> dict[int, QueueDrawn]:
        """The draws that may cover sessions of the quarter, by the number of their event."""
        events = self.ws.ledger.events("queue.drawn", until=self.ledger_seq)
        return evidence.read_draws(events, surface=self.surface, **self._window)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Sessions in the order of releases: ``since`` (the release), ``drawn, labelled, split``.

        And ``stratum, inclusion_probability``, null in no draw, beside the columns of a session.
        """
        placed = evidence.combine_draws(self._place(*draw) for draw in self.draws.items())
        frame = evidence.report_frame(self.sessions, placed, self.shipped)
        known = self.labels.select(*impact.SESSION_KEY, labelled=True).unique()
        joined = frame.join(known, on=impact.SESSION_KEY, how="left", maintain_order="left")
        return with_split(joined.with_columns(pl.col("labelled").fill_null(False)))

    @shared
    def specifications(self) -> dict[str, spec.Specification]:
        """The evaluators defined here, by id, at their latest version."""
        return spec.read_specifications(self.ws.ledger, until=self.ledger_seq)

    @shared
    def statuses(self) -> pl.DataFrame:
        """What the latest version of every evaluator may be used for, by the last event's time."""
        aged: dict[str, Any] = {"settings": self.ws.settings.evaluators, "now": self.now}
        aged["until"] = self.ledger_seq
        return self._own(status.read_statuses(self.ws.ledger, self.every_verdict, **aged))

    @property
    def tried(self) -> pl.DataFrame:
        """What each calibration on record found."""
        return calibrate.read_looks(self.ws.ledger, until=self.ledger_seq)

    @shared
    def verdicts(self) -> pl.DataFrame:
        """Verdicts of evaluators that count, or that were made elsewhere, in the modes of now."""
        return restate.restate_verdicts(self._counting_verdicts, self.codebook)

    def pair_tested(self, sessions: pl.DataFrame) -> pl.DataFrame:
        """Put verdicts beside what people say, on those sessions that no evaluator learnt from."""
        spoken = calibrate.current_verdicts(self.verdicts, self.specifications)
        truth = self.truth.rename({"fails": "truth"})
        pairs = calibrate.pair_verdicts(spoken, truth, sessions, self.specifications)
        return pairs.filter(pl.col("split") != "train")

    @shared
    def estimated(self) -> list[impact.SurfaceRates]:
        """Rates of all failure modes in all releases, each over its whole life."""
        return self.estimate(self.whole.frame, *self.rated)

    @cached_property
    def rated(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The truth and the modes that have rates; while a surface has none: pass or fail."""
        unnamed = self.labels.select("surface").unique().join(self.modes, on="surface", how="anti")
        if unnamed.is_empty():
            return self.truth, self.modes
        whole = unnamed.with_columns(mode=pl.lit(consensus.ANY), name=pl.lit(UNNAMED))
        modes = pl.when(verdict="fail").then(pl.lit([consensus.ANY])).otherwise(pl.lit([""]))
        labels, rulings = (each.with_columns(modes=modes) for each in (self.labels, self.rulings))
        truth = pl.concat([self.truth, consensus.decide(labels, rulings, whole)])
        return truth, pl.concat([self.modes, whole], how="diagonal")

    @cached_property
    def rates(self) -> pl.DataFrame:
        """How often each failure mode occurs in each release that has sessions in the quarter."""
        rates = impact.rates_table(self.estimated, quarter=self.quarter)
        return rates.join(self.frame, on=impact.RELEASE_KEY, how="semi", maintain_order="left")

    @cached_property
    def changes(self) -> pl.DataFrame:
        """What each release that has sessions in the quarter changed."""
        asked = {"margin": self.margin, "level": self.ws.settings.level}
        return impact.release_changes(self.estimated, self.frame, self.shipped, **asked)

    @cached_property
    def overall_rates(self) -> pl.DataFrame:
        """How often each failure mode occurs, releases taken together."""
        return self._rate_overall(self.truth, self.modes)

    @cached_property
    def restated(self) -> pl.DataFrame:
        """How many labels and verdicts count under another mode than they were given."""
        given = self._events("label.set").join(self.frame, on=impact.SESSION_KEY, how="semi")
        return restate.count_restated(given, self._counting_verdicts, self.codebook)

    def compare(
        self, criterion: str, *, fails_when: str, tie: str = ""
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return judgements and truth; of ratings on a ``criterion``, a ``tie`` is undecided."""
        if not criterion:
            return self.judgements, self.truth.rename({"fails": "truth"})
        rated = self.ratings.filter(mode=criterion)
        return calibrate.compare_ratings(rated, fails=read_rule(fails_when), tie=tie)

    def review(self, book: Codebook) -> pl.DataFrame:
        """List the sessions that people read, with the kinds of failure that each showed."""
        seen = drafts.list_seen(book, self._notes, self.truth)
        return saturation.review(self.labels, seen, self.frame)

    def list_kinds(self, of: str) -> pl.DataFrame:
        """List the kinds of sessions by their "requests", "answers" or "tools", least read first.

        One that is read already in each is passed over: ``session_id`` is what to read next.
        """
        if of not in kinds.SIDES:
            raise EvalbenchError(f"kinds must be one of {', '.join(kinds.SIDES)}; got {of!r}")
        sessions = self.sessions
        if of == "tools":
            sessions = sessions.join(kinds.list_tools(self.spans), on=kinds.KEY)
        how = {"rng": self.measured["rng"], "seed": self.seed}
        found = kinds.sort_sessions(sessions, kinds.SIDES[of], **how)
        return kinds.rank_kinds(found, self.labels)

    def draft_rates(self, book: Codebook) -> pl.DataFrame:
        """Estimate how often each draft happens at least, by the notes that are in it."""
        noted = drafts.label_drafts(book, self._notes, self.labels)
        return self._rate_overall(noted, book.to_frame().filter(status="draft"))

    def estimate(
        self, frame: pl.DataFrame, *labels_and_modes: Any, judged: float = 1.0
    ) -> list[impact.SurfaceRates]:
        """Estimate rates, where evaluators ``judged`` a share of the sessions, chosen at random."""
        about = {"judged": judged, **self.measured}
        return impact.estimate_surfaces(frame, self.judging, *labels_and_modes, **about)

    @cached_property
    def _notes(self) -> pl.DataFrame:
        return texts.read_notes(self.ws.ledger, str(self.surface), until=self.ledger_seq)

    @shared
    def _counting_verdicts(self) -> pl.DataFrame:
        return status.counting_verdicts(self.every_verdict, self.statuses)

    @shared
    def judging(self) -> pl.DataFrame:
        """The verdicts, and whether who gave each may have ``learnt`` from the train split."""
        learnt = pl.col("evaluator_id").is_in(list(self.specifications))
        return self.verdicts.with_columns(learnt=learnt)

    @shared
    def whole(self) -> Self:
        """The same of any quarter."""
        return self if self.quarter == evidence.WHOLE else replace(self, quarter=evidence.WHOLE)

    def _rate_overall(self, labels: pl.DataFrame, modes: pl.DataFrame) -> pl.DataFrame:
        whole = self.frame.with_columns(release=pl.lit(evidence.WHOLE))
        return impact.rates_table(self.estimate(whole, labels, modes), quarter=self.quarter)

    def _place(self, seq: int, draw: QueueDrawn) -> pl.DataFrame:
        """Put the sessions of a draw into their strata again, by what the lake held then."""
        then, lake = draw.lake_versions, self.ws.lake
        frame: dict[str, Any] = {"surface": draw.surface, "start": draw.start, "end": draw.end}
        sessions = lake.sessions(**frame, version=then.get("session")).collect()
        verdicts = lake.verdicts(surface=draw.surface, version=then.get("verdict"))
        asked = draw.design.evaluators + draw.design.targets
        judged = verdicts.collect() if asked else None
        return evidence.place_draw(seq, draw, stratify(sessions, draw.design, judged))
