"""Rankings that depend on the order in which a user came to like movies."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.graph.interactions import Interactions
from gnnrec.kernels.sums import bag
from gnnrec.models.standardized_tables import standardize_tables, unit_vectors

#: Places after which a movie counts half in the history from which the next movie is predicted.
HALF_LIFE = 8.0


@dataclasses.dataclass(frozen=True)
class SequentialTables:
    """Two linear scores of all movies from a user's liked movies, both standardized over movies for each user.

    In the first, the movie at place ``k`` from the newest one has weight ``k ^ -exponent``; in the second
    ``2 ^ -((k - 1) / 8)``. Lists are ordered by ``first + next_weight * second``. Ratings without times have equal
    weights. The first score also has the weights of ratings, where there are some.

    Attributes:
        liked_embedding, liked_target: Tables of the first score, float32 ``[movies, dim]``.
        next_embedding, next_target: Tables of the second, float32 ``[movies, next dim]``.
        exponent: Exponent of the place.
        next_weight: Weight of the second score.
    """

    liked_embedding: Tensor
    liked_target: Tensor
    next_embedding: Tensor
    next_target: Tensor
    exponent: float
    next_weight: float

    @staticmethod
    def of_tables(
        liked: tuple[Tensor, Tensor], following: tuple[Tensor, Tensor], exponent: float, next_weight: float
    ) -> SequentialTables:
        """Standardizes pairs of tables whose dot products, summed over liked movies, are the scores.

        Args:
            liked: Message embeddings and targets of the first score, float ``[movies, dim]``.
            following: Those of the second, float ``[movies, next dim]``.
            exponent: See :class:`SequentialTables`.
            next_weight: See :class:`SequentialTables`.
        """
        return SequentialTables(*standardize_tables(*liked), *standardize_tables(*following), exponent, next_weight)

    def user_vectors(self, liked: Interactions) -> Tensor:
        """Computes vectors from liked movies, float32 ``[users, dim + next dim]``; zero for a user without any."""
        weights = [None if liked.weight is None else liked.weight.to(self.liked_embedding), None]
        if liked.place is not None:
            place = liked.place.to(self.liked_embedding)
            decay = place**-self.exponent
            weights = [decay if weights[0] is None else decay * weights[0], 2 ** ((1 - place) / HALF_LIFE)]
        first, second = (
            unit_vectors(bag(table, liked.movie, liked.user_ptr, weight))[0]
            for table, weight in zip((self.liked_embedding, self.next_embedding), weights)
        )
        return torch.cat([first, second * self.next_weight], 1)

    def movie_vectors(self) -> Tensor:
        """Returns the vectors whose dot products with those of users are the scores, float32."""
        return torch.cat([self.liked_target, self.next_target], 1)

    def scores(self, liked: Interactions) -> Tensor:
        """Computes the scores of all movies, float32 ``[users, movies]``."""
        return self.user_vectors(liked) @ self.movie_vectors().T

    def chosen(self) -> dict[str, float]:
        """Returns settings that validation chose or the options fixed, for the summary."""
        return {"order_exponent": self.exponent, "next_weight": self.next_weight}

    def state(self) -> dict[str, Tensor]:
        """Returns the tensors of a checkpoint; :meth:`of_state` reads them back."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: value.cpu() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
            for name, value in values.items()
        }

    @staticmethod
    def kinds(state: dict[str, Tensor], movies: int) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Returns the shapes and types that the tensors of a state must have, given the widths of its tables."""
        kinds: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        for kind in ("liked", "next"):
            target = state.get(f"{kind}_target")
            width = target.shape[-1] if target is not None and target.dim() else 0
            kinds |= {f"{kind}_{table}": ((movies, width), torch.float32) for table in ("embedding", "target")}
        return kinds | dict.fromkeys(("exponent", "next_weight"), ((), torch.float64))

    @staticmethod
    def of_state(state: dict[str, Tensor], device: torch.device) -> SequentialTables:
        """Restores the result of :meth:`state`."""
        liked, following = (
            (state[f"{kind}_embedding"].to(device), state[f"{kind}_target"].to(device)) for kind in ("liked", "next")
        )
        return SequentialTables(*liked, *following, state["exponent"].item(), state["next_weight"].item())
