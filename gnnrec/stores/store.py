"""Interface of the vector stores, and the rows that they hold.

A movie's vector has its bias as a further column and a user's vector a 1, so that the inner product of two stored
vectors orders movies as the model does. The user's bias and the offset, which are the same for all movies, are added to
the scores of a query. The last column, 0 for users, changes no product: it makes the lengths of movies more equal, or
graphs would lead to long movies alone (:func:`gnnrec.stores.export_rows.evened`).
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Literal, Protocol

import numpy as np

from gnnrec.errors import UserError

Kind = Literal["users", "movies"]
KINDS: tuple[Kind, ...] = ("users", "movies")
#: The search width of an exact scan.
EXACT = 0
#: A raw id of the user's files.
Id = int | str
#: Entries that a store keeps beside its rows, see :mod:`gnnrec.stores.loading`.
State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class StoreLayout:
    """Types of the columns of a store.

    Attributes:
        dim: Dimension of the stored vectors, that of the export plus 2.
        users: Type of the users' raw ids.
        movies: Type of the movies' raw ids.
    """

    dim: int
    users: Literal["integer", "string"]
    movies: Literal["integer", "string"]

    def ids(self, kind: Kind) -> str:
        """Returns the type of the raw ids of users or movies."""
        return self.users if kind == "users" else self.movies


@dataclasses.dataclass(frozen=True)
class NodeRows:
    """Rows of users or movies.

    Attributes:
        kind: ``users`` or ``movies``.
        ids: Raw ids.
        vectors: float32 ``[rows, dim]``, with the further columns.
        bias: Biases of users, float32 ``[rows]``; zeros for movies, whose vectors have them.
        titles: Titles of movies; empty for users.
        genres: Genres of movies; empty for users.
    """

    kind: Kind
    ids: list[Id]
    vectors: np.ndarray
    bias: np.ndarray
    titles: list[str]
    genres: list[list[str]]

    def batches(self, size: int) -> list[NodeRows]:
        """Splits the rows into batches of at most ``size``."""
        starts = range(0, len(self.ids), size)
        return [
            NodeRows(
                self.kind,
                self.ids[first : first + size],
                self.vectors[first : first + size],
                self.bias[first : first + size],
                self.titles[first : first + size],
                self.genres[first : first + size],
            )
            for first in starts
        ]


@dataclasses.dataclass(frozen=True)
class Hit:
    """A movie that a search has found.

    Attributes:
        movie: Raw id.
        score: Inner product of the stored vectors.
        title: Title, or an empty text.
    """

    movie: Id
    score: float
    title: str


class VectorStore(Protocol):
    """Users and movies in one store, under one name.

    Every method that writes takes the state to keep; a store with transactions writes both or neither, another one the
    rows first. NodeRows are replaced by id, so a step can be repeated.

    Attributes:
        errors: Exceptions of the store's library that a user may cause.
        widths: Values of ``width`` to try, from narrow to :data:`EXACT`.
        width: Search width: more takes longer and finds more. :data:`EXACT` compares all movies.
    """

    errors: tuple[type[Exception], ...]
    widths: tuple[int, ...]
    width: int

    @property
    def version(self) -> str:
        """Names and versions of the store."""

    @property
    def settings(self) -> str:
        """Index and settings of a search, for output."""

    def read_state(self) -> State | None:
        """Reads the state; None if the store has nothing under this name."""

    def write_state(self, state: State) -> None:
        """Replaces the state."""

    def occupied(self) -> bool:
        """Returns whether there are tables of users or movies under this name, whoever made them."""

    def create(self, layout: StoreLayout, state: State) -> None:
        """Makes empty tables, in the place of earlier ones of the same name; repeated if it was interrupted."""

    def upsert(self, rows: NodeRows, state: State) -> None:
        """Writes rows, in the place of those with the same ids."""

    def remove(self, kind: Kind, ids: list[Id], state: State) -> None:
        """Removes rows by id; ids that are not there are no error."""

    def finish(self, state: State) -> None:
        """Makes what searches need once all rows are there, such as an index."""

    def find_user(self, user: Id) -> tuple[np.ndarray, float] | None:
        """Returns the stored vector of a user, float32 ``[dim]``, and the bias; None if there is no such user."""

    def search(self, queries: np.ndarray, top: int, genre: str | None = None) -> list[list[Hit]]:
        """Returns the movies with the highest inner products, best first, of all genres or of one.

        Args:
            queries: float32 ``[queries, dim]``.
            top: Movies for each query.
            genre: Name of a genre, as it is spelled in the dataset.
        """

    def close(self) -> None:
        """Closes the connection or the files."""


def check_name(name: str) -> str:
    """Returns a name that every store accepts for its tables.

    Raises:
        UserError: Another name.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise UserError(f"--name {name}: use up to 40 lower-case letters, digits and _, beginning with a letter")
    return name
