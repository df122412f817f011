"""Takes a run back to its last sound checkpoint after a number that is not finite."""

from __future__ import annotations

from pathlib import Path

from gnnrec.config.train_config import TrainConfig
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.training.checkpoint.info import checkpoints, read_info, step_of
from gnnrec.training.checkpoint.read import find_damage
from gnnrec.training.run_directory import remove_later
from gnnrec.training.train_state import TrainState

#: How often a run goes back, and the factor of its learning rates each time.
MOST_RETURNS, LR_FACTOR = 3, 0.5


def go_back(config: TrainConfig, world: World, problem: str, returns: list[dict]) -> Path | None:
    """Chooses the checkpoint to go on from at half the learning rate; every rank calls this.

    Args:
        config: The configuration of the run.
        world: The ranks.
        problem: The number that is not finite, and where.
        returns: Earlier returns (:attr:`TrainState.returns`); this one is added.

    Returns:
        The newest sound checkpoint; None for the start of the run.

    Raises:
        UserError: The run has gone back too often.
    """
    if len(returns) == MOST_RETURNS:
        raise UserError(
            f"training diverged: {problem}, after the run has gone back {MOST_RETURNS} times, to {lr_scale(returns):g} "
            f"of its learning rate; choose an --optimizer.lr below {config.optimizer.lr:g} and start again with "
            "--overwrite"
        )
    candidates = world.run_on_rank0(lambda: checkpoints(config.run_dir, "step"))
    checkpoint = next((path for path in candidates if find_damage(path, world, finite=True) is None), None)
    world.run_on_rank0(lambda: remove_later(config.run_dir, checkpoint))
    step = 0 if checkpoint is None else step_of(checkpoint)
    returns.append({"problem": problem, "to": step, "lr_scale": LR_FACTOR * lr_scale(returns)})
    world.warn(f"{problem}: the run goes back to step {step}, with learning rates times {lr_scale(returns):g}")
    return checkpoint


def lr_scale(returns: list[dict]) -> float:
    """Factor of learning rates after some returns."""
    return returns[-1]["lr_scale"] if returns else 1.0


def keep_best(run: Path, state: TrainState, step: int, world: World) -> None:
    """Lets the best weights count that were saved after the step to which the run has gone back."""

    def later() -> float | None:
        best = checkpoints(run, "best")
        return read_info(best[0]).train_state["best"] if best and step_of(best[0]) > step else None

    loss = world.run_on_rank0(later)
    if loss is not None:
        state.best, state.validations_since_best = loss, 0
