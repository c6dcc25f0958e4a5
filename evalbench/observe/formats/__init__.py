"""The formats that traces come in, one file each, and what they share.

A format is told by a signature: several names that only its records have together.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from importlib import import_module
from types import ModuleType

from evalbench.errors import ReadError
from evalbench.observe.record import Row

CHAT = "openai_chat"
# Modules in the order they are asked: the last takes any record that holds a chat.
FORMATS = ("opentelemetry", "langfuse", "langsmith", "braintrust", CHAT)


def load_formats(name: str) -> list[ModuleType]:
    """Return the modules that read a format, all for ``auto``; ReadError where none does."""
    modules = [import_module(f"evalbench.observe.formats.{each}") for each in FORMATS]
    if name == "auto":
        return modules
    known = {each: module for module in modules for each in module.NAMES}
    if name not in known:
        raise ReadError(f"format {name!r} is not known; known are auto, {', '.join(known)}")
    return [known[name]]


def find_format(
    record: Row, modules: Sequence[ModuleType], columns: Collection[str] = ()
) -> ModuleType | None:
    """Return the first module whose signature a record has; of none, where a map says what is said.

    ``columns`` are those of the map.
    """
    found = _find_by_names(tuple(record), tuple(modules))
    if found is None and modules[-1].__name__.endswith(CHAT):
        told = any(column in columns for column in ("messages", *modules[-1].SIDES))
        return modules[-1] if told or modules[-1].holds_chat(record) else None
    return found


@lru_cache(maxsize=5000)
def _find_by_names(names: tuple[str, ...], modules: tuple[ModuleType, ...]) -> ModuleType | None:
    for module in modules:
        if any(signature.issubset(names) for signature in module.SIGNATURES):
            return module
    return None
