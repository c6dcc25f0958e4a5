"""A few hundred notes sorted into failure modes by an analyst: what to ask next, what to suggest.

Notes are numbered 0 to n - 1, all different. ``modes`` (n,) has the number of the mode that a
person put each into, -1 where nobody did.
"""

from collections.abc import Collection

import numpy as np

LIKE = 0.08  # mean cosine of two groups of notes from which they are one
OPENING = 6  # one note in so many is asked for by coverage before the least sure ones come
BATCHES_FROM = 3  # one note in so many is named before batches are believed
BATCH = 8  # notes of a batch at the most
# How much of its fit to a group of unnamed notes a note keeps in the comparison with modes.
STAYS = 0.75
CLEAR = 0.03  # scale on which one fit is likelier than another to be the right one (of a softmax)
# Share of the notes named until which a note stays with its group, whatever else it is near.
UNTIL = 0.12
BELIEVED = 0.5  # how much a note that is suggested for a mode counts beside one that a person named
APART = 1e6  # distance of notes that must not share a group: no mean of a group hides it

Array = np.ndarray
Struck = Collection[tuple[int, int]]  # notes that are not of a mode: pairs of both


def measure_similarity(points: Array) -> Array:
    """Return the cosines of n notes, shape (n, n), from their vectors of length 1."""
    alike = np.clip(points @ points.T, 0, 1).astype(float)
    np.fill_diagonal(alike, 1)
    return alike


def group(alike: Array, modes: Array, struck: Struck = (), *, like: float = LIKE) -> Array:
    """Group n notes by average linkage, down to a mean cosine of ``like``; never what is apart."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(alike) < 2:
        return np.zeros(len(alike), dtype=int)
    far = 1 - alike
    named = modes >= 0
    both = named[:, None] & named[None]
    same = modes[:, None] == modes[None]
    far[both & same] = 0
    far[both & ~same] = APART
    for note, mode in struck:
        if modes[note] < 0:
            far[note, modes == mode] = far[modes == mode, note] = APART
    np.fill_diagonal(far, 0)
    tree = linkage(squareform(far, checks=False), "average")
    return _settle(alike, modes, struck, fcluster(tree, 1 - like, "distance") - 1)


def _settle(alike: Array, modes: Array, struck: Struck, groups: Array) -> Array:
    """Move each unnamed note once to the group whose middle is nearest, itself left out of each.

    Linkage never takes a merge back: a note that met its first neighbour early may fit the group
    beside better once both are whole, as in a step of spherical k-means. A lonely note stays.
    """
    own = groups[:, None] == np.arange(groups.max() + 1)
    inside = ((alike @ own) * own).sum(axis=0) / own.sum(axis=0) ** 2
    fits = (alike @ own - own) / np.maximum(1, own.sum(axis=0) - own) / np.sqrt(inside)
    fits[own & (own.sum(axis=0) == 1)] = 1
    for note, mode in struck:
        fits[note, groups[modes == mode]] = -1
    settled = np.where(modes < 0, fits.argmax(axis=1), groups)
    return np.unique(settled, return_inverse=True)[1]


def score(
    alike: Array, modes: Array, notes: Array, struck: Struck = (), believed: Array | None = None
) -> tuple[Array, Array]:
    """Score notes by their cosine to the middle of each named mode; the modes, (notes, modes).

    What is ``believed`` (n,) of unnamed notes draws the middle by half, but not for itself.
    """
    named = np.unique(modes[modes >= 0])
    fits = np.zeros((len(notes), len(named)))
    for column, mode in enumerate(named):
        half = np.zeros(len(modes)) if believed is None else BELIEVED * (believed == mode)
        drawn = (modes == mode) + half
        inside = drawn @ alike @ drawn / drawn.sum() ** 2
        near = (alike[notes] @ drawn - half[notes]) / (drawn.sum() - half[notes])
        fits[:, column] = near / np.sqrt(inside)
    rows = {int(note): row for row, note in enumerate(notes)}
    columns = {int(mode): column for column, mode in enumerate(named)}
    for note, mode in struck:
        if note in rows and mode in columns:
            fits[rows[note], columns[mode]] = -1
    return named, fits


def ask_next(alike: Array, weights: Array, modes: Array, struck: Struck = ()) -> int:
    """Choose the note whose naming says most of the others.

    The first by coverage: how much nearer others come to something named; then by the rank of the
    smallest margin between the two best modes, plus half the rank of coverage.
    """
    waiting, named = np.flatnonzero(modes < 0), np.flatnonzero(modes >= 0)
    best = alike[:, named].max(axis=1, initial=0)
    gain = np.maximum(alike[np.ix_(waiting, waiting)] - best[waiting], 0) @ weights[waiting]
    if len(named) < max(10, len(modes) // OPENING):
        return int(waiting[gain.argmax()])
    _, fits = score(alike, modes, waiting, struck)
    if fits.shape[1] < 2:
        return int(waiting[gain.argmax()])
    two = np.sort(fits, axis=1)[:, -2:]
    return int(waiting[(_rank(two[:, 0] - two[:, 1]) + 0.5 * _rank(gain)).argmax()])


def _rank(values: Array) -> Array:
    return np.argsort(np.argsort(values, kind="stable")) / max(1, len(values) - 1)


def place(alike: Array, weights: Array, modes: Array, struck: Struck = ()) -> Array:
    """Suggest where unnamed notes belong: the nearest mode, or beyond them a group; (n,)."""
    placed, waiting = modes.copy(), np.flatnonzero(modes < 0)
    groups = group(alike, modes, struck)
    beyond = modes.max(initial=-1) + 1
    if not len(waiting) or beyond == 0:
        return np.where(modes >= 0, modes, groups)
    home = np.full(groups.max() + 1, -1)
    home[groups[modes >= 0]] = modes[modes >= 0]
    named, fits = score(alike, modes, waiting, struck)
    early = weights[modes >= 0].sum() < UNTIL * weights.sum()
    for row, note in enumerate(waiting):
        others = np.flatnonzero((groups == groups[note]) & (np.arange(len(modes)) != note))
        best = fits[row].argmax()
        if home[groups[note]] < 0 and len(others):
            inside = alike[np.ix_(others, others)].mean()
            if early or STAYS * alike[note, others].mean() / np.sqrt(inside) > fits[row, best]:
                placed[note] = beyond + groups[note]
                continue
        joined = home[groups[note]] if early else -1
        placed[note] = joined if joined >= 0 else named[best]
    if not early:
        # The first suggestions tell of a mode's wording too (Rocchio's relevance feedback).
        near = waiting[placed[waiting] < beyond]
        believed = np.where(modes < 0, placed, -1)
        placed[near] = named[score(alike, modes, near, struck, believed)[1].argmax(axis=1)]
    return placed


def next_batch(
    alike: Array, weights: Array, modes: Array, struck: Struck = ()
) -> tuple[int | None, Array]:
    """Choose up to eight notes believed to be of one mode (None: a new one): mode and notes.

    Those are chosen that sort most notes an act: naming them is one, each that is struck one more.
    """
    waiting = np.flatnonzero(modes < 0)
    named, fits = score(alike, modes, waiting, struck)
    inner = alike[np.ix_(waiting, waiting)]
    parts = _divide(inner)
    columns = [_fit_group(inner, parts == part) for part in range(parts.max() + 1)]
    every = np.column_stack([fits, *columns])
    likely = np.exp((every - every.max(axis=1, keepdims=True)) / CLEAR)
    likely /= likely.sum(axis=1, keepdims=True)
    best: tuple[float, int | None, Array] = (-1.0, None, waiting[:1])
    for column, mode in enumerate(named):
        mine = np.flatnonzero(every.argmax(axis=1) == column)
        right = likely[mine, column] * np.minimum(1, every[mine, column] / 0.15)
        best = max(best, _cut(waiting[mine], right, weights, int(mode)), key=lambda one: one[0])
    for part in range(parts.max() + 1):
        mine = np.flatnonzero(parts == part)
        middle = mine[inner[np.ix_(mine, mine)].sum(axis=1).argmax()]
        right = np.clip(inner[middle, mine] / 0.3, 0, 1)
        best = max(best, _cut(waiting[mine], right, weights, None), key=lambda one: one[0])
    return best[1], best[2]


def _divide(inner: Array) -> Array:
    """Divide unnamed notes into groups of about four."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(inner) < 3:
        return np.zeros(len(inner), dtype=int)
    tree = linkage(squareform(1 - inner, checks=False), "average")
    return np.unique(fcluster(tree, max(1, len(inner) // 4), "maxclust"), return_inverse=True)[1]


def _fit_group(inner: Array, own: Array) -> Array:
    """Score how well each unnamed note fits a group of them, itself left out."""
    others = inner[:, own].sum(axis=1) - own
    return others / np.maximum(1, own.sum() - own) if own.sum() > 1 else np.where(own, 0.02, others)


def _cut(
    notes: Array, right: Array, weights: Array, mode: int | None
) -> tuple[float, int | None, Array]:
    """Take the surest notes as long as they sort more an act; the gain, the mode and the notes."""
    if not len(notes):
        return -1.0, mode, notes
    order = np.argsort(-right, kind="stable")[:BATCH]
    right, notes = right[order], notes[order]
    sorted_, wrong = np.cumsum(right * weights[notes]), np.cumsum(1 - right)
    gain = sorted_ / (1 + np.minimum(wrong, np.cumsum(right)))
    most = len(gain) - int(np.argmax(gain[::-1]))
    return float(gain[most - 1]), mode, notes[:most]
