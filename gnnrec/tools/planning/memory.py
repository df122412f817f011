"""Peak memory of a rank in a training step, part by part.

Tables, graph and statistics are counts of tensors, which a test compares with a real trainer. Temporary tensors are
counted from the code of the encoder, and checked only against the peaks of real runs.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from gnnrec.graph.partition import GRAPH_BYTES_PER_EDGE
from gnnrec.graph.user_chunks import KEPT_RATINGS
from gnnrec.models.cold_rows import FIT_MOVIES, LANDMARKS
from gnnrec.tools.planning.job import TrainingJob
from gnnrec.tools.planning.network import network_of

#: Bytes of a number.
FLOAT = 4
_FLOAT64 = 8
#: A value, its gradient, and two moments of Adam.
COPIES = 4
#: Parts of :data:`~gnnrec.graph.partition.GRAPH_BYTES_PER_EDGE`: times and their bins; groups of message dropout.
_TIME_BYTES, _GROUP_BYTES = 9, 1
#: Bytes per rating at the peak of reading. With times: ids, 64-bit times, the pages of their file, and seconds by the
#: clock. Without: ids, movies, levels, ratings, and the pages of their file.
_READ_WITH_TIMES, _READ_WITHOUT_TIMES = 4 + 8 + 8 + 4, 4 + 4 + 1 + 4 + 4
#: Bytes per rating of the order by movie on GPUs (:class:`gnnrec.kernels.edge_orders.MovieOrder`) and of folds in it.
_ORDER_BYTES = 4 + 4 + 1
#: Temporary bytes on GPUs: per rating that is sorted into this order, and the most ratings at a time; per rating and
#: lane of sums over days and sessions (:mod:`gnnrec.kernels.temporal_biases_triton`), and the most of these.
_SORT_BYTES, _SORTED_AT_ONCE = 24, 1 << 27
_LANE_BYTES, _MOST_LANE_BYTES = 2 * 2 * FLOAT, 1 << 30
#: Bytes per rating that a GPU keeps between validations (:mod:`gnnrec.training.rating_validation`): residuals, movies
#: and levels of messages, their order by movie, residuals before each window of users, and held-out ratings.
_VALIDATION_BYTES = 30
#: Rows x channels that a layer keeps for its backward pass: sums, hidden states, states.
_KEPT_BY_LAYER = 3
#: Temporary rows x channels at the peak of a step: gradients of states, of sums and of messages.
_MOMENTS = 4

MemorySpace = Literal["device", "host"]


@dataclasses.dataclass(frozen=True)
class MemoryPart:
    """A part of the memory of a rank.

    Attributes:
        name: Name in tables.
        bytes: Size in bytes.
        grows_with: ``users``, ``movies`` or ``ratings``; empty if it is constant.
        place: Memory of the device or of its host.
        exact: Whether it is a count of tensors; otherwise it is an estimate.
    """

    name: str
    bytes: float
    grows_with: str = ""
    place: MemorySpace = "device"
    exact: bool = True


def graph_bytes(job: TrainingJob) -> float:
    """Bytes of :class:`gnnrec.graph.rank_graph.RankGraph`, of the folds and dropout groups of an epoch, and L2."""
    users, movies = job.local_users, job.movies
    per_edge = GRAPH_BYTES_PER_EDGE + (4 if job.ratings >= 2**31 else 0)
    per_edge -= 0 if job.movie_bins else _TIME_BYTES
    per_edge -= 0 if job.model.message_dropout else _GROUP_BYTES
    pointers = 8 * 3 * users + 8 * 2 * movies  # offsets, degrees, rows; degrees and starts
    folds = job.loader.folds * (12 * users + 16 * movies)
    return job.local_ratings * per_edge + pointers + folds


def reading_bytes(job: TrainingJob) -> float:
    """Peak bytes of host memory while a rank reads its ratings (:func:`gnnrec.graph.rank_graph.build_rank_graph`)."""
    per_edge = _READ_WITH_TIMES if job.movie_bins else _READ_WITHOUT_TIMES
    return job.local_ratings * (per_edge + (4 if job.ratings >= 2**31 else 0)) + 8 * job.local_users


def pass_bytes(job: TrainingJob) -> float:
    """Bytes of :class:`gnnrec.kernels.edges.Residuals`: messages and targets."""
    messages = job.pass_messages * (4 + FLOAT + 1) + (4 * job.local_ratings if job.loader.samples else 0)
    targets = job.local_ratings / job.loader.folds * (4 + FLOAT)
    return messages + targets + 8 * 2 * job.local_users


def fold_bias_bytes(job: TrainingJob) -> float:
    """Bytes of :class:`gnnrec.graph.fold_biases.FoldBiases`: degrees and biases by fold, temporal biases of targets."""
    lanes = len(job.fold_groups[0])
    targets = job.local_ratings * min(lanes / job.loader.folds, 1) * (3 * FLOAT if job.movie_bins else 0)
    return lanes * 2 * FLOAT * (job.local_users + job.movies) + targets


def _fold_sums_bytes(job: TrainingJob) -> float:
    """Temporary bytes of :func:`gnnrec.graph.fold_biases.fold_biases`: sums by lane of bins, users and movies."""
    return len(job.fold_groups[0]) * FLOAT * (2 * 2 * job.exchanged_years + 6 * (job.local_users + job.movies))


def _gpu_statistics_bytes(job: TrainingJob) -> float:
    """Temporary bytes of statistics on a GPU: sums over days and sessions, or before them the sort by movie."""
    by_lane = min(_LANE_BYTES * len(job.fold_groups[0]) * job.local_ratings, _MOST_LANE_BYTES) if job.movie_bins else 0
    return max(by_lane, _SORT_BYTES * min(job.local_ratings, _SORTED_AT_ONCE))


def tables_bytes(rows: float, width: int, copies: int = COPIES) -> float:
    """Returns bytes of :class:`gnnrec.models.tables.NodeTables`, with gradients and Adam's moments."""
    return rows * width * FLOAT * copies


def memory_parts(
    job: TrainingJob,
    base: float,
    gpu: bool = False,
    user_rows: MemorySpace = "device",
    moments: tuple[float, float] = (0.0, 0.0),
) -> list[MemoryPart]:
    """Returns the parts of the memory of one rank in training.

    Args:
        job: The training job.
        base: Bytes of a process after all imports.
        gpu: Whether movies sum messages that are sorted by movie, as on GPUs.
        user_rows: Memory of the user tables and their Adam moments.
        moments: Measured temporary copies of user and movie states beyond the counts, in units of ``rows * dim``.
    """
    dim, layers = job.model.dim, job.model.layers
    users, movies, batch = job.local_users, job.movies, job.batch_users
    network = network_of(job)
    parts = [
        MemoryPart("libraries", base, exact=False),
        MemoryPart("graph and folds", graph_bytes(job), "ratings"),
        MemoryPart("messages of a pass", pass_bytes(job), "ratings"),
        MemoryPart("biases of folds", fold_bias_bytes(job), "ratings"),
        MemoryPart("user tables, gradients, Adam", tables_bytes(users, job.user_width), "users", user_rows),
        MemoryPart("movie tables, gradients, Adam", tables_bytes(movies, job.table_width), "movies"),
        MemoryPart("weights of features", tables_bytes(job.feature_weights, 1) + FLOAT * job.fitted_weights),
        MemoryPart("features of users", FLOAT * users * job.user_columns, "users", user_rows),
        MemoryPart("features of movies", FLOAT * movies * (job.genres + job.movie_columns), "movies"),
        MemoryPart("L2 weights of rows", FLOAT * (4 * users + 4 * movies), "users"),
        MemoryPart("weights", tables_bytes(network.weights, 1)),
    ]
    if user_rows == "host":
        parts.append(MemoryPart("user rows of a step", tables_bytes(batch, job.user_width, 2), "users", exact=False))
    elif job.loader.samples:
        parts.append(MemoryPart("user rows of a step", tables_bytes(batch, job.user_width, 1), "users", exact=False))
    # Rows with genres, and rows with features, are a copy with a separate gradient; so are those without hidden users.
    copied = 2 * job.table_width * (bool(job.genres) + bool(job.movie_columns))
    users_copied = 2 * job.user_width * (2 if job.model.row_dropout else 1) * bool(job.user_columns)
    kept = _KEPT_BY_LAYER * layers + _MOMENTS + 1
    levels = 2 * job.levels * max(network.heads, 1)
    of_users = batch * FLOAT * (kept * dim + levels + users_copied)
    of_movies = movies * FLOAT * (kept * dim + levels + copied)
    parts.append(MemoryPart("activations of users", of_users, "users", exact=False))
    parts.append(MemoryPart("activations of movies", of_movies, "movies", exact=False))
    # Both are gone while the biases of folds are computed.
    of_folds = _fold_sums_bytes(job) + (_gpu_statistics_bytes(job) if gpu else 0)
    beyond = max(of_folds - of_users - of_movies, 0.0)
    if job.movie_columns:
        functions = min(movies, LANDMARKS) + job.movie_columns + 1
        fitted = 2 * _FLOAT64 * min(movies, FIT_MOVIES) * functions
        parts.append(MemoryPart("rows of cold movies", fitted, "movies", exact=False))
    parts.append(MemoryPart("statistics beyond activations", beyond, "movies", exact=False))
    user_copies, movie_copies = moments
    if user_copies or movie_copies:
        parts.append(MemoryPart("moments of users", user_copies * FLOAT * batch * dim, "users", exact=False))
        parts.append(MemoryPart("moments of movies", movie_copies * FLOAT * movies * dim, "movies", exact=False))
    if job.loader.samples:
        # Positions and users by movie, which only sampling needs.
        drawn = 40 * (job.movie_draws + job.rater_draws) + 24 * users + 8 * job.local_ratings
        parts.append(MemoryPart("samples of a step", drawn, "ratings", exact=False))
    if job.control_variate:
        sums = 2 * network.summed + 3 * dim * layers + job.user_width + job.table_width
        parts.append(MemoryPart("whole sums of a pass", (users + movies) * FLOAT * sums, "users", exact=False))
    if gpu:
        sent = sum(job.step_messages) / (1 if job.loader.samples else 2)
        if job.local_ratings <= KEPT_RATINGS:
            parts.append(MemoryPart("validation", _VALIDATION_BYTES * job.local_ratings, "ratings", exact=False))
        parts.append(MemoryPart("ratings sorted by movie", _ORDER_BYTES * job.local_ratings, "ratings"))
        # Sampled messages are sorted; others are selected from the ratings by movie, without a copy of their movies.
        per_message = 16 if job.loader.samples else 12
        parts.append(MemoryPart("messages sorted by movie", sent * per_message, "ratings", exact=False))
        if not job.loader.samples:
            parts.append(MemoryPart("message of each rating", 4 * job.local_ratings, "ratings"))
    return parts


def total(parts: list[MemoryPart], place: MemorySpace = "device") -> float:
    """Returns the bytes in one memory."""
    return sum(part.bytes for part in parts if part.place == place)
