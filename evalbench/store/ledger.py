"""The ledger: what people decide, as events of one append-only, hash-chained SQL table."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import polars as pl
from polars.datatypes import DataTypeClass
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from sqlalchemy import Connection, Engine, Select, insert, select, update

from evalbench.errors import LedgerError
from evalbench.schema import BODIES, TIME, Body
from evalbench.settings import say_invalid
from evalbench.store.chain import Break, Event, find_break, seal
from evalbench.store.database import EVENT, HEAD, connect_database, transact

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


# Kind, subject and body of an event that is not written yet.
Draft = tuple[str, str, Mapping[str, object] | Body]


# Who gave what events say: of an import the annotator that it names, else the actor.
GIVEN_BY = pl.coalesce(pl.col("body").str.json_path_match("$.annotator"), pl.col("actor"))


def read_clock() -> datetime:
    """Tell the time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Ledger:
    """Events in SQLite or PostgreSQL, each in one transaction with what guards it."""

    url: str = field(repr=False)
    actor: str
    clock: Callable[[], datetime] = read_clock

    @cached_property
    def _engine(self) -> Engine:
        engine = connect_database(self.url)
        weakref.finalize(self, engine.dispose)
        return engine

    def append(self, kind: str, subject: str, body: Mapping[str, object] | Body) -> int:
        """Append one event about a subject, its ``body`` that of its ``kind``; give its number.

        LedgerError where the body does not fit, StoreError where the database refuses.
        """
        return self.extend([(kind, subject, body)])

    def extend(
        self,
        events: Iterable[Draft] | Callable[[Connection], Iterable[Draft]],
        *,
        actor: str | None = None,
    ) -> int:
        """Append many events in one transaction, all or none, and give the last sequence number.

        A callable chooses them by what it reads through the connection, with no other writer
        between. ``actor`` is who decided, if another. Raises what :meth:`append` does.
        """
        drafts = [] if callable(events) else _encode(events)
        with transact(self._engine) as connection:
            # On PostgreSQL the lock of this row lets one writer in at a time.
            seq, last_hash = connection.execute(select(HEAD).with_for_update()).one()
            if callable(events):
                drafts = _encode(events(connection))
            at = self.clock().astimezone(UTC).isoformat(timespec="microseconds")
            sealed = []
            for draft in drafts:
                seq += 1
                row = seal(seq, at, actor or self.actor, *draft, previous_hash=last_hash)
                sealed.append(row._asdict())
                last_hash = row.hash
            if sealed:
                connection.execute(insert(EVENT), sealed)
                connection.execute(update(HEAD).values(seq=seq, hash=last_hash))
        return int(seq)

    def events(
        self,
        kind: str | Sequence[str] | None = None,
        *,
        subject: str | None = None,
        since: int | None = None,
        until: int | None = None,
        connection: Connection | None = None,
    ) -> pl.DataFrame:
        """Read events in their order, of some kinds and of a subject.

        They come after ``since``, up to ``until`` (0: none); ``connection`` is that of
        :meth:`extend`. ``body`` is JSON text. LedgerError where a kind is unknown.
        """
        query = select(EVENT).order_by(EVENT.c.seq)
        if kind is not None:
            kinds = [kind] if isinstance(kind, str) else list(kind)
            query = query.where(EVENT.c.kind.in_([each for each in kinds if _find_model(each)]))
        if subject is not None:
            query = query.where(EVENT.c.subject == subject)
        if since is not None:
            query = query.where(EVENT.c.seq > since)
        if until is not None:
            query = query.where(EVENT.c.seq <= until)
        if connection is not None:
            return _fetch(connection, query)
        with transact(self._engine, reads=True) as connection:
            return _fetch(connection, query)

    def bodies(
        self,
        kind: str,
        *,
        subject: str | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> pl.DataFrame:
        """Read events of one kind: seq, at, actor, subject, and a column for each field of a body.

        Tuples are lists, models structs, mappings JSON text; of what was imported the actor is the
        annotator. LedgerError where the kind is unknown, or a stored body no longer fits it.
        """
        model = _find_model(kind)
        columns = describe_columns(model)
        events = self.events(kind, subject=subject, since=since, until=until)
        try:
            bodies = [model.model_validate_json(text) for text in events["body"]]
        except ValidationError as error:
            raise LedgerError(f"{kind}: {say_invalid(error)}") from error
        rows = [
            [fit_value(getattr(body, name), dtype) for name, dtype in columns.items()]
            for body in bodies
        ]
        fields = pl.DataFrame(rows, columns, orient="row")
        actor = GIVEN_BY if "annotator" in columns else pl.col("actor")
        return events.select("seq", "at", actor.alias("actor"), "subject").hstack(fields)

    def head(self) -> int:
        """Give the last sequence number, 0 where there is no event."""
        with transact(self._engine, reads=True) as connection:
            return int(connection.execute(select(HEAD.c.seq)).scalar_one())

    def verify(self) -> int | None:
        """Recompute the chain: None when it holds, else the number of the first event at fault.

        A whole new chain shows only beside what is kept elsewhere: see ``store.verification``.
        """
        with transact(self._engine, reads=True) as connection:
            broken = check_chain(connection)
        return broken.seq if broken else None


def check_chain(connection: Connection) -> Break | None:
    """Recompute the chain, event by event, against the head that the writer noted."""
    head = connection.execute(select(HEAD.c.seq, HEAD.c.hash)).first()
    query = select(EVENT).order_by(EVENT.c.seq)
    with connection.execution_options(yield_per=1_000).execute(query) as rows:
        return find_break((Event(*row) for row in rows), head=tuple(head or (0, "")))


def _fetch(connection: Connection, query: Select[tuple[object, ...]]) -> pl.DataFrame:
    schema = {column.name: pl.String for column in EVENT.c} | {"seq": pl.Int64}
    rows = [tuple(row) for row in connection.execute(query)]
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(pl.col("at").str.strptime(TIME, "%Y-%m-%dT%H:%M:%S%.6f%:z"))


def _find_model(kind: str) -> type[Body]:
    if kind not in BODIES:
        raise LedgerError(f"no kind of event is {kind!r}; there are {', '.join(sorted(BODIES))}")
    return BODIES[kind]


def _encode(drafts: Iterable[Draft]) -> list[tuple[str, str, str]]:
    encoded = []
    for kind, subject, body in drafts:
        fields = dict(body) if isinstance(body, Mapping) else body
        try:
            text = _find_model(kind).model_validate(fields).model_dump_json()
        except ValidationError as error:
            raise LedgerError(f"{kind}: {say_invalid(error)}") from error
        encoded.append((kind, subject, text))
    return encoded
