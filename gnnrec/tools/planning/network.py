"""The layers of a model without their numbers: what they weigh, and what they sum over ranks."""

from __future__ import annotations

import dataclasses
import functools

from gnnrec.tools.planning.job import TrainingJob


@dataclasses.dataclass(frozen=True)
class Network:
    """Counts over all layers and the head.

    Attributes:
        weights: Numbers in replicated parameters other than tables of movies and genres.
        summed: Numbers of a movie that are summed over ranks in a forward pass: numerators and denominators.
        heads: Of these, columns of logits, whose largest is taken over ranks first.
        maps: Linear maps of a node, of ``dim x dim`` numbers each: half of those of both directions.
    """

    weights: int
    summed: int
    heads: int
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
    squares = sum(each.numel() for each in encoder.parameters() if each.dim() == 2 and min(each.shape) >= model.dim)
    return Network(
        # Beside them: the offset, the multiple of biases, and those of effects of time.
        weights=sum(each.numel() for each in parameters) + 2 + (NUM_TEMPORAL_BIASES if time else 0),
        summed=sum(each.out_channels + each.heads for each in to_movies),
        heads=sum(each.heads for each in to_movies),
        maps=squares / model.dim**2 / 2,
    )


def network_of(job: TrainingJob) -> Network:
    """The network of a job, counted from the modules themselves, so that a new layer needs nothing here."""
    values = dataclasses.asdict(job.model)
    architecture = values.pop("architecture")
    return _network(architecture, tuple(sorted(values.items())), job.levels, job.movie_bins > 0)
