"""Vectors of a trained run, computed on demand."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.load import load_run
from gnnrec.inference.movie_catalog import MovieCatalog, example_ids, find_id
from gnnrec.inference.new_movies import AllMovies, catalog_table, find_new_movies
from gnnrec.inference.numpy_users.encoder import NumpyEncoder
from gnnrec.inference.numpy_users.parts import UserParts
from gnnrec.inference.ratings_file import RatingsFile
from gnnrec.inference.reasons.of_run import parts_of_run, run_encoder
from gnnrec.inference.scoring import Scoring, interest_entries
from gnnrec.inference.vector_source import UserBlock


class RunVectors:
    """A run as :class:`gnnrec.inference.vector_source.VectorSource`. Every rank creates one: all ranks embed movies.

    Args:
        run: Run directory.
        world: The ranks.
        checkpoint: ``best`` or ``last``.
        data: The prepared dataset, if it has moved since training.
        chunk: Users whose ratings are in memory at a time.
        file: Ratings file whose users replace those of the dataset.
    """

    def __init__(
        self, run: Path, world: World, checkpoint: str, data: Path | None, chunk: int, file: RatingsFile | None = None
    ):
        self._run, self._loaded = Path(run), load_run(run, world, checkpoint, data)
        dataset = self._loaded.dataset
        self._encoder = self._users = self._loaded.encoder(chunk)
        movies = AllMovies.of(self._loaded, self._encoder, find_new_movies(self._loaded, [], None))
        new = None if movies.new is None else catalog_table(dataset, movies.new)
        self.catalog = MovieCatalog(dataset, None if file is None else file.read(dataset), new)
        self._movies = movies
        if file is not None:
            self._loaded.require_user_features(file.features)
            self._users = self._encoder.for_new_users(file.read(dataset, self._loaded.known_splits))
        self.num_users = self.catalog.ratings.num_users
        scale = self._loaded.scoring().get("rating_scale")
        self.scoring = Scoring(
            _array(movies.vectors.vector),
            _array(movies.vectors.bias),
            float(self._encoder.offset),
            tuple(scale) if scale else None,
            {name: value.astype(np.float32) for name, value in self._loaded.head_arrays().items()},
            *interest_entries(self._loaded.scoring()),
        )
        self.identity = {
            "source": "run",
            "model": self._loaded.info.fingerprint,
            "dataset": dataset.fingerprint,
            "users": self.catalog.ratings.fingerprint,
            "interest": self._loaded.interest_fingerprint,
            **({} if movies.new is None else {"new_movies": movies.new.fingerprint}),
        }

    @cached_property
    def cold(self) -> np.ndarray:
        """Movies that the model was trained without ratings of, bool ``[movies]``."""
        return self._movies.cold(self._loaded)

    def find(self, user: str) -> int:
        """Returns the row of a user."""
        row = find_id(self.catalog.users, user)
        if row is None:
            shown = example_ids(self.catalog.users)
            raise UserError(f"--user {user}: no user in {self.catalog.place} has this id (ids look like {shown})")
        return row

    def block(self, rows: range) -> UserBlock:
        """Embeds users by global rows."""
        users = self._users.users(rows)
        vectors, bias = _array(users.vector), _array(users.bias)
        if not (np.isfinite(vectors).all() and np.isfinite(bias).all()):
            raise UserError(f"{self._run}: user vectors are NaN or infinite: the model diverged, train it again")
        return UserBlock(self.catalog.users.slice(rows.start, len(rows)), vectors, bias)

    def user_parts(self, row: int) -> UserParts:
        """Splits the vector of a user."""
        return parts_of_run(self._loaded, self._numpy, self._users, row)

    @cached_property
    def _numpy(self) -> NumpyEncoder:
        return run_encoder(self._loaded, self._encoder)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
