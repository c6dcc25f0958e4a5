"""What a desk answers to the messages of a browser."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from evalbench.errors import EvalbenchError
from evalbench.settings import say_invalid

Answer = dict[str, Any]


def answer(acts: Mapping[str, Callable[..., Answer | None]], message: Any) -> Answer | None:
    """Do the act that a message ``{"act": ..., **arguments}`` names, and return what it answers.

    Whatever is wrong with it gives ``{"tell": "refused", "why": ...}``. A message with an ``id`` is
    always answered, at least by ``{"tell": "done"}``, and the answer has that ``id``.
    """
    if isinstance(message, dict) and "id" in message:
        told = answer(acts, {name: each for name, each in message.items() if name != "id"})
        return {"tell": "done", **(told or {}), "id": message["id"]}
    try:
        given = dict(message)
        return acts[given.pop("act")](**given)
    except ValidationError as error:
        why = say_invalid(error, shows_value=False)
    except Exception as error:
        # Whatever a browser sends, and whatever befalls the disk, the person goes on.
        why = f"{'' if isinstance(error, EvalbenchError) else f'{type(error).__name__}: '}{error}"
    return {"tell": "refused", "why": why}
