import numpy as np
import polars as pl
import pytest
from make import user

from evalbench.release import golden, leakage
from evalbench.schema import SPAN, Evaluator

ASKED = "My parcel was promised for Monday and has still not come, what can you do?"
ALIKE = "my parcel was promised for monday, and has still not come. What can you do"
OTHER = "Please change the delivery address of my last order to the office in Hamburg."


def case(text, session=None, suite="golden", surface="shop", **fields):
    given = {"surface": surface, "suite": suite, "messages": [user(text)], "session_id": session}
    said = {"expected": "Says when it comes.", "mode": "rude", "severity": "polish"}
    return golden.name_case(given | said | fields)


def frame(*cases):
    return pl.DataFrame([golden.write_row(each) for each in cases], golden.CASES)


def places(**text):
    rows = [("shop", name.replace("_", " "), None, each) for name, each in text.items()]
    return pl.DataFrame(rows, leakage.PLACES, orient="row")


NONE = places()


def test_what_stands_twice_in_a_suite_leaks_into_the_later_case():
    first, later = case(ASKED), case(ALIKE)
    leaks = leakage.find_leaks(frame(first, later, case(OTHER), case(ALIKE, suite="policy")), NONE)
    assert leaks.rows() == [("shop", "golden", later.case, f"case {first.case}", pytest.approx(1))]


def test_a_question_is_found_within_documents_and_prompts():
    faq = f"Deliveries\nQ: {ALIKE}\nA: We look for it. Then we write.\n" + OTHER
    told = places(the_document_faq=faq, the_prompt=f"Judge well. {ASKED} That fails.")
    leaks = leakage.find_leaks(frame(case(ASKED)), told)
    assert set(leaks["place"]) == {"the document faq", "the prompt"}
    elsewhere = leakage.find_leaks(frame(case(ASKED, surface="bank")), told)
    assert elsewhere.is_empty()
    assert leakage.find_leaks(frame(case("Where is it?")), places(faq="Where is it?")).is_empty()


def test_minhash_finds_what_a_full_comparison_finds():
    rng = np.random.default_rng(3)
    letters = list("abcdefghijklmnop ")
    texts = ["".join(rng.choice(letters, 120)) for _ in range(60)]
    others = [text[: rng.integers(80, 121)] + "x" * int(rng.integers(0, 12)) for text in texts]
    others.append("")
    slow = set()
    for place, text in enumerate(texts):
        for number, other in enumerate(others):
            one, two = leakage._shingle(text), leakage._shingle(other)
            if len(one & two) >= leakage.NEAR * len(one | two):
                slow.add((place, number))
    assert 20 < len(slow) < 60
    assert {pair[:2] for pair in leakage.near_duplicates(texts, others)} == slow


def test_places_are_what_evaluators_and_the_product_have_seen():
    shown = {"examples": [{"session_id": "s1", "fails": True}]}
    fields = {"surface": "shop", "mode": "rude", "kind": "judge", "owner": "ana"}
    judge = Evaluator(**fields, prompt="Is it rude?", model="m", parameters=shown)
    rows = [("s1", ASKED, True, "train"), ("s2", OTHER, True, "train"), ("s3", "x", True, "test")]
    names = ["session_id", "first_input", "labelled", "split"]
    sessions = pl.DataFrame(rows, names, orient="row").with_columns(surface=pl.lit("shop"))
    found = {"documents": [{"id": "faq", "content": "Q&A", "score": 0.5}] * 2}
    spans = pl.LazyFrame([{"surface": "shop", "kind": "retriever", **found}] * 2, schema=SPAN)
    known = leakage.gather_places({"shop/rude/judge": judge}, sessions, spans)
    assert known["place", "session_id"].rows() == [
        ("the prompt of shop/rude/judge", None),
        ("the examples of shop/rude/judge", "s1"),
        ("the training label of session s1", "s1"),
        ("the training label of session s2", "s2"),
        ("the retrieved document faq", None),
    ]
    assert leakage.gather_places({}, sessions, spans)["place"].to_list() == [known["place"][-1]]
    leaks = leakage.find_leaks(frame(case("Another question altogether", "s2")), known)
    assert leaks["place", "similarity"].rows() == [("the training label of session s2", 1.0)]


def test_a_case_that_leaks_is_objected_to_with_the_place():
    known = places(the_examples_of_shop_judge=ASKED)
    why = leakage.list_objections([case(ALIKE)], frame(), known)
    assert why == {0: "stands in the examples of shop judge (100% alike)"}
    held = case(ASKED)
    assert leakage.list_objections([held, case(OTHER)], frame(held), NONE) == {}
    why = leakage.list_objections([case(OTHER), case(ALIKE), case(OTHER)], frame(held), NONE)
    assert why == {1: f"stands in case {held.case} (100% alike)"}
