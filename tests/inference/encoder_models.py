"""Models of all kinds with random weights, for tests of the encoder in NumPy and of reasons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.inference.load import load_run
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import with_random_features, write_dataset

USERS, MOVIES, COLUMNS = 37, 29, 3
INTEREST = {"movies": 100, "num_factors": 6, "l2": 5.0, "rating_weight": 0.7}
#: Name -> dataset and options.
MODELS: dict[str, tuple[str, dict]] = {
    "gcn": ("plain", {"model": {"architecture": "gcn"}}),
    "gcn, self-loops, 2 layers, features": (
        "features",
        {"model": {"architecture": "gcn", "layers": 2, "self_loops": True}},
    ),
    "sage, interest": ("plain", {"model": {"architecture": "sage"}, "interest": INTEREST}),
    "sage, 3 layers, features, interest": ("features", {"model": {"layers": 3}, "interest": INTEREST}),
    "sage, means, bfloat16": ("plain", {"model": {"restore_degree": False, "message_tables": "bf16"}}),
    "gat, features": ("features", {"model": {"architecture": "gat"}}),
    "gat, 2 layers, averaged heads": ("plain", {"model": {"architecture": "gat", "layers": 2, "concat": False}}),
    "gat, no ids": ("plain", {"model": {"architecture": "gat", "layers": 2, "user_ids": False}}),
    "no layers": ("features", {"model": {"layers": 0}}),
    "ranking": ("plain", {"objective": "ranking", "ranking": {"dim": 6, "count_confidence": 0.5}}),
    "ranking in order": ("in order", {"objective": "ranking", "ranking": {"dim": 6}, "order": {"next_weight": 0.7}}),
}
MLP = {"model": {"head": "mlp", "head_dim": 5}, "interest": INTEREST}


def make_runs(place: Path, names: list[str]) -> dict[str, Path]:
    """Trains a step or two of some models; returns their run directories."""
    plain = write_dataset(place / "plain", USERS, MOVIES, 500)
    datasets = {"plain": plain, "features": with_random_features(plain, COLUMNS)}
    datasets["in order"] = write_dataset(place / "in order", USERS, MOVIES, 500, protocol="leave-last", validation=None)
    runs = {}
    for number, name in enumerate(names):
        kind, options = MODELS[name]
        runs[name] = place / f"run-{number}"
        train(make_config(datasets[kind].directory, runs[name], max_steps=2, **options), World())
    return runs


@torch.no_grad()
def opened(run: Path) -> LoadedRun:
    """Opens a run whose weights are then changed at random: second layers, say, are zero after so few steps."""
    loaded, generator = load_run(run, World()), torch.Generator().manual_seed(0)
    frozen = {"shrinkage", "popularity", "popularity_exponent"}
    for name, parameter in loaded.model.named_parameters():
        if name not in frozen and not name.startswith(("cold_", "movie_features.scale", "user_features.scale")):
            parameter.add_((torch.rand(parameter.shape, generator=generator) - 0.5).to(parameter))
    if hasattr(loaded.model, "shrinkage"):
        loaded.model.shrinkage.fill_(0.8)
    return loaded


def ratings_of(dataset: PreparedDataset, row: int, splits: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Returns movies, ratings and times of a user in some splits."""
    edges = slice(int(dataset.user_ptr[row]), int(dataset.user_ptr[row + 1]))
    kept = np.isin(dataset.split[edges], splits)
    return tuple(np.array(column[edges])[kept] for column in (dataset.movie, dataset.rating, dataset.timestamp))
