"""Estimates memory, traffic and time of a training job on a kind of machine."""

from __future__ import annotations

import dataclasses

from gnnrec.tools.planning import step_time
from gnnrec.tools.planning.constants import Constants, constants
from gnnrec.tools.planning.interest import InterestCost, interest_cost
from gnnrec.tools.planning.job import TrainingJob
from gnnrec.tools.planning.machines import MACHINES, Machine
from gnnrec.tools.planning.memory import MemoryPart, memory_parts, reading_bytes, total
from gnnrec.tools.planning.options import PlanOptions
from gnnrec.tools.planning.step_time import Links, Share
from gnnrec.tools.planning.traffic import Collectives, bytes_a_step, collectives

#: Parts of the memory of a step that are still there when interest is fitted.
KEPT = (
    "libraries",
    "graph and folds",
    "user tables, gradients, Adam",
    "movie tables, gradients, Adam",
    "L2 weights of rows",
    "weights",
)


@dataclasses.dataclass(frozen=True)
class Deployment:
    """Machines that a job runs on.

    Attributes:
        machine: Device of a rank.
        memory: Bytes available to a rank on its device.
        network: Links between ranks.
        bf16: Whether matrix products on GPUs are in bfloat16.
        host_rows: Whether user rows are stored in host memory.
    """

    machine: Machine
    memory: float
    network: Links
    bf16: bool = True
    host_rows: bool = False


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Estimated cost of a job.

    Attributes:
        job: The job.
        place: Machines that it runs on.
        memory: Parts of the memory of a rank.
        traffic: All-reduces of a step.
        time: Shares of the time of a step.
        reading: Bytes of host memory of a rank while it reads its ratings.
        interest: Cost of interest after training; None if it is switched off.
    """

    job: TrainingJob
    place: Deployment
    memory: list[MemoryPart]
    traffic: list[Collectives]
    time: list[Share]
    reading: float
    interest: InterestCost | None = None

    @property
    def interest_bytes(self) -> float:
        """Bytes of a rank on its device while interest is fitted, when all that a step needs is freed."""
        if self.interest is None:
            return 0.0
        return total([part for part in self.memory if part.name in KEPT]) + self.interest.bytes

    @property
    def device_bytes(self) -> float:
        """Bytes of a rank on its device; on a CPU this includes host memory."""
        return total(self.memory) + (self.host_bytes if self.place.machine.measured else 0.0)

    @property
    def host_bytes(self) -> float:
        """Bytes of a rank in host memory during training."""
        return total(self.memory, "host")

    @property
    def fits(self) -> bool:
        return max(self.device_bytes, self.interest_bytes) <= self.place.memory

    @property
    def step_seconds(self) -> float:
        return step_time.total(self.time)

    @property
    def epoch_seconds(self) -> float:
        return self.step_seconds * self.job.steps

    @property
    def bytes_a_step(self) -> float:
        """Bytes that a rank all-reduces in a step."""
        return bytes_a_step(self.job)

    @property
    def collective_share(self) -> float:
        """Share of the step in collectives."""
        return sum(share.seconds for share in self.time if share.kind == "network") / self.step_seconds

    @property
    def bottleneck(self) -> str:
        """``does not fit``, or the resource that limits the speed of a step."""
        if not self.fits:
            return "does not fit"
        kinds: dict[str, float] = {}
        for share in self.time:
            kinds[share.kind] = kinds.get(share.kind, 0.0) + share.seconds
        return max(kinds, key=lambda kind: kinds[kind])


def deployment_of(options: PlanOptions) -> Deployment:
    """Creates the deployment that options describe."""
    machine = MACHINES[options.gpu]
    memory = machine.memory
    if options.memory is not None:
        memory = options.memory * 1e9
    elif machine.measured:
        import psutil

        memory = psutil.virtual_memory().total / min(options.gpus, options.gpus_per_host)
    network = Links(options.gpus, options.gpus_per_host, options.link * 1e9, options.latency * 1e-6, options.achieved)
    return Deployment(machine, memory, network, options.precision == "bf16", options.user_rows == "host")


def estimate(job: TrainingJob, place: Deployment, measured: Constants | None = None) -> Estimate:
    """Estimates the cost of a job.

    Args:
        job: The job.
        place: Machines that it runs on.
        measured: The measured constants; by default those of this package.
    """
    measured = measured or constants()
    machine, network = place.machine, dataclasses.replace(place.network, ranks=job.ranks)
    base = measured.base_bytes if machine.measured else machine.base
    moments = (measured.user_moments, measured.movie_moments) if machine.measured else (0.0, 0.0)
    memory = memory_parts(job, base, not machine.measured, "host" if place.host_rows else "device", moments)
    time = step_time.step_shares(job, machine, measured, network, place.bf16, place.host_rows)
    reading = measured.base_bytes + reading_bytes(job)
    interest = interest_cost(job, machine, network.achieved)
    return Estimate(job, place, memory, collectives(job), time, reading, interest)
