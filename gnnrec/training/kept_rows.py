"""Raw ids of a run's rows, kept in ``dataset/`` of its directory, by which a later run continues from it.

``users.parquet`` and ``movies.parquet`` have the raw ids in the order of rows, the number of training ratings of each,
and how many of these are new: the run that this one continues from was not trained on them. ``rows.json`` names the
rows of other tables: rating levels, genres and columns of features.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from gnnrec.data.features.node_features import NODES
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.training_degrees import training_degrees
from gnnrec.errors import UserError
from gnnrec.models.features import genre_names
from gnnrec.utils import files
from gnnrec.utils.stored import irregularity, read_json

FOLDER, _NAMES = "dataset", "rows.json"


def rows_of(kept: pd.Index, names: pd.Index) -> Tensor:
    """Returns the earlier row of each name, int64 ``[names]``; -1 for none."""
    return torch.from_numpy(np.asarray(kept.get_indexer(names), np.int64))


@dataclasses.dataclass(frozen=True)
class RowCounts:
    """Training ratings of the rows of a table.

    Attributes:
        ratings: Their number, int64 ``[rows]``.
        new: How many of them the run before was not trained on, int64 ``[rows]``.
    """

    ratings: np.ndarray
    new: np.ndarray

    @classmethod
    def of(cls, ratings: np.ndarray, before: np.ndarray) -> RowCounts:
        """Counts by the number of ratings now and in the run before; ratings can have been replaced or removed."""
        return cls(ratings, np.maximum(ratings - before, 0))


@dataclasses.dataclass(frozen=True)
class KeptRows:
    """Names of the rows of a model's tables.

    Attributes:
        users: Raw ids.
        movies: Raw ids.
        levels: Ratings.
        genres: Genres.
        features: ``user`` and ``movie`` -> names of the columns of their features.
        counts: ``user`` and ``movie`` -> training ratings of their rows; empty where nothing has counted them.
    """

    users: pd.Index
    movies: pd.Index
    levels: pd.Index
    genres: pd.Index
    features: dict[str, pd.Index]
    counts: dict[str, RowCounts] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, dataset: PreparedDataset) -> KeptRows:
        """Names of the rows of a model of this dataset."""
        features: dict[str, pd.Index] = {}
        for node in NODES:
            found = dataset.features(node)
            groups = () if found is None else found.schema
            features[node] = pd.Index([f"{group.name} {name}" for group in groups for name in group.column_names()])
        return cls(
            pd.Index(dataset.users["user"]),
            pd.Index(dataset.movies["movie"]),
            pd.Index(dataset.manifest.rating["levels"]),
            pd.Index(genre_names(list(dataset.movies["genres"]))),
            features,
        )

    def counted(self, dataset: PreparedDataset, before: KeptRows | None) -> KeptRows:
        """These rows with their training ratings.

        Args:
            dataset: The dataset of these rows.
            before: Rows of the run that this one continues from; None if it continues from none.

        Raises:
            UserError: The dataset is damaged.
        """
        found: dict[str, RowCounts] = {}
        for node, ratings in zip(NODES, training_degrees(dataset)):
            earlier = np.zeros_like(ratings)
            if before is not None:
                rows = rows_of(before.ids(node), self.ids(node)).numpy()
                # Runs of earlier versions have no counts: none of the ratings of their rows are taken for new ones.
                kept = before.counts[node].ratings[rows] if node in before.counts else ratings
                earlier = np.where(rows >= 0, kept, 0)
            found[node] = RowCounts.of(ratings, earlier)
        return dataclasses.replace(self, counts=found)

    def without_users(self) -> KeptRows:
        """These rows without the ids of users."""
        counts = {node: rows for node, rows in self.counts.items() if node != "user"}
        return dataclasses.replace(self, users=self.users[:0], counts=counts)

    def ids(self, node: str) -> pd.Index:
        """Raw ids of the rows of a kind of node, ``user`` or ``movie``."""
        return self.users if node == "user" else self.movies

    def write(self, run: Path) -> None:
        """Writes the files into a run directory.

        Raises:
            OSError: They cannot be written.
        """
        folder = run / FOLDER
        folder.mkdir(exist_ok=True)
        for node in NODES:
            columns: dict[str, Any] = {node: pa.array(self.ids(node))}
            if node in self.counts:
                columns |= {"ratings": self.counts[node].ratings, "new_ratings": self.counts[node].new}
            pq.write_table(pa.table(columns), folder / f"{node}s.parquet")
        features = {node: list(columns) for node, columns in self.features.items()}
        names = {"levels": list(self.levels), "genres": list(self.genres), "features": features}
        files.write_text(folder / _NAMES, json.dumps(names) + "\n")

    @classmethod
    def read(cls, run: Path) -> KeptRows:
        """Reads the files of a run directory.

        Raises:
            UserError: It has none, or they are damaged.
        """
        folder = run / FOLDER
        if irregularity(folder / _NAMES) == "is missing":
            raise UserError(f"{run} does not say which users and movies its rows are (no {FOLDER}/): train it again")
        names = read_json(folder / _NAMES, "train the run again")
        try:
            tables = {node: pq.read_table(folder / f"{node}s.parquet") for node in NODES}
            users, movies = (pd.Index(tables[node][node].to_pandas()) for node in ("user", "movie"))
            counts: dict[str, RowCounts] = {
                node: RowCounts(table["ratings"].to_numpy(), table["new_ratings"].to_numpy())
                for node, table in tables.items()
                if "ratings" in table.column_names
            }
            levels, genres = (pd.Index(names[name]) for name in ("levels", "genres"))
            features: dict[str, pd.Index] = {node: pd.Index(names["features"][node]) for node in NODES}
        except (OSError, KeyError, TypeError, pa.ArrowException) as error:
            raise UserError(f"{folder} is damaged ({str(error).splitlines()[0]}): train the run again") from None
        return cls(users, movies, levels, genres, features, counts)
