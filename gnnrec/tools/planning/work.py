"""Work of a step on one rank: counts to which times are proportional."""

from __future__ import annotations

from gnnrec.tools.planning.job import TrainingJob
from gnnrec.tools.planning.network import network_of

#: Counts of :func:`work_of` in the three stages of a step that are timed separately.
BATCH = ("edges", "movie bins", "targets", "fold edges", "folds of nodes", "drawn", "nodes", "step of a batch")
LEARN = (
    "messages", "attention messages", "past messages", "whole messages", "pairs", "states", "maps", "scattered rows",
    "movie rows", "step",
)  # fmt: skip
UPDATE = ("rows", "step of an update")
STAGES = {"batch": BATCH, "learn": LEARN, "update": UPDATE}


def work_of(job: TrainingJob) -> dict[str, float]:
    """Returns the counts of one step, averaged over an epoch.

    ``edges`` are edges in the statistics of a pass, divided by its steps; ``messages`` are channels of messages summed
    forward and backward, ``past messages`` forward only over the sample, ``whole messages`` forward only over whole
    neighborhoods; ``pairs`` are channels of targets; ``states`` channels of users and movies in a layer; ``maps``
    multiply-adds of linear layers; ``rows`` numbers that the optimizer reads and writes.
    """
    dim, layers, slices = job.model.dim, job.model.layers, job.slices
    network = network_of(job)
    nodes = job.batch_users + job.movies
    sent = sum(job.step_messages) / 2 * dim * layers
    attention = network.heads > 0
    past = sent if job.control_variate else 0.0
    whole = job.pass_messages * dim * layers / slices if job.control_variate else 0.0
    width = max(job.user_width, job.table_width)
    return {
        "edges": job.local_ratings / slices,
        "movie bins": job.movies * job.movie_bins / slices,
        "targets": job.targets,
        "fold edges": job.local_ratings / job.steps,
        "folds of nodes": job.loader.folds * (job.local_users + job.movies) / job.steps,
        "drawn": job.movie_draws + job.rater_draws,
        "nodes": (job.local_users + job.movies) if job.loader.samples else 0.0,
        "step of a batch": 1.0,
        "messages": 0.0 if attention else sent,
        "attention messages": sent if attention else 0.0,
        "past messages": past,
        "whole messages": whole,
        "pairs": job.targets * dim,
        "states": nodes * dim * max(layers, 1),
        "maps": nodes * dim**2 * network.maps,
        "scattered rows": job.local_users * width if job.loader.samples else 0.0,
        "movie rows": job.movies * job.table_width,
        "step": 1.0,
        "rows": job.local_users * job.user_width + job.movies * job.table_width + job.feature_weights,
        "step of an update": 1.0,
    }
