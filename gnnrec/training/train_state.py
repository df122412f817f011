"""Where a run stands, beyond the tensors of its trainer: what a resumed run continues with."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.distributed.world import World


@dataclasses.dataclass
class TimeTotals:
    """Seconds of this rank, over the whole run. On GPUs, sampling and communication are those of the GPU.

    Attributes:
        sampling: Making batches: statistics of a pass, draws of neighbors, targets; without its all-reduces.
        compute: The rest of the steps: forward, backward, update.
        communication: All-reduces of steps, waiting for other ranks included.
        evaluation: Validation, and the scores of the summary.
        checkpoints: Time that training waited for checkpoints; they are written in the background.
        baselines: Fitting the baselines of the summary.
    """

    sampling: float = 0.0
    compute: float = 0.0
    communication: float = 0.0
    evaluation: float = 0.0
    checkpoints: float = 0.0
    baselines: float = 0.0


@dataclasses.dataclass
class EpochTotals:
    """Sums over the steps of the epoch that is under way.

    Attributes:
        loss: Loss of this rank's targets, float64 ``[2]``: of the epoch, and since the latest record.
        targets: Targets of all ranks in the epoch.
        recent_targets: Those since the latest record.
        seconds: Time of the steps.
    """

    loss: Tensor
    targets: int = 0
    recent_targets: int = 0
    seconds: float = 0.0

    @staticmethod
    def start(world: World) -> EpochTotals:
        """Before the first step of an epoch."""
        return EpochTotals(torch.zeros(2, dtype=torch.float64, device=world.device))


@dataclasses.dataclass
class TrainState:
    """Where a run stands.

    Attributes:
        epoch: Epochs finished and validated.
        validation: Metrics of the latest validation; empty before the first, and after a step that was not followed by
            one.
        best: Lowest loss on validation so far.
        seconds: Time of the steps of finished epochs.
        targets: Supervised ratings of all ranks in finished epochs.
        totals: Those of the epoch under way.
        times: What the run has spent its time on, the epoch under way included.
        recorded_bytes: Length of ``metrics.jsonl``.
        unrecorded: What a full disk keeps out of it.
        wandb_run: Id of the W&B run.
    """

    totals: EpochTotals
    epoch: int = 0
    validation: dict[str, float] = dataclasses.field(default_factory=dict)
    best: float | None = None
    seconds: float = 0.0
    targets: int = 0
    times: TimeTotals = dataclasses.field(default_factory=TimeTotals)
    recorded_bytes: int = 0
    unrecorded: str = ""
    wandb_run: str | None = None

    @staticmethod
    def start(world: World) -> TrainState:
        """Before the first step."""
        return TrainState(EpochTotals.start(world))

    def finish_epoch(self, world: World) -> None:
        """Adds the epoch that was under way, validated now, to those that are finished."""
        self.epoch += 1
        self.seconds += self.totals.seconds
        self.targets += self.totals.targets
        self.totals = EpochTotals.start(world)

    def as_dict(self, world: World) -> dict:
        """Plain values for ``checkpoint.json``, with the losses of every rank; every rank calls this."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        totals = dataclasses.asdict(dataclasses.replace(self.totals, loss=None))
        totals["loss"] = world.all_gather(self.totals.loss).tolist()
        return values | {"totals": totals, "times": dataclasses.asdict(self.times)}

    @staticmethod
    def from_dict(state: dict, world: World) -> TrainState:
        """What :meth:`as_dict` gave. On another number of ranks, rank 0 takes over the losses of all."""
        losses = torch.tensor(state["totals"]["loss"], dtype=torch.float64, device=world.device)
        if losses.shape[0] == world.size:
            loss = losses[world.rank]
        else:
            loss = losses.sum(0) if world.is_main else torch.zeros_like(losses[0])
        totals, times = EpochTotals(**state["totals"] | {"loss": loss}), TimeTotals(**state["times"])
        return TrainState(**state | {"totals": totals, "times": times})
