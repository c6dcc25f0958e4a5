"""What a workspace can set, read from its ``evalbench.toml``; every value has a working default."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evalbench.errors import SettingsError


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Surface(_Section):
    """One product surface.

    ``columns`` maps evalbench columns to source fields, as ``--map``; ``policies`` are the rules
    that annotators judge by, in Markdown.
    """

    title: str = ""
    columns: dict[str, str] = {}
    policies: tuple[str, ...] = ()


class Sampling(_Section):
    """How ``02_sample`` draws when a notebook parameter does not say otherwise."""

    by: tuple[str, ...] = ("release",)
    always: tuple[str, ...] = ("reported",)
    floor: int = Field(default=5, ge=1)
    weights: dict[str, float] = {}


class Annotation(_Section):
    """How experts label.

    ``slot_minutes`` a week are theirs for it, an item is held for them ``reservation_minutes``, and
    ``annotators_per_item`` is a mean: with 1.2 every fifth item is labelled twice.
    """

    slot_minutes: float = Field(default=120, gt=0)
    reservation_minutes: float = Field(default=30, gt=0)
    annotators_per_item: float = Field(default=1.2, ge=1)


class Evaluators(_Section):
    """When an evaluator counts.

    It is aligned with people once it is shown to have an MCC above ``aligned``, may block a release
    once above ``gating``, and is to be calibrated again after ``days``.
    """

    aligned: float = Field(default=0.6, gt=0, le=1)
    gating: float = Field(default=0.7, gt=0, le=1)
    days: int = Field(default=90, ge=1)


class DecisionRow(_Section):
    """One row of a decision's scorecard; ``owner`` answers for it.

    ``metric`` is a failure mode, a severity, "any" failure, "each" mode (a row each), "latency" or
    "cost". ``limit`` is a share of cases, of latency and cost a relative change. ``kind`` is what
    is made of a metric of failures: its rate beside the baseline's, an upper "bound" whatever the
    baseline does, "attack" (one failing case blocks), "repeats" (failing in any of so many), "drop
    best" and "segments", ``by`` a segment: without its best value, and each value for itself.
    """

    metric: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    role: Literal["primary", "guardrail", "watch"]
    limit: float = Field(gt=0, lt=1)
    kind: Literal["rate", "bound", "attack", "repeats", "drop best", "segments"] = "rate"
    by: str = ""
    repeats: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> DecisionRow:
        if (self.kind in ("drop best", "segments")) != bool(self.by):
            raise ValueError("by names a segment, with kind 'drop best' or 'segments' alone")
        if (self.kind == "repeats") != (self.repeats > 1):
            raise ValueError("repeats is 2 or more with kind 'repeats', and left out else")
        role = {"bound": "guardrail", "attack": "watch"}.get(self.kind, self.role)
        if self.role != role:
            raise ValueError(f"kind {self.kind!r} takes the role {role!r}, got {self.role!r}")
        if self.metric in ("latency", "cost") and self.kind != "rate":
            raise ValueError(f"{self.metric} is no failure: it takes no kind")
        return self


class Decision(_Section):
    """What a gate decides: ``[decisions.NAME]``, with a ``[[decisions.NAME.rows]]`` for each row.

    ``title`` is the question, ``rollback`` the rule by which a release is taken back, and ``risk``
    says for how long the gate may be overridden. Evaluators made elsewhere have no calibration
    here: those in ``trusted`` count all the same, and the memo says so.
    """

    title: str = Field(min_length=1)
    surface: str = Field(min_length=1)
    suite: str = "golden"
    risk: Literal["low", "medium", "high"]
    rollback: str = Field(min_length=1)
    trusted: tuple[str, ...] = ()
    rows: tuple[DecisionRow, ...] = Field(min_length=1)


class Limits(_Section):
    """What one file may cost.

    A compressed file may unpack to ``unpacked_gb`` gigabytes, and after the first 256 MB to
    ``unpacked_times`` its own size: what is beyond is a reject.
    """

    unpacked_gb: float = Field(default=200, gt=0)
    unpacked_times: float = Field(default=200, ge=1)


class Settings(_Section):
    """Settings of a workspace.

    ``lake`` is a folder (relative to the workspace) or the object-store URL of the Delta tables,
    with ``lake_options`` handed to delta-rs as they are; ``ledger`` a SQLAlchemy URL, or for SQLite
    a file relative to the workspace. ``redact`` says whether personal data is replaced by
    placeholders on the way in. ``user_key_secret`` is the key of the hash that stands for user ids
    and personal data, by default one made at random for the workspace; changing it changes every
    key. ``level`` is the nominal coverage of every interval. ``embeddings`` names the model that
    notes are clustered by: "offline" (their wording alone), "local/NAME" of sentence-transformers,
    or a LiteLLM embedding model. ``retention`` says for how many days the sessions of a surface are
    kept, until ``evalbench forget --expired``.
    """

    lake: str = "lake"
    lake_options: dict[str, str] = Field(default={}, repr=False)
    ledger: str = Field(default="ledger.sqlite", repr=False)
    redact: bool = True
    user_key_secret: str = Field(default="", repr=False)
    level: float = Field(default=0.95, gt=0.5, lt=1)
    embeddings: str = Field(default="offline", min_length=1)
    sampling: Sampling = Sampling()
    annotation: Annotation = Annotation()
    evaluators: Evaluators = Evaluators()
    limits: Limits = Limits()
    surfaces: dict[str, Surface] = {}
    decisions: dict[str, Decision] = {}
    retention: dict[str, Annotated[int, Field(ge=1)]] = {}


def load_settings(path: Path) -> Settings:
    """Read ``evalbench.toml``; a file that is not there means every default.

    Raises SettingsError for what is no TOML, an unknown name or a value out of bounds; the message
    names it, and never its value, which may be a secret.
    """
    if not path.exists():
        return Settings()
    try:
        return Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a TOML file: {error}") from error
    except ValidationError as error:
        raise SettingsError(f"{path}: {say_invalid(error, shows_value=False)}") from None


def say_invalid(error: ValidationError, *, shows_value: bool = True) -> str:
    """Say in one line what the first thing wrong with a model's fields is, and where."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "body"
    return f"{where}: {first['msg']}" + (f" (got {first['input']!r})" if shows_value else "")
