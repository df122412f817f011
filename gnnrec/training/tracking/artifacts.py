"""W&B artifacts of prepared datasets, models and exports: descriptions and references to files, not the files.

Artifacts with the same contents are the same version: an export refers to the model of a run by making the same
artifact again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec.data.prepared import PreparedDataset
from gnnrec.training.checkpoint.info import DESCRIPTION, CheckpointInfo

if TYPE_CHECKING:
    from wandb import Artifact


def dataset_artifact(dataset: PreparedDataset) -> Artifact:
    """``dataset-FINGERPRINT``: the manifest of a prepared dataset, and a reference to its directory."""
    manifest = dataset.manifest
    facts = {
        "fingerprint": dataset.fingerprint,
        **manifest.counts,
        "split": manifest.split,
        "shards": len(manifest.shards) - 1,
    }
    return _artifact(f"dataset-{dataset.fingerprint[:12]}", "dataset", facts, dataset.directory, ["manifest.json"])


def model_artifact(checkpoint: Path, info: CheckpointInfo, wandb_run: str, upload: bool) -> Artifact:
    """``model-WANDB_RUN``: a checkpoint with its configuration.

    Args:
        checkpoint: Directory of the checkpoint, in its run directory.
        info: Its description.
        wandb_run: Id of the W&B run that made it.
        upload: Add the weights.
    """
    facts = {
        "fingerprint": info.fingerprint,
        "dataset": info.dataset,
        "step": info.step,
        "epoch": info.epoch,
        "validation": info.validation,
    }
    names = sorted(info.files) if upload else []
    artifact = _artifact(f"model-{wandb_run}", "model", facts, checkpoint, [DESCRIPTION, *names])
    artifact.add_file(str(checkpoint.parents[1] / "config.yaml"), "config.yaml")
    return artifact


def export_artifact(export: Path, manifest: dict, wandb_run: str) -> Artifact:
    """``export-WANDB_RUN``: the manifest of an export, and a reference to its directory.

    Args:
        export: Its directory.
        manifest: Its manifest.
        wandb_run: Id of the W&B run that made the model.
    """
    names = ("objective", "users", "movies", "dim", "dtype", "formats", "model_fingerprint", "dataset_fingerprint")
    facts = {name: manifest[name] for name in names}
    return _artifact(f"export-{wandb_run}", "export", facts, export, ["manifest.json"])


def _artifact(name: str, kind: str, facts: dict, directory: Path, files: Iterable[str]) -> Artifact:
    """Some files of a directory, and a reference to all of it."""
    import wandb

    artifact = wandb.Artifact(name, type=kind, metadata=facts)
    for file in files:
        # Weights do not change, so W&B need not copy them before the upload.
        policy = "immutable" if file.endswith(".pt") else "mutable"
        artifact.add_file(str(directory / file), file, policy=policy)
    artifact.add_reference(directory.resolve().as_uri(), "directory", checksum=False)
    return artifact
