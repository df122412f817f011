"""``HeteroData`` has the features of the prepared dataset as ``x``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.data.prepared import TRAIN
from gnnrec.graph.hetero import hetero_data
from gnnrec.graph.rank_graph import build_chunk_graph
from gnnrec.graph.sampler import MOVIE, USER
from tests.datasets import with_features, write_dataset


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_of_the_users_of_a_graph_and_of_all_movies_become_x(tmp_path, dtype):
    plain = write_dataset(tmp_path / "plain", shards=4)
    rng = np.random.default_rng(0)
    arrays = {"user": rng.normal(size=(plain.num_users, 3)), "movie": rng.normal(size=(plain.num_movies, 2))}
    dataset = with_features(plain, tmp_path / "data", **arrays)
    graph = build_chunk_graph(dataset, range(5, 23), (TRAIN,), dtype, torch.device("cpu"))
    data = hetero_data(graph, dataset)
    assert data.validate()
    expected = {USER: arrays["user"][data[USER].n_id.numpy()], MOVIE: arrays["movie"]}
    for node, values in expected.items():
        assert torch.equal(data[node].x, torch.from_numpy(values.astype(np.float32)).to(dtype))
    assert "x" not in hetero_data(graph)[USER] and "x" not in hetero_data(graph, plain)[MOVIE]
