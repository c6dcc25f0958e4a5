"""Which field of an export is which column: told by names, by values, and by what is unique."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, combinations
from shlex import quote
from typing import Any

from evalbench.observe.formats.facts import FACT_OF, SEGMENTS
from evalbench.observe.formats.feedback import SIGNAL_OF
from evalbench.observe.formats.mapping import read_table
from evalbench.observe.formats.messages import to_messages
from evalbench.observe.formats.openai_chat import is_chat
from evalbench.observe.frames import EARLIEST, LATEST
from evalbench.observe.record import READERS, Row, from_json, is_missing

# Names of a column, the likeliest first, as _plain spells them.
NAMES = read_table("""
    input: input question query prompt request userinput usermessage userquery instruction problem
    output: output answer response completion reply result generation assistantmessage prediction
    session_id: sessionid conversationid threadid chatid dialogid dialogueid session conversation
    started_at: timestamp startedat starttime createdat created datetime time date
    outcome: reward iscorrect correct ispassed passed isresolved solved issuccess
    user_key: user userid userkey customerid customer accountid uid email
    model: model modelname modelid llm engine
    release: version promptversion build
    prompt_tokens: prompttokens inputtokens
    completion_tokens: completiontokens outputtokens
    cost_usd: costusd cost totalcost
    latency_ms: latencyms durationms
""")
for _name, _column in (*FACT_OF.items(), *SIGNAL_OF.items()):
    NAMES[_column] = (*NAMES.get(_column, ()), _name.replace("_", ""))
# What says who or which one a record is, of a conversation that has no name of its own.
IDENTIFYING = re.compile(
    r"(?!.*(?:agent|user|model|project|client|parent))(?:.*(?:_|[a-z](?=I)))?"
    r"(?:id|uuid|key|index|idx|num|number|task|case|item|instance|trial|run|seed|attempt|repeat)",
    re.IGNORECASE,
)
LONGEST_NAME = 64  # characters of a value that names something
MOST_SEGMENTS = 20  # values that divide sessions into segments
# Columns of the text of a record, which a format that is known by its names has already.
TEXTS = ("messages", "input", "output")


def guess_columns(records: Sequence[Row], known: Collection[str] = ()) -> dict[str, str]:
    """Guess the ``--map`` of records, but for columns ``known``; what is unlikely is left out."""
    fields = _list_fields(records)
    columns: dict[str, str] = {}
    if known:
        known = {*known, *TEXTS}
    elif chats := [path for path in fields if _reads(fields[path], is_chat)]:
        columns["messages"] = chats[0]
    plain: dict[str, str] = {}
    for path in sorted(fields, key=lambda path: path.count(".")):
        plain.setdefault(_plain(path.rpartition(".")[2]), path)
    for column, names in NAMES.items():
        places = [plain[name] for name in names if name in plain]
        if column in TEXTS:  # user_question, model response
            places += [path for name, path in plain.items() if name.endswith(names)]
        free = (path for path in places if path not in columns.values())
        place = next((path for path in free if _fits(column, fields[path])), None)
        if place and column not in known:
            columns[column] = place
    if "messages" in columns:
        columns.pop("input", None)
        answers = fields[columns["output"]] if "output" in columns else [""]
        if any(map(_is_answered, fields[columns["messages"]])) or not _reads(answers, to_messages):
            columns.pop("output", None)
    elif len(fields) == 2 and not known:
        columns = dict(zip(("input", "output"), fields, strict=True))
    elif not known and not {"input", "output"} <= columns.keys():
        return {}
    if not known and "session_id" not in columns:
        columns |= _name_sessions(fields, {*columns.values()}, len(records))
    for path, values in fields.items():
        name = path.rpartition(".")[2].lower()
        if name in SEGMENTS and path not in columns.values() and "segments" not in known:
            if all(map(_is_name, values)) and len({*map(str, values)}) <= MOST_SEGMENTS:
                columns[f"segments.{name}"] = path
    return {name: path for name, path in columns.items() if name != path or name != "messages"}


def write_map(columns: Mapping[str, str]) -> str:
    """Write a map as options of ``evalbench ingest``, as a shell takes them."""
    return " ".join(f"--map {quote(f'{name}={path}')}" for name, path in columns.items())


def _list_fields(records: Sequence[Row]) -> dict[str, list[Any]]:
    """List the values of every field that says something, and of those inside of one, by path."""
    fields: dict[str, list[Any]] = {}
    for place, record in enumerate(records):
        for name, value in record.items():
            inside = held.items() if isinstance(held := from_json(value), dict) else ()
            for path, each in ((name, value), *((f"{name}.{inner}", v) for inner, v in inside)):
                fields.setdefault(path, [None] * len(records))[place] = each
    return {path: values for path, values in fields.items() if not all(map(is_missing, values))}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _reads(values: Sequence[Any], is_one: Any) -> bool:
    return all(is_one(from_json(value)) for value in values if not is_missing(value))


def _is_answered(chat: Any) -> bool:
    return str((to_messages(chat) or [{}])[-1].get("role")) in ("assistant", "model")


def _is_name(value: Any) -> bool:
    """Tell whether a value may name something: short, on one line, no list and no fraction."""
    if isinstance(value, float) and not value.is_integer():
        return False
    return isinstance(value, str | int | float) and 0 < len(str(value)) <= LONGEST_NAME


def _fits(column: str, values: Sequence[Any]) -> bool:
    """Tell whether every value that is there can be read as one of the column."""
    given = [value for value in values if not is_missing(value)]
    if column in ("session_id", "user_key", "group_key", "release", "environment", "model"):
        return all(map(_is_name, given))
    if column in TEXTS:
        return all(isinstance(v, str) or to_messages(v) is not None for v in given)
    try:
        read = [READERS[column](value, column) for value in given]
    except ValueError:
        return False
    low, high = EARLIEST.timestamp() * 1e6, LATEST.timestamp() * 1e6
    return column != "started_at" or all(low <= (time or 0) < high for time in read)


def _name_sessions(fields: Mapping[str, list[Any]], used: set[str], n: int) -> dict[str, str]:
    """Find the field, or the two or three together, that name each record; and what they share."""
    naming = [
        path
        for path, values in fields.items()
        if path not in used and IDENTIFYING.fullmatch(path) and all(map(_is_name, values))
    ]
    for paths in chain.from_iterable(combinations(naming, size) for size in (1, 2, 3)):
        if len({*zip(*(fields[path] for path in paths), strict=True)}) == n:
            if len(paths) == 1:
                return {"session_id": paths[0]}
            template = "-".join(f"{{{path}}}" for path in paths)
            shared = max(paths, key=lambda path: len({*fields[path]}))
            return {"session_id": template, "group_key": shared}
    return {}
