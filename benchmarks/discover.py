"""How well, how steadily and how fast notes become clusters, beside BERTopic and HDBSCAN.

    python benchmarks/discover.py --notes ../shared/data/failure_notes

All methods get the same offline vectors in the same run. BERTopic is as its users run it: UMAP to 5
dimensions, HDBSCAN with clusters of 10 or more, what fits none left out (counted as one cluster for
the scores, as its own -1). Needs ``pip install 'evalbench[bench]'``. Exit status 1 when a claim
does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from itertools import combinations
from pathlib import Path

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import numpy as np
import polars as pl
from claims import claim, make_parser, show, sized
from discover_cases import Analyst, ScriptedModel, draw_case, find_kinds
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

import evalbench as eb
from evalbench.label.discovery.vectors import embed_texts, offline_vectors

NOTES = Path(__file__).parents[2] / "shared/data/failure_notes"
RESAMPLES = 10
warnings.filterwarnings("ignore")


def read_notes(folder, name):
    frame = pl.read_csv(folder / f"{name}.csv")
    return frame["text"].to_list(), frame["category"].to_numpy()


def ours(texts, vectors, seed):
    rng = np.random.default_rng(seed)
    return eb.label.cluster(texts, vectors=vectors, rng=rng).assignment


def bertopic(texts, vectors, seed):
    from bertopic import BERTopic
    from umap import UMAP

    umap = UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=seed)
    return np.array(
        BERTopic(umap_model=umap, embedding_model=None).fit_transform(texts, vectors)[0]
    )


def hdbscan(texts, vectors, seed):
    from hdbscan import HDBSCAN

    return HDBSCAN(min_cluster_size=10).fit_predict(vectors.astype(float))


METHODS = {"evalbench": ours, "BERTopic": bertopic, "HDBSCAN": hdbscan}


def measure_quality(texts, truth):
    vectors = offline_vectors(texts, rng=np.random.default_rng(0))
    scores = {}
    for name, method in METHODS.items():
        found = method(texts, vectors, 0)
        scores[name] = adjusted_rand_score(truth, found)
        show(f"ARI, number of clusters chosen by {name}", scores[name], name)
        show(
            f"AMI, number of clusters chosen by {name}",
            adjusted_mutual_info_score(truth, found),
            name,
        )
        show(f"clusters found by {name}", found.max() + 1, name)
        show(f"share of notes left out by {name}", np.mean(found < 0), name)
    peer = f"BERTopic {scores['BERTopic']:.3f}, HDBSCAN {scores['HDBSCAN']:.3f}, number chosen"
    yield claim("ARI, number chosen", scores["evalbench"], 0.30, peer, at_most=False)
    chosen = ours(texts, vectors, 0)
    yield claim("notes left out", np.mean(chosen < 0), 0, peer)


def measure_stability(texts):
    """Mean pairwise ARI over seeds, and over resamples on the notes that two of them share."""
    vectors = offline_vectors(texts, rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    n = len(texts)
    drawn = [np.sort(rng.choice(n, int(0.8 * n), replace=False)) for _ in range(RESAMPLES)]
    means = {}
    for name, method in METHODS.items():
        seeds = [method(texts, vectors, seed) for seed in range(RESAMPLES)]
        spread = [adjusted_rand_score(a, b) for a, b in combinations(seeds, 2)]
        resampled = []
        for rows in drawn:
            whole = np.full(n, -2)
            whole[rows] = method([texts[i] for i in rows], vectors[rows], 0)
            resampled.append(whole)
        pairs = [
            adjusted_rand_score(a[both], b[both])
            for a, b in combinations(resampled, 2)
            for both in [(a > -2) & (b > -2)]
        ]
        means[name] = np.mean(spread), np.mean(pairs)
        show(f"mean pairwise ARI over {RESAMPLES} seeds", means[name][0], name)
        show(f"mean pairwise ARI over {RESAMPLES} resamples of 80%", means[name][1], name)
    return means


def measure_model(texts, truth, model):
    """Cluster by the vectors of a sentence-embedding model, where one is named."""
    vectors = embed_texts(texts, model=model, rng=np.random.default_rng(0))
    ari = adjusted_rand_score(truth, ours(texts, vectors, 0))
    yield claim(f"ARI, number chosen, {model}", ari, 0.52, "offline vectors .30", at_most=False)


def measure_speed(texts):
    texts = texts[:10_000]
    seconds = {}
    for name, method in {"evalbench": ours, "BERTopic": bertopic}.items():
        start = time.perf_counter()
        vectors = offline_vectors(texts, rng=np.random.default_rng(0))
        method(texts, vectors, 0)
        seconds[name] = time.perf_counter() - start
    peer = f"BERTopic with the same vectors {seconds['BERTopic']:.0f} s"
    yield claim("10,000 notes, seconds", seconds["evalbench"], 20, peer)


def measure_size(folder):
    """100,000 notes in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, __file__, "--notes", str(folder), "--size", "100000"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    peer = f"{told['clusters']} clusters of {told['notes']:,} made-up pairs of real notes"
    yield claim("100,000 notes, seconds", told["seconds"], 40, peer)
    yield claim("100,000 notes, peak GiB", told["gib"], 1.5, peer)


def cluster_many(texts, truth, size):
    """Cluster pairs of notes of one class, as many as asked for."""
    rng = np.random.default_rng(0)
    members = {name: np.flatnonzero(truth == name) for name in np.unique(truth)}
    first = rng.integers(len(texts), size=size)
    pairs = [f"{texts[i]} {texts[rng.choice(members[truth[i]])]}" for i in first]
    start = time.perf_counter()
    found = eb.label.cluster(pairs, rng=rng)
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = time.perf_counter() - start
    print(
        json.dumps(
            {"seconds": seconds, "gib": gib, "clusters": len(found.stability), "notes": size}
        )
    )


SETS = ("banking77_test", "banking77_train")


def measure_sorting(folder, draws):
    """Codebooks of 120 and 300 notes: what is right at once, and after so many acts."""
    held = []
    bars = {120: {40: 0.85, 60: 0.91, 80: 0.97}, 300: {80: 0.87, 150: 0.96}}
    slipping = {40: 0.80, 80: 0.93}
    for name in SETS:
        texts, kinds = read_notes(folder, name)
        for n, marks in bars.items():
            cases = [
                draw_case(texts, kinds, n, np.random.default_rng([n, draw]))
                for draw in range(draws)
            ]
            about = f"{name}, {n} notes"
            desk, plain, batches = (
                [Analyst(case, seed, order=order).sort() for seed, case in enumerate(cases)]
                for order in ("desk", "plain", "batches")
            )
            start, before = mean(desk, 0), np.mean([score_before(case) for case in cases])
            peer = f"clusters before this way {before:.3f}"
            bar = 0.60 if n == 120 else before - 0.03
            held.append(claim(f"{about}: ARI at 0 acts", start, bar, peer, at_most=False))
            if n == 120:
                groups = [each.log[0][1] for each in desk]
                found = np.mean(
                    [find_kinds(c.kinds, g) for c, g in zip(cases, groups, strict=True)]
                )
                off = np.mean(
                    [
                        abs(len(set(g)) - len(set(c.kinds)))
                        for c, g in zip(cases, groups, strict=True)
                    ]
                )
                held.append(
                    claim(f"{about}: kinds found at 0 acts", found, 0.40, "", at_most=False)
                )
                held.append(claim(f"{about}: groups off the number of kinds", off, 5, ""))
            for acts, bar in marks.items():
                peer = f"random order with suggestions {mean(plain, acts):.3f}"
                label = f"{about}: ARI after {acts} acts"
                held.append(claim(label, mean(desk, acts), bar, peer, at_most=False))
            done = np.mean([each.acts for each in batches])
            peer = f"random order {np.mean([each.acts for each in plain]):.0f}"
            held.append(
                claim(f"{about}: acts to sort all by batches", done, {120: 75, 300: 145}[n], peer)
            )
            if n == 120:
                slips = [
                    Analyst(case, seed, slips=1 / 30).sort() for seed, case in enumerate(cases)
                ]
                for acts, bar in slipping.items():
                    label = f"{about}: ARI after {acts} acts, one slip in 30"
                    held.append(claim(label, mean(slips, acts), bar, "", at_most=False))
    return held


def measure_model_reading(folder, draws):
    """What a model's readings add: a scripted one, right, broken or unsure."""
    texts, kinds = read_notes(folder, "banking77_test")
    cases = [
        draw_case(texts, kinds, 120, np.random.default_rng([120, draw])) for draw in range(draws)
    ]

    def run(p, broken=0.0):
        models = [ScriptedModel(case, p, seed, broken) for seed, case in enumerate(cases)]
        return [
            Analyst(case, seed, model=model).sort(most=21)
            for seed, (case, model) in enumerate(zip(cases, models, strict=True))
        ]

    good, broken, unsure = run(0.9), run(0.9, 0.3), run(0.6)
    alone = np.mean([Analyst(c, seed).sort(21).score(20) for seed, c in enumerate(cases)])
    about, peer = "120 notes, scripted model", f"without a model {alone:.3f}"
    told = np.mean([bool(each.queue.induced.lost) for each in broken])
    fell = mean(good, 20) - mean(broken, 20)
    gated = np.mean([not each.queue.induced.agrees for each in unsure])
    return [
        claim(f"{about} 90% right: ARI after 20 acts", mean(good, 20), 0.89, peer, at_most=False),
        claim(f"{about}, 30% of calls broken: ARI lost", fell, 0.06, peer),
        claim(f"{about}, 30% of calls broken: sets that tell it", told, 0.95, peer, at_most=False),
        claim(f"{about} 60% right: names alone", gated, 1, peer, at_most=False),
    ]


def mean(analysts, acts):
    return np.mean([each.score(acts) for each in analysts])


def score_before(case):
    """The neighbour graph's clusters of the same notes, as for larger sets."""
    vectors = offline_vectors(case.texts, rng=np.random.default_rng(0))
    return adjusted_rand_score(case.kinds, ours(case.texts, vectors, 0))


def measure_weakness(folder):
    """Say of notes whose types are no matter of wording that their clusters are weak."""
    notes = pl.read_csv(folder / "tofueval_failure_notes.csv")["exp"].to_list()
    found = eb.label.cluster(notes, rng=np.random.default_rng(0))
    peer = f"agreement {found.agreement:.2f}"
    yield claim("tofueval: said to be weak", found.weak, 1, peer, at_most=False)


def main():
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--notes", type=Path, default=NOTES, help="folder of the public notes")
    parser.add_argument("--model", help="a sentence model too, such as local/all-MiniLM-L6-v2")
    parser.add_argument("--draws", type=int, default=sized(20, 3), help="sets drawn of each sort")
    parser.add_argument("--only", choices=["sorting"], help="one part alone")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    many, kinds = read_notes(arguments.notes, "banking77_train")
    if arguments.size:
        cluster_many(many, kinds, arguments.size)
        return
    sorted_ = measure_model_reading(arguments.notes, arguments.draws)
    sorted_ += measure_sorting(arguments.notes, arguments.draws)
    if arguments.only:
        sys.exit(not all(sorted_))
    texts, truth = read_notes(arguments.notes, "banking77_test")
    held = [*sorted_, *measure_quality(texts, truth), *measure_weakness(arguments.notes)]
    if arguments.model:
        held += measure_model(texts, truth, arguments.model)
    measure_stability(texts)
    held += measure_speed(many)
    sys.exit(not all(held))


if __name__ == "__main__":
    main()
