"""What a desk answers to the messages of a browser."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from pydantic import ValidationError

from evalbench.errors import EvalbenchError, LabelError
from evalbench.label.annotation.transcript import READING
from evalbench.session import Session
from evalbench.settings import say_invalid
from evalbench.store.workspace import Workspace

Answer = dict[str, Any]


class Desk:
    """A person at a page, whose messages are acts of the desk, or of reading the open session.

    ``keep`` makes a golden case, which is no matter of labels: whoever shows a desk sets it.
    """

    ACTS: ClassVar[tuple[str, ...]] = ()
    keep: Callable[..., Any]
    surface: str
    _ws: Workspace
    _session: Session | None = None

    def answer(self, message: Any) -> Answer | None:
        """Do the act that a message ``{"act": ..., **arguments}`` names; give what it answers.

        ``act`` is of :attr:`ACTS` or of :data:`READING`. Whatever is wrong gives ``{"tell":
        "refused", "why": ...}``. A message with an ``id`` is always answered, at least by
        ``{"tell": "done"}``, and the answer has that ``id``; another may give None.
        """
        if isinstance(message, dict) and "id" in message:
            told = self.answer({name: each for name, each in message.items() if name != "id"})
            return {"tell": "done", **(told or {}), "id": message["id"]}
        acts = {act: getattr(self, act) for act in self.ACTS}
        acts |= {act: partial(self._consult, act) for act in READING}
        try:
            given = dict(message)
            return acts[given.pop("act")](**given)
        except ValidationError as error:
            why = say_invalid(error, shows_value=False)
        except Exception as error:
            # Whatever a browser sends, and whatever befalls the disk, the person goes on.
            known = isinstance(error, EvalbenchError)
            why = f"{'' if known else f'{type(error).__name__}: '}{error}"
        return {"tell": "refused", "why": why}

    def golden(self, *, session_id: str, mode: str, expected: str) -> Answer:
        """Make a golden case of a session that fails, by what should have been done."""
        self.keep(self._ws, self.surface, session_id, mode=mode, expected=expected)
        return {"tell": "done", "said": "It is a golden case: no release may fail it again"}

    def _find_session(self, session_id: str) -> Session | None:
        """Find an open session, by default the one that is shown."""
        held = self._session
        return held if held and session_id in ("", held.session_id) else None

    def _consult(self, act: str, session_id: str = "", **asked: Any) -> Answer:
        session = self._find_session(session_id)
        if session is None:
            raise LabelError(f"session {session_id} is not open: open it again")
        return READING[act](session, **asked)
