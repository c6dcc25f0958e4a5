"""The stages composed for operation: issues, their fixes, and how long all of it takes."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import polars as pl

from evalbench.operate import evidence, fixes, impact, resolution
from evalbench.operate.issues import Issue, issue_table, move_table, read_issues
from evalbench.snapshot.releasing import Releasing


class Operating(Releasing):
    """Issues and what speaks for their fixes, as of what is pinned."""

    @cached_property
    def issues(self) -> pl.DataFrame:
        """The issues that were open in the quarter, as they stand, in the modes of now."""
        start, end = evidence.quarter_window(self.quarter)
        table = issue_table(self._issues, start=start, end=end)
        keys = table.select("surface", "mode", pl.col("session_ids").list.first()).iter_rows()
        follow = self.codebook.follow
        modes = [mode and (follow(surface, mode, own) or mode) for surface, mode, own in keys]
        return table.with_columns(mode=pl.Series(modes, dtype=pl.String))

    @cached_property
    def resolution(self) -> pl.DataFrame:
        """How long issues took in the quarter, from each state to another."""
        start, end = evidence.quarter_window(self.quarter)
        asked: dict[str, Any] = {"now": self.now, "level": self.ws.settings.level}
        moves = move_table(self._issues)
        return resolution.measure_resolution(moves, start=start, end=end, **asked)

    @cached_property
    def fixes(self) -> pl.DataFrame:
        """The rates before and after each fix, over whole lives of releases."""
        frame, changes = self._any_frame, pl.DataFrame(schema=impact.CHANGES)
        if frame.height:
            asked = {"margin": self.margin, "level": self.ws.settings.level}
            changes = impact.release_changes(self.estimated, frame, self.shipped, **asked)
        return fixes.check_fixes(self.issues, changes, frame, self.truth, self.shipped)

    @cached_property
    def stale(self) -> pl.DataFrame:
        """The evaluators, and whether what they watch for is still seen."""
        verdicts = self.every_verdict.select(fixes.JUDGED).collect()
        return fixes.find_stale(self.statuses, verdicts, self.truth, self._any_frame)

    @cached_property
    def _issues(self) -> dict[str, Issue]:
        known = read_issues(self.ws.ledger, until=self.ledger_seq)
        named = {name: issue.opened.surface for name, issue in known.items()}
        return {name: known[name] for name in known if self.surface in (None, named[name])}

    @property
    def _any_frame(self) -> pl.DataFrame:
        """Sessions of any quarter in the order of their releases; none where there are none."""
        sessions = self.whole.sessions
        return self.whole.frame if sessions.height else sessions.with_columns(since="started_at")
