"""Leakage: golden cases that stand twice, or where an evaluator or the product has seen them.

Texts are compared as people read them, without case and signs, by the Jaccard similarity of their
runs of five characters: MinHash finds the pairs, and each is then measured exactly.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import polars as pl

from evalbench.release.golden import CASE_KEY, live, read_words, write_row
from evalbench.schema import Evaluator, GoldenAdded, columns

SESSION_KEY = ["surface", "session_id"]
NEAR = 0.8
"""Texts at least so similar are taken for one."""
SHORTEST = 30
"""Characters; what is shorter is said often, and leaks nothing."""
SHINGLE = 5
PERMUTATIONS = 128
PLACES = columns((pl.String, "surface place session_id text"))
"""A text that a case must not stand in, and what it is; "" is a place of every surface."""
LEAKS = columns((pl.String, "surface suite case place"), (pl.Float64, "similarity"))
SENTENCE = r"[^.!?\n]+"


def find_leaks(cases: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Find where live cases stand otherwise, as :data:`LEAKS`; of two of a suite the later leaks.

    What the user said first is compared with each sentence, line and whole text of the places.
    """
    rows = live(cases).to_dicts()
    words = [read_words(map(orjson.loads, row["messages"])) for row in rows]
    whole = [" ".join(each) for each in words]
    found = [
        [*(rows[later][name] for name in CASE_KEY), f"case {rows[earlier]['case']}", similarity]
        for earlier, later, similarity in near_duplicates(whole, whole)
        if earlier < later
        and all(rows[earlier][name] == rows[later][name] for name in CASE_KEY[:2])
    ]
    passages = _cut(places)
    firsts = [each[0] if each else "" for each in words]
    fitting = [text if len(_simplify(text)) >= SHORTEST else "" for text in firsts]
    for row, passage, similarity in near_duplicates(fitting, passages["text"].to_list()):
        place = passages.row(passage, named=True)
        if place["surface"] == rows[row]["surface"]:
            found.append([*(rows[row][name] for name in CASE_KEY), place["place"], similarity])
    known = live(cases).select(*CASE_KEY, "session_id").drop_nulls("session_id")
    same = known.join(places, on=SESSION_KEY).with_columns(similarity=pl.lit(1.0))
    leaks = pl.concat([pl.DataFrame(found, LEAKS, orient="row"), same.select(*LEAKS)])
    best = leaks.group_by(*CASE_KEY, "place").agg(pl.max("similarity"))
    return best.sort("similarity", *LEAKS.names()[:4], descending=[True, *[False] * 4])


def near_duplicates(texts: Sequence[str], others: Sequence[str]) -> list[tuple[int, int, float]]:
    """Return the pairs that are :data:`NEAR`, by place, and how near; an empty text is in none."""
    from datasketch import MinHash, MinHashLSH  # it loads scipy's statistics

    def sketch(shingles: set[bytes]) -> MinHash:
        hashed = MinHash(PERMUTATIONS, hashfunc=zlib.crc32, seed=1)
        hashed.update_batch(list(shingles))
        return hashed

    runs = [_shingle(text) for text in texts]
    sizes = [len(each) for each in runs if each]
    index = MinHashLSH(threshold=NEAR - 0.3, num_perm=PERMUTATIONS)  # what it misses is lost
    for number, each in enumerate(runs):
        if each:
            index.insert(number, sketch(each))
    pairs = []
    for other, text in enumerate(others):
        each = _shingle(text)
        if each and min(sizes, default=0) * NEAR <= len(each) <= max(sizes, default=0) / NEAR:
            for number in index.query(sketch(each)):
                similarity = len(runs[number] & each) / len(runs[number] | each)
                if similarity >= NEAR:
                    pairs.append((number, other, similarity))
    return sorted(pairs)


def gather_places(
    evaluators: Mapping[str, Evaluator], sessions: pl.DataFrame, spans: pl.LazyFrame
) -> pl.DataFrame:
    """Gather where a case must not stand, as :data:`PLACES`.

    The prompts and examples of evaluators; labelled sessions of the train split, on surfaces that
    have an evaluator; and documents that the product retrieves.
    """
    written = [
        (each.surface, f"the prompt of {name}", None, each.prompt)
        for name, each in evaluators.items()
        if each.prompt
    ] + [
        (each.surface, f"the examples of {name}", str(example["session_id"]), None)
        for name, each in evaluators.items()
        for example in _list_examples(each.parameters)
    ]
    told = pl.DataFrame(written, PLACES, orient="row")
    texts = sessions.select(*SESSION_KEY, "first_input")
    shown = told.join(texts, on=SESSION_KEY, how="left", maintain_order="left")
    judged = sorted({each.surface for each in evaluators.values()})
    taught = sessions.filter("labelled", pl.col("surface").is_in(judged), split="train")
    trained = pl.format("the training label of session {}", "session_id")
    found = spans.filter(kind="retriever").select("surface", "documents").explode("documents")
    documents = found.select(
        "surface",
        place=pl.format("the retrieved document {}", pl.col("documents").struct.field("id")),
        text=pl.col("documents").struct.field("content"),
    )
    parts = [
        shown.with_columns(text=pl.coalesce("text", "first_input")),
        taught.select(*SESSION_KEY, place=trained, text="first_input"),
        documents.unique(maintain_order=True).collect(),
    ]
    return pl.concat(parts, how="diagonal").select(*PLACES)


def list_objections(
    wanted: Sequence[GoldenAdded], cases: pl.DataFrame, places: pl.DataFrame
) -> dict[int, str]:
    """Say why cases cannot be added, by their place in ``wanted``; one that is held is no leak."""
    fresh = [write_row(case) for case in wanted]
    held = live(cases)
    new = pl.DataFrame(fresh, cases.schema).unique(CASE_KEY, maintain_order=True)
    new = new.join(held, on=CASE_KEY, how="anti", maintain_order="left")
    near = held.join(new, on=CASE_KEY[:2], how="semi", maintain_order="left")
    leaks = find_leaks(pl.concat([near, new]), places).join(new, on=CASE_KEY, how="semi")
    reasons = {
        tuple(row[:3]): f"stands in {row[3]} ({row[4]:.0%} alike)" for row in leaks[::-1].rows()
    }
    keys = [tuple(getattr(case, name) for name in CASE_KEY) for case in wanted]
    return {number: reasons[key] for number, key in enumerate(keys) if key in reasons}


def _cut(places: pl.DataFrame) -> pl.DataFrame:
    """Cut texts into passages long enough to tell: the whole, its lines and its sentences."""
    text = pl.col("text")
    parts = pl.concat_list(text, text.str.split("\n"), text.str.extract_all(SENTENCE))
    cut = places.drop_nulls("text").with_columns(text=parts).explode("text")
    return cut.filter(text.str.len_chars() >= SHORTEST).unique(
        ["surface", "place", "text"], maintain_order=True
    )


def _list_examples(parameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in parameters.get("examples") or () if isinstance(each, Mapping)]


def _simplify(text: str) -> str:
    return re.sub(r"\W+", " ", text.casefold()).strip()


def _shingle(text: str) -> set[bytes]:
    plain_text = _simplify(text)
    runs = range(max(len(plain_text) - SHINGLE + 1, min(1, len(plain_text))))
    return {plain_text[start : start + SHINGLE].encode() for start in runs}
