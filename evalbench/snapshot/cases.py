"""A failure that people confirmed becomes a golden case: at a desk, or by the command line."""

import polars as pl

from evalbench.errors import ReleaseError
from evalbench.label.annotation.retraction import read_notes
from evalbench.release import golden, leakage
from evalbench.schema import GoldenAdded
from evalbench.session import read_session
from evalbench.snapshot.releasing import Releasing


def keep_case(
    view: Releasing, session_id: str, *, mode: str, expected: str, suite: str = "golden"
) -> GoldenAdded:
    """Add a failing session of the snapshot's surface to a suite, and return the case.

    Raises ReleaseError where nobody confirmed the failure by a label or a note, or the case leaks;
    LabelError where the codebook has no such mode.
    """
    surface, ledger = str(view.surface), view.ws.ledger
    found = view.codebook.find(surface, mode)
    own = {"surface": surface, "session_id": session_id}
    failing = view.truth.filter(pl.col("fails"), mode=mode, **own)
    noted = read_notes(ledger, until=view.ledger_seq).filter(**own)
    if failing.is_empty() and noted.is_empty():
        raise ReleaseError(
            f"nobody confirmed that session {session_id} shows {found.name!r}: a case is made of "
            "what most annotators, or the adjudicator, found to fail; `evalbench annotate` labels"
        )
    anchors = view.labels.filter(**own)["anchors"].explode().drop_nulls().to_list()
    shown = [each["span_id"] for each in anchors if each["mode"] in (mode, None)]
    asked = {"mode": mode, "severity": found.severity or "user impact"}
    session = read_session(view.ws, surface, session_id)
    case = golden.make_case(session, expected, mode=asked, suite=suite, span_id=(*shown, None)[0])
    case = golden.redact_case(view.ws, case)
    cases = golden.read_cases(ledger)
    leakage.refuse_leaks(case, cases, view.places)
    golden.add_cases(view.ws, [case])
    return case
