"""Embeds movies without ratings with a trained rating model: from their features alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gnnrec.data.prepared import SPLIT_NAMES, TRAIN, Manifest, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.user_chunks import UserChunks
from gnnrec.inference.new_users import NewUsers
from gnnrec.inference.rating_encoder import RatingEncoder
from gnnrec.inference.user_encoder import Vectors
from gnnrec.inference.user_rows import UserRows
from gnnrec.models.features import genre_membership
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.tables import NodeTables


class _NoRows:
    """Rows of zeros for users without ratings, in the place of :class:`gnnrec.inference.user_rows.UserRows`."""

    def __init__(self, model: RatingModel, device: torch.device):
        self._shapes, self._device = dict(model.user_row_shapes), device
        if model.user_features is not None:
            self._shapes["x"] = (len(next(iter(model.user_features.tables.values()))),)

    def read(self, users: range) -> dict[str, Tensor]:
        dtype = torch.get_default_dtype()
        return {
            name: torch.zeros(len(users), *shape, dtype=dtype, device=self._device)
            for name, shape in self._shapes.items()
        }


@torch.no_grad()
def embed_movies(model: RatingModel, dataset: PreparedDataset, x: np.ndarray, genres: list[str]) -> Vectors:
    """Embeds movies as if they were in the dataset without a training rating; no collective.

    Args:
        model: The model, without DDP.
        dataset: The dataset that it was trained on, for the unit of ratings and the names of genres.
        x: Features, float32 ``[movies, columns]``.
        genres: Genres of the movies, ``|`` between; unknown ones are left out.
    """
    device = model.offset.device
    chunks = UserChunks(
        _without_ratings(dataset, len(x)), World(device=device), (TRAIN,), torch.get_default_dtype(), chunk=1
    )
    rows = cast(UserRows, _NoRows(model, device))
    return RatingEncoder(_of_movies(model, dataset, x, genres), rows, chunks).movies


def _of_movies(model: RatingModel, dataset: PreparedDataset, x: np.ndarray, genres: list[str]) -> RatingModel:
    """The model with rows of zeros, and with features, of other movies; weights are shared."""
    device, names = model.offset.device, model.movies.tables()
    tables = NodeTables(
        "movie", torch.arange(len(x)), model.options.dim, model.seed, 0.0, 0.0,
        ids="id_embedding" in names, messages="message_embedding" in names,
    )  # fmt: skip
    tables = tables.to(device)
    tables.x = torch.from_numpy(x).to(device, torch.get_default_dtype())
    other = copy.copy(model)
    other._modules = dict(model._modules)
    other.movies = tables
    if model.genres is not None:
        own = copy.copy(model.genres)
        membership = genre_membership(genres, known=list(dataset.movies["genres"]))
        assert membership is not None  # the dataset has genres
        own.set_membership(membership.to(device))
        other.genres = own
    return other


def _without_ratings(dataset: PreparedDataset, movies: int) -> PreparedDataset:
    """A dataset with one user, without ratings, and other movies."""
    nothing = np.zeros(0, np.int64)
    split = dataset.manifest.split | {"counts": dict.fromkeys(SPLIT_NAMES, 0)}
    counts = {"users": 1, "movies": movies, "ratings": 0, "duplicates_dropped": 0}
    empty = NewUsers(
        directory=Path(dataset.directory),
        manifest=Manifest({}, counts, dataset.manifest.rating, split, "balanced", [0, 1]),
        users=pd.DataFrame({"row": [0], "user": [0]}),
        movies=pd.DataFrame({"row": np.arange(movies)}),
        user_ptr=np.zeros(2, np.int64),
        movie=nothing.astype(np.int32),
        rating=nothing.astype(np.float32),
        split=nothing.astype(np.uint8),
        timestamp=None,
        known_row=np.full(1, -1),
        unknown_movies=0,
        unknown_ratings=0,
        fingerprint="",
    )
    return cast(PreparedDataset, empty)
