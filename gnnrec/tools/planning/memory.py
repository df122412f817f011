"""Bytes that a rank holds while it takes a step, part by part.

Tables, graph and statistics are counts of tensors, which a test compares with a real trainer. What a step makes and
gives back is counted from the code of the encoder, and checked against the peaks of real runs alone.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from gnnrec.graph.partition import GRAPH_BYTES_PER_EDGE
from gnnrec.tools.planning.job import TrainingJob
from gnnrec.tools.planning.network import network_of

#: Bytes of a number.
FLOAT = 4
#: A value, its gradient, and two moments of Adam.
COPIES = 4
#: Of :data:`~gnnrec.graph.partition.GRAPH_BYTES_PER_EDGE`: times and their bins; groups of message dropout.
_TIME_BYTES, _GROUP_BYTES = 6, 1
#: Rows x channels that a layer keeps for its backward pass: sums, hidden states, states.
_KEPT_BY_LAYER = 3
#: Rows x channels that live for a moment at the peak of a step: gradients of states, sums and of what was sent.
_MOMENTS = 4

Deployment = Literal["device", "host"]


@dataclasses.dataclass(frozen=True)
class MemoryPart:
    """Some of a rank's memory.

    Attributes:
        name: What it is.
        bytes: How much.
        grows_with: ``users``, ``movies`` or ``ratings``; empty for what stays.
        place: In the memory of the device, or in that of its host.
        exact: A count of tensors; otherwise an estimate.
    """

    name: str
    bytes: float
    grows_with: str = ""
    place: Deployment = "device"
    exact: bool = True


def graph_bytes(job: TrainingJob) -> float:
    """Bytes of :class:`gnnrec.graph.rank_graph.RankGraph`, of the folds and dropout groups of an epoch, and L2."""
    users, movies = job.local_users, job.movies
    each = GRAPH_BYTES_PER_EDGE + (4 if job.ratings >= 2**31 else 0)
    each -= 0 if job.movie_bins else _TIME_BYTES
    each -= 0 if job.model.message_dropout else _GROUP_BYTES
    pointers = 8 * 3 * users + 8 * 2 * movies  # offsets, degrees, rows; degrees and starts
    folds = job.loader.folds * (12 * users + 16 * movies)
    return job.local_ratings * each + pointers + folds


def pass_bytes(job: TrainingJob) -> float:
    """Bytes of :class:`gnnrec.graph.statistics.MessageStatistics`: messages, targets, degrees, biases, levels."""
    messages = job.pass_messages * (4 + FLOAT + 1) + (4 * job.local_ratings if job.loader.samples else 0)
    targets = job.local_ratings / job.loader.folds * (4 + FLOAT + (3 * FLOAT if job.movie_bins else 0))
    of_nodes = (job.local_users + job.movies) * FLOAT * 2 + 8 * 2 * job.local_users
    return messages + targets + of_nodes


def tables_bytes(rows: float, width: int, copies: int = COPIES) -> float:
    """Bytes of :class:`gnnrec.models.tables.NodeTables`, with gradients and Adam's moments."""
    return rows * width * FLOAT * copies


def memory_parts(
    job: TrainingJob,
    base: float,
    gpu: bool = False,
    user_rows: Deployment = "device",
    moments: tuple[float, float] = (0.0, 0.0),
) -> list[MemoryPart]:
    """The memory of one rank in training.

    Args:
        job: What is trained.
        base: Bytes of a process that has imported everything and trained nothing.
        gpu: Sums over movies are taken by reading messages sorted by movie, which GPUs do.
        user_rows: Where the tables of users and Adam's moments live.
        moments: Copies of the channels of users of the batch, and of movies, that come and go beside what is counted
            here, or that the allocator keeps: measured.
    """
    dim, layers = job.model.dim, job.model.layers
    users, movies, batch = job.local_users, job.movies, job.batch_users
    network = network_of(job)
    parts = [
        MemoryPart("libraries", base, exact=False),
        MemoryPart("graph and folds", graph_bytes(job), "ratings"),
        MemoryPart("messages of a pass", pass_bytes(job), "ratings"),
        # Sums over half bins and over bins, while statistics are made.
        MemoryPart("sums over times of movies", 2 * movies * job.movie_bins * 2 * FLOAT, "movies", exact=False),
        MemoryPart("user tables, gradients, Adam", tables_bytes(users, job.user_width), "users", user_rows),
        MemoryPart("movie tables, gradients, Adam", tables_bytes(movies + job.genres, job.table_width), "movies"),
        MemoryPart("strength of L2 of rows", FLOAT * (4 * users + 4 * movies), "users"),
        MemoryPart("weights", tables_bytes(network.weights, 1)),
    ]
    if user_rows == "host":
        parts.append(MemoryPart("user rows of a step", tables_bytes(batch, job.user_width, 2), "users", exact=False))
    elif job.loader.samples:
        parts.append(MemoryPart("user rows of a step", tables_bytes(batch, job.user_width, 1), "users", exact=False))
    # Rows with genres are a copy, which has a gradient of its own.
    copied = 2 * job.table_width if job.genres else 0
    kept = _KEPT_BY_LAYER * layers + _MOMENTS + 1
    levels = 2 * job.levels * max(network.heads, 1)
    parts.append(MemoryPart("activations of users", batch * FLOAT * (kept * dim + levels), "users", exact=False))
    parts.append(
        MemoryPart("activations of movies", movies * FLOAT * (kept * dim + levels + copied), "movies", exact=False)
    )
    of_users, of_movies = moments
    if of_users or of_movies:
        parts.append(MemoryPart("moments of users", of_users * FLOAT * batch * dim, "users", exact=False))
        parts.append(MemoryPart("moments of movies", of_movies * FLOAT * movies * dim, "movies", exact=False))
    if job.loader.samples:
        # Positions by movie and the users there, which training over whole neighbourhoods does without.
        drawn = 40 * (job.movie_draws + job.rater_draws) + 24 * users + 8 * job.local_ratings
        parts.append(MemoryPart("samples of a step", drawn, "ratings", exact=False))
    if job.control_variate:
        sums = 2 * network.summed + 3 * dim * layers + job.user_width + job.table_width
        parts.append(MemoryPart("whole sums of a pass", (users + movies) * FLOAT * sums, "users", exact=False))
    if gpu:
        sent = sum(job.step_messages) / (1 if job.loader.samples else 2)
        parts.append(MemoryPart("messages sorted by movie", sent * 16, "ratings", exact=False))
    return parts


def total(parts: list[MemoryPart], place: Deployment = "device") -> float:
    """Bytes in one place."""
    return sum(part.bytes for part in parts if part.place == place)
