"""The ledger: what people decide, as events of one append-only, hash-chained SQL table."""

from __future__ import annotations

import secrets
import types
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import orjson
import polars as pl
from polars.datatypes import DataTypeClass
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from sqlalchemy import Connection, Engine, Select, func, insert, select, update

from evalbench.errors import LedgerError
from evalbench.schema import BODIES, ERASABLE, ROLES, TIME, Body, erase
from evalbench.settings import say_invalid
from evalbench.store.chain import Break, Event, digest, find_break, seal
from evalbench.store.database import EVENT, HEAD, TAKE_TURN, TEXT, connect_database, transact
from evalbench.store.postgresql import grant_role

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


SEALED = r'^\{"sealed":"[0-9a-f]{64}",'  # how a body begins whose texts stand beside the chain
# Who gave what events say: of an import the annotator that it names, else the actor.
GIVEN_BY = pl.coalesce(pl.col("body").str.json_path_match("$.annotator"), pl.col("actor"))


def make_salt() -> str:
    """Make what keeps a short text from being guessed by its hash."""
    return secrets.token_hex(16)


def read_clock() -> datetime:
    """Tell the time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Ledger:
    """Events in SQLite or PostgreSQL, each in one transaction with what guards it."""

    url: str = field(repr=False)
    actor: str
    clock: Callable[[], datetime] = read_clock
    salt: Callable[[], str] = make_salt

    @cached_property
    def engine(self) -> Engine:
        """The database, opened on first use."""
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
        with transact(self.engine) as connection:
            seq, last_hash = connection.execute(TAKE_TURN[self.engine.dialect.name]).one()
            if callable(events):
                drafts = _encode(events(connection))
            at = self.clock().astimezone(UTC).isoformat(timespec="microseconds")
            sealed, texts = [], []
            for kind, subject, body in drafts:
                seq += 1
                if any(orjson.loads(body).get(field) for field in ERASABLE.get(kind, ())):
                    texts.append({"seq": seq, "salt": self.salt(), "body": body})
                    body = _conceal(kind, **texts[-1])
                fields = seq, at, actor or self.actor, kind, subject, body
                row = seal(*fields, previous_hash=last_hash)
                sealed.append(row._asdict())
                last_hash = row.hash
            if sealed:
                connection.execute(insert(EVENT), sealed)
                if self.engine.dialect.name == "sqlite":  # PostgreSQL does so itself
                    connection.execute(update(HEAD).values(seq=seq, hash=last_hash))
            if texts:
                connection.execute(insert(TEXT), texts)
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
        query = READ.order_by(EVENT.c.seq)
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
        with transact(self.engine, reads=True) as connection:
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

    def grant(self, member: str, role: str) -> int:
        """Let a user of PostgreSQL append what a role may; "reader" takes all their roles away.

        From the first grant on the actor of every event is whoever is connected. LedgerError where
        there is no such role or user, or it is not the owner who asks.
        """
        if role not in ROLES:
            raise LedgerError(f"no role is {role!r}; there are {', '.join(ROLES)}")
        if self.engine.dialect.name == "sqlite":
            raise LedgerError(
                "whoever can write to a file of SQLite can write all of it: for roles, keep the "
                'ledger in PostgreSQL (in evalbench.toml: ledger = "postgresql://HOST/DATABASE")'
            )

        def choose(connection: Connection) -> list[Draft]:
            grant_role(connection, member, role)
            return [("role.granted", member, {"member": member, "role": role})]

        return self.extend(choose)

    def head(self) -> int:
        """Give the last sequence number, 0 where there is no event."""
        with transact(self.engine, reads=True) as connection:
            return int(connection.execute(select(HEAD.c.seq)).scalar_one())

    def verify(self) -> int | None:
        """Recompute the chain: None when it holds, else the number of the first event at fault.

        A whole new chain shows only beside what is kept elsewhere: see ``store.verification``.
        """
        with transact(self.engine, reads=True) as connection:
            broken = check_chain(connection)
        return broken.seq if broken else None


# Events as they are read: with the texts that stand beside the chain.
READ = select(*list(EVENT.c)[:5], func.coalesce(TEXT.c.body, EVENT.c.body), *list(EVENT.c)[6:])
READ = READ.select_from(EVENT.outerjoin(TEXT, EVENT.c.seq == TEXT.c.seq))


def check_chain(connection: Connection) -> Break | None:
    """Recompute the chain, event by event, against the head that the writer noted.

    Then the texts beside it: each is the one that was sealed, or on record as erased.
    """
    head = connection.execute(select(HEAD.c.seq, HEAD.c.hash)).first()
    gone, erased = set[int](), dict[int, str]()
    forgotten = select(EVENT.c.body).where(EVENT.c.kind == "sessions.forgotten")
    for (text,) in connection.execute(forgotten):
        try:
            body = BODIES["sessions.forgotten"].model_validate_json(text).model_dump()
        except ValidationError:  # which the chain shows, where somebody changed it
            continue
        gone.update(body["texts"])
        erased.update({int(seq): known for seq, known in body["events"].items()})
    query = select(EVENT).order_by(EVENT.c.seq)
    with connection.execution_options(yield_per=1_000).execute(query) as rows:
        broken = find_break(
            (Event(*row) for row in rows), head=tuple(head or (0, "")), erased=erased
        )
    return broken or _check_texts(connection, gone)


def _check_texts(connection: Connection, gone: set[int]) -> Break | None:
    query = select(EVENT.c.seq, EVENT.c.body, TEXT.c.salt, TEXT.c.body)
    query = query.select_from(EVENT.outerjoin(TEXT, EVENT.c.seq == TEXT.c.seq))
    query = query.where(EVENT.c.body.like('{"sealed":"%')).order_by(EVENT.c.seq)
    with connection.execution_options(yield_per=1_000).execute(query) as rows:
        for seq, body, salt, text in rows:
            if text is None and seq not in gone:
                return Break(seq, "lacks its text, and nothing on record says that it was erased")
            if text is not None and digest(salt + text) != orjson.loads(body)["sealed"]:
                return Break(seq, "has another text than the one that was sealed")
    return None


def _fetch(connection: Connection, query: Select[tuple[object, ...]]) -> pl.DataFrame:
    schema = {column.name: pl.String for column in EVENT.c} | {"seq": pl.Int64}
    rows = [tuple(row) for row in connection.execute(query)]
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    at = pl.col("at").str.strptime(TIME, "%Y-%m-%dT%H:%M:%S%.6f%:z")
    return frame.with_columns(at, pl.col("body").str.replace(SEALED, "{"))


def _find_model(kind: str) -> type[Body]:
    if kind not in BODIES:
        raise LedgerError(f"no kind of event is {kind!r}; there are {', '.join(sorted(BODIES))}")
    return BODIES[kind]


def _conceal(kind: str, *, salt: str, body: str, seq: int) -> str:
    """Write a body without the texts that can be erased, and with the hash of the whole."""
    sealed = {"sealed": digest(salt + body), **erase(kind, orjson.loads(body))}
    return orjson.dumps(sealed).decode()


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
