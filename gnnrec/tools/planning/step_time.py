"""Seconds of a step: from measured constants on a CPU, from data sheets on GPUs.

On a CPU a step takes the sum of its counts of work (:mod:`gnnrec.tools.planning.work`), each times a measured constant.
GPUs are projected: all operations of a step except its linear layers are bound by memory bandwidth, so time is bytes
over achieved bandwidth. Collectives are rings on both: each rank sends ``2 (P - 1) / P`` times the bytes over the
slowest link of the ring (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
JPDC 2009).
"""

from __future__ import annotations

import dataclasses

from gnnrec.tools.planning.constants import Constants
from gnnrec.tools.planning.job import TrainingJob
from gnnrec.tools.planning.machines import Machine
from gnnrec.tools.planning.traffic import collectives
from gnnrec.tools.planning.work import STAGES, work_of

#: Bytes moved for each rating by the statistics of a pass on a GPU: 24 to split messages and targets, 44 to count
#: rating levels, and 42 as the share in the biases of sixteen folds.
_STATISTICS_BYTES = 110.0
#: Kernels of a step and seconds to launch one.
_KERNELS, _KERNEL_START = 400, 5e-6
FLOAT = 4


@dataclasses.dataclass(frozen=True)
class Links:
    """Links between ranks.

    Attributes:
        ranks: Ranks.
        per_host: Ranks of one host.
        link: Achieved bytes per second between hosts.
        latency: Seconds of one message between hosts.
        achieved: Achieved share of the peak in data sheets.
    """

    ranks: int
    per_host: int
    link: float
    latency: float
    achieved: float


@dataclasses.dataclass(frozen=True)
class Share:
    """A part of the time of a step.

    Attributes:
        name: Name in tables.
        seconds: Duration.
        kind: Limiting resource: ``compute``, ``memory bandwidth`` or ``network``.
        measured: Whether it is computed from measured constants; otherwise it is projected.
    """

    name: str
    seconds: float
    kind: str
    measured: bool


_NAMES = {"batch": "making the batch", "learn": "forward and backward", "update": "update"}


def step_shares(
    job: TrainingJob, machine: Machine, constants: Constants, network: Links, bf16: bool, host_rows: bool
) -> list[Share]:
    """Returns the parts of the time of a step."""
    if machine.measured:
        shares = _measured(job, constants)
    else:
        shares = _projected(job, machine, network.achieved, bf16, host_rows)
    return [*shares, *collective_shares(job, machine, constants, network)]


def total(shares: list[Share]) -> float:
    """Returns the seconds of a step."""
    return sum(share.seconds for share in shares)


def _measured(job: TrainingJob, constants: Constants) -> list[Share]:
    work = work_of(job)
    factor = constants.sharing if job.ranks > 1 else 1.0
    return [
        Share(_NAMES[stage], factor * sum(constants.seconds[name] * work[name] for name in names), "compute", True)
        for stage, names in STAGES.items()
    ]


def _projected(job: TrainingJob, machine: Machine, achieved: float, bf16: bool, host_rows: bool) -> list[Share]:
    """Divides bytes to and from memory by the achieved bandwidth.

    A message reads a row of each of two tables in both directions of the forward pass, and one of the gradient in the
    backward pass; a target reads two rows, and in the backward pass two in each direction. Rows are assumed not to be
    cached. Deeper layers read bfloat16 if matrix products are in bfloat16. Adam reads four numbers and writes three,
    coupled L2 reads two and writes one; a layer moves about twelve times its states.
    """
    work, dim = work_of(job), job.model.dim
    reached = machine.bandwidth * achieved
    layers = max(job.model.layers, 1)
    width = FLOAT * (1 + (layers - 1) * (0.5 if bf16 else 1)) / layers
    sent = work["messages"] + work["attention messages"]
    moved = width * (6 * sent + 4 * (work["past messages"] + work["whole messages"])) + 40 * sent / dim
    moved += FLOAT * 6 * work["pairs"]
    nodes = FLOAT * (12 * work["states"] + 4 * work["scattered rows"])
    operations = 6 * work["maps"] / (achieved * (machine.flops_bf16 if bf16 else machine.flops))
    batch = _STATISTICS_BYTES * work["edges"] + 60 * work["drawn"]
    shares = [
        Share("making the batch", batch / reached, "memory bandwidth", False),
        Share("messages and targets", moved / reached, "memory bandwidth", False),
        Share("states of users and movies", nodes / reached, "memory bandwidth", False),
        Share("linear layers", operations, "compute", False),
        Share("kernel launches", _KERNELS * layers * _KERNEL_START, "compute", False),
    ]
    rows = FLOAT * 10 * work["rows"]
    if not host_rows:
        return [*shares, Share("Adam and L2", rows / reached, "memory bandwidth", False)]
    movies = FLOAT * 10 * job.movies * job.table_width
    fetched = 2 * FLOAT * job.batch_users * job.user_width
    # The host moves user rows; its memory is about as fast as its link to the device.
    on_host = FLOAT * 10 * job.local_users * job.user_width + fetched
    return [
        *shares,
        Share("Adam and L2", movies / reached, "memory bandwidth", False),
        Share("user rows on the host", on_host / (machine.host_link * achieved), "memory bandwidth", False),
    ]


def collective_shares(job: TrainingJob, machine: Machine, constants: Constants, network: Links) -> list[Share]:
    """Returns the time of the all-reduces of a step."""
    parts = collectives(job)
    if not parts:
        return []
    ring = 2 * (job.ranks - 1) / job.ranks
    hosts = -(-job.ranks // network.per_host)
    sent, calls = sum(part.bytes for part in parts), sum(part.calls for part in parts)
    if hosts > 1:
        # All ranks of a host are on one ring, which enters and leaves the host once.
        rate, latency = network.link, network.latency * 2 * (hosts - 1)
        measured = False
    elif machine.measured:
        # The measured bandwidth is of two ranks, with a ring factor of 1.
        rate, latency = constants.all_reduce_bytes_per_second, constants.all_reduce_latency * (job.ranks - 1)
        measured = job.ranks == 2
    else:
        rate, latency, measured = machine.link * network.achieved, 2e-5, False
    return [Share("collectives", ring * sent / rate + calls * latency, "network", measured)]
