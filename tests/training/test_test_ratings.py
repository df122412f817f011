"""Training does not read test ratings before the final scores: other test ratings change the test scores alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gnnrec.config.training_options import RegularizationOptions
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.rank_graph import build_rank_graph
from gnnrec.training.checkpoint.info import find_checkpoint, read_info
from gnnrec.training.regularization import sparse_factor
from gnnrec.training.run import train
from tests.configs import SAMPLED, make_config
from tests.datasets import changed_copy, write_dataset, write_sparse_dataset
from tests.inference.exports import exported, table_of
from tests.training.test_shrinkage import noise_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """A dataset, and the same with other test ratings and test times."""
    directory = tmp_path_factory.mktemp("test_ratings")
    dataset = write_dataset(directory / "a", users=61, movies=31, ratings=900)
    return dataset, with_other_test_ratings(dataset, directory / "b")


def with_other_test_ratings(dataset: PreparedDataset, directory: Path) -> PreparedDataset:
    test = np.array(dataset.split) == TEST
    rating = np.array(dataset.rating)
    rating[test] = rating.min() + rating.max() - rating[test]
    changed = {"rating": rating}
    if dataset.timestamp is not None:
        changed["timestamp"] = np.array(dataset.timestamp) + 12_345_678 * test
    return changed_copy(dataset, directory, **changed)


def prepared_with_other_test_ratings(dataset: PreparedDataset, directory: Path) -> PreparedDataset:
    """The ratings of ``write_sparse_dataset``, prepared again after the test ratings in their file were changed."""
    user = np.repeat(np.array(dataset.users["user"]), np.diff(dataset.user_ptr))
    movie = np.array(dataset.movies["movie"])[np.array(dataset.movie)]
    test = pd.MultiIndex.from_arrays([user, movie])[np.array(dataset.split) == TEST]
    table = pd.read_csv(directory / "ratings.csv")
    held_out = pd.MultiIndex.from_frame(table[["user", "item"]]).isin(test)
    table.loc[held_out, "score"] = table["score"].min() + table["score"].max() - table["score"]
    table.to_csv(directory / "others.csv", index=False)
    prepare(directory / "others", PrepareOptions(ratings=directory / "others.csv", validation=0.15))
    return PreparedDataset(directory / "others")


@pytest.mark.parametrize("loader", [{}, SAMPLED], ids=["whole", "sampled"])
@pytest.mark.parametrize("architecture", ["gcn", "sage", "gat"])
def test_other_test_ratings_change_the_test_score_alone(datasets, tmp_path, architecture, loader):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    summaries = []
    for name, dataset in zip("ab", datasets):
        config = make_config(
            dataset.directory,
            tmp_path / name,
            model={"architecture": architecture},
            loader=loader,
            baselines=True,
            interest={},
        )
        summaries.append(train(config, World()))
    torch.set_num_threads(threads)
    for checkpoint in ("best", "last"):
        infos = [read_info(find_checkpoint(tmp_path / name, checkpoint)) for name in "ab"]
        assert infos[0].files == infos[1].files and infos[0].validation == infos[1].validation
        assert ("interest.pt" in infos[0].files) == (checkpoint == "best")
    one, other = summaries
    assert one["validation_rmse"] == other["validation_rmse"] and one["test_rmse"] != other["test_rmse"]
    assert one["chosen"] == other["chosen"] and one["lists"] != other["lists"]
    for name, row in one["baselines"].items():
        changed = other["baselines"][name]
        without_test = [{key: value for key, value in r.items() if "test" not in key} for r in (row, changed)]
        assert without_test[0] == without_test[1]
        assert row["test_rmse"] != changed["test_rmse"]


def test_scale_shrinkage_l2_and_best_epoch_are_chosen_without_test_ratings(tmp_path):
    """On sparse ratings each of them matters: the shrinkage is below 1, and L2 above its strength for dense data."""
    dataset = write_sparse_dataset(tmp_path)
    other = prepared_with_other_test_ratings(dataset, tmp_path)
    assert dataset.manifest.rating == other.manifest.rating  # mean, standard deviation, levels
    assert np.array_equal(dataset.split, other.split)
    same = np.array(dataset.rating) == np.array(other.rating)
    assert same[np.array(dataset.split) != TEST].all() and not same[np.array(dataset.split) == TEST].all()
    factors = [sparse_factor(RegularizationOptions(), build_rank_graph(data, World())) for data in (dataset, other)]
    assert factors[0] == factors[1] > 2
    summaries = []
    for name, data in (("a", dataset), ("b", other)):
        summaries.append(train(noise_config(data.directory, tmp_path / name), World()))
        exported(tmp_path / name, tmp_path / f"{name}-out")
    one, two = summaries
    assert one["chosen"] == two["chosen"] and one["chosen"]["shrinkage"] < 0.9
    assert one["best_epoch"] == two["best_epoch"] and one["test_rmse"] != two["test_rmse"]
    assert one["validation_rmse"] == two["validation_rmse"]
    for checkpoint in ("best", "last"):
        infos = [read_info(find_checkpoint(tmp_path / name, checkpoint)) for name in "ab"]
        assert infos[0].files == infos[1].files
    for kind in ("user", "movie"):
        ours, theirs = (table_of(tmp_path / f"{name}-out", kind) for name in "ab")
        assert all(np.array_equal(mine, yours) for mine, yours in zip(ours, theirs))
