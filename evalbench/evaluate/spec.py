"""An evaluator as a specification: YAML out and in, at a version that is a hash of what it does."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import polars as pl
import yaml
from pydantic import JsonValue, ValidationError, ValidationInfo, field_validator, model_validator
from sqlalchemy import Connection

from evalbench.errors import EvaluatorError
from evalbench.evaluate.checks import read_check
from evalbench.evaluate.checks.base import validate
from evalbench.evaluate.judge import hash_template, read_parameters
from evalbench.schema import Evaluator, EvaluatorDefined
from evalbench.store.ledger import Draft, Ledger

NEEDED = {
    "check": {"parameters"},
    "classifier": {"parameters", "threshold"},
    "judge": {"prompt", "model"},
}
OPTIONAL = {"judge": {"parameters"}}  # by kind, of the fields that not every kind has


class Specification(Evaluator):
    """A frozen evaluator. The parameters of a check are written out: defaults may change."""

    @field_validator("parameters")
    @classmethod
    def _write_out(cls, value: dict[str, JsonValue], info: ValidationInfo) -> Any:
        json.dumps(value, allow_nan=False)
        kind = info.data.get("kind")
        if kind == "classifier" and list(value) != ["sha256"]:
            raise ValueError("those of a classifier are the sha256 of its file, and no other")
        if kind == "check" and value:
            return read_check(value).model_dump(mode="json", exclude_none=True)
        if kind == "judge":
            return read_parameters(value).model_dump(mode="json", exclude_defaults=True)
        return value

    @model_validator(mode="after")
    def _fits_kind(self) -> Specification:
        needed = NEEDED[self.kind]
        fields = {"parameters", "prompt", "model", "threshold"}
        given = {name for name in fields if getattr(self, name) not in (None, "", {})}
        if missing := needed - given:
            raise ValueError(f"a {self.kind} needs {', '.join(sorted(missing))}")
        if odd := given - needed - OPTIONAL.get(self.kind, set()):
            raise ValueError(f"a {self.kind} has no {', '.join(sorted(odd))}: leave it out")
        return self

    @property
    def evaluator_id(self) -> str:
        """The same for all its versions."""
        return f"{self.surface}/{self.mode}/{self.kind}"

    @property
    def version(self) -> str:
        """Hash of all that its verdicts depend on: not of who owns it, nor of the order of keys."""
        content = self.model_dump(mode="json", exclude={"owner"})
        if self.kind == "judge":
            content["template"] = hash_template()
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def write_specification(specification: Specification) -> str:
    """Write YAML; the same specification gives the same bytes."""
    fields = specification.model_dump(mode="json", exclude_defaults=True)
    return yaml.dump(fields, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def read_specification(text: str, *, modes: pl.DataFrame) -> Specification:
    """Read plain YAML of one of the ``modes`` that count; else EvaluatorError."""
    try:
        for token in yaml.scan(text):
            if isinstance(token, yaml.TagToken | yaml.AnchorToken | yaml.AliasToken):
                what = type(token).__name__.removesuffix("Token").lower()
                at = f"line {token.start_mark.line + 1}"
                raise EvaluatorError(f"{at}: a YAML {what}: write the value out, as plain YAML")
        fields = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise EvaluatorError(f"not a YAML specification: {error}") from error
    if not isinstance(fields, dict):
        raise EvaluatorError("not a specification: write one field a line, as kind: check")
    hint = f"; the fields are {', '.join(Specification.model_fields)}"
    specification: Specification = validate(Specification.model_validate, fields, hint=hint)
    check_mode(specification, modes)
    return specification


def check_mode(specification: Specification, modes: pl.DataFrame) -> None:
    """Refuse a mode that the codebook does not know, as :func:`read_specification` does."""
    known = modes.filter(surface=specification.surface)["mode"].sort().to_list()
    if specification.mode not in known:
        raise EvaluatorError(
            f"no mode {specification.mode!r} of {specification.surface} counts; there are "
            f"{', '.join(known) or 'none yet'}: define or promote it in the codebook first"
        )


def define(ledger: Ledger, specification: Specification, *, modes: pl.DataFrame) -> int:
    """Write ``evaluator.defined``, unless it is the latest already; the number of its event."""
    check_mode(specification, modes)
    name, fields = specification.evaluator_id, specification.model_dump()
    body = EvaluatorDefined(**fields, evaluator_id=name, version=specification.version)
    latest: list[int] = []

    def choose(connection: Connection) -> list[Draft]:
        written = ledger.events("evaluator.defined", subject=name, connection=connection).tail(1)
        latest[:] = written.filter(body=body.model_dump_json())["seq"]
        return [] if latest else [("evaluator.defined", name, body)]

    seq = ledger.extend(choose)
    return latest[0] if latest else seq


def read_specifications(ledger: Ledger, *, until: int | None = None) -> dict[str, Specification]:
    """Fold the latest definition of each evaluator, by id, as of event ``until``."""
    events = ledger.events("evaluator.defined", until=until)
    latest = dict(events.select("subject", "body").iter_rows())
    fields = {name: EvaluatorDefined.model_validate_json(text) for name, text in latest.items()}
    return {name: _recall(each) for name, each in fields.items()}


def _recall(defined: EvaluatorDefined) -> Specification:
    """Take a definition of the ledger; one of a check that is known no longer judges nothing."""
    fields = defined.model_dump(include=set(Evaluator.model_fields))
    try:
        return Specification(**fields)
    except (ValidationError, EvaluatorError):
        return Specification.model_construct(**fields)


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"line {node.start_mark.line + 1}: {twice[0]!r} is written twice")
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they stand."""


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    lines = text.split("\n")
    style = '"' if not all(map(str.isprintable, lines)) else "|" if len(lines) > 1 else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)
