"""``python -m evalbench.demo.sample FOLDER``: write the small sample that the repository holds."""

import sys
from pathlib import Path

import numpy as np

from evalbench.demo.company import load_company
from evalbench.demo.simulate import simulate
from evalbench.demo.traces import SUFFIX, write_traces

SEED = 7
SESSIONS = 20


def write_sample(folder: Path) -> None:
    """Write a few sessions of every surface."""
    simulating, tracing = np.random.default_rng(SEED).spawn(2)
    for each in simulate(load_company(), sessions_per_surface=SESSIONS, rng=simulating):
        write_traces(each, folder / f"{each.surface.surface}{SUFFIX}", rng=tracing)


if __name__ == "__main__":
    write_sample(Path(sys.argv[1]))
