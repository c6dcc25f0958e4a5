"""Event bodies as columns: the frame type of a pydantic model, and its values."""

from __future__ import annotations

import types
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import polars as pl
from polars.datatypes import DataTypeClass
from pydantic import BaseModel
from pydantic_core import to_json

from evalbench.schema import TIME

PLAIN: dict[object, pl.DataType] = {
    str: pl.String(),
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    datetime: TIME,
}


def describe_columns(model: type[BaseModel]) -> dict[str, pl.DataType]:
    """Give the column of each field: tuples are lists, models structs, mappings JSON text."""
    return {name: _find_dtype(field.annotation) for name, field in model.model_fields.items()}


def fit_value(value: Any, dtype: pl.DataType | DataTypeClass) -> object:
    """Bring the value of a field into the type of its column."""
    if value is None:
        return None
    if isinstance(dtype, pl.Struct):
        return {
            each.name: fit_value(getattr(value, each.name), each.dtype) for each in dtype.fields
        }
    if isinstance(dtype, pl.List):
        return [fit_value(each, dtype.inner) for each in value]
    if isinstance(dtype, pl.Datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(dtype, pl.String) and not isinstance(value, str):
        return to_json(value).decode()
    return value


def _find_dtype(annotation: object) -> pl.DataType:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _find_dtype(arguments[0])
    if origin in (Union, types.UnionType):
        present = [each for each in arguments if each is not types.NoneType]
        return _find_dtype(present[0]) if len(present) == 1 else pl.String()
    if origin is Literal:
        return PLAIN[type(arguments[0])]
    if origin in (tuple, list):
        return pl.List(_find_dtype(arguments[0]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return pl.Struct(describe_columns(annotation))
    return PLAIN.get(annotation, pl.String())
