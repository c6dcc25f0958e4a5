import numpy as np
import pytest

from evalbench.demo.company import load_company
from evalbench.demo.journey import run
from evalbench.demo.simulate import simulate
from evalbench.report import runbook
from evalbench.store.workspace import open_workspace


@pytest.fixture(scope="session")
def company():
    return load_company()


@pytest.fixture(scope="session")
def year(company):
    """The demo's whole year: 5,000 sessions a surface."""
    return simulate(company, sessions_per_surface=5000, rng=np.random.default_rng(7))


@pytest.fixture(scope="session")
def small_year(company):
    return simulate(company, sessions_per_surface=60, rng=np.random.default_rng(11))


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The whole journey, once: the workspace and what it leaves behind."""
    ws = open_workspace(tmp_path_factory.mktemp("demo"), user="tester")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runbook, "_BROWSERS", ())  # no PDF, as in no_browser
        return ws, run(ws, seed=5, sessions_per_surface=2000, quarters=("2026Q3",))
