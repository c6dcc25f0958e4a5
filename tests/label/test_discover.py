import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from evalbench.errors import ModelError
from evalbench.label.discovery.clustering import STABLE, SURE, cluster, lay_out
from evalbench.label.discovery.vectors import embed_texts, offline_vectors

SUBJECTS = {
    "refund": ["refund window quoted wrong", "refund of annual plan", "promises a refund"],
    "login": ["login link expired", "cannot login after reset", "login loop on phone"],
    "invoice": ["invoice total differs", "invoice sent twice", "tax missing on invoice"],
    "language": ["answers in another language", "language switches midway", "wrong language"],
}
ENDINGS = ["today", "again", "for a new customer", "in the evening", "at the second try", "twice"]


def notes():
    pairs = [
        (f"{subject}: {words} {ending}", subject)
        for subject, group in SUBJECTS.items()
        for words in group
        for ending in ENDINGS
    ]
    texts, truth = zip(*pairs, strict=True)
    return list(texts), list(truth)


def find(texts, seed=0, **more):
    return cluster(texts, rng=np.random.default_rng(seed), **more)


def test_notes_of_one_subject_come_together_and_none_is_left_out():
    texts, truth = notes()
    texts += [texts[5].upper(), texts[5]]
    found = find(texts)
    assert len(found.stability) == 4
    assert adjusted_rand_score(truth, found.assignment[:-2]) == 1
    assert not found.weak
    assert (found.stability >= STABLE).all()
    assert (found.confidence >= SURE).all()
    assert found.assignment[-1] == found.assignment[-2] == found.assignment[5]
    assert found.same_as[-1] == found.same_as[5]
    for number, chosen in enumerate(found.representatives):
        assert (found.assignment[chosen] == number).all()
        assert len({found.same_as[one] for one in chosen}) == len(chosen)


def test_the_same_seed_gives_the_same_clusters_also_where_none_is_clear():
    vectors = np.random.default_rng(3).standard_normal((1_000, 20))
    texts = [f"note {number}" for number in range(1_000)]
    first, second = (find(texts, vectors=vectors) for _ in range(2))
    for name in ("assignment", "confidence", "stability"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.reason == second.reason


def test_noise_is_said_to_be_weak_though_every_note_has_a_cluster():
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((300, 40))
    found = find([f"note {i}" for i in range(300)], vectors=vectors)
    assert found.weak
    assert found.assignment.min() == 0
    assert (found.confidence < SURE).mean() > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ["a", "b", "a"]}, "at least 10 different notes; got 2"),
        ({"vectors": np.zeros((3, 2))}, r"shape \(72, d\); got \(3, 2\)"),
        ({"vectors": np.full((72, 2), np.nan)}, "finite"),
    ],
)
def test_what_cannot_be_clustered_is_refused_by_name(arguments, message):
    arguments = {"texts": notes()[0], **arguments}
    with pytest.raises(ValueError, match=message):
        find(**arguments)


def test_offline_vectors_have_length_one_and_repeat():
    texts, _ = notes()
    first = offline_vectors(texts, rng=np.random.default_rng(1))
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(first, offline_vectors(texts, rng=np.random.default_rng(1)))
    assert offline_vectors(["", ""], rng=np.random.default_rng(1)).shape == (2, 1)


def test_clusters_stand_apart_on_the_map():
    rng = np.random.default_rng(1)
    assignment = np.repeat([0, 1, 2], [40, 20, 5])
    vectors = np.eye(3, 30)[assignment] + rng.normal(scale=0.1, size=(65, 30))
    placed = lay_out(vectors, assignment)
    assert np.abs(placed).max() == 1
    middles = np.array([placed[assignment == one].mean(axis=0) for one in range(3)])
    nearest = np.linalg.norm(placed[:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest == assignment).all()
    assert (lay_out(vectors, assignment) == placed).all()
    assert (lay_out(np.zeros((12, 1)), np.zeros(12, dtype=int)) == 0).all()


def test_a_local_model_that_is_not_installed_says_what_to_install():
    with pytest.raises(ModelError, match=r"evalbench\[embeddings\]|on this machine"):
        embed_texts(["a"], model="local/none", rng=np.random.default_rng(0))
