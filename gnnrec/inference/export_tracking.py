"""Tells W&B of an export: which model it was made from, and where it is."""

from __future__ import annotations

from pathlib import Path

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.training.tracking.artifacts import export_artifact, model_artifact
from gnnrec.training.tracking.wandb_run import WandbRun


def check_tracking(loaded: LoadedRun, wanted: bool) -> None:
    """Refuses to tell W&B of an export whose model it does not know.

    Args:
        loaded: The run to export.
        wanted: Whether W&B is to be told.

    Raises:
        UserError: The run has no W&B run.
    """
    if wanted and (_wandb_run(loaded) is None or loaded.config.wandb.mode == "disabled"):
        run = loaded.directory.parents[1]
        raise UserError(f"--wandb: {run} was trained with --wandb.mode disabled, so W&B knows no model: leave it out")


def track_export(loaded: LoadedRun, export: Path, manifest: dict, wanted: bool, world: World) -> dict:
    """MetricsFile an export as a W&B run that uses the model and makes the export, in the mode of the training run.

    Args:
        loaded: The run that was exported.
        export: Directory of the export.
        manifest: Its manifest.
        wanted: Whether W&B is to be told.
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
    """Id of the W&B run that made the model."""
    return loaded.info.train_state.get("wandb_run")
