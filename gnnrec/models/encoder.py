"""Encoder: computes a vector for each user and each movie from embedding tables and messages."""

from __future__ import annotations

import dataclasses
from typing import cast

import torch
from torch import Tensor, nn

from gnnrec import rng
from gnnrec.distributed.world import World
from gnnrec.graph.batch import Batch
from gnnrec.kernels.dropout import dropout, tanh_dropout
from gnnrec.models.conv import BipartiteConv, MessageInputs
from gnnrec.models.layers import LayerSpec, build_layer
from gnnrec.models.options import ModelOptions
from gnnrec.models.stale_sums import StaleSums


@dataclasses.dataclass(frozen=True)
class DropoutState:
    """Source of the dropout masks of one step.

    Attributes:
        stream: Key of the step, from :func:`gnnrec.rng.key`.
        rate: Dropout rate.
    """

    stream: int
    rate: float

    def drop(self, states: Tensor, rows: Tensor, *place: int | str) -> Tensor:
        """Applies inverted dropout with masks that depend on global rows and the place in the model alone."""
        return dropout(states, rows, rng.key(self.stream, *place), self.rate)

    def tanh_drop(self, states: Tensor, rows: Tensor, *place: int | str) -> Tensor:
        """Applies inverted dropout to ``tanh(states)``."""
        return tanh_dropout(states, rows, rng.key(self.stream, *place), self.rate)


class EncoderLayer(nn.Module):
    """Message passing in both directions at the same time: ``z <- z + W tanh(conv(...))``.

    The first layer sends message embeddings. Later layers send the states of the layer before through linear layers,
    and their ``W`` is initialized to zero, so that a deeper model starts as the shallower one.
    """

    def __init__(self, options: ModelOptions, first: bool, num_levels: int, mean_degrees: tuple[float, float]):
        super().__init__()
        self.first = first
        user_degree, movie_degree = mean_degrees
        self.to_users = build_layer(options, LayerSpec(first, num_levels, movie_degree, options.user_ids))
        self.to_movies = build_layer(options, LayerSpec(first, num_levels, user_degree, options.movie_ids))
        for conv in (self.to_users, self.to_movies):
            conv.narrow = first and options.message_tables == "bf16"
        self.user_out = nn.Linear(options.dim, options.dim, bias=False)
        self.movie_out = nn.Linear(options.dim, options.dim, bias=False)

    def kept_norms(self) -> list[tuple[Tensor, int]]:
        """Returns the first layer's output weights and their squared initial norm, which is their channels."""
        return [(linear.weight, linear.out_features) for linear in (self.user_out, self.movie_out) if self.first]

    def reset(self) -> None:
        if not self.first:
            nn.init.zeros_(self.user_out.weight)
            nn.init.zeros_(self.movie_out.weight)


class Encoder(nn.Module):
    """Stack of layers.

    Args:
        options: The model's options.
        num_levels: Rating levels.
        mean_degrees: Mean message edges of a user and of a movie.
    """

    def __init__(self, options: ModelOptions, num_levels: int, mean_degrees: tuple[float, float]):
        super().__init__()
        layers = (EncoderLayer(options, layer == 0, num_levels, mean_degrees) for layer in range(options.layers))
        # ModuleList is not generic.
        self.layers = cast("list[EncoderLayer]", nn.ModuleList(layers))

    def forward(
        self,
        batch: Batch,
        users: dict[str, Tensor],
        movies: dict[str, Tensor],
        world: World,
        dropout_state: DropoutState | None = None,
        stale_sums: list[StaleSums] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Computes vectors for the users of the batch and for all movies.

        Args:
            batch: Messages.
            users: Table rows of the users of the batch (:meth:`gnnrec.models.tables.NodeTables.rows`).
            movies: Table rows of all movies.
            world: The ranks to sum movies over.
            dropout_state: Source of dropout masks, or None for no dropout.
            stale_sums: The layers at older parameters, for sampling with a control variate.

        Returns:
            Float ``[users, dim]`` and float ``[movies, dim]``; movie vectors are the same on every rank.
        """
        movie_rows = torch.arange(batch.movie_bias.numel(), device=batch.movie_bias.device)

        def drop(states: Tensor, rows: Tensor, *place: int | str) -> Tensor:
            return states if dropout_state is None else dropout_state.drop(states, rows, *place)

        def tanh_drop(states: Tensor, rows: Tensor, *place: int | str) -> Tensor:
            return torch.tanh(states) if dropout_state is None else dropout_state.tanh_drop(states, rows, *place)

        user_state = drop(start_state(users), batch.user_rows, "user", "id")
        movie_state = drop(start_state(movies), movie_rows, "movie", "id")
        for number, layer in enumerate(self.layers):
            from_users = layer_inputs(layer, users, user_state)
            used_state = movie_state if layer.first else world.use(movie_state, batch.used_movies)
            from_movies = layer_inputs(layer, movies, used_state)
            stale = None if stale_sums is None else stale_sums[number].for_users(batch.users)
            to_users = layer.to_users(
                from_movies,
                layer_receiver(layer.to_users, users, user_state),
                batch.to_users,
                None,
                stale and stale.to_users,
            )
            to_movies = layer.to_movies(
                from_users,
                layer_receiver(layer.to_movies, movies, movie_state),
                batch.to_movies,
                world,
                stale and stale.to_movies,
            )
            hidden = tanh_drop(to_users, batch.user_rows, "user", number)
            user_state = torch.addmm(user_state, hidden, layer.user_out.weight.T)
            hidden = tanh_drop(to_movies, movie_rows, "movie", number)
            movie_state = torch.addmm(movie_state, hidden, layer.movie_out.weight.T)
        return user_state, world.use(movie_state, batch.used_movies)


def start_state(tables: dict[str, Tensor]) -> Tensor:
    """Returns the states before the first layer: id embeddings, or zeros in an inductive model."""
    return tables["id_embedding"] if "id_embedding" in tables else torch.zeros_like(tables["message_embedding"])


def layer_inputs(layer: EncoderLayer, tables: dict[str, Tensor], state: Tensor) -> MessageInputs:
    """Returns what one side sends: its message embeddings in the first layer, its state in later ones."""
    return (
        MessageInputs(tables["message_embedding"], tables["residual_embedding"])
        if layer.first
        else MessageInputs(state, state)
    )


def layer_receiver(conv: BipartiteConv, tables: dict[str, Tensor], state: Tensor) -> Tensor:
    """Returns the receivers' input to a layer: message embeddings for GCN's self-loops, otherwise states."""
    if conv.in_channels is None and conv.receives_message_inputs:
        return tables["message_embedding"]
    return state
