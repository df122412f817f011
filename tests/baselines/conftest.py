import pytest

from tests.baselines.data import write_low_rank
from tests.datasets import write_dataset


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """37 users, 29 movies, 431 ratings."""
    return write_dataset(tmp_path_factory.mktemp("baselines"), shards=10)


@pytest.fixture(scope="session")
def low_rank(tmp_path_factory):
    """Ratings that two factors explain and biases do not."""
    return write_low_rank(tmp_path_factory.mktemp("low_rank"))
