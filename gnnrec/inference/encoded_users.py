"""Users of files, encoded from an export of the dataset's users, without torch and without a new export."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from gnnrec.errors import UserError
from gnnrec.inference.export_vectors import ExportVectors
from gnnrec.inference.movie_catalog import MovieCatalog, example_ids, find_id
from gnnrec.inference.numpy_users.parts import EncodedUser, UserParts
from gnnrec.inference.ratings_file import RatingsFile
from gnnrec.inference.reasons.known import known_features, known_ratings, parts_with_ratings
from gnnrec.inference.scoring import Scoring
from gnnrec.inference.vector_source import UserBlock


class EncodedUsers:
    """Users of files as :class:`gnnrec.inference.vector_source.VectorSource`.

    Args:
        export: The export, of the dataset's users.
        file: Files of users: new ones, and known ones with further ratings.

    Raises:
        UserError: A malformed file, or features that the model does not know.
    """

    def __init__(self, export: ExportVectors, file: RatingsFile):
        self.export, self.encoder, dataset = export, export.encoder, export.catalog.dataset
        if file.features and not self.encoder.feature_columns:
            raise UserError(
                f"--user-features {file.features[0]}: this model knows no features of users: train a rating model on a "
                "dataset that was prepared with --user-features"
            )
        self.users = file.read(dataset, self.encoder.splits)
        self.num_users, new = self.users.num_users, export.catalog.new
        self.catalog = MovieCatalog(dataset, file.read(dataset), new)

    @property
    def cold(self) -> np.ndarray:
        """Movies that the model was trained without ratings of, bool ``[movies]``."""
        return self.export.cold

    @property
    def scoring(self) -> Scoring:
        """Movies and weights that score pairs."""
        return self.export.scoring

    @property
    def identity(self) -> dict:
        """Values that are equal for two sources with the same vectors."""
        return {**self.export.identity, "users": self.users.fingerprint, "encoded": True}

    def find(self, user: str) -> int:
        """Returns the row of a user."""
        row = find_id(self.catalog.users, user)
        if row is None:
            shown = example_ids(self.catalog.users)
            raise UserError(f"--user {user}: no user in {self.users.directory} has this id (ids look like {shown})")
        return row

    def block(self, rows: range) -> UserBlock:
        """Encodes users by their rows in the files."""
        encoded = list(self._encoded(rows))
        columns = self.scoring.movies.shape[1]
        vectors = np.stack([user.vector for user in encoded]) if encoded else np.zeros((0, columns), np.float32)
        bias = np.array([user.bias for user in encoded], np.float32)
        ids: pa.Array = self.catalog.users.slice(rows.start, len(rows))
        return UserBlock(ids, vectors, bias)

    def user_parts(self, row: int) -> UserParts:
        """Splits the vector of a user."""
        rated, x = self._input(row)
        known = int(self.users.known_row[row])
        if known < 0:
            return self.encoder.explained(*rated, x=x)
        stored, dataset = self.export.block(range(known, known + 1)), self.catalog.dataset
        before = known_ratings(dataset, known, self.encoder.splits)
        return parts_with_ratings(self.encoder, before, rated, x, stored, known)

    def _encoded(self, rows: range) -> Iterator[EncodedUser]:
        for row in rows:
            if self.users.known_row[row] < 0:
                rated, x = self._input(row)
                yield self.encoder.encode(*rated, x=x)
            else:
                parts = self.user_parts(row)
                yield EncodedUser(parts.vector.astype(np.float32), parts.bias)

    def _input(self, row: int) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray | None], np.ndarray | None]:
        rated = known_ratings(self.users, row, self.encoder.splits)
        dataset, has = self.catalog.dataset, self.encoder.feature_columns > 0
        return rated, known_features(dataset, self.users, row) if has else None
