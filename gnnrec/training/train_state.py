"""Position and totals of a run, which a resumed run continues with, besides the tensors of its trainer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.errors import UserError


@dataclasses.dataclass
class TimeTotals:
    """Seconds of this rank, over the whole run. On GPUs, sampling and communication are those of the GPU.

    Attributes:
        sampling: Making batches: statistics of a pass, neighbor sampling, targets; without its all-reduces.
        compute: The rest of the steps: forward, backward, update.
        communication: All-reduces of steps, including the wait for other ranks.
        evaluation: Validation, and the scores of the summary.
        checkpoints: Waiting of training for checkpoints, which are written in the background.
        baselines: Fitting the baselines of the summary.
        interest: Fitting interest after training.
    """

    sampling: float = 0.0
    compute: float = 0.0
    communication: float = 0.0
    evaluation: float = 0.0
    checkpoints: float = 0.0
    baselines: float = 0.0
    interest: float = 0.0


@dataclasses.dataclass
class EpochTotals:
    """Sums over the steps of the current epoch.

    Attributes:
        loss: Loss of this rank's targets, float64 ``[2]``: in the epoch, and since the latest record.
        targets: Targets of all ranks in the epoch.
        recent_targets: Targets of all ranks since the latest record.
        seconds: Time of the steps.
    """

    loss: Tensor
    targets: int = 0
    recent_targets: int = 0
    seconds: float = 0.0

    @staticmethod
    def start(world: World) -> EpochTotals:
        """Totals before the first step of an epoch."""
        return EpochTotals(torch.zeros(2, dtype=torch.float64, device=world.device))


@dataclasses.dataclass
class TrainState:
    """Position and totals of a run.

    Attributes:
        epoch: Epochs finished and validated.
        validation: Metrics of a validation after the latest step; empty without one.
        best: Lowest validation loss so far.
        untrained: Validation loss of a model that is fitted before the first step; None for others.
        trained: Lowest validation loss after a step, for such a model.
        validations_since_best: Validations after the one with the lowest loss.
        returns: For each time that the run went back because a number was not finite: ``step`` and ``problem``, ``to``
            (the step that it went back to) and ``lr_scale``, the factor of learning rates from then on.
        lost_best: What was wrong with the best weights when the run was resumed; empty if they were sound.
        seconds: Time of the steps of finished epochs.
        targets: Supervised ratings of all ranks in finished epochs.
        totals: Totals of the current epoch.
        times: Time of the run by purpose, including the current epoch.
        recorded_bytes: Length of ``metrics.jsonl``.
        unrecorded: Lines that could not be written to it on a full disk.
        wandb_run: Id of the W&B run.
    """

    totals: EpochTotals
    epoch: int = 0
    validation: dict[str, float] = dataclasses.field(default_factory=dict)
    best: float | None = None
    untrained: float | None = None
    trained: float | None = None
    validations_since_best: int = 0
    returns: list[dict] = dataclasses.field(default_factory=list)
    lost_best: str = ""
    seconds: float = 0.0
    targets: int = 0
    times: TimeTotals = dataclasses.field(default_factory=TimeTotals)
    recorded_bytes: int = 0
    unrecorded: str = ""
    wandb_run: str | None = None

    @staticmethod
    def start(world: World) -> TrainState:
        """State before the first step."""
        return TrainState(EpochTotals.start(world))

    def add_validation(self, loss: float) -> bool:
        """Counts a validation; returns whether its loss is the lowest so far."""
        improved = self.best is None or loss < self.best
        self.best = loss if improved else self.best
        self.validations_since_best = 0 if improved else self.validations_since_best + 1
        return improved

    @property
    def training_gain(self) -> float | None:
        """Decrease of the validation loss by training from a fitted model, negative for an increase."""
        return None if self.untrained is None or self.trained is None else self.untrained - self.trained

    def out_of_patience(self, patience: int) -> bool:
        """Returns whether training stops early; never for a patience of 0."""
        return 0 < patience <= self.validations_since_best

    def finish_epoch(self, world: World) -> None:
        """Adds the current epoch, which has been validated, to the finished ones."""
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
    def from_dict(state: dict, world: World, place: Path) -> TrainState:
        """Restores a state from :meth:`as_dict`. On another number of ranks, rank 0 takes the losses of all.

        Args:
            state: The values.
            world: The ranks.
            place: The checkpoint that they are from, for the message.

        Raises:
            UserError: Values are missing or of another type.
        """
        try:
            losses = torch.tensor(state["totals"]["loss"], dtype=torch.float64, device=world.device)
            if losses.dim() != 2 or losses.shape[1] != 2:
                raise ValueError("totals.loss does not hold two numbers of each rank")
            if losses.shape[0] == world.size:
                loss = losses[world.rank]
            else:
                loss = losses.sum(0) if world.is_main else torch.zeros_like(losses[0])
            totals, times = EpochTotals(**state["totals"] | {"loss": loss}), TimeTotals(**state["times"])
            return TrainState(**state | {"totals": totals, "times": times})
        except (KeyError, TypeError, ValueError, IndexError) as error:
            text = f"{type(error).__name__}: {error}"
            raise UserError(f"{place}: the state of the run is damaged ({text}): resume from another") from None
