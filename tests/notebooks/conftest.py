import pytest
from shop import fill


@pytest.fixture
def own_shop(tmp_path):
    return fill(tmp_path / "own")
