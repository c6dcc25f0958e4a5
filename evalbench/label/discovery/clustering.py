"""From notes to clusters: few by average linkage, many by communities of a neighbour graph.

No note is left out: one that fits badly has a low confidence, and a cluster that does not come back
when notes are drawn again a low stability.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalbench.label.discovery import suggestions
from evalbench.label.discovery.vectors import FEW, offline_vectors, unfold

Graph = Any  # scipy.sparse.csr_matrix, which loads when it is used

NEIGHBOURS = 10
RESOLUTIONS = (1.0, 1.5, 2.0, 3.0, 4.0)
RESAMPLES = 8
RESAMPLED_SHARE = 0.8
# Notes that the graph is made of at the most, drawn at random: the others join those nearest.
MANY = 11_000
SMALLEST = 3  # notes of a cluster at the least
# Notes a cluster on average at the least: a codebook of more modes is no codebook.
SMALLEST_MEAN = 20
FEWEST = 10  # notes that are worth clusters
STABLE = 0.6  # Jaccard similarity under which a cluster is not a pattern of the data (Hennig 2007)
SURE = 0.5  # share of a note's neighbours in its own cluster under which the note is marked
ALIKE = 0.95  # cosine from which two notes say the same
REPRESENTATIVES = 5


@dataclass(frozen=True)
class Clusters:
    """Notes in k clusters, the largest first.

    ``assignment`` (n,) is the cluster of each note, ``confidence`` (n,) the weighted share of its
    neighbours in it, ``same_as`` (n,) the first note that says the same letter by letter.
    ``stability`` (k,) is the mean Jaccard similarity to the nearest cluster of resamples,
    ``agreement`` the mean adjusted Rand index with these; ``representatives`` are up to five notes
    a cluster that are nearest to its middle and not alike; ``reason`` is why there are k.
    """

    assignment: np.ndarray
    confidence: np.ndarray
    stability: np.ndarray
    representatives: tuple[np.ndarray, ...]
    same_as: np.ndarray
    agreement: float
    reason: str

    @property
    def weak(self) -> bool:
        """Say whether the clusters are no pattern of the notes: other draws of them give others."""
        stable = self.stability[self.assignment] >= STABLE
        return bool(len(stable) and (self.agreement < STABLE or stable.mean() < 0.5))


def find_none(reason: str) -> Clusters:
    """Return no clusters of no notes."""
    none, nothing = np.zeros(0, dtype=int), np.zeros(0)
    return Clusters(none, nothing, nothing, (), none, 0.0, reason)


def cluster(
    texts: Sequence[str],
    *,
    vectors: np.ndarray | None = None,
    alike: np.ndarray | None = None,
    rng: np.random.Generator,
) -> Clusters:
    """Cluster ten notes or more: groups by average linkage, or Louvain communities of a graph.

    Fewer than 800 without ``vectors`` (n, d) are grouped while alike on average, by ``alike`` (n,
    n) if that is given; others by the graph, in as many clusters as come back best when 80% of the
    notes are drawn again. Nearness is wording, or what the embedding sees: notes about one subject
    with different faults come together, and ``weak`` says when that is all there is.

    References
    ----------
    Blondel et al. (2008), Fast unfolding of communities in large networks. J. Stat. Mech. P10008.
    Hennig (2007), Cluster-wise assessment of cluster stability. CSDA 52(1), 258-271.
    """
    folded = [fold_text(text) for text in texts]
    _, first, members = np.unique(folded, return_index=True, return_inverse=True)
    if len(first) < FEWEST:
        raise ValueError(f"texts must hold at least {FEWEST} different notes; got {len(first)}")
    if alike is not None:
        points = unfold(alike[np.ix_(first, first)])
    elif vectors is None:
        points = offline_vectors([texts[index] for index in first], rng=rng)
    else:
        points = _check_vectors(vectors, len(texts))[first]
    drawn = np.arange(len(points))
    if len(points) > MANY:
        drawn = np.sort(rng.choice(drawn, MANY, replace=False))
    shown = points[drawn]
    graph = _join_neighbours(shown)
    if vectors is None and len(points) < FEW:
        chosen, reason = _group(points, rng)
    else:
        chosen, reason = _choose(graph, shown, rng)
    sure = _measure_confidence(graph, chosen.parted)
    parted, confidence = _spread(points, drawn, chosen.parted, sure)
    return Clusters(
        assignment=parted[members],
        confidence=confidence[members],
        stability=_measure_stability(chosen),
        representatives=tuple(first[drawn[one]] for one in _represent(shown, chosen.parted)),
        same_as=first[members],
        agreement=float(chosen.scores.mean()),
        reason=reason,
    )


@dataclass(frozen=True)
class _Choice:
    """A partition, those of resamples (notes, their clusters), and how alike each of them is."""

    parted: np.ndarray
    again: list[tuple[np.ndarray, np.ndarray]]
    scores: np.ndarray


def fold_text(text: str) -> str:
    """Return the words of a text in lower case: what is equal then says the same."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text


def _check_vectors(vectors: np.ndarray, n: int) -> np.ndarray:
    from sklearn.preprocessing import normalize

    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != n:
        raise ValueError(f"vectors must have shape ({n}, d); got {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite; got nan or infinity")
    return normalize(vectors)


def _join_neighbours(points: np.ndarray) -> Graph:
    """Join each note to those nearest by cosine, weighted by it."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(points) - 1), algorithm="brute")
    graph = nearest.fit(points).kneighbors_graph(mode="distance")
    graph.data = np.clip(1 - graph.data**2 / 2, 0, 1)
    graph = ((graph + graph.T) / 2).tocsr()
    graph.eliminate_zeros()
    return graph


def _spread(
    points: np.ndarray, drawn: np.ndarray, parted: np.ndarray, sure: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Let notes that were not drawn join the clusters of their nearest among those that were."""
    from sklearn.neighbors import KNeighborsClassifier

    assignment, confidence = np.zeros(len(points), dtype=int), np.ones(len(points))
    assignment[drawn], confidence[drawn] = parted, sure
    others = np.setdiff1d(np.arange(len(points)), drawn)
    if len(others):
        near = KNeighborsClassifier(NEIGHBOURS, weights="distance", algorithm="brute")
        shares = near.fit(points[drawn], parted).predict_proba(points[others])
        assignment[others], confidence[others] = shares.argmax(axis=1), shares.max(axis=1)
    return assignment, confidence


def _draw(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    size = int(n * RESAMPLED_SHARE)
    return [np.sort(rng.choice(n, size, replace=False)) for _ in range(RESAMPLES)]


def _try(
    parted: np.ndarray, drawn: list[np.ndarray], part: Callable[[np.ndarray], np.ndarray]
) -> _Choice:
    """Hold a partition against those of resamples."""
    from sklearn.metrics import adjusted_rand_score

    again = [(one, part(one)) for one in drawn]
    scores = [adjusted_rand_score(parted[one], found) for one, found in again]
    return _Choice(parted, again, np.array(scores))


def _group(points: np.ndarray, rng: np.random.Generator) -> tuple[_Choice, str]:
    """Group few notes down to the likeness that holds for groups of any number and size."""
    alike = suggestions.measure_similarity(points)

    def part(one: np.ndarray) -> np.ndarray:
        return suggestions.group(alike[np.ix_(one, one)], np.full(len(one), -1))

    parted = _number_by_size(part(np.arange(len(points))))
    return _try(parted, _draw(len(points), rng), part), (
        f"{parted.max() + 1} groups: notes are in one while they are alike by {suggestions.LIKE} "
        "(cosine) on average"
    )


def _choose(graph: Graph, points: np.ndarray, rng: np.random.Generator) -> tuple[_Choice, str]:
    """Choose the resolution whose clusters come back best, and say why."""
    n = len(points)
    drawn = _draw(n, rng)

    def resample(resolution: float, parted: np.ndarray) -> _Choice:
        return _try(parted, drawn, lambda one: _part(graph[one][:, one], points[one], resolution))

    tried: list[_Choice] = []
    for resolution in RESOLUTIONS:
        parted = _part(graph, points, resolution)
        if tried and (parted.max() + 1) * SMALLEST_MEAN > n:
            break
        tried.append(resample(resolution, parted))
    best = max(tried, key=lambda one: one.scores.mean())
    slack = best.scores.std(ddof=1) / np.sqrt(RESAMPLES)
    chosen = next(one for one in tried if one.scores.mean() >= best.scores.mean() - slack)
    counts = ", ".join(f"{one.parted.max() + 1} ({one.scores.mean():.2f})" for one in tried)
    return chosen, (
        f"{chosen.parted.max() + 1} clusters come back best when {RESAMPLED_SHARE:.0%} of the "
        f"notes are drawn again; tried, with the agreement of resamples: {counts}"
    )


def _part(graph: Graph, points: np.ndarray, resolution: float) -> np.ndarray:
    """Cut a graph into communities, the largest first; the tiny ones join the nearest."""
    from sknetwork.clustering import Louvain

    # Its Leiden draws from C's rand(), which no seed here reaches: other clusters every time.
    parted = Louvain(resolution=resolution).fit_predict(graph)
    sizes = np.bincount(parted)
    if (sizes >= SMALLEST).any():
        whole = np.flatnonzero(sizes >= SMALLEST)
        lost = np.flatnonzero(sizes[parted] < SMALLEST)
        nearest = (points[lost] @ _find_middles(points, parted)[whole].T).argmax(axis=1)
        parted[lost] = whole[nearest]
    return _number_by_size(parted)


def _number_by_size(parted: np.ndarray) -> np.ndarray:
    _, parted, sizes = np.unique(parted, return_inverse=True, return_counts=True)
    return np.argsort(np.argsort(-sizes, kind="stable"))[parted]


def lay_out(points: np.ndarray, assignment: np.ndarray) -> np.ndarray:
    """Place notes on a plane as float32 in [-1, 1], each drawn towards its cluster's middle."""
    from sklearn.decomposition import PCA

    drawn = points + 2 * _find_middles(points, assignment)[assignment]
    two_at_least = np.pad(drawn, ((0, 0), (0, 1)))
    with np.errstate(invalid="ignore"):  # equal vectors have no spread to share out
        placed = PCA(2, svd_solver="covariance_eigh").fit_transform(two_at_least)
    return (placed / (np.abs(placed).max() or 1)).astype(np.float32)


def _find_middles(points: np.ndarray, parted: np.ndarray) -> np.ndarray:
    """Return the mean direction of each cluster, of length 1."""
    from sklearn.preprocessing import normalize

    sums = np.zeros((parted.max() + 1, points.shape[1]), dtype=points.dtype)
    np.add.at(sums, parted, points)
    return normalize(sums)


def _measure_stability(chosen: _Choice) -> np.ndarray:
    """Average over resamples a cluster's Jaccard similarity to the most similar one."""
    from sklearn.metrics.cluster import contingency_matrix

    n_clusters = chosen.parted.max() + 1
    best = np.full((len(chosen.again), n_clusters), np.nan)
    for number, (drawn, found) in enumerate(chosen.again):
        present = np.unique(chosen.parted[drawn])
        both = contingency_matrix(chosen.parted[drawn], found)
        either = both.sum(axis=1, keepdims=True) + both.sum(axis=0) - both
        best[number, present] = (both / either).max(axis=1)
    return np.nan_to_num(np.nanmean(best, axis=0))


def _measure_confidence(graph: Graph, parted: np.ndarray) -> np.ndarray:
    joined = graph.tocoo()
    same = parted[joined.row] == parted[joined.col]
    total = np.bincount(joined.row, joined.data, minlength=len(parted))
    inside = np.bincount(joined.row[same], joined.data[same], minlength=len(parted))
    return inside / np.where(total > 0, total, 1)


def _represent(points: np.ndarray, parted: np.ndarray) -> list[np.ndarray]:
    """Choose notes near the middle of each cluster that are not alike."""
    chosen = []
    nearness = np.einsum("ij,ij->i", points, _find_middles(points, parted)[parted])
    for one in range(parted.max() + 1):
        picked: list[int] = []
        members = np.flatnonzero(parted == one)
        for index in members[np.argsort(-nearness[members], kind="stable")]:
            if len(picked) < REPRESENTATIVES and (points[picked] @ points[index] < ALIKE).all():
                picked.append(int(index))
        chosen.append(np.array(picked))
    return chosen
