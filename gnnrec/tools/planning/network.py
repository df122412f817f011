"""Sizes of the layers of a model: parameters, and sums over ranks."""

from __future__ import annotations

import dataclasses
import functools

from gnnrec.tools.planning.job import TrainingJob


@dataclasses.dataclass(frozen=True)
class Network:
    """Counts over all layers and the head.

    Attributes:
        weights: Number of replicated parameters other than tables of movies and genres.
        summed: Numbers per movie that are summed over ranks in a forward pass: numerators and denominators.
        heads: Attention heads, each with logits whose maximum over ranks is computed first.
        receiver_heads: Those with logits of receivers, whose gradients are summed over ranks.
        maps: Linear layers per node, of ``dim x dim`` weights each: half of those of both directions.
    """

    weights: int
    summed: int
    heads: int
    receiver_heads: int
    maps: float


@functools.lru_cache(maxsize=64)
def _network(architecture: str, model_items: tuple, levels: int, time: bool) -> Network:
    import torch

    from gnnrec.graph.time_bins import NUM_TEMPORAL_BIASES
    from gnnrec.models.encoder import Encoder
    from gnnrec.models.head import DotHead, MLPHead
    from gnnrec.models.options import ModelOptions

    model = ModelOptions(architecture=architecture, **dict(model_items))
    with torch.device("meta"):  # shapes without memory
        encoder = Encoder(model, levels, (1.0, 1.0))
        head = DotHead(model.dim) if model.head == "dot" else MLPHead(model.dim, model.head_dim)
    parameters = [*encoder.parameters(), *head.parameters()]
    to_movies = [layer.to_movies for layer in encoder.layers]
    matrices = [weight for weight in encoder.parameters() if weight.dim() == 2 and min(weight.shape) >= model.dim]
    return Network(
        # In addition: the offset, the scale of the biases, and the scales of the temporal bias.
        weights=sum(parameter.numel() for parameter in parameters) + 2 + (NUM_TEMPORAL_BIASES if time else 0),
        summed=sum(conv.out_channels + conv.heads for conv in to_movies),
        heads=sum(conv.heads for conv in to_movies),
        receiver_heads=sum(conv.receiver_heads for conv in to_movies),
        maps=sum(weight.numel() for weight in matrices) / model.dim**2 / 2,
    )


def network_of(job: TrainingJob) -> Network:
    """Counts the network of a job from its modules, so that new layers need no change here."""
    values = dataclasses.asdict(job.model)
    architecture = values.pop("architecture")
    return _network(architecture, tuple(sorted(values.items())), job.levels, job.movie_bins > 0)
