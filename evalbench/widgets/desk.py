"""The desk: an annotator's sitting behind the widget they see."""

from __future__ import annotations

import os
from typing import Any

from IPython.core.getipython import get_ipython

from evalbench.label.sitting import Sitting
from evalbench.widgets.annotator import Annotator


def annotate(sitting: Sitting) -> Annotator:
    """Show a sitting: what the browser says goes to it, what it answers goes back.

    The receipt of a label leaves before the next session is fetched: the browser has that one
    already, and nobody waits for the one after it.
    """
    desk = Annotator(codebook=sitting.codebook, policies=sitting.policies)

    def show() -> None:
        with desk.hold_sync():
            desk.item, desk.upcoming = sitting.item, sitting.upcoming
            desk.progress = sitting.progress

    def listen(_: Annotator, message: Any, __: list[bytes]) -> None:
        answer = sitting.answer(message)
        if answer is not None:
            desk.send(answer)
            if answer["tell"] == "saved":
                late = sitting.answer({"act": "touch"})
                desk.notice = late["why"] if late else ""
        show()

    desk.on_msg(listen)
    show()
    return desk


def is_attended() -> bool:
    """Whether somebody sits before this kernel.

    papermill tells its kernels that nobody can answer an ``input()``. So does voila, which names
    itself in the environment.
    """
    if "VOILA_REQUEST_URL" in os.environ:
        return True
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(kernel.get_parent("shell")["content"].get("allow_stdin"))
