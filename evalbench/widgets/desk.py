"""The desks: what a person does at a widget goes to their work, and comes back."""

from collections.abc import Callable
from typing import Any, TypeVar

from IPython.core.getipython import get_ipython

from evalbench.label.agreement.cases import Adjudication
from evalbench.label.annotation.labelling import Annotation
from evalbench.label.browsing.browsing import Browsing
from evalbench.label.discovery.curation import Curation
from evalbench.snapshot.cases import keep_case
from evalbench.widgets.screens import Adjudicator, Annotator, Browser, ClusterDesk

Desk = TypeVar("Desk", ClusterDesk, Adjudicator)


def annotate(annotation: Annotation) -> Annotator:
    """Show an annotator's work: what the browser says goes to it, what it answers goes back.

    The receipt of a label leaves before the next session is fetched: the browser has that one
    already, and nobody waits for the one after it. Any other answer follows what came of it.
    """
    annotation.keep = keep_case
    desk = Annotator(about=annotation.about, policies=annotation.policies)

    def show() -> None:
        with desk.hold_sync():
            desk.codebook = annotation.codebook
            desk.item, desk.upcoming = annotation.item, annotation.upcoming
            desk.progress = annotation.progress

    def listen(_: Annotator, message: Any, __: list[bytes]) -> None:
        answer = annotation.answer(message)
        saved = answer is not None and answer["tell"] == "saved"
        if saved:
            desk.send(answer)
            late = annotation.answer({"act": "touch"})
            desk.notice = late["why"] if late else ""
        show()
        if answer is not None and not saved:
            desk.send(answer)

    desk.on_msg(listen)
    show()
    return desk


def curate(curation: Curation) -> ClusterDesk:
    """Show clusters of notes: what was done is told after what came of it can be seen."""
    curation.keep = keep_case
    desk = ClusterDesk(reason=curation.reason, weak=curation.weak)

    def show() -> None:
        with desk.hold_sync():
            desk.points, desk.homes = curation.points, curation.homes.tobytes()
            for name in ("groups", "members", "sorting", "confirming", "progress"):
                setattr(desk, name, getattr(curation, name))

    return _connect(desk, curation, show)


def browse(browsing: Browsing) -> Browser:
    """Show the sessions of surfaces: each question of the browser gets its answer."""
    first = {"surfaces": browsing.surfaces, "surface": browsing.surface, "query": browsing.query}
    desk = Browser(**first)

    def listen(_: Browser, message: Any, __: list[bytes]) -> None:
        if (answer := browsing.answer(message)) is not None:
            desk.send(answer)

    desk.on_msg(listen)
    return desk


def adjudicate(adjudication: Adjudication) -> Adjudicator:
    """Show what annotators disagree on: what was decided is told once the next case can be seen."""
    desk = Adjudicator(codebook=adjudication.codebook, about=adjudication.about)

    def show() -> None:
        with desk.hold_sync():
            desk.item, desk.cases = adjudication.item, adjudication.cases
            desk.agreement = adjudication.agreement

    return _connect(desk, adjudication, show)


def _connect(desk: Desk, work: Curation | Adjudication, show: Callable[[], None]) -> Desk:
    """Let a desk say what was done once it shows what came of it."""

    def listen(_: Desk, message: Any, __: list[bytes]) -> None:
        answer = work.answer(message)
        show()
        if answer is not None:
            desk.send(answer)

    desk.on_msg(listen)
    show()
    return desk


def is_attended() -> bool:
    """Whether somebody sits before this kernel: papermill says that nobody can answer."""
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(kernel.get_parent("shell")["content"].get("allow_stdin"))
