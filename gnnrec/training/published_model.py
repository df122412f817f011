"""A published model: a folder with the weights of a finished rating run, from which other runs can start.

It has no paths of the machine that wrote it. Files:

- ``README.md``: the model card, with metadata for the Hugging Face hub.
- ``config.json``: format, figures, protocol of the split, all options, and a checksum for each of the other files.
- ``config.yaml``: the options with which another run continues. Its schedule is left to ``--init-from``.
- ``model.safetensors``, ``optimizer.safetensors``, ``interest.safetensors``: the replicated tensors of a checkpoint.
- ``users.safetensors``, ``users_optimizer.safetensors``: rows of all users, if they are published.
- ``dataset/``: the names of rows (:class:`gnnrec.training.kept_rows.KeptRows`); no users unless their rows are there.
- ``layer.py``: a layer of the user's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gnnrec.errors import UserError
from gnnrec.training.checkpoint.info import Tensors
from gnnrec.training.safetensors_file import read_tensors
from gnnrec.utils.stored import check_recorded, irregularity, read_json

#: Description of the folder, and the value of its ``model_type``.
DESCRIPTION, MODEL_TYPE = "config.json", "gnnrec"
FORMAT_VERSION = 1
MODEL, OPTIMIZER, INTEREST, USERS, USERS_OPTIMIZER = (*("model", "optimizer", "interest", "users", "users_optimizer"),)
_AGAIN = "download it again, or publish the run again"


def tensor_file(stem: str) -> str:
    """Name of the file with the tensors of a stem, such as ``model``."""
    return f"{stem}.safetensors"


def is_published(path: Path) -> bool:
    """Whether a path is a published model rather than a run directory."""
    return irregularity(path / tensor_file(MODEL)) is None and irregularity(path / DESCRIPTION) is None


def read_description(path: Path) -> dict[str, Any]:
    """Reads ``config.json`` of a published model.

    Raises:
        UserError: It is damaged, of another program, or of another format.
    """
    description = read_json(path / DESCRIPTION, _AGAIN)
    contents = description.get("files")
    if (
        description.get("model_type") != MODEL_TYPE
        or not isinstance(contents, dict)
        or tensor_file(MODEL) not in contents
    ):
        raise UserError(f"{path} holds a model of another program: pass a folder that gnnrec publish has written")
    version = description.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} was published by another version of gnnrec (format {version}; this version reads "
            f"{FORMAT_VERSION}): publish the run again"
        )
    return description


def find_damage(path: Path, description: dict[str, Any], names: list[str]) -> str | None:
    """Describes the first file that is missing or changed in one line; None if all are as they were written.

    Args:
        path: The folder.
        description: Its ``config.json``.
        names: Names of the files to check.
    """
    for name in names:
        try:
            check_recorded(path / name, {"sha256": description["files"][name]}, _AGAIN, sizes=False)
        except UserError as error:
            return str(error)
    return None


def read_stem(path: Path, description: dict[str, Any], stem: str) -> Tensors | None:
    """Maps the tensors of a stem; None if the folder has none.

    Raises:
        UserError: The file is damaged.
    """
    return read_tensors(path / tensor_file(stem)) if tensor_file(stem) in description["files"] else None
