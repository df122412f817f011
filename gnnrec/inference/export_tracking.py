"""Logs an export to W&B: its path and the model that it was made from."""

from __future__ import annotations

from pathlib import Path

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.training.tracking.artifacts import export_artifact, model_artifact
from gnnrec.training.tracking.wandb_run import WandbRun


def check_tracking(loaded: LoadedRun, wanted: bool) -> None:
    """Checks that the exported model was logged to W&B.

    Args:
        loaded: The run to export.
        wanted: Whether the export is to be logged.

    Raises:
        UserError: The run has no W&B run.
    """
    if wanted and (_wandb_run(loaded) is None or loaded.config.wandb.mode == "disabled"):
        run = loaded.directory.parents[1]
        raise UserError(f"--wandb: {run} was trained with --wandb.mode disabled and is not in W&B: leave it out")


def track_export(loaded: LoadedRun, export: Path, manifest: dict, wanted: bool, world: World) -> dict:
    """Logs an export as a W&B run that uses the model and outputs the export, in the mode of the training run.

    Args:
        loaded: The run that was exported.
        export: Directory of the export.
        manifest: Its manifest.
        wanted: Whether the export is to be logged.
        world: The ranks; every rank calls this.

    Returns:
        The manifest.

    Raises:
        UserError: wandb is not installed or cannot start.
    """
    if wanted:
        world.run_on_rank0(lambda: _track(loaded, export, manifest))
    return manifest


def _track(loaded: LoadedRun, export: Path, manifest: dict) -> None:
    name, options, run = _wandb_run(loaded), loaded.config.wandb, loaded.directory.parents[1]
    facts = {key: manifest[key] for key in ("users", "movies", "dim", "dtype", "formats")}
    tracked = WandbRun(run, options, facts | {"out": str(export.resolve())}, job_type="export")
    tracked.use_artifact(lambda: model_artifact(loaded.directory, loaded.info, name, options.upload_checkpoints))
    tracked.log_artifact(lambda: export_artifact(export, manifest, name), aliases=[])
    tracked.finish()


def _wandb_run(loaded: LoadedRun) -> str | None:
    """Returns the id of the W&B run that trained the model."""
    return loaded.info.train_state.get("wandb_run")
