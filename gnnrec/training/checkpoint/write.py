"""Writes checkpoints: every rank writes its own files into a temporary directory, which is renamed when complete."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from gnnrec.distributed.world import World
from gnnrec.graph.partition import Partition
from gnnrec.models.row_memory import RowMemory
from gnnrec.training.checkpoint.info import DESCRIPTION, CheckpointInfo, Tensors, by_user_name
from gnnrec.training.finite import NotFinite, is_finite
from gnnrec.utils import files
from gnnrec.utils.resource_errors import reserve_for_threads


class SaveFailed(Exception):
    """A checkpoint could not be written; earlier ones are kept. Raised on every rank, with the first reason."""


@dataclasses.dataclass
class CheckpointState:
    """Tensors of a checkpoint on one rank, by the stems of their files.

    Attributes:
        replicated: Tensors that are the same on every rank; rank 0 writes them.
        by_user: Rows of ``part``.
        part: The users of this rank.
        memory: Memory of the user rows and of their copies.
    """

    replicated: dict[str, Tensors]
    by_user: dict[str, Tensors]
    part: Partition
    memory: RowMemory = dataclasses.field(default_factory=lambda: RowMemory(torch.device("cpu")))

    def copy(self, world: World) -> CheckpointState:
        """Copies the tensors that this rank writes, so that training can change the originals."""
        replicated = self.replicated if world.is_main else {}
        copies = _copies(self.by_user, self.memory)
        return CheckpointState(_copies(replicated, RowMemory(torch.device("cpu"))), copies, self.part, self.memory)

    def weights(self) -> CheckpointState:
        """The part that inference needs."""
        users = {"users": self.by_user["users"]}
        return CheckpointState({"model": self.replicated["model"]}, users, self.part, self.memory)

    def files(self) -> dict[str, Tensors]:
        """File name -> tensors."""
        rows = {by_user_name(stem, self.part.start, self.part.stop): rows for stem, rows in self.by_user.items()}
        return {f"{stem}.pt": tensors for stem, tensors in self.replicated.items()} | rows


class CheckpointWriter:
    """Writes one checkpoint. Every rank makes the same calls.

    Args:
        directory: Final path, on a file system that all ranks share; an existing checkpoint is replaced.
        contents: A copy of this rank's tensors, which is written in the background.
        info: Description without ``files``.
        world: The ranks.

    Raises:
        SaveFailed: The temporary directory cannot be made.
    """

    def __init__(self, directory: Path, contents: CheckpointState, info: CheckpointInfo, world: World):
        self.directory, self.info, self.world = directory, info, world
        self._aside = directory.with_name(f".{directory.name}.tmp")
        problem = _make_directory(self._aside) if world.is_main else None
        _raise_if_any(world.broadcast_object(problem))
        self.contents = contents
        reserve_for_threads()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="gnnrec-checkpoint")
        self._written: Future = self._threads.submit(self._write)

    @property
    def busy(self) -> bool:
        """Whether this rank is still writing."""
        return not self._written.done()

    def finish(self) -> None:
        """Waits for all ranks and gives the directory its final name.

        Raises:
            NotFinite: A tensor holds NaN or infinite values.
            SaveFailed: A rank could not write.
        """
        checksums, problem = self._written.result()
        self._threads.shutdown()
        shares = self.world.all_gather_objects((checksums, problem))
        problem = next((problem for _, problem in shares if problem), None)
        if self.world.is_main:
            problem = problem or self._publish({name: value for share, _ in shares for name, value in share.items()})
            if problem:
                shutil.rmtree(self._aside, ignore_errors=True)
        _raise_if_any(self.world.broadcast_object(problem))

    def _write(self) -> tuple[dict[str, str], Exception | None]:
        checksums: dict[str, str] = {}
        for name, tensors in self.contents.files().items():
            path = self._aside / name
            for key, tensor in tensors.items():
                if not is_finite(tensor):
                    text = f"{key} of {name} is not finite in the checkpoint of step {self.info.step}"
                    return {}, NotFinite(text)
            try:
                torch.save(tensors, path)
                files.sync(path)
                checksums[name] = files.sha256(path)
            except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError on a full disk
                return {}, SaveFailed(_problem(path, error))
        return checksums, None

    def _publish(self, checksums: dict[str, str]) -> SaveFailed | None:
        self.info.files = dict(sorted(checksums.items()))
        path = self._aside / DESCRIPTION
        try:
            path.write_text(self.info.text(), encoding="utf-8")
            files.sync(path)
            files.sync(self._aside)
            files.replace_directory(self._aside, self.directory)
            files.sync(self.directory.parent)
        except OSError as error:
            return SaveFailed(_problem(path, error))
        return None


def remove_checkpoint(directory: Path) -> None:
    """Removes a checkpoint. It is renamed first, so that a partly removed one is never taken for a checkpoint."""
    retired = directory.with_name(f".{directory.name}.old")
    shutil.rmtree(retired, ignore_errors=True)
    os.rename(directory, retired)
    shutil.rmtree(retired, ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Removes files of killed writers. A directory that a dying job still writes to is left for the next start."""
    for path in parent.glob(".*"):
        if is_leftover(path):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Whether a path has the name of a temporary file, which only killed writers leave behind."""
    return re.fullmatch(r"\..+\.(tmp|old)(-\w+)?", path.name) is not None


def _make_directory(path: Path) -> SaveFailed | None:
    try:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    except OSError as error:
        return SaveFailed(_problem(path, error))
    return None


def _problem(path: Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None)
    if reason is None and not path.parent.exists():
        reason = "its directory was removed"
    elif reason is None:
        free = shutil.disk_usage(path.parent).free
        reason = f"{str(error).splitlines()[0]}; {free / 2**20:.0f} MiB are free"
    return f"{path.parent.with_name(path.parent.name[1:].removesuffix('.tmp'))}: cannot write {path.name} ({reason})"


def _raise_if_any(problem: Exception | None) -> None:
    if problem is not None:
        raise problem


def _copies(groups: dict[str, Tensors], memory: RowMemory) -> dict[str, Tensors]:
    return {
        stem: {name: memory.host_copy(tensor) for name, tensor in tensors.items()} for stem, tensors in groups.items()
    }
