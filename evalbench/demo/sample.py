"""``python -m evalbench.demo.sample FOLDER``: write the small sample that the repository holds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from evalbench.demo.company import load_company
from evalbench.demo.simulate import simulate
from evalbench.demo.traces import FORMATS, write_traces

SEED = 7
SESSIONS = 20


def write_sample(folder: Path) -> None:
    """Write a few sessions of every surface, in its own format, packed."""
    simulating, tracing = np.random.default_rng(SEED).spawn(2)
    for each in simulate(load_company(), sessions_per_surface=SESSIONS, rng=simulating):
        suffix = FORMATS[each.surface.surface].suffix.removesuffix(".gz")
        write_traces(each, folder / f"{each.surface.surface}{suffix}.gz", rng=tracing)


if __name__ == "__main__":
    write_sample(Path(sys.argv[1]))
