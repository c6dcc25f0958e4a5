"""A failure that people confirmed becomes a golden case: at a desk, or by the command line."""

import polars as pl

from evalbench.errors import ReleaseError
from evalbench.label.annotation.retraction import read_notes
from evalbench.release import golden, leakage
from evalbench.schema import GoldenAdded
from evalbench.session import read_session
from evalbench.snapshot import take_snapshot
from evalbench.store.workspace import Workspace


def keep_case(
    ws: Workspace, surface: str, session_id: str, *, mode: str, expected: str, suite: str = "golden"
) -> GoldenAdded:
    """Add a session that fails to a suite; ReleaseError where nobody confirmed it, or it leaks."""
    view = take_snapshot(ws, surface=surface)
    found, own = view.codebook.find(surface, mode), {"session_id": session_id, "surface": surface}
    failing = view.truth.filter(pl.col("fails"), mode=mode, **own)
    if failing.is_empty() and read_notes(ws.ledger).filter(**own).is_empty():
        raise ReleaseError(
            f"nobody confirmed that session {session_id} shows {found.name!r}: a case is made of "
            "what most annotators, or the adjudicator, found to fail; `evalbench annotate` labels"
        )
    anchors = view.labels.filter(**own)["anchors"].explode().drop_nulls().to_list()
    shown = [each["span_id"] for each in anchors if each["mode"] in (mode, None)]
    asked = {"mode": mode, "severity": found.severity or "user impact"}
    session = read_session(ws, surface, session_id)
    case = golden.make_case(session, expected, mode=asked, suite=suite, span_id=(*shown, None)[0])
    case = golden.redact_case(ws, case)
    if why := leakage.list_objections([case], view.cases, view.places):
        raise ReleaseError(
            f"the case {why[0]}: a suite cannot tell what was learnt from what is known; take "
            "another failing session, best of the test split"
        )
    golden.add_cases(ws, [case])
    return case
