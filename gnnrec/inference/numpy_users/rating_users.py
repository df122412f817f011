"""Users of a rating model: biases in closed form, layers, and interest."""

from __future__ import annotations

import dataclasses

import numpy as np

from gnnrec.inference.numpy_users.layers import CONSTANT, FEATURES, OWN, RATINGS, Heard, UserLayer
from gnnrec.inference.numpy_users.parts import OwnRows, UserRatings

#: As in :mod:`gnnrec.data.rating_unit` and :mod:`gnnrec.graph.fold_biases`, which need torch.
GRID = 2.0**-16


@dataclasses.dataclass(frozen=True)
class RatingUsers:
    """A rating model without the tables of users.

    Attributes:
        layers: The layers.
        dim: Channels of states.
        mean: Mean of the train ratings, in the unit of the dataset.
        std: Their standard deviation.
        levels: Centers of the rating levels, ascending, in the unit of the dataset.
        message_mean: Mean of the standardized ratings of all messages.
        movie_bias: Closed-form biases, standardized, float32 ``[movies]``.
        bias_shrinkage: Pseudo-ratings in closed-form biases.
        bias_multiple: Factor of closed-form biases.
        shrinkage: Factor of all but mean and closed-form biases.
        features: Weights of features: ``id_embedding`` and ``message_embedding`` (float32 ``[columns, dim]``), ``bias``
            (``[columns]``) and ``missing``, the features of a user without values; empty without features.
        interest: Message embeddings of interest, float32 ``[movies, interest columns]``; None without interest.
        interest_scale: Factor of interest in a score.
    """

    layers: tuple[UserLayer, ...]
    dim: int
    mean: float
    std: float
    levels: np.ndarray
    message_mean: float
    movie_bias: np.ndarray
    bias_shrinkage: float
    bias_multiple: float
    shrinkage: float
    features: dict[str, np.ndarray]
    interest: np.ndarray | None = None
    interest_scale: float = 1.0

    @property
    def reads_own_row(self) -> bool:
        """Whether what a rating adds to a vector depends on the user's own row, too."""
        return any(layer.reads_user for layer in self.layers)

    def bias(self, rated: UserRatings, x: np.ndarray | None, learned: float) -> float:
        """Bias of a user, in the unit of the dataset.

        Args:
            rated: The ratings.
            x: Features, float ``[columns]``; None without.
            learned: Learned bias, standardized.
        """
        closed = self._closed_form(rated)
        if x is not None:
            learned += float(x @ self.features["bias"].astype(np.float64))
        whole = learned + self.bias_multiple * closed
        return (closed + self.shrinkage * (whole - closed)) * self.std

    def bias_change(self, before: UserRatings, after: UserRatings) -> float:
        """Change of a user's bias with its ratings, in the unit of the dataset."""
        return self.bias(after, None, 0.0) - self.bias(before, None, 0.0)

    def parts(self, rated: UserRatings, x: np.ndarray | None, own: OwnRows, together: bool) -> np.ndarray:
        """Computes a user's vector without interest.

        Args:
            rated: The ratings.
            x: Features, float ``[columns]``; None without.
            own: Rows of the user.
            together: Sum all parts up, which is faster.

        Returns:
            float64 ``[parts, dim]``, in the order of :mod:`gnnrec.inference.numpy_users.layers`; ``[1, dim]`` together.
        """
        state = np.zeros((1 if together else RATINGS + len(rated.movie), self.dim))
        message = np.zeros((min(len(state), CONSTANT), self.dim))
        for table, name in ((state, "id_embedding"), (message, "message_embedding")):
            row = getattr(own, name)
            if row is not None:
                table[OWN] += row
            if x is not None and name in self.features:
                table[0 if together else FEATURES] += x @ self.features[name].astype(np.float64)
        heard = self._heard(rated)
        for layer in self.layers:
            state = layer.next_state(state, message, heard)
        return state

    def interest_parts(self, rated: UserRatings) -> tuple[np.ndarray, float]:
        """Computes what each rating adds to the columns of interest, given the length of their sum, and that length.

        Returns:
            float64 ``[ratings, interest columns]``, and the length before it was scaled to 1.
        """
        assert self.interest is not None
        rows = self.interest[rated.movie].astype(np.float64)
        length = float(np.linalg.norm(rows.sum(0)))
        return rows * (self.interest_scale / max(length, float(np.finfo(np.float32).tiny))), length

    def _standardized(self, ratings: np.ndarray) -> np.ndarray:
        return np.round((np.asarray(ratings, np.float64) - self.mean) / (self.std * GRID)) * GRID

    def _closed_form(self, rated: UserRatings) -> float:
        count = len(rated.movie)
        total = self._standardized(rated.rating).sum() - self.message_mean * count
        others = self.movie_bias[rated.movie].astype(np.float64).sum()
        return float((total - others) / (count + self.bias_shrinkage))

    def _heard(self, rated: UserRatings) -> Heard:
        rating = self._standardized(rated.rating)
        centers = self._standardized(self.levels)
        level = np.searchsorted((centers[1:] + centers[:-1]) / 2 + GRID, rating, side="left")
        base = self._closed_form(rated) + self.message_mean
        return Heard(rated.movie, rating - base - self.movie_bias[rated.movie], level)
