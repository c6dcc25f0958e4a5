"""The desks that the server shows, and what each is opened with."""

from evalbench.errors import LabelError
from evalbench.label.agreement.cases import Adjudication
from evalbench.label.annotation.labelling import Annotation
from evalbench.label.annotation.queue import Queue, find_queues
from evalbench.label.browsing.browsing import Browsing
from evalbench.store.workspace import Workspace
from evalbench.widgets import desk
from evalbench.widgets.screens import Adjudicator, Annotator, Browser
from evalbench.widgets.server import Page


def open_annotation(ws: Workspace, *, surface: str = "all", queue: str = "0") -> Annotator:
    """Open a queue for the user: by its number, else the newest that is not done."""
    number = int(queue)
    if not number:
        waiting = find_queues(ws.ledger, None if surface == "all" else surface)["queue"]
        if waiting.is_empty():
            why = "No queue is open. `evalbench run 02_sample -p surface SURFACE` draws one."
            raise LabelError(why)
        number = waiting[-1]
    return desk.annotate(Annotation(ws, Queue(ws.ledger, number)))


def open_browsing(ws: Workspace, *, surface: str = "", query: str = "") -> Browser:
    """Open the sessions of a surface, with a query if one is asked."""
    return desk.browse(Browsing(ws, surface=surface, query=query))


def open_adjudication(ws: Workspace, *, surface: str = "") -> Adjudicator:
    """Open what annotators disagree on: of a surface, else of the first that people labelled."""
    labelled = ws.ledger.bodies("label.set")["surface"].unique().sort()
    if labelled.is_empty():
        raise LabelError("Nobody has labelled a session: `evalbench annotate` serves the desk.")
    return desk.adjudicate(Adjudication(ws, surface or labelled[0]))


PAGES = {
    "annotate": Page("Annotate", Annotator, open_annotation),
    "adjudicate": Page("Adjudicate", Adjudicator, open_adjudication),
    "browse": Page("Sessions", Browser, open_browsing),
}
