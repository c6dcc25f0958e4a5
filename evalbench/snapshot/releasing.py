"""The stages composed for a release: runs of candidates on the cases of a suite."""

from __future__ import annotations

from functools import cached_property

import polars as pl

from evalbench.label.codebook import restate
from evalbench.release import runs
from evalbench.schema import TABLES
from evalbench.snapshot.stages import Stages


class Releasing(Stages):
    """Runs and what evaluators said of them, as of what is pinned."""

    @cached_property
    def runs(self) -> pl.DataFrame:
        """The runs on record, each as it was recorded last; the oldest first."""
        return self._own(runs.read_runs(self.ws.ledger, until=self.ledger_seq))

    @cached_property
    def baselines(self) -> pl.DataFrame:
        """The run that candidates of each surface and suite are compared with."""
        return self._own(runs.read_baselines(self.ws.ledger, until=self.ledger_seq))

    def read_outputs(self, names: list[str]) -> pl.DataFrame:
        """Read the sessions of runs: ``surface, run, case, repeat`` and the columns of a session.

        Empty where a run's verdicts were made elsewhere, and its outputs are not in the lake.
        """
        return self._read_runs("session", names)

    def read_run_verdicts(self, names: list[str]) -> pl.DataFrame:
        """Read what evaluators said of runs, in the modes of now, by ``run, case, repeat``."""
        given = self._read_runs("verdict", names)
        return restate.restate_verdicts(given, self.codebook)

    def _read_runs(self, table: str, names: list[str]) -> pl.DataFrame:
        surfaces = [runs.name_run(str(self.surface), name) for name in names]
        version = self.lake_versions[table]
        parts = [
            self.ws.lake.scan(table, surface=surface, version=version).collect()
            for surface in surfaces
        ]
        return runs.with_cases(pl.concat(parts) if parts else TABLES[table].to_frame())
