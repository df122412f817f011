"""Control variates: sampled steps estimate only the change since sums over whole neighborhoods were computed.

A sum over sampled neighbors, scaled up, is unbiased and noisy. Subtracting the same sum over the same sample at older
parameters, and adding the exact sum at these parameters, leaves only the noise of the change::

    whole_old + sampling_scale * sum over sampled j of (message_new(j) - message_old(j))

The exact sums are computed once per pass, over the messages of the pass, so no target leaks; gradients flow through the
sampled messages alone (Chen, Zhu and Song, "Stochastic training of graph convolutional networks with variance
reduction", ICML 2018; here for both sides of the graph, and for attention, whose numerator and denominator are both
such sums).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.graph.batch import Messages, whole_graph
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.statistics import MessageStatistics
from gnnrec.models.conv import BipartiteConv, MessageInputs, StaleLayer
from gnnrec.models.encoder import layer_inputs, layer_receiver, start_state
from gnnrec.models.hidden_nodes import hide_ratings
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.stale_sums import StaleSums
from gnnrec.models.tables import NodeTables


@torch.no_grad()
def snapshot(
    model: RatingModel,
    users: NodeTables,
    graph: RankGraph,
    statistics: MessageStatistics,
    pass_key: int | None = None,
) -> list[StaleSums]:
    """Computes sums over whole neighborhoods at the current parameters, layer by layer. Every rank calls this.

    Args:
        model: The replicated part, without DDP.
        users: This rank's user rows.
        graph: The rank's graph.
        statistics: Statistics and messages of the pass.
        pass_key: Key of the pass, from which users with features that it treats as unknown are drawn; None for none.
    """
    batch = whole_graph(graph, statistics)
    hidden = model.hidden(batch, pass_key)
    batch = hide_ratings(batch, hidden)
    user_rows, movie_rows = model.user_rows(users.rows(), hidden), model.movie_rows()
    user_state, movie_state = start_state(user_rows), start_state(movie_rows)
    layers = []
    for layer in model.encoder.layers:
        stale_sums = StaleSums(
            _stale_layer(
                layer.to_users,
                layer.first,
                layer_inputs(layer, movie_rows, movie_state),
                layer_receiver(layer.to_users, user_rows, user_state),
                batch.to_users,
                None,
            ),
            _stale_layer(
                layer.to_movies,
                layer.first,
                layer_inputs(layer, user_rows, user_state),
                layer_receiver(layer.to_movies, movie_rows, movie_state),
                batch.to_movies,
                graph.world,
            ),
        )
        layers.append(stale_sums)
        user_state = user_state + layer.user_out(torch.tanh(_finish(stale_sums.to_users, batch.to_users)))
        movie_state = movie_state + layer.movie_out(torch.tanh(_finish(stale_sums.to_movies, batch.to_movies)))
    return layers


def _stale_layer(
    conv: BipartiteConv, first: bool, inputs: MessageInputs, receiver: Tensor, messages: Messages, world: World | None
) -> StaleLayer:
    """Computes the sums of one layer and copies all parameters, which the optimizer updates in place."""
    conv = copy.deepcopy(conv)
    conv.freeze()
    inputs = conv.transform(inputs)
    if first:
        # These are the tables themselves; states of later layers are not shared.
        inputs, receiver = inputs.clone(), receiver.clone()
    shift = conv.largest_logit(inputs, receiver, messages)
    if shift is not None and world is not None:
        shift = world.all_reduce_max_(shift)
    whole = conv.partial(inputs, receiver, messages, world, shift)
    if world is not None:
        whole = whole.reduced(world.all_reduce_sum_)
    return StaleLayer(conv, inputs, receiver, whole, shift)


def _finish(stale: StaleLayer, messages: Messages) -> Tensor:
    return stale.conv.output(stale.whole, stale.receiver, messages)
