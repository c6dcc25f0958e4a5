"""Labels as Label Studio tasks and as Argilla records, there and back.

In both a session is one item, and its annotators' answers hang on controls (questions) named after
the fields of a label. A control of any other name is a criterion that the session was rated on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

Record = dict[str, Any]
"""One label or one rating, flat: names of :data:`FIELDS`, absent where it says nothing."""
FIELDS = (
    *("surface", "session_id", "annotator", "labelled_at"),
    *("verdict", "modes", "severity", "seconds", "after_suggestion", "anchors"),
    *("criterion", "value"),
)
TEXTS = ("first_input", "final_output")
"""What an annotator elsewhere reads of a session."""


def to_label_studio(session: Record, records: Iterable[Record]) -> Record:
    """Write the records of a session as a task; each is an annotation of its own."""
    annotations = [
        {
            "completed_by": {"email": record["annotator"]},
            "created_at": record["labelled_at"],
            "lead_time": record.get("seconds"),
            "was_cancelled": False,
            "result": [_to_result(*answer) for answer in _to_answers(record).items()],
        }
        for record in records
    ]
    return {"data": session, "annotations": annotations}


def from_label_studio(task: Record) -> Iterator[Record | str]:
    """Read the records of a task; text is the reason why an annotation is none."""
    for annotation in task["annotations"]:
        yield from _attempt(_read_annotation, task, annotation)


def _read_annotation(task: Record, annotation: Record) -> Iterator[Record]:
    if annotation.get("was_cancelled"):
        raise ValueError("was_cancelled: the annotator skipped the task")
    who = annotation.get("completed_by")
    who = who.get("email", who.get("id")) if isinstance(who, dict) else who
    shared = {name: task["data"].get(name) for name in ("surface", "session_id")}
    shared |= {"annotator": who, "labelled_at": annotation.get("created_at")}
    answers = {each["from_name"]: _from_result(each) for each in annotation["result"]}
    return _split(shared, answers | {"seconds": annotation.get("lead_time")})


def to_argilla(session: Record, records: Iterable[Record]) -> Record:
    """Write what each annotator said last of a session: one response a person and question."""
    answers: dict[str, Record] = {}
    for record in records:
        known = answers.setdefault(record["annotator"], {})
        timed = {"labelled_at": record["labelled_at"]}
        if record.get("seconds") is not None:
            timed["seconds"] = str(record["seconds"])
        if "criterion" not in record:
            known = {name: value for name, value in known.items() if name not in FIELDS}
        answers[record["annotator"]] = timed | known | _to_answers(record)
    responses: dict[str, list[Record]] = {}
    for annotator, given in answers.items():
        for question, value in given.items():
            responses.setdefault(question, []).append({"value": value, "user_id": annotator})
    return {
        "id": session["session_id"],
        "fields": {name: session[name] or "" for name in TEXTS},
        "metadata": {"surface": session["surface"]},
        "suggestions": {},
        "responses": dict(sorted(responses.items())),
        "vectors": {},
        "_server_id": None,
    }


def from_argilla(item: Record) -> Iterator[Record | str]:
    """Read the records of an item; text is the reason why an annotator's responses are none."""
    answers: dict[str, Record] = {}
    for question, responses in item["responses"].items():
        for response in responses:
            answers.setdefault(response["user_id"], {})[question] = response["value"]
    surface = (item.get("metadata") or {}).get("surface")
    for annotator, given in answers.items():
        shared = {"surface": surface, "session_id": item.get("id"), "annotator": annotator}
        shared["labelled_at"] = given.get("labelled_at")
        yield from _attempt(_split, shared, given)


def _attempt(read: Callable[..., Iterator[Record]], *given: Record) -> Iterator[Record | str]:
    try:
        yield from list(read(*given))
    except ValueError as error:
        yield str(error)
    except (AttributeError, KeyError, TypeError) as error:
        yield f"the answers cannot be read: {error!r}"


def _to_answers(record: Record) -> Record:
    if "criterion" in record:
        value = record["value"]
        short = value.isascii() and value.isdecimal() and len(value) < 19
        whole = short and str(int(value)) == value
        return {record["criterion"]: int(value) if whole else value}
    answers = {name: record.get(name) for name in ("verdict", "modes", "severity")}
    answers["after_suggestion"] = "yes" if record.get("after_suggestion") else None
    answers["anchors"] = (
        orjson.dumps(anchors).decode() if (anchors := record.get("anchors")) else None
    )
    return {name: answer for name, answer in answers.items() if answer}


def _split(shared: Record, answers: Record) -> Iterator[Record]:
    """Give the label among the answers, then each rating."""
    ratings = {name: value for name, value in answers.items() if name not in FIELDS}
    if "verdict" in answers:
        yield shared | {name: answers[name] for name in FIELDS[4:10] if name in answers}
    elif not ratings:
        raise ValueError("there is neither a verdict nor a rating")
    for criterion, value in ratings.items():
        yield shared | {"criterion": criterion, "value": value}


def _to_result(name: str, answer: Any) -> Record:
    kind: str = "choices"
    value: Any = answer if isinstance(answer, list | tuple) else [answer]
    if name == "anchors":
        kind = "textarea"
    elif isinstance(answer, int):
        kind, value = "rating", answer
    content = {"text" if kind == "textarea" else kind: value}
    return {"id": name, "from_name": name, "to_name": "session", "type": kind, "value": content}


def _from_result(result: Record) -> Any:
    kind = result["type"]
    given = result["value"]["text" if kind == "textarea" else kind]
    if result["from_name"] == "modes" or not isinstance(given, list):
        return given
    if len(given) != 1:
        raise ValueError(f"{result['from_name']} has {len(given)} answers; one is wanted")
    return given[0]
