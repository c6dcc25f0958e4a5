import numpy as np
import pytest

from evalbench.demo.company import load_company
from evalbench.demo.simulate import simulate


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
