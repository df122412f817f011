"""Raw ids of a run's rows, kept in ``dataset/`` of its directory, by which a later run continues from it.

``users.parquet`` and ``movies.parquet`` have the raw ids in the order of rows. ``rows.json`` names the rows of other
tables: rating levels, genres and columns of features.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from gnnrec.data.features.node_features import NODES
from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError
from gnnrec.models.features import genre_names
from gnnrec.utils import files
from gnnrec.utils.stored import irregularity, read_json

FOLDER, _NAMES = "dataset", "rows.json"


def rows_of(kept: pd.Index, names: pd.Index) -> Tensor:
    """Returns the earlier row of each name, int64 ``[names]``; -1 for none."""
    return torch.from_numpy(np.asarray(kept.get_indexer(names), np.int64))


@dataclasses.dataclass(frozen=True)
class KeptRows:
    """Names of the rows of a model's tables.

    Attributes:
        users: Raw ids.
        movies: Raw ids.
        levels: Ratings.
        genres: Genres.
        features: ``user`` and ``movie`` -> names of the columns of their features.
    """

    users: pd.Index
    movies: pd.Index
    levels: pd.Index
    genres: pd.Index
    features: dict[str, pd.Index]

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

    def write(self, run: Path) -> None:
        """Writes the files into a run directory.

        Raises:
            OSError: They cannot be written.
        """
        folder = run / FOLDER
        folder.mkdir(exist_ok=True)
        for kind, ids in (("user", self.users), ("movie", self.movies)):
            pq.write_table(pa.table({kind: pa.array(ids)}), folder / f"{kind}s.parquet")
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
            ids = [pq.read_table(folder / f"{kind}s.parquet")[kind].to_pandas() for kind in ("user", "movie")]
            levels, genres = (pd.Index(names[name]) for name in ("levels", "genres"))
            features: dict[str, pd.Index] = {node: pd.Index(names["features"][node]) for node in NODES}
        except (OSError, KeyError, TypeError, pa.ArrowException) as error:
            raise UserError(f"{folder} is damaged ({str(error).splitlines()[0]}): train the run again") from None
        return cls(pd.Index(ids[0]), pd.Index(ids[1]), levels, genres, features)
