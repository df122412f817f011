"""Adds tensors to a complete checkpoint: what is fitted to a model after its training."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from gnnrec.errors import UserError
from gnnrec.training.checkpoint.info import DESCRIPTION, CheckpointInfo, Tensors, read_info
from gnnrec.utils import files


def add_tensors(directory: Path, stem: str, tensors: Tensors) -> CheckpointInfo:
    """Adds the file ``STEM.pt`` to a checkpoint, or replaces it; on rank 0.

    The checkpoint is intact at any time: the description names the file only while it is complete.

    Args:
        directory: The checkpoint.
        stem: Name of the file, without suffix.
        tensors: Its contents.

    Returns:
        The description with the new file.

    Raises:
        UserError: The checkpoint cannot be read, or the file cannot be written.
    """
    info, name = read_info(directory), f"{stem}.pt"
    path, aside = directory / name, directory / f".{name}.tmp"
    try:
        if info.files.pop(name, None) is not None:
            files.write_text(directory / DESCRIPTION, info.text())
        torch.save(tensors, aside)
        files.sync(aside)
        info.files = dict(sorted((info.files | {name: files.sha256(aside)}).items()))
        os.replace(aside, path)
        files.write_text(directory / DESCRIPTION, info.text())
    except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError on a full disk
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"{path}: cannot write it ({reason}): make room, then resume with --resume auto") from None
    return info
