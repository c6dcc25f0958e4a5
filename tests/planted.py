"""A small surface whose every text was written to bend what shows it.

The columns are those of the lake's tables and the fields those of the ledger's event bodies, as the
schema has them: a new one is planted without a word here, unless it is named among the kept.
"""

import json
import types
from datetime import timedelta
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import polars as pl
from pydantic import BaseModel, JsonValue
from shop import MODE, START

from evalbench.evaluate.spec import Specification
from evalbench.observe.sampling.draw import draw
from evalbench.schema import BODIES, SESSION, SIGNALS, TABLES, Design, DrawnItem
from evalbench.store.workspace import open_workspace

SIGN = "planted"
PLANT = (
    f"<i id={SIGN} onclick=x>\"'</pre><meta http-equiv=refresh content=9>[l](http://evil.example)"
    "![p](//evil.example)|{{7*7}}\n# h\n\n```\n\u202e\u200b`*_$"
)
"""HTML, Markdown, Jinja, and characters that turn or hide text, within the length of a name."""
SURFACE = f"shop<i id={SIGN}>[l](//e)|\u202e"
"""Shorter: it names a folder of the lake."""
OLD, NEW = f"old<i id={SIGN}>", f"new<i id={SIGN}>"
"""Runs of the surface, which name folders too."""
SETTINGS = f"""[decisions.ship]
title = {json.dumps(PLANT)}
surface = {json.dumps(SURFACE)}
risk = "low"
rollback = {json.dumps(PLANT)}
trusted = [{json.dumps("theirs" + PLANT)}]
rows = [{{metric = "any", owner = {json.dumps(PLANT)}, role = "watch", limit = 0.05}}]
"""
CLOSED = {"kind", "status"}
"""Columns whose few words the product chose itself."""
KEPT = {
    ("Design", "by"),
    ("Design", "always"),
    ("Design", "weights"),
    ("Design", "evaluators"),  # planted already, as the columns that a stratum is made of
    ("Design", "targets"),  # likewise
    ("DrawnItem", "stratum"),
    ("RunRecorded", "run"),
    ("ModeDefined", "key"),  # one of a few keys of the keyboard
    # Made by the product of what an evaluator is: closed names, and a hash.
    ("EvaluatorDefined", "parameters"),
    *((f"Evaluator{act}", "version") for act in ("Defined", "Calibrated", "Promoted")),
    *((model.__name__, "lake_versions") for model in BODIES.values()),
}
MESSAGE = {"role": "user", "content": PLANT, "name": PLANT}
CALLED = {"id": PLANT, "name": PLANT, "arguments": PLANT}
WRITTEN = {
    "segments": {PLANT: PLANT},
    "attributes": {PLANT: PLANT},
    "input_messages": [MESSAGE],
    "output_messages": [{"role": "assistant", "content": PLANT, "tool_calls": [CALLED]}],
    "evidence": [{"span_id": PLANT, "quote": PLANT}],
}
"""Columns that hold JSON."""
TOPICS = ("refund after the deadline", "rude tone to a customer", "wrong order number in the reply")


def plant(text):
    """Put the plant behind a text."""
    return f"{text or ''}{PLANT}"


JUDGE = Specification(
    surface=SURFACE,
    mode=plant("rude"),
    kind="judge",
    owner=plant("ana"),
    prompt=PLANT,
    model=PLANT,
)


def plant_frame(frame, schema):
    """Plant every text column of a table; missing columns are made."""
    frame = frame.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in frame
    ).select(schema.names())
    texts = [name for name, dtype in schema.items() if dtype == pl.String and name not in CLOSED]
    made = {name: pl.lit(json.dumps(WRITTEN[name])) for name in texts if name in WRITTEN}
    made |= {
        name: pl.col(name).map_elements(plant, pl.String, skip_nulls=False)
        for name in texts
        if name not in made
    }
    for name, dtype in schema.items():
        if isinstance(dtype, pl.List):
            fields = dtype.inner.fields
            one = {each.name: PLANT if each.dtype == pl.String else 0.5 for each in fields}
            made[name] = pl.lit([one], dtype)
    return frame.with_columns(**made | {"surface": pl.lit(SURFACE)}).cast(dict(schema))


def plant_body(model, fields, seen):
    """Plant every text field of an event body; ``seen`` notes which."""
    given = {}
    for name, field in model.model_fields.items():
        value = fields.get(name, None if field.is_required() else field.default)
        where = (model.__name__, name)
        if where not in KEPT:
            value = _plant(field.annotation, value, where, seen)
        given[name] = value
    return given


def _plant(annotation: Any, value: Any, where: tuple[str, str], seen: set) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _plant(arguments[0], value, where, seen)
    if origin in (Union, types.UnionType):
        [inner] = [each for each in arguments if each is not types.NoneType]
        is_text = str in (inner, *get_args(inner))
        return _plant(inner, value, where, seen) if is_text or value is not None else None
    if annotation is str or (isinstance(value, str) and origin is not Literal):
        seen.add(where)
        return SURFACE if where[1] == "surface" else plant(value)
    if origin is tuple:
        return tuple(_plant(arguments[0], each, where, seen) for each in value)
    if origin is dict:
        key, inner = arguments
        return {
            _plant(key, name, where, seen): _plant(inner, each, where, seen)
            for name, each in value.items()
        }
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return plant_body(annotation, _fields(value), seen)
    return value


def _fields(value):
    return value if isinstance(value, dict) else value.model_dump()


def list_texts(model):
    """List the fields of a body, and of the models in it, that hold text."""
    texts = set()
    for name, field in model.model_fields.items():
        found = _find_types(field.annotation)
        texts |= {(model.__name__, name)} if str in found else set()
        for inner in found:
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                texts |= list_texts(inner)
    return texts - KEPT


def _find_types(annotation):
    if get_origin(annotation) is Literal:
        return set()
    parts = [each for each in get_args(annotation) if each not in (types.NoneType, ...)]
    return set().union(*map(_find_types, parts)) if parts else {annotation}


def fill(path):
    """Make the workspace; give it with the text fields of event bodies that were planted."""
    (path / "evalbench.toml").write_text(SETTINGS)
    ws, seen = open_workspace(path, user=plant("tester")), set()
    sessions = _sessions()
    spans = sessions.select("session_id", "started_at").with_columns(
        pl.lit("llm").alias("kind"), pl.lit("ok").alias("status"), span_id="session_id"
    )
    unplaced = spans.head(3).with_columns(kind=pl.lit("other"), span_id=pl.format("{}x", "span_id"))
    number = pl.int_range(pl.len())
    judge = {"mode": "rude", "evaluator_id": "judge", "evaluator_version": "1", "repeat": 0}
    verdicts = sessions.select("session_id", judged_at="started_at").with_columns(
        **{name: pl.lit(value) for name, value in judge.items()},
        fails=pl.when(number % 15 != 0).then(number % 6 == 0),
    )
    earlier = verdicts.with_columns(evaluator_version=pl.lit("0"), fails=number % 5 == 0)
    again = verdicts.with_columns(repeat=pl.lit(1))
    ws.lake.append("session", plant_frame(sessions, SESSION))
    ws.lake.append("span", plant_frame(pl.concat([spans, unplaced]), TABLES["span"]))
    planted = plant_frame(pl.concat([earlier, verdicts, again]), TABLES["verdict"])
    defined = pl.col("evaluator_version").replace(plant("1"), JUDGE.version)
    silent = pl.when(pl.col("fails").is_null()).then("error")
    ws.lake.append("verdict", planted.with_columns(error=silent, evaluator_version=defined))
    theirs = planted.filter(pl.col("evaluator_version") == plant("1"), repeat=0)
    for run, shift in ((OLD, 0), (NEW, 1)):
        named = {"surface": pl.lit(f"{SURFACE}@{run}"), "evaluator_id": pl.lit(plant("theirs"))}
        judged = theirs.with_columns(**named, fails=pl.col("fails").shift(shift))
        ws.lake.append("verdict", judged)
    (ws.rejected / "a.jsonl").parent.mkdir(parents=True, exist_ok=True)
    reject = {"line": 1, "reason": PLANT, "text": PLANT}
    (ws.rejected / "a.jsonl").write_text(json.dumps(reject) + "\n")
    for kind, fields in _story(ws):
        who = fields.pop("by", "ana")
        body = BODIES[kind].model_validate(plant_body(BODIES[kind], fields, seen))
        ws.ledger.extend([(kind, plant(fields.get("session_id", kind)), body)], actor=plant(who))
    return ws, seen


def _sessions():
    number = pl.int_range(pl.len())
    names = pl.DataFrame({"session_id": [f"s{number:03d}" for number in range(240)]})
    signals = {name: pl.lit(None, dtype) for name, dtype in SIGNALS.items()}
    return names.with_columns(
        **signals | {"reported": number % 4 == 0},
        release=pl.when(number < 120).then(pl.lit("9")).otherwise(pl.lit("10")),
        started_at=pl.lit(START) + pl.duration(hours=number),
        group_key=pl.format("user {}", number % 80),
        n_tool_errors=pl.lit(0),
        first_input=pl.format("How {}?", number % 30),
        final_output=pl.format("So {}.", number % 30),
    )


def _story(ws):
    """Tell what people did, with plain words: every kind of event at least once."""
    for name in ("rude", "cold", "late", "old", "whole"):
        yield "mode.defined", {**MODE, "mode": name, "name": f"Is {name}"}
    held = {"metric": "failure rate", "mode": "rude", "target": 0.01, "owner": "ana"}
    yield "target.set", {**held, "surface": SURFACE}
    shipped = {"release": "10", "targets": ("rude",), "shipped_at": START + timedelta(hours=120)}
    yield "release.shipped", shipped
    design = Design(by=("release",), always=("reported",), evaluators=(plant("judge"),))
    frame = ws.lake.sessions(surface=SURFACE).collect()
    judged = ws.lake.verdicts(surface=SURFACE).collect()
    how = {"design": design, "verdicts": judged, "rng": np.random.default_rng(1)}
    drawn = draw(frame, 160, **how).items
    plain = pl.col("session_id").str.strip_suffix(PLANT)
    items = drawn.select([*DrawnItem.model_fields.keys() & set(drawn.columns)]).with_columns(plain)
    versions = ws.lake.versions()
    queue = {"seed": 1, "design": design, "lake_versions": versions, "items": items.to_dicts()}
    yield "queue.drawn", queue
    for place, session in enumerate(items["session_id"]):
        for who in ("ana", "ben"):
            modes = ("rude",) if place % 6 == 0 else ("cold",) if place % 7 == 0 else ()
            modes = () if who == "ben" and place % 12 == 0 else modes
            said = {"session_id": session, "modes": modes, "verdict": "fail" if modes else "pass"}
            anchors = ({"span_id": session, "quote": "So", "mode": "rude"},) if modes else ()
            yield "label.set", said | {"anchors": anchors, "by": who}
            rating = {"session_id": session, "criterion": "tone", "value": str(place % 3)}
            if place % 3 == 0:
                yield "rating.set", rating | {"by": who}
    for place, session in enumerate(items["session_id"].head(36)):
        text = f"{TOPICS[place % 3]} number {place}"
        yield "note.added", {"session_id": session, "text": text}
    noted = ws.ledger.events("note.added")["seq"].to_list()
    ruled = {"session_id": items["session_id"][0], "verdict": "fail", "modes": ("rude",)}
    yield "label.adjudicated", ruled | {"reason": "seen"}
    draft = {"mode": "draft", "name": "A draft", "notes": tuple(noted[:3])}
    yield "codebook.proposed", {"seed": 1, "ledger_seq": noted[-1], "drafts": ({**draft},)}
    yield "member.confirmed", {"mode": "draft", "note": noted[0], "belongs": True}
    sorted_ = {"mode": "sorted", "name": "Sorted by hand", "offered": ("draft",)}
    yield "notes.sorted", sorted_ | {"notes": (noted[5],), "struck": (noted[6],)}
    yield "mode.merged", {"sources": ("late",), "into": "cold"}
    yield "mode.retired", {"mode": "old"}
    parts = {"parts": {"one": ("s001",), "other": ("s002",)}, "notes": {"one": (noted[4],)}}
    parts["names"] = {"one": "Is one"}
    yield "mode.split", {"source": "whole", "otherwise": "one", **parts}
    judge = {"evaluator_id": "judge", "version": JUDGE.version}
    yield "evaluator.defined", {"mode": "rude", "kind": "judge", "owner": "ana", **judge}
    counts = {"tp": 20, "fn": 2, "fp": 2, "tn": 90, "mcc": 0.9, "mcc_low": 0.8, "mcc_high": 0.95}
    pins = {"lake_versions": versions, "ledger_seq": ws.ledger.head()}
    yield "evaluator.calibrated", {**judge, **counts, "level": 0.95, **pins}
    yield "evaluator.promoted", {**judge, "calibration": ws.ledger.head()}
    for run in (OLD, NEW):
        about = {"surface": SURFACE, "run": run, "suite": "golden", "suite_version": "v"}
        yield "run.recorded", {**about, "cases": 240, "repeats": 1}
    yield "gate.decided", _make_body(BODIES["gate.decided"])
    yield "gate.overridden", {**_make_body(BODIES["gate.overridden"]), "gate": ws.ledger.head()}
    told = set(ws.ledger.events()["kind"])
    for kind in sorted(BODIES.keys() - told):
        yield kind, _make_body(BODIES[kind])
    yield "note.added", {"session_id": "s001", "text": "the last word"}


NAMED = {"session_id": "s001", "mode": "cold", "evaluator_id": "other", "note": 1, "undoes": 6}


def _make_body(model):
    """Make a body of a kind that the story does not tell, from the types of its fields."""
    fields = model.model_fields.items()
    made = {name: each for name, each in fields if each.is_required() or each.default in ((), {})}
    return {name: NAMED.get(name, _make(each.annotation)) for name, each in made.items()}


def _make(annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, Union, types.UnionType):
        return _make(arguments[0])
    if origin is Literal:
        return arguments[0]
    if origin is tuple:
        return (_make(arguments[0]),)
    if origin is dict:
        inner = arguments[1]
        return {} if inner is int else {"a": _make(inner)}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _make_body(annotation)
    return {str: "x", object: "x", JsonValue: "x", int: 1, float: 0.75, bool: True}.get(
        annotation, START
    )
