"""Short texts as vectors: by their wording alone, or by an embedding model."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from evalbench.errors import ModelError

DIMENSIONS = 200
VOCABULARY = 50_000  # most n-grams of each sort; the rarest beyond go, so that memory stays bounded
FEW = 800  # texts from which on their vectors are reduced: fewer are told apart by their rare words
LEARNT = 11_000  # texts that n-grams and directions are learnt from at the most, drawn at random
WORD_WEIGHT = 0.7  # weight of words beside characters, which see through inflection and misspelling
OFFLINE = "offline"
LOCAL = "local/"


def embed_texts(texts: Sequence[str], *, model: str, rng: np.random.Generator) -> np.ndarray:
    """Embed n texts by the model that a setting names, as float32 of shape (n, d).

    It is "offline" (which alone needs ``rng``), "local/NAME" of sentence-transformers, or
    LiteLLM's. ModelError says what to install or set where it cannot be loaded or reached.
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
    """Embed n texts by TF-IDF of words and characters, 800 or more reduced by SVD (LSA) to d = 200.

    Word n-grams of 1 to 2, character n-grams of 3 to 5 within words, log-scaled counts: shared
    wording, not meaning. float32 (n, d), rows of length 1 or 0; d is n for fewer, which keep their
    exact cosines. Deerwester et al. (1990), Indexing by latent semantic analysis. JASIS 41(6).
    """
    from scipy import sparse
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    many = len(texts) >= FEW
    common: Any = {"sublinear_tf": True, "max_features": VOCABULARY, "dtype": np.float32}
    common |= {"min_df": 2, "max_df": 0.5} if many else {}
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **common)
    characters = TfidfVectorizer(analyzer=_split_characters, **common)
    learnt = texts
    if len(texts) > LEARNT:
        learnt = [texts[one] for one in np.sort(rng.choice(len(texts), LEARNT, replace=False))]
    fitted = []
    for vectorizer, weight in ((words, WORD_WEIGHT), (characters, 1.0)):
        try:
            fitted.append((vectorizer.fit(learnt), weight))
        except ValueError:  # no n-gram is left: every text is empty, or all are one
            continue
    if not fitted:
        return np.zeros((len(texts), 1), dtype=np.float32)

    def count(some: Sequence[str]) -> Any:
        return normalize(sparse.hstack([each.transform(some) * by for each, by in fitted]).tocsr())

    counted = count(learnt)
    if not many:
        return unfold((counted @ counted.T).toarray())
    dimensions = min(DIMENSIONS, counted.shape[1] - 1)
    reduce = TruncatedSVD(dimensions, random_state=int(rng.integers(2**31))).fit(counted)
    chunks = (texts[start : start + LEARNT] for start in range(0, len(texts), LEARNT))
    return normalize(np.vstack([reduce.transform(count(some)) for some in chunks])).astype(
        "float32"
    )


def _split_characters(text: str) -> list[str]:
    return [gram for word in text.lower().split() for gram in _split_word(word)]


@lru_cache(maxsize=100_000)
def _split_word(word: str) -> list[str]:
    """Split a word as scikit-learn's "char_wb" does; a few words make most of all texts."""
    from sklearn.feature_extraction.text import CountVectorizer

    return list(CountVectorizer(analyzer="char_wb", ngram_range=(3, 5)).build_analyzer()(word))


def unfold(alike: np.ndarray) -> np.ndarray:
    """Return vectors whose products are these similarities: float32 of the same shape (n, n)."""
    values, directions = np.linalg.eigh(alike)
    return (directions * np.sqrt(np.clip(values, 0, None))).astype(np.float32)
