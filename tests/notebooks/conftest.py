import pytest
from shop import fill


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def own_shop(tmp_path):
    return fill(tmp_path / "own")
