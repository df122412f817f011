"""A checkpoint whose files are open, so that it stays whole when training replaces or removes it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import nn

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.training.checkpoint.info import (
    FINAL,
    INTEREST,
    ORDER,
    CheckpointInfo,
    Tensors,
    find_checkpoint,
    read_info,
)
from gnnrec.training.checkpoint.read import find_damage
from gnnrec.training.checkpoint.rows import RowFiles
from gnnrec.training.checkpoint.tensors import check_kinds, kinds_of, load_tensors

#: How often a checkpoint is opened that training replaces meanwhile.
_TRIES = 10


@dataclasses.dataclass(frozen=True)
class OpenedCheckpoint:
    """The weights of a checkpoint, and what orders lists.

    Attributes:
        directory: The checkpoint; it may be gone.
        info: Its description.
        model: The replicated part.
        users: The user rows, which are read when they are needed.
        lists: Stem -> tensors that order lists (:data:`INTEREST`, :data:`ORDER`, :data:`FINAL`), as far as it has them.
    """

    directory: Path
    info: CheckpointInfo
    model: Tensors
    users: RowFiles
    lists: dict[str, Tensors]

    @staticmethod
    def open(directory: Path) -> OpenedCheckpoint:
        """Opens a checkpoint, whose checksums are compared later.

        Raises:
            UserError: A file is missing or holds something else.
        """
        info = read_info(directory)
        stems = [stem for stem in (INTEREST, ORDER, FINAL) if f"{stem}.pt" in info.files]
        return OpenedCheckpoint(
            directory,
            info,
            load_tensors(directory / "model.pt", mapped=True),  # the model gets a copy
            RowFiles(directory, "users", info),
            {stem: load_tensors(directory / f"{stem}.pt") for stem in stems},
        )

    def load_model(self, model: nn.Module, final: bool = False) -> None:
        """Copies the replicated part into a model.

        Args:
            model: The model.
            final: Prefer the model that was fitted again, if the checkpoint has one.

        Raises:
            UserError: It belongs to a model of another shape.
        """
        stem, state = (FINAL, self.lists[FINAL]) if final and FINAL in self.lists else ("model", self.model)
        check_kinds(self.directory / f"{stem}.pt", state, kinds_of(model.state_dict()))
        model.load_state_dict(state)


def open_checkpoint(run: Path, name: str, world: World) -> OpenedCheckpoint:
    """Opens the ``best`` or the ``last`` checkpoint of a run; every rank calls this.

    A checkpoint that training replaces meanwhile is opened whole, or the new one is.

    Raises:
        UserError: The run has no such checkpoint, or it is damaged.
    """
    for _ in range(_TRIES):
        directory, before = world.run_on_rank0(lambda: _current(run, name))
        opened, problem = None, None
        try:
            opened = OpenedCheckpoint.open(directory)
        except UserError as error:
            problem = str(error)
        problem = find_damage(directory, world) or next(filter(None, world.all_gather_objects(problem)), None)
        descriptions = world.all_gather_objects(None if opened is None else opened.info.text())
        _, now = world.run_on_rank0(lambda: _current(run, name))
        if opened is not None and problem is None and set(descriptions) == {now}:
            return opened
        if problem is not None and now == before:
            raise UserError(problem)
    raise UserError(f"{run}: its {name} checkpoint changes too often to be read: wait until training has gone on")


def _current(run: Path, name: str) -> tuple[Path, str | None]:
    """The current checkpoint, and its description; None if that cannot be read. On rank 0."""
    directory = find_checkpoint(run, name)
    try:
        return directory, read_info(directory).text()
    except UserError:
        return directory, None
