"""Number and bytes of the all-reduces of a rank.

These are counts, not estimates: a test compares them with
:attr:`gnnrec.distributed.collectives.CollectiveStats.bytes` of real runs.
"""

from __future__ import annotations

import dataclasses

from gnnrec.tools.planning.job import TrainingJob
from gnnrec.tools.planning.network import network_of

#: Bytes of a number.
BF16, FLOAT, DOUBLE = 2, 4, 8


@dataclasses.dataclass(frozen=True)
class Collectives:
    """All-reduces of one kind, per step on average.

    Attributes:
        name: Name in tables.
        bytes: Bytes of a rank.
        calls: Number of all-reduces.
        by_movie: Whether the bytes grow with the movies.
    """

    name: str
    bytes: float
    calls: float
    by_movie: bool = True


def collectives(job: TrainingJob) -> list[Collectives]:
    """Returns the all-reduces of a step. Those of a pass or an epoch are divided by its steps.

    * Sums of messages of movies, forward in every layer (:meth:`gnnrec.models.conv.PartialSums.reduced`); with
      attention, the largest logits before them.
    * Gradients of the states of movies where later layers send them and where targets use them, and of the logits of
      receivers (:meth:`gnnrec.distributed.world.World.use`).
    * Gradients of movie tables but ids, of features and of weights (:meth:`gnnrec.distributed.world.World.replicate`).
    * Once a pass, with a control variate: forward sums over whole neighborhoods.
    * Once for a group of folds: raters' biases and, with temporal bias, sums by the half bins that have ratings
      (:func:`gnnrec.graph.fold_biases.fold_biases`).
    * Once an epoch: numbers and sums by fold in float64 (:class:`gnnrec.graph.fold_sums.Folds`), and numbers of
      targets.
    """
    if job.ranks == 1:
        return []
    network, movies, layers = network_of(job), job.movies, job.model.layers
    gat = network.heads > 0
    # With a control variate the shift of its logits is computed once a pass.
    logits = 0 if job.control_variate else network.heads
    on_wire = BF16 if job.wire == "bf16" else FLOAT
    forward = movies * network.summed * on_wire
    parts = [Collectives("sums of messages", forward, layers)] if layers else []
    states = max(layers, 1)
    used = movies * (states * job.model.dim + network.receiver_heads) * on_wire
    with_receivers = network.receiver_heads // max(job.model.heads, 1)
    parts.append(Collectives("gradients of states", used, states + with_receivers))
    if logits:
        parts.append(Collectives("largest logits", movies * logits * FLOAT, layers))
    ids = movies * job.model.dim if job.model.movie_ids or not layers else 0
    rows = movies * job.table_width + job.feature_weights - ids
    parts.append(Collectives("gradients of movies and weights", (rows + network.weights) * on_wire, 1))
    of_fold = movies * FLOAT + 2 * job.exchanged_years * on_wire
    calls = (2.0 if job.movie_bins else 1.0) * len(job.fold_groups)
    parts.append(Collectives("biases of folds", of_fold / job.slices, calls / job.steps))
    if job.control_variate and layers:
        recorded = movies * (network.summed + network.heads) * FLOAT
        calls = layers * (2 if gat else 1)
        parts.append(Collectives("whole sums of a pass", recorded / job.slices, calls / job.slices))
    if job.loader.samples and not job.control_variate:
        parts.append(Collectives("weights of sampled messages", movies * FLOAT, 1))
    of_epoch = 2 * job.loader.folds * movies * DOUBLE + job.steps * DOUBLE
    parts.append(Collectives("folds of an epoch", of_epoch / job.steps, 2 / job.steps))
    return parts


def bytes_a_step(job: TrainingJob) -> float:
    """Returns the bytes that a rank all-reduces in a step, averaged over an epoch."""
    return sum(part.bytes for part in collectives(job))
