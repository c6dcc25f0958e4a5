"""Reports: what a notebook says, draws and keeps, and the runbook that executes it.

``eb.report(view, folder)`` starts the report of one run.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from evalbench.report.report import Report
    from evalbench.snapshot import Snapshot


class _Callable(ModuleType):
    """Lets ``eb.report(...)`` start one, though ``evalbench.report`` is this package."""

    def __call__(self, view: "Snapshot", folder: "str | Path") -> "Report":
        from evalbench.report.report import Report

        return Report(view, folder)


sys.modules[__name__].__class__ = _Callable
# With this, jsonschema also checks IRIs, which no chart or notebook has, and builds their grammars
# for two seconds in every process. Told that it is missing, it goes without.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
