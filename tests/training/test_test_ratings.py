"""Training does not read test ratings before the final scores: other test ratings change the test scores alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.data.prepared import TEST
from gnnrec.distributed.world import World
from gnnrec.training.checkpoint.info import find_checkpoint, read_info
from gnnrec.training.run import train
from tests.configs import SAMPLED, make_config
from tests.datasets import changed_copy, write_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """A dataset, and the same with other test ratings and test times."""
    directory = tmp_path_factory.mktemp("test_ratings")
    dataset = write_dataset(directory / "a", users=61, movies=31, ratings=900)
    test = np.array(dataset.split) == TEST
    rating, timestamp = np.array(dataset.rating), np.array(dataset.timestamp)
    rating[test] = 5.5 - rating[test]
    timestamp[test] += 12_345_678
    return dataset, changed_copy(dataset, directory / "b", rating=rating, timestamp=timestamp)


@pytest.mark.parametrize("loader", [{}, SAMPLED], ids=["whole", "sampled"])
@pytest.mark.parametrize("architecture", ["gcn", "sage", "gat"])
def test_other_test_ratings_change_the_test_score_alone(datasets, tmp_path, architecture, loader):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    summaries = []
    for name, dataset in zip("ab", datasets):
        config = make_config(
            dataset.directory, tmp_path / name, model={"architecture": architecture}, loader=loader, baselines=True
        )
        summaries.append(train(config, World()))
    torch.set_num_threads(threads)
    for checkpoint in ("best", "last"):
        infos = [read_info(find_checkpoint(tmp_path / name, checkpoint)) for name in "ab"]
        assert infos[0].files == infos[1].files and infos[0].validation == infos[1].validation
    one, other = summaries
    assert one["validation_rmse"] == other["validation_rmse"] and one["test_rmse"] != other["test_rmse"]
    for name, row in one["baselines"].items():
        changed = other["baselines"][name]
        without_test = [{key: value for key, value in r.items() if "test" not in key} for r in (row, changed)]
        assert without_test[0] == without_test[1]
        assert row["test_rmse"] != changed["test_rmse"]
