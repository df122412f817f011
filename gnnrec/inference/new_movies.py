"""Movies that a run or an export has besides those with ratings: of the dataset's catalog, and of further files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch

from gnnrec.data.features.new_movies import NewMovies, read_unrated
from gnnrec.data.features.new_nodes import encode_new_nodes, shown_columns
from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.user_encoder import UserEncoder, Vectors


def find_new_movies(loaded: LoadedRun, files: list[str], id_name: str | None) -> NewMovies | None:
    """Reads the movies of the dataset's catalog without ratings, and those of files; None if there are none.

    Movies of the files that are in the dataset, or in its catalog, keep the features that they have there.

    Args:
        loaded: The run.
        files: Files with the columns of those that the dataset was prepared with.
        id_name: Column of the ids; None is guessed.

    Raises:
        UserError: Bad input, or a model without features of movies.
    """
    features = loaded.movie_features
    if features is None:
        if files:
            raise UserError(
                f"--movie-features {files[0]}: this model knows no features of movies: train one on a dataset that "
                "was prepared with --movie-features, rankings with --order.enabled false"
            )
        return None
    known = read_unrated(loaded.dataset)
    if not files:
        return known
    ids = loaded.dataset.table("movies")["movie"].combine_chunks()
    new = encode_new_nodes(features, files, text_ids=not pa.types.is_integer(ids.type), id_name=id_name)
    table = pa.table({"movie": new.ids.cast(ids.type), **shown_columns(new)})
    before = ids if known is None else pa.concat_arrays([ids, known.ids.combine_chunks()])
    is_new = pc.invert(pc.is_in(table["movie"].combine_chunks(), value_set=before)).to_numpy(zero_copy_only=False)
    if not is_new.all():
        kept = f"{int((~is_new).sum()):,} of {len(is_new):,} movies are in the dataset already and keep their features"
        loaded.world.log(f"{', '.join(files)}: {kept}")
    found = NewMovies(table, new.x).only(is_new)
    if not len(found):
        return known
    return found if known is None else known.followed_by(found)


@dataclasses.dataclass(frozen=True)
class AllMovies:
    """The movies of the dataset in row order, then new ones.

    Attributes:
        ids: Raw ids.
        vectors: Vectors for export, and biases.
        new: The new movies; None without.
    """

    ids: pd.Series
    vectors: Vectors
    new: NewMovies | None

    @staticmethod
    def of(loaded: LoadedRun, encoder: UserEncoder, new: NewMovies | None) -> AllMovies:
        """Embeds new movies, and joins them with those of the dataset; no collective."""
        ids, vectors = loaded.dataset.movies["movie"], encoder.movies
        if new is not None:
            ids = pd.concat([ids, new.ids.to_pandas().astype(ids.dtype)], ignore_index=True)
            added = loaded.embed_new_movies(new, encoder)
            columns = zip((vectors.vector, vectors.bias), (added.vector, added.bias))
            vectors = Vectors(*(torch.cat(parts) for parts in columns))
        return AllMovies(ids, Vectors(loaded.exported_movies(vectors.vector), vectors.bias), new)

    def cold(self, loaded: LoadedRun) -> np.ndarray:
        """Movies without training ratings, bool ``[movies]``."""
        return np.append(loaded.cold, np.ones(len(self.ids) - loaded.dataset.num_movies, bool))


def catalog_table(dataset: PreparedDataset, new: NewMovies) -> pa.Table:
    """``row``, ``movie``, ``title`` and ``genres`` of new movies, whose rows follow those of the dataset."""
    rows = pa.array(np.arange(dataset.num_movies, dataset.num_movies + len(new)))
    return pa.table({"row": rows, **{name: new.table[name] for name in ("movie", "title", "genres")}})
