"""The Python in docs/compare_your_model.md scores a model as gnnrec and scikit-learn do, and leaks no test rating."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_squared_error

from gnnrec.data.prepared import TEST, TRAIN, PreparedDataset
from gnnrec.data.rating_unit import RatingUnit
from gnnrec.distributed.world import World
from gnnrec.evaluation.rating import rating_metrics
from tests.datasets import changed_copy, write_dataset
from tests.end_to_end.commands import ROOT

DOCUMENT = (ROOT / "docs" / "compare_your_model.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)


def run_document(place: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Runs all blocks in ``place``, which has the dataset ``data/mine``; returns their variables."""
    monkeypatch.chdir(place)
    variables: dict = {}
    for block in BLOCKS:
        exec(block, variables)
    return variables


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    """Raw ids differ from rows."""
    prepared = write_dataset(tmp_path_factory.mktemp("ratings"), ratings=600)
    place = tmp_path_factory.mktemp("place")
    (place / "data").mkdir()
    prepared.directory.rename(place / "data" / "mine")
    return PreparedDataset(place / "data" / "mine")


def test_the_rmse_is_that_of_scikit_learn_and_of_gnnrec(dataset, monkeypatch, capsys):
    variables = run_document(dataset.directory.parents[1], monkeypatch)
    rating = np.array(dataset.rating[dataset.split == TEST], dtype=np.float64)
    scale = dataset.manifest.rating["min"], dataset.manifest.rating["max"]
    assert len(rating) > 30
    assert variables["rmse"] == pytest.approx(mean_squared_error(rating, variables["predicted"]) ** 0.5, rel=1e-12)
    own = rating_metrics(
        torch.from_numpy(variables["predicted"]), torch.from_numpy(rating), RatingUnit(0.0, 1.0, scale), World()
    )
    assert (variables["rmse"], len(rating)) == (pytest.approx(own.rmse, rel=1e-12), own.count)
    assert f"RMSE {own.rmse:.4f} over {own.count} ratings" in capsys.readouterr().out
    mean = np.mean(dataset.rating[dataset.split == TRAIN])
    assert variables["rmse"] < mean_squared_error(rating, np.full(len(rating), mean)) ** 0.5


def test_predictions_do_not_depend_on_test_ratings(dataset, monkeypatch, tmp_path):
    first = run_document(dataset.directory.parents[1], monkeypatch)
    rating = np.where(dataset.split == TEST, 5.5 - dataset.rating, dataset.rating)
    (tmp_path / "data").mkdir()
    changed_copy(dataset, tmp_path / "data" / "mine", rating=rating)
    second = run_document(tmp_path, monkeypatch)
    np.testing.assert_array_equal(second["predicted"], first["predicted"])
    assert second["rmse"] != first["rmse"]


def test_raw_ids_are_those_of_the_ratings_file(dataset, monkeypatch):
    variables = run_document(dataset.directory.parents[1], monkeypatch)
    raw = variables["train_with_ids"]
    rows = variables["train"]
    assert (raw["user"].to_numpy() == dataset.users["user"].to_numpy()[rows["user"]]).all()
    assert set(raw["user"] % 3) == {1} and set(raw["movie"] % 5) == {2}  # as made by tests.datasets.ratings_table
