"""The example in docs/data_format.md writes a dataset in the format that the document describes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.run import train
from tests.configs import make_config
from tests.end_to_end.commands import ROOT

TEXT = (ROOT / "docs" / "data_format.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreparedDataset:
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLE, "docs/data_format.md", "exec"), {})
    return PreparedDataset(tmp_path / "data" / "written", verify=True)


def test_types_are_those_of_the_table_of_files(dataset: PreparedDataset):
    types = dict(re.findall(r"^\| `(\w+)\.npy` \| (\w+) ", TEXT, re.MULTILINE))
    assert {f"{name}.npy" for name in types} - {"timestamp.npy"} < set(dataset.manifest.files)
    for name in set(types) - {"timestamp"}:
        assert getattr(dataset, name).dtype == types[name], name
    assert dataset.users["row"].dtype == dataset.movies["row"].dtype == np.int64


def test_edges_are_those_of_the_ratings(dataset: PreparedDataset):
    user = np.repeat(dataset.users["user"], np.diff(dataset.user_ptr))
    movie = dataset.movies["movie"].to_numpy()[dataset.movie]
    edges = list(zip(user, movie, dataset.rating.tolist(), dataset.split.tolist()))
    assert edges[:4] == [("ann", 10, 4.0, 0), ("ann", 20, 3.5, 0), ("ann", 30, 5.0, 1), ("bob", 10, 2.0, 0)]
    assert len(edges) == dataset.num_ratings == sum(dataset.manifest.split["counts"].values())
    assert dataset.manifest.split["counts"]["test"] == edges.count(("eve", 30, 5.0, 2)) == 1


@pytest.mark.slow
def test_it_can_be_trained(dataset: PreparedDataset, tmp_path: Path):
    train(make_config(dataset.directory, tmp_path / "run", max_steps=1, loader={"folds": 2}), World())
    assert (tmp_path / "run" / "summary.json").exists()
