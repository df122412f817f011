"""What a checkpoint is: a directory that is complete or not there at all, readable on any number of ranks.

In ``checkpoints/`` of a run directory, ``step-STEP`` holds all that training needs to go on, and ``best-STEP`` the
weights that were best on validation. The highest number counts. Files:

- ``checkpoint.json``: :class:`CheckpointInfo`, with a checksum for each other file.
- ``model.pt``, and ``optimizer.pt`` in ``step-STEP``: the replicated part.
- ``users-FIRST-LAST.pt``, ``users_optimizer-FIRST-LAST.pt``: the global rows ``FIRST`` to ``LAST - 1`` of users.
- ``pass_model.pt`` and ``pass_users-FIRST-LAST.pt``, where sampling has a control variate: the weights when the pass
  over the users began.

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

#: Name -> tensor: the contents of one file.
Tensors = dict[str, Tensor]

DESCRIPTION = "checkpoint.json"
_BY_USER = re.compile(r"(\w+)-(\d+)-(\d+)\.pt")
_NAME = re.compile(r"(step|best)-(\d{10})")


@dataclasses.dataclass
class CheckpointInfo:
    """What ``checkpoint.json`` says.

    Attributes:
        epoch: Epochs finished and validated.
        step: Optimizer steps taken.
        validation: Metrics of the latest validation at this step, name -> value; empty where nothing was validated.
        dataset: Fingerprint of the prepared dataset.
        world_size: Ranks that wrote it.
        config: The resolved configuration.
        chosen: Settings that training chose before its first step.
        train_state: What :class:`gnnrec.training.train_state.TrainState` keeps.
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
        """SHA-256 of the replicated part: names the model."""
        return self.files["model.pt"]

    def text(self) -> str:
        """``checkpoint.json``, with a checksum of its own; :func:`read_info` reads it back."""
        values = json.loads(json.dumps(dataclasses.asdict(self)))
        return json.dumps(values | {"checksum": _checksum(values)}, indent=1) + "\n"


def checkpoint_path(run: Path, kind: str, step: int) -> Path:
    """Where the checkpoint of a kind, ``step`` or ``best``, and a step is."""
    return run / "checkpoints" / f"{kind}-{step:010d}"


def checkpoints(run: Path, kind: str) -> list[Path]:
    """Complete checkpoints of a kind, ``step`` or ``best``, the latest first."""
    found = (run / "checkpoints").glob(f"{kind}-*")
    return sorted((path for path in found if _NAME.fullmatch(path.name)), reverse=True)


def step_of(checkpoint: Path) -> int:
    """The step in the name of a checkpoint."""
    return int(_NAME.fullmatch(checkpoint.name)[2])


def find_checkpoint(run: Path, name: str) -> Path:
    """The ``best`` or the ``last`` checkpoint of a run.

    Raises:
        UserError: There is none.
    """
    found = checkpoints(run, {"best": "best", "last": "step"}[name])
    if not found:
        raise UserError(f"{run} has no checkpoint ({name}): train first")
    return found[0]


def read_info(directory: Path) -> CheckpointInfo:
    """``checkpoint.json`` of a checkpoint.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = directory / DESCRIPTION
    try:
        values = dict(json.loads(path.read_text(encoding="utf-8")))
        if values.pop("checksum", None) != _checksum(values):
            raise ValueError("its checksum does not match")
        return CheckpointInfo(**values)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{directory} is not a checkpoint (no {DESCRIPTION}): train first") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): use another checkpoint") from None


def _checksum(values: dict) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def by_user_name(stem: str, first: int, last: int) -> str:
    """Name of the file with the rows ``first`` to ``last - 1`` of users."""
    return f"{stem}-{first:010d}-{last:010d}.pt"


def user_range(name: str, stem: str) -> tuple[int, int] | None:
    """First row and one past the last in a file of users; None for other files."""
    match = _BY_USER.fullmatch(name)
    return (int(match[2]), int(match[3])) if match and match[1] == stem else None
