"""Kinds of failure as a model reads them in notes: what they may be called, and what is alike.

The model proposes; the codebook is people's. What it says is held against the notes: quotes must be
in them, and two readings of every note must agree before they move anything.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from evalbench import llm
from evalbench.errors import ModelError
from evalbench.schema import FailureClass, Severity

BATCH = 35  # notes a call
READ_CHARACTERS = 600  # how much of a note a model is given
AGREEING = 0.7  # share of notes that both readings must put alike before their groups are used
PASSES = 2
LOST = -2
TRIES = 2  # how often one question is asked whose answer cannot be used

Complete = Callable[..., Any]  # as :func:`evalbench.llm.complete`
Form = TypeVar("Form", bound=BaseModel)


class Concept(BaseModel):
    """One kind of failure that a model sees in notes, with notes that show it."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=80)
    definition: str = Field(min_length=1)
    severity: Severity
    failure_class: FailureClass
    quotes: tuple[str, ...]


class Concepts(BaseModel):
    """Kinds that a batch adds to the list."""

    concepts: tuple[Concept, ...]


class Merges(BaseModel):
    """Numbers of kinds that are one."""

    same: tuple[tuple[int, ...], ...]


class Assignment(BaseModel):
    """For each note of a batch, in order, the number of its kind; 0 where none fits."""

    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Induced:
    """What a model made of n notes.

    ``passes`` (2, n) are the kinds of two readings, -1 where none fits and -2 where the call was
    lost; ``lost`` says why calls gave nothing usable, ``invented`` counts quotes and kinds that are
    not there.
    """

    concepts: tuple[Concept, ...]
    passes: np.ndarray
    calls: int
    lost: tuple[str, ...]
    invented: int

    @property
    def agreement(self) -> float:
        """Return the share of notes that both readings put into one kind, of those read twice."""
        one, other = self.passes[:, (self.passes > LOST).all(axis=0)]
        return float(((one == other) & (one >= 0)).mean()) if len(one) else 0.0

    @property
    def agrees(self) -> bool:
        """Say whether the readings agree well enough to be used for more than names."""
        return self.agreement >= AGREEING

    def blend(self, alike: np.ndarray) -> np.ndarray:
        """Return similarities of n notes, half by wording and half by readings that have both."""
        known = self.passes >= 0
        both = np.einsum("pi,pj->ij", known, known, dtype=float)
        same = ((self.passes[:, :, None] == self.passes[:, None]) & known[:, :, None]).sum(axis=0)
        read = np.divide(same, both, out=alike.copy(), where=both > 0)
        return (alike + read) / 2

    def name(self, notes: Sequence[int]) -> Concept | None:
        """Return the kind that most of these notes are read as."""
        read = self.passes[:, list(notes)]
        read = read[read >= 0]
        return self.concepts[np.bincount(read).argmax()] if len(read) else None

    def say(self) -> str:
        """Say in one sentence what was asked and what came of it."""
        lost = ""
        if self.lost:
            lost = f"; {len(self.lost)} gave nothing usable (the first: {self.lost[0]})"
        invented = f"; {self.invented} quotes or kinds were invented and dropped"
        trust = "" if self.agrees else ": too few, so its names alone are shown"
        return (
            f"{self.calls} calls found {len(self.concepts)} kinds{lost}"
            f"{invented if self.invented else ''}. Two readings agree on {self.agreement:.0%} of "
            f"the notes{trust}"
        )


def induce(
    texts: Sequence[str],
    *,
    model: str,
    calls: int,
    rng: np.random.Generator,
    complete: Complete = llm.complete,
) -> Induced:
    """Let a model list kinds of failure in batches, merge them, and read every note twice.

    At most ``calls`` are made; one that fails or breaks its form is lost, and the rest goes on.
    """
    asking = _Asking(model, complete, calls)
    given = [text[:READ_CHARACTERS] for text in texts]
    flat = [" ".join(text.split()) for text in texts]
    concepts: list[Concept] = []
    for batch in _batches(rng.permutation(len(given))):
        known = [{"name": each.name, "definition": each.definition} for each in concepts]
        found = asking.ask(Concepts, "induce", known=known, notes=[given[note] for note in batch])
        for concept in found.concepts if found else ():
            quotes = [" ".join(quote.split()) for quote in concept.quotes]
            held = tuple(quote for quote in quotes if quote and any(quote in each for each in flat))
            asking.invented += len(quotes) - len(held)
            if held and concept.name not in {each.name for each in concepts}:
                concepts.append(concept.model_copy(update={"quotes": held}))
    if len(concepts) > 1:
        concepts = asking.merge(concepts)
    passes = np.full((PASSES, len(given)), LOST)
    listed = [
        {"number": number, "name": each.name, "definition": each.definition}
        for number, each in enumerate(concepts, 1)
    ]
    for reading in passes if concepts else ():
        for batch in _batches(rng.permutation(len(given))):
            notes = [given[note] for note in batch]
            read = asking.ask(Assignment, "assign", kinds=listed, notes=notes)
            if read and len(read.numbers) != len(batch):
                asking.lose(f"{len(read.numbers)} numbers for {len(batch)} notes")
            elif read:
                numbers = np.array(read.numbers) - 1
                asking.invented += int((numbers >= len(concepts)).sum())
                reading[batch] = np.where(numbers < len(concepts), numbers, -1)
    return Induced(tuple(concepts), passes, asking.calls, tuple(asking.lost), asking.invented)


def count_calls(texts: Sequence[str]) -> tuple[int, int]:
    """Return about how many calls reading these texts takes, and how many tokens they are given.

    Each text is read once for kinds and twice for its own; four characters are a token, and every
    call carries its instructions and the kinds so far, some 800.
    """
    batches = -(-len(texts) // BATCH)
    calls = (1 + PASSES) * batches + 1
    given = sum(len(text[:READ_CHARACTERS]) for text in texts) // 4
    return calls, (1 + PASSES) * given + 800 * calls


class _Asking:
    """Asks a model, and counts what came of it."""

    def __init__(self, model: str, complete: Complete, most: int) -> None:
        self._model, self._complete, self._most = model, complete, most
        self.calls, self.invented = 0, 0
        self.lost: list[str] = []

    def lose(self, why: str) -> None:
        self.lost.append(why)

    def ask(self, form: type[Form], prompt: str, **given: Any) -> Form | None:
        system = files(__package__).joinpath(f"prompts/{prompt}.md").read_text("utf-8")
        said = {"system": system, "user": json.dumps(given, ensure_ascii=False, indent=0)}
        messages = [{"role": role, "content": text} for role, text in said.items()]
        for _ in range(TRIES):
            if self.calls == self._most:
                self.lose(f"the budget of {self._most} calls is used")
                return None
            self.calls += 1
            try:
                reply = self._complete(messages, model=self._model, schema=form)
            except ModelError as error:
                self.lose(str(error))
                return None
            if not reply.error:
                return form.model_validate(reply.parsed)
            self.lose(reply.error)
        return None

    def merge(self, concepts: list[Concept]) -> list[Concept]:
        """Make one of the kinds that are one: the best named, with the quotes of all."""
        listed = [
            {"number": number, "name": each.name, "definition": each.definition}
            for number, each in enumerate(concepts, 1)
        ]
        found = self.ask(Merges, "merge", kinds=listed)
        first = list(range(len(concepts)))
        for group in found.same if found else ():
            known = [number - 1 for number in group if 1 <= number <= len(concepts)]
            self.invented += len(group) - len(known)
            joined = {first[number] for number in known}
            first = [first[known[0]] if one in joined else one for one in first]
        merged = []
        for one in dict.fromkeys(first):
            quotes = [
                q for c, own in zip(concepts, first, strict=True) if own == one for q in c.quotes
            ]
            merged.append(concepts[one].model_copy(update={"quotes": tuple(quotes)}))
        return merged


def _batches(order: np.ndarray) -> Iterator[np.ndarray]:
    yield from np.array_split(order, -(-len(order) // BATCH))
