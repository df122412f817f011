"""Opens a run directory, for a new run or to resume the run in it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import uuid
from pathlib import Path
from typing import Any

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import Stopped, UserError
from gnnrec.models.layer_file import COPY, changed_since, is_layer_file, keep_copy, read_builder
from gnnrec.training.checkpoint.info import TRAIN_AGAIN, USE_ANOTHER, CheckpointInfo, checkpoints, read_info, step_of
from gnnrec.training.checkpoint.read import find_damage
from gnnrec.training.checkpoint.write import is_leftover, remove_checkpoint, remove_leftovers
from gnnrec.training.kept_rows import KeptRows
from gnnrec.training.run_lock import STARTED, RunLock, owner, wait_for_lease
from gnnrec.training.same_options import find_changed
from gnnrec.utils import files
from gnnrec.utils.log import logger
from gnnrec.utils.option_names import dashed
from gnnrec.utils.stored import read_json

_STOPPED = "stopped.json"


def open_run_directory(config: TrainConfig, dataset: PreparedDataset, world: World) -> tuple[Path | None, RunLock]:
    """Makes the run directory or finds the checkpoint to resume from; every rank calls this.

    Args:
        config: The resolved configuration.
        dataset: The prepared dataset.
        world: The ranks.

    Returns:
        The checkpoint to resume from, None for a new run; and the lock on the directory.

    Raises:
        UserError: The directory does not hold the requested run, or cannot be written.
        Stopped: torchrun restarts a job that was asked to stop.
    """
    restarted = world.run_on_rank0(lambda: _restarted(config.run_dir))
    if restarted and world.run_on_rank0(lambda: _restarted_after_stop(config.run_dir)):
        raise Stopped("before torchrun restarted it")
    if not restarted:
        world.run_on_rank0(lambda: wait_for_lease(config.run_dir))
    candidates = world.run_on_rank0(lambda: _find(config, "auto" if restarted else config.resume))
    checkpoint = _choose(candidates, config, world) if candidates else None
    if checkpoint is not None:
        world.run_on_rank0(lambda: _check_same(read_info(checkpoint), config, dataset))
    start = world.run_on_rank0(lambda: _make(config, dataset, checkpoint))
    return checkpoint, RunLock(config.run_dir, start, renews=world.is_main)


def finished_summary(config: TrainConfig, dataset: PreparedDataset, world: World) -> dict | None:
    """The summary of a run that is to be resumed but has finished, else None; every rank calls this.

    Args:
        config: The resolved configuration.
        dataset: The prepared dataset.
        world: The ranks.

    Raises:
        UserError: The run that has finished is one with other data or another configuration.
    """

    def read() -> dict | None:
        path = config.run_dir / "summary.json"
        resumes = config.resume != "never" or _restarted(config.run_dir)
        if not resumes or not path.exists():
            return None
        summary, best = _read(path), checkpoints(config.run_dir, "best")
        if best:
            _check_same(read_info(best[0]), config, dataset)
        return summary

    return world.run_on_rank0(read)


def _put_aside(run: Path) -> None:
    """Moves a run that is overwritten out of the way. On rank 0."""
    if _aside(run).exists():  # the run in the directory has taken no step
        shutil.rmtree(run)
    else:
        os.replace(run, _aside(run))
        logger.info(f"the run before is kept in {_aside(run)} until the first step of this one")


def remove_replaced(run: Path) -> None:
    """Removes the run that was overwritten, once the new one has taken its first step. On rank 0."""
    if _aside(run).exists():
        shutil.rmtree(_aside(run), ignore_errors=True)


def restore_replaced(run: Path) -> None:
    """Brings the run back that was overwritten by one that failed before its first step. On rank 0."""
    if _aside(run).exists():
        shutil.rmtree(run, ignore_errors=True)
        os.replace(_aside(run), run)
        logger.info(f"{run} is the run before again: the new one has not taken a step")


def _aside(run: Path) -> Path:
    return run.parent / f".{run.name}.replaced"


def note_stop(run: Path, stopped: str) -> str:
    """Records in the run directory that the run was stopped, until it is resumed; returns a message. On rank 0."""
    saved = checkpoints(run, "step")
    text = f"{stopped}, saved at step {step_of(saved[0])}" if saved else f"{stopped}, before anything was saved"
    try:
        files.write_text(run / _STOPPED, json.dumps({"stopped": text, "restarts": _restarts()}) + "\n")
    except OSError as error:
        text += f" (cannot write {_STOPPED}: {error.strerror})"
    return f"{text}: run the same command with --resume auto to resume"


def _restarted(run: Path) -> bool:
    """Whether torchrun started this process in place of a failed one that had begun or resumed the run. On rank 0.

    After a process that failed before that, or was refused, the options decide whether the run is resumed.
    """
    path = run / STARTED
    if _restarts() == 0 or not path.exists():
        return False
    return _read(path).get("torchrun") == _torchrun()


def _restarted_after_stop(run: Path) -> bool:
    """Whether torchrun restarted ranks that had stopped on request, which it takes for failed ones. On rank 0.

    When nodes join, torchrun itself stops the ranks and starts them again, without counting a restart.
    """
    path = run / _STOPPED
    return path.exists() and int(_read(path).get("restarts", 0)) < _restarts()


def _read(path: Path) -> dict[str, Any]:
    """Reads a JSON file that this program wrote."""
    return read_json(path, "remove it, then resume with --resume auto")


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _torchrun() -> str:
    """Id of the start of torchrun: its run id or, without one, its process."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return f"process {os.getppid()} on {socket.gethostname()}" if name == "none" else name


def _find(config: TrainConfig, resume: str) -> list[Path]:
    """Checkpoints to resume from, the best choice first; empty for a new run. On rank 0."""
    run = config.run_dir
    occupied = run.exists() and (not run.is_dir() or any(not is_leftover(path) for path in run.iterdir()))
    if resume not in ("never", "auto"):
        chosen = run / "checkpoints" / Path(resume).name
        if chosen not in checkpoints(run, "step"):
            names = ", ".join(path.name for path in checkpoints(run, "step")) or "none"
            raise UserError(f"--resume {resume}: {run} has no such checkpoint (it has: {names}): try auto")
        return [chosen]
    if not occupied:
        return []
    if not (run / "config.yaml").exists():
        if resume == "never" and not config.overwrite:
            raise UserError(f"{run} holds something else than a run: choose another --run-dir")
        raise UserError(f"{run} is not a run directory, so nothing in it is replaced: choose another --run-dir")
    if resume == "never":
        if not config.overwrite:
            raise UserError(
                f"{run} holds a run already: resume it with --resume auto, choose another --run-dir or pass --overwrite"
            )
        return []
    return checkpoints(run, "step")


def _choose(candidates: list[Path], config: TrainConfig, world: World) -> Path:
    """The first sound checkpoint of some."""
    damages = []
    for checkpoint in candidates:
        damage = find_damage(checkpoint, world, finite=True)
        if damage is None:
            return checkpoint
        damages.append(damage.removesuffix(f": {USE_ANOTHER}").removesuffix(f": {TRAIN_AGAIN}"))
        if checkpoint is not candidates[-1]:
            world.warn(f"{damages[-1]}: falling back to an older checkpoint")
    if config.resume not in ("never", "auto"):
        raise UserError(f"{damages[0]}: use --resume auto for the newest sound checkpoint")
    raise UserError(f"{damages[0]}, and no older checkpoint is sound: start again with --overwrite")


def _check_same(info: CheckpointInfo, config: TrainConfig, dataset: PreparedDataset) -> None:
    """Refuses to resume with another configuration or other data. On rank 0."""
    if info.dataset != dataset.fingerprint:
        raise UserError(
            f"{dataset.directory} is not the dataset that {config.run_dir} was started with: "
            "pass the right one with --data, or choose another --run-dir for other data"
        )
    if (changed := find_changed(info.config, config)) is not None:
        name, value, before = changed
        raise UserError(
            f"{dashed(name)} {value}: the run of {config.run_dir} was started with {before}: "
            "keep that value, or choose another --run-dir"
        )


def _make(config: TrainConfig, dataset: PreparedDataset, checkpoint: Path | None) -> str:
    """Makes a new run directory, or removes checkpoints after the one to resume from. On rank 0.

    Returns:
        Id of this start.
    """
    run, start = config.run_dir, uuid.uuid4().hex
    own_layer = config.objective == "rating" and is_layer_file(config.model.architecture)
    if own_layer and checkpoint is None:
        read_builder(config.model.architecture)  # before anything is replaced
    before = KeptRows.read(config.init_from) if config.init_from is not None and checkpoint is None else None
    try:
        if checkpoint is None:
            if run.exists() and any(run.iterdir()):
                _put_aside(run)
            run.mkdir(parents=True, exist_ok=True)
            files.write_text(run / "config.yaml", config.yaml())
            KeptRows.of(dataset).counted(dataset, before).write(run)
            if own_layer:
                keep_copy(config.model.architecture, run)
        elif own_layer and changed_since(config.model.architecture, run):
            logger.warning(f"{config.model.architecture} has changed: the run continues with its copy, {run / COPY}")
        # From here on another job that still runs publishes nothing.
        files.write_text(run / STARTED, json.dumps({"torchrun": _torchrun(), "start": start} | owner()) + "\n")
        if checkpoint is not None:
            for parent in (run, run / "checkpoints"):
                remove_leftovers(parent)
            remove_later(run, checkpoint)
        (run / _STOPPED).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"--run-dir {run}: cannot write there ({error.strerror}): choose another directory") from None
    return start


def remove_later(run: Path, checkpoint: Path | None) -> None:
    """Removes the step checkpoints after one; all of them for None. On rank 0."""
    for later in checkpoints(run, "step"):
        if checkpoint is None or step_of(later) > step_of(checkpoint):
            remove_checkpoint(later)
