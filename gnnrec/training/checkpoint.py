"""Checkpoints: a directory that is complete or not there at all, readable on any number of ranks.

``checkpoint.json`` holds the step and fingerprints, ``model.pt`` the replicated part, and each
``users-FIRST-LAST.pt`` the rows of a range of users (global rows ``FIRST`` to ``LAST - 1``).
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import torch
from torch import Tensor, nn

from gnnrec import files
from gnnrec.distributed import World
from gnnrec.errors import UserError
from gnnrec.graph.partition import Partition
from gnnrec.models.tables import NodeTables, NoTables

_USERS = re.compile(r"users-(\d+)-(\d+)\.pt")


@dataclasses.dataclass
class CheckpointInfo:
    """What ``checkpoint.json`` says.

    Attributes:
        epoch: Epochs finished.
        step: Optimizer steps taken.
        validation: Metrics on validation at this point, name -> value; empty where nothing was validated.
        dataset: Fingerprint of the prepared dataset.
        files: File name -> SHA-256.
    """

    epoch: int
    step: int
    validation: dict[str, float]
    dataset: str
    files: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the replicated part: names the model."""
        return self.files["model.pt"]


def save_checkpoint(
    directory: Path, model: nn.Module, users: NodeTables | NoTables, part: Partition, world: World, info: CheckpointInfo
) -> None:
    """Writes a checkpoint aside, every rank its own users, and renames it into place.

    Args:
        directory: Final path, on a file system that all ranks share; one that is there is replaced.
        model: The replicated part, without DDP.
        users: This rank's user rows.
        part: The owned range.
        world: The ranks; every rank calls this.
        info: Everything but ``files``.
    """
    aside = directory.with_name(f".{directory.name}.tmp")
    if world.is_main:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    world.barrier()
    name = f"users-{part.start:010d}-{part.stop:010d}.pt"
    torch.save({key: row.detach().cpu() for key, row in users.rows().items()}, aside / name)
    if world.is_main:
        torch.save({key: value.cpu() for key, value in model.state_dict().items()}, aside / "model.pt")
    world.barrier()
    if world.is_main:
        info.files = {path.name: files.sha256(path) for path in sorted(aside.iterdir())}
        files.write_text(aside / "checkpoint.json", json.dumps(dataclasses.asdict(info), indent=1))
        files.replace_directory(aside, directory)
    world.barrier()


def read_info(directory: Path) -> CheckpointInfo:
    """``checkpoint.json`` of a checkpoint.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = directory / "checkpoint.json"
    try:
        return CheckpointInfo(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{directory} is not a checkpoint (no checkpoint.json): train first") from None
    except (json.JSONDecodeError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): use another checkpoint") from None


@torch.no_grad()
def load_checkpoint(directory: Path, model: nn.Module, users: NodeTables | NoTables, part: Partition) -> CheckpointInfo:
    """Reads a checkpoint written on any number of ranks.

    Args:
        directory: The checkpoint.
        model: Takes the replicated part.
        users: Takes the rows of ``part``.
        part: The range that this rank owns now.

    Raises:
        UserError: A file is missing or damaged, or belongs to a model of another shape.
    """
    info = read_info(directory)
    state = _load(directory, "model.pt", info)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{directory / 'model.pt'} does not fit the model of config.yaml: {reason}") from None
    covered = 0
    for name in sorted(info.files):
        match = _USERS.fullmatch(name)
        if match is None:
            continue
        first, last = int(match[1]), int(match[2])
        start, stop = max(first, part.start), min(last, part.stop)
        if start < stop:
            stored = _load(directory, name, info)
            _check_tables(directory / name, stored, users, last - first)
            for key, row in users.rows().items():
                row[start - part.start : stop - part.start] = stored[key][start - first : stop - first].to(row)
            covered += stop - start
    if covered != part.num_users:
        raise UserError(f"{directory} holds {covered} of {part.num_users} users of this rank: use another checkpoint")
    return info


def _check_tables(path: Path, stored: dict[str, Tensor], users: NodeTables | NoTables, rows: int) -> None:
    expected = {key: (rows, *row.shape[1:]) for key, row in users.rows().items()}
    found = {key: tuple(table.shape) for key, table in stored.items()}
    if found != expected:
        raise UserError(f"{path} holds user tables {found}, and the model of config.yaml has {expected}")


def _load(directory: Path, name: str, info: CheckpointInfo) -> dict[str, Tensor]:
    path = directory / name
    if not path.exists():
        raise UserError(f"{path} is missing: use another checkpoint")
    if files.sha256(path) != info.files.get(name):
        raise UserError(f"{path} does not match its checksum: use another checkpoint")
    return torch.load(path, map_location="cpu", weights_only=True)
