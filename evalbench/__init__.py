"""evalbench: evaluate an AI product on its real production traffic.

The journey of one trace, from the day it is logged to the number a board reads:

>>> import evalbench as eb
>>> ws = eb.open("data/workspace", user="ana")  # doctest: +SKIP

**Observe.** Traces go in, in whatever format the product logs them; personal data stays out. Every
session gets one row with the signals somebody recorded, and a sample is drawn that says for each
session why it is in and how probable that was:

>>> eb.observe.ingest(ws, "traces.jsonl", surface="support")  # doctest: +SKIP
IngestReport(sessions=200, spans=3818, rejected=0, duplicates=0)
>>> ws.lake.sessions(surface="support").collect()  # doctest: +SKIP

A session is read in one view, the same for people, judges and checks; ``evalbench show`` prints it:

>>> print(eb.read_session(ws, "support", "s-17").text())  # doctest: +SKIP
[1] user: Where is my order?

**Label.** ``evalbench annotate`` takes labels by keyboard. What people decide goes to the ledger,
one event each, in a chain that shows tampering. Similar notes become clusters, and people make
failure modes of those:

>>> ws.ledger.append("note.added", "s-17", {"text": "quotes last year's policy"})  # doctest: +SKIP
>>> eb.label.cluster(notes, rng=rng).reason  # doctest: +SKIP

**Evaluate.** One evaluator a failure mode, the lightest that detects it; it counts once it is shown
to agree with people and a person has promoted it:

>>> eb.evaluate.promote(ws, "support/rude/judge")  # doctest: +SKIP

**Operate.** The rate of each failure mode with its interval, corrected for how the sample was
drawn, and what each release changed; all from one snapshot of the workspace:

>>> view = eb.snapshot(ws, surface="support", quarter="2026Q3")  # doctest: +SKIP
>>> view.rates, view.changes  # doctest: +SKIP

The notebooks in ``notebooks/`` are the program: ``evalbench run 11_impact`` executes one of them
and writes a report; ``12_plan`` says what is next. ``evalbench demo`` shows the whole journey on a
simulated company.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalbench import evaluate, label, observe, operate, report, snapshot, stats
    from evalbench.session import read_session
    from evalbench.store.workspace import open_workspace as open

__all__ = [
    "evaluate",
    "label",
    "observe",
    "open",
    "operate",
    "read_session",
    "report",
    "snapshot",
    "stats",
]


def __getattr__(name: str) -> Any:
    """Load a stage when it is first used (PEP 562): importing evalbench stays light."""
    if name == "open":
        return import_module("evalbench.store.workspace").open_workspace
    if name == "read_session":
        return import_module("evalbench.session").read_session
    if name in __all__:
        return import_module(f"evalbench.{name}")
    raise AttributeError(f"module 'evalbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
