"""What a desk answers to the messages of a browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from evalbench.errors import EvalbenchError

Answer = dict[str, Any]


def answer(acts: Mapping[str, Callable[..., Answer | None]], message: Any) -> Answer | None:
    """Do the act that a message ``{"act": ..., **arguments}`` names, and return what it answers.

    Whatever is wrong with it gives ``{"tell": "refused", "why": ...}``.
    """
    try:
        given = dict(message)
        return acts[given.pop("act")](**given)
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except EvalbenchError as error:
        why = str(error)
    except Exception as error:
        # Whatever a browser sends, and whatever befalls the disk, the person goes on.
        why = f"{type(error).__name__}: {error}"
    return {"tell": "refused", "why": why}
