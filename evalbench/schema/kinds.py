"""Which role may append which kind of event, and which texts of events can be erased."""

from __future__ import annotations

from typing import Any

_MAY = {
    "reader": "",
    "annotator": "note.added note.changed comment.added label.set label.retracted rating.set "
    "item.reserved item.skipped item.returned",
    "analyst": "queue.drawn label.adjudicated labels.imported verdicts.imported mode.defined "
    "mode.merged mode.split mode.retired mode.promoted mode.undone codebook.proposed "
    "member.confirmed notes.sorted evaluator.defined evaluator.calibrated evaluator.promoted "
    "evaluator.archived run.recorded alert.raised issue.opened issue.moved metric.observed "
    "traces.replaced report.published",
    "release_owner": "golden.added golden.retired run.recorded baseline.set release.shipped "
    "gate.decided gate.overridden override.closed forecast.made target.set decision.recorded "
    "issue.opened issue.moved report.published",
}
ROLES = {role: tuple(kinds.split()) for role, kinds in _MAY.items()}
"""The kinds that each role may append where PostgreSQL asks; the owner of the database all."""

ERASABLE: dict[str, tuple[str, ...]] = {
    "note.added": ("text",),
    "note.changed": ("text",),
    "comment.added": ("text",),
    "label.set": ("anchors",),
    "label.adjudicated": ("reason",),
    "item.skipped": ("reason",),
    "golden.added": ("messages", "expected"),
    "mode.defined": ("definition", "example"),
    "issue.opened": ("title", "runbook"),
    "issue.moved": ("reason",),
}
"""The fields that may quote a user: such texts stand beside the chain, which has their hash."""

ERASED = "[erased]"
_NAMES = ("role", "span_id", "mode")  # what is no text within such a field


def erase(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """Put a mark in the place of every text that can be erased."""
    fields = ERASABLE.get(kind, ())
    return {name: _blank(value) if name in fields else value for name, value in body.items()}


def _blank(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: each if name in _NAMES else _blank(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_blank(each) for each in value]
    return ERASED if value and isinstance(value, str) else value
