"""How far an analyst is with the notes, and what each act is called."""

from collections.abc import Sequence
from typing import Any

from evalbench.label.codebook.fold import Act, find_undone
from evalbench.label.discovery.note_queue import NoteQueue

RECENT = 10  # acts of sorting that say whether new modes still turn up
UNDONE = {
    "mode.defined": "what was written about {name}",
    "mode.merged": "the merge into {name}",
    "mode.split": "the split of {name}",
    "mode.retired": "the putting away of {name}",
    "mode.promoted": "the promotion of {name}",
    "codebook.proposed": "the draft {name}",
    "member.confirmed": "the look at a note of {name}",
    "notes.sorted": "the sorting of {n} into {name}",
}


def measure_progress(queue: NoteQueue, acts: Sequence[Act]) -> dict[str, Any]:
    """Count what is sorted, and the new modes of the last acts; ``astray``: sorting is no help.

    It is none where the mode that was chosen was seldom among those offered.
    """
    undone = find_undone(acts)
    done = [
        act.body
        for act in acts
        if act.kind == "notes.sorted"
        and act.body.surface == queue.surface
        and act.seq not in undone
    ]
    asked = [body for body in done if body.offered and not body.name][-2 * RECENT :]
    right = sum(body.mode in body.offered for body in asked)
    return {
        "sorted": queue.sorted,
        "of": len(queue.numbers),
        "modes": sum(not mode.ended for mode in queue.modes.values()),
        "recent": min(RECENT, len(done)),
        "new": sum(bool(body.name) for body in done[-RECENT:]),
        "astray": len(asked) == 2 * RECENT and 2 * right < len(asked),
        "few": queue.few and bool(queue.numbers),
    }
