"""Short texts as vectors: by their wording alone, or by an embedding model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evalbench.errors import ModelError

DIMENSIONS = 200
VOCABULARY = 50_000
"""Most n-grams of each sort; the rarest beyond go, so that memory stays bounded."""
SPARSE = 5
"""Texts a dimension: fewer would let each text be a direction of its own."""
GOLDEN = 2.39996
"""Angle that puts equal texts around one another without a gap or a row."""
WORD_WEIGHT = 0.7
"""Weight of words beside characters, which see through inflection and misspelling."""


OFFLINE = "offline"
LOCAL = "local/"


def embed_texts(
    texts: Sequence[str], *, model: str = OFFLINE, rng: np.random.Generator
) -> np.ndarray:
    """Embed texts by the model that the settings name.

    Parameters
    ----------
    texts : sequence of str, length n
        Short texts.
    model : str
        "offline" (:func:`offline_vectors`), "local/NAME" (a sentence-transformers model on this
        machine), or a LiteLLM embedding model.
    rng : numpy.random.Generator
        As for :func:`offline_vectors`; models need none.

    Returns
    -------
    numpy.ndarray of float32, shape (n, d)

    Raises
    ------
    ModelError
        The model cannot be loaded or reached; the message says what to install or to set.
    """
    if model == OFFLINE:
        return offline_vectors(texts, rng=rng)
    if not model.startswith(LOCAL):
        from evalbench import llm

        return llm.embed(texts, model=model)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ModelError(f"{model} needs pip install 'evalbench[embeddings]'") from error
    try:
        encoder = SentenceTransformer(model.removeprefix(LOCAL), local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"{model}: no such model on this machine: {error}") from error
    return encoder.encode(list(texts), show_progress_bar=False)


def offline_vectors(texts: Sequence[str], *, rng: np.random.Generator) -> np.ndarray:
    """Embed texts by TF-IDF of words and characters, reduced by truncated SVD (LSA).

    Parameters
    ----------
    texts : sequence of str, length n
        Notes, messages, any short texts.
    rng : numpy.random.Generator
        Seeds the randomized SVD: the same state and texts give the same vectors.

    Returns
    -------
    numpy.ndarray of float32, shape (n, d)
        Rows of length 1 (0 where a text has no n-gram that others have too), d at most 200.

    Notes
    -----
    Word n-grams of 1 to 2 and character n-grams of 3 to 5 within words, log-scaled counts. Sees
    shared wording, not meaning: "card lost" and "plastic went missing" are strangers to it.

    References
    ----------
    Deerwester et al. (1990), Indexing by latent semantic analysis. JASIS 41(6).
    """
    from scipy import sparse
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    common = {
        "sublinear_tf": True,
        "min_df": 2 if len(texts) >= 20 else 1,
        "max_df": 0.5 if len(texts) >= 20 else 1.0,
        "max_features": VOCABULARY,
        "dtype": np.float32,
    }
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **common)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), **common)
    parts = []
    for vectorizer, weight in ((words, WORD_WEIGHT), (characters, 1.0)):
        try:
            parts.append(vectorizer.fit_transform(texts) * weight)
        except ValueError:  # no n-gram is left: every text is empty, or all are one
            continue
    if not parts:
        return np.zeros((len(texts), 1), dtype=np.float32)
    counted = sparse.hstack(parts).tocsr()
    dimensions = max(2, min(DIMENSIONS, len(texts) // SPARSE))
    if counted.shape[1] <= dimensions:
        return normalize(counted.toarray())
    reduce = TruncatedSVD(dimensions, random_state=int(rng.integers(2**31)))
    return normalize(reduce.fit_transform(counted)).astype(np.float32)


def lay_out(vectors: np.ndarray, assignment: np.ndarray) -> np.ndarray:
    """Place texts on a plane: each cluster a disc, discs of clusters that are alike near.

    Middles of clusters by classical scaling of their cosine distances, then pushed apart until no
    disc lies on another. Within a disc the distance from its middle ranks how typical a text is,
    and the angle follows the two main directions of its cluster; equal texts lie in a heap. Nothing
    else can be read off it.

    Parameters
    ----------
    vectors : numpy.ndarray, shape (n, d)
    assignment : numpy.ndarray of int, shape (n,)
        Cluster of each text, 0 to k - 1, none empty.

    Returns
    -------
    numpy.ndarray of float32, shape (n, 2)
        In [-1, 1].

    References
    ----------
    Torgerson (1952), Multidimensional scaling: theory and method. Psychometrika 17(4).
    """
    n_clusters = assignment.max() + 1
    radius = np.sqrt(np.bincount(assignment) / len(assignment)) * 0.5
    members = [np.flatnonzero(assignment == one) for one in range(n_clusters)]
    middles = np.array([vectors[each].mean(axis=0) for each in members], dtype=float)
    length = np.linalg.norm(middles, axis=1, keepdims=True)
    middles = middles / np.where(length > 0, length, 1)
    centre = _push_apart(_scale_to_plane(1 - middles @ middles.T), radius)
    placed = np.empty((len(assignment), 2))
    for one, each in enumerate(members):
        points, alike = np.unique(vectors[each], axis=0, return_inverse=True)
        alike = alike.ravel()
        apart = points - middles[one]
        _, _, main = np.linalg.svd(apart.T @ apart, hermitian=True)
        flat = apart @ _orient(main[:2]).T
        flat = flat - flat.mean(axis=0)
        turn = 2 * np.pi * _rank(np.arctan2(flat[:, -1], flat[:, 0])) / len(points)
        reach = radius[one] * np.sqrt((_rank((apart**2).sum(axis=1)) + 0.5) / len(points))
        heap = _count_before(alike)
        around = 0.012 * np.sqrt(heap)
        placed[each] = centre[one] + _turn(turn, reach)[alike] + _turn(GOLDEN * heap, around)
    placed -= (placed.max(axis=0) + placed.min(axis=0)) / 2
    return (placed / np.abs(placed).max()).astype(np.float32)


def _turn(angle: np.ndarray, reach: np.ndarray) -> np.ndarray:
    return reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _count_before(values: np.ndarray) -> np.ndarray:
    """Count how often each value has come before."""
    order = np.argsort(values, kind="stable")
    first = np.searchsorted(values[order], values[order])
    counted = np.empty(len(values), dtype=int)
    counted[order] = np.arange(len(values)) - first
    return counted


def _rank(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")


def _scale_to_plane(distance: np.ndarray) -> np.ndarray:
    n = len(distance)
    centring = np.eye(n) - 1 / n
    values, directions = np.linalg.eigh(-centring @ distance**2 @ centring / 2)
    plane = _orient(directions[:, -2:].T).T * np.sqrt(np.maximum(values[-2:], 1e-12))
    return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))


def _orient(directions: np.ndarray) -> np.ndarray:
    """Turn each direction so that its largest part is positive: solvers leave the sign open."""
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    return directions * np.where(largest < 0, -1, 1)


def _push_apart(centre: np.ndarray, radius: np.ndarray) -> np.ndarray:
    spread = np.abs(centre).max() or 1
    centre = centre / spread * radius.sum() / np.sqrt(len(radius))
    number = np.arange(len(radius))
    centre = centre + _turn(GOLDEN * number, np.full(len(radius), 1e-3))  # none on another
    least = radius[:, None] + radius + 0.04
    for _ in range(200):
        away = centre[:, None] - centre
        distance = np.maximum(np.linalg.norm(away, axis=2), 1e-9)
        lacking = np.where(np.eye(len(radius), dtype=bool), 0, np.maximum(least - distance, 0))
        centre = centre + (away / distance[..., None] * lacking[..., None]).sum(axis=1) / 4
        centre = centre * 0.995  # what is apart comes together again until it touches
    return centre
