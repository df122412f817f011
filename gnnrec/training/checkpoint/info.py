"""Layout of a checkpoint: a directory that is complete or does not exist, readable on any number of ranks.

In ``checkpoints/`` of a run directory, ``step-STEP`` holds the complete state of training, and ``best-STEP`` the
weights of the best validation. The highest number is the current one. Files:

- ``checkpoint.json``: :class:`CheckpointInfo`, with a checksum for each other file.
- ``model.pt``, and ``optimizer.pt`` in ``step-STEP``: the replicated part.
- ``users-FIRST-LAST.pt``, ``users_optimizer-FIRST-LAST.pt``: the global rows ``FIRST`` to ``LAST - 1`` of users.
- ``interest.pt``, in ``best-STEP`` of a finished rating run: :class:`gnnrec.models.interest.Interest`.
- ``order.pt``, in that of a finished ranking run: :class:`gnnrec.models.sequential.SequentialTables`.
- ``final.pt``, in that of a finished ranking run: the model, fitted again with the validation users.
- ``validation-FIRST-LAST.pt``: the squared error of each user where validation was lowest.
- ``pass_model.pt`` and ``pass_users-FIRST-LAST.pt``, for sampling with a control variate: the weights at the start of
  the pass over the users.

All but the first are dictionaries of tensors; loading them runs no code (``weights_only``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path

from torch import Tensor

from gnnrec.errors import UserError
from gnnrec.utils.stored import irregularity, read_json

#: Name -> tensor: the contents of one file.
Tensors = dict[str, Tensor]

DESCRIPTION = "checkpoint.json"
#: Stems of the files with interest, with the order of likes, and with a model that was fitted again.
INTEREST, ORDER, FINAL = "interest", "order", "final"
#: Version of the layout and of the names in it, in ``checkpoint.json``; files without a version have format 1.
FORMAT_VERSION = 3
#: Endings of messages about checkpoints that cannot be read.
USE_ANOTHER = "use another checkpoint"
TRAIN_AGAIN = "train again, or export with the version that wrote it"
_BY_USER = re.compile(r"(\w+)-(\d+)-(\d+)\.pt")
_NAME = re.compile(r"(step|best)-(\d{10})")


@dataclasses.dataclass
class CheckpointInfo:
    """Contents of ``checkpoint.json``.

    Attributes:
        epoch: Epochs finished and validated.
        step: Optimizer steps taken.
        validation: Metrics of the latest validation at this step, name -> value; empty without validation.
        dataset: Fingerprint of the prepared dataset.
        world_size: Ranks that wrote it.
        config: The resolved configuration.
        chosen: Settings that training chose before its first step.
        train_state: Values of :class:`gnnrec.training.train_state.TrainState`.
        files: File name -> SHA-256.
    """

    epoch: int
    step: int
    validation: dict[str, float]
    dataset: str
    world_size: int = 1
    config: dict = dataclasses.field(default_factory=dict)
    chosen: dict[str, float] = dataclasses.field(default_factory=dict)
    train_state: dict = dataclasses.field(default_factory=dict)
    files: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the replicated part, which identifies the model."""
        return self.files["model.pt"]

    def text(self) -> str:
        """Text of ``checkpoint.json``, with its own checksum; :func:`read_info` reads it back."""
        values = json.loads(json.dumps({"format_version": FORMAT_VERSION} | dataclasses.asdict(self)))
        return json.dumps(values | {"checksum": _checksum(values)}, indent=1) + "\n"


_EXAMPLE = CheckpointInfo(epoch=0, step=0, validation={}, dataset="")


def checkpoint_path(run: Path, kind: str, step: int) -> Path:
    """Directory of the checkpoint of a kind, ``step`` or ``best``, at a step."""
    return run / "checkpoints" / f"{kind}-{step:010d}"


def checkpoints(run: Path, kind: str) -> list[Path]:
    """Complete checkpoints of a kind, ``step`` or ``best``, the latest first."""
    paths = (run / "checkpoints").glob(f"{kind}-*")
    return sorted((path for path in paths if _NAME.fullmatch(path.name) and path.is_dir()), reverse=True)


def step_of(checkpoint: Path) -> int:
    """The step in the name of a checkpoint."""
    return int(_NAME.fullmatch(checkpoint.name)[2])


def find_checkpoint(run: Path, name: str) -> Path:
    """The ``best`` or the ``last`` checkpoint of a run.

    Raises:
        UserError: The run has no such checkpoint.
    """
    paths = checkpoints(run, {"best": "best", "last": "step"}[name])
    if not paths:
        raise UserError(f"{run} has no checkpoint ({name}): train first")
    return paths[0]


def read_info(directory: Path) -> CheckpointInfo:
    """Reads ``checkpoint.json`` of a checkpoint.

    Raises:
        UserError: The file is missing or damaged, or has another format.
    """
    path = directory / DESCRIPTION
    if irregularity(path) == "is missing":
        raise UserError(f"{directory} is not a checkpoint (no {DESCRIPTION}): train first")
    values = read_json(path, USE_ANOTHER)
    try:
        if values.pop("checksum", None) != _checksum(values):
            raise ValueError("its checksum does not match")
        version = values.pop("format_version", 1)
        if version != FORMAT_VERSION:
            raise UserError(
                f"{path} was written by another version of gnnrec (format {version}; this version reads "
                f"{FORMAT_VERSION}): {TRAIN_AGAIN}"
            )
        info = CheckpointInfo(**values)
        for field in dataclasses.fields(CheckpointInfo):
            expected, value = type(getattr(_EXAMPLE, field.name)), getattr(info, field.name)
            if type(value) is not expected:
                raise ValueError(f"{field.name} is no {expected.__name__}")
        return info
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): {USE_ANOTHER}") from None


def _checksum(values: dict) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def by_user_name(stem: str, first: int, last: int) -> str:
    """Name of the file with the rows ``first`` to ``last - 1`` of users."""
    return f"{stem}-{first:010d}-{last:010d}.pt"


def user_range(name: str, stem: str) -> tuple[int, int] | None:
    """First row and one past the last in a file of users; None for other files."""
    match = _BY_USER.fullmatch(name)
    return (int(match[2]), int(match[3])) if match and match[1] == stem else None
