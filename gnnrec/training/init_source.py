"""Opens what ``--init-from`` names: a run directory, or a folder that ``gnnrec publish`` has written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from gnnrec.config.train_config import TrainConfig, read_train_config
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.training import published_model
from gnnrec.training.checkpoint.info import INTEREST, Tensors, checkpoints, read_info
from gnnrec.training.checkpoint.opened import open_checkpoint
from gnnrec.training.checkpoint.read import read_replicated
from gnnrec.training.checkpoint.rows import RowFiles
from gnnrec.training.kept_rows import KeptRows

#: Reads single rows of users, int64 ``[n]``, as table -> rows.
RowReader = Callable[[Tensor], Tensors]


@dataclasses.dataclass(frozen=True)
class Moments:
    """State of Adam after the last step.

    Attributes:
        place: The path that it is from, for messages.
        replicated: Moments of the replicated part, and all step counts.
        users: Reads moments of user rows.
    """

    place: Path
    replicated: Tensors
    users: RowReader


@dataclasses.dataclass(frozen=True)
class InitSource:
    """A model that another run starts from.

    Attributes:
        path: The run directory or the folder.
        place: The path that the weights are from, for messages.
        config: The configuration; of a published model without paths and schedule.
        kept: Names of the rows.
        model: The replicated part.
        users: Reads rows of users.
        interest: Tensors of interest; None without.
        moments: Reads the state of Adam; returns None without one. Every rank calls it.
    """

    path: Path
    place: Path
    config: TrainConfig
    kept: KeptRows
    model: Tensors
    users: RowReader
    interest: Tensors | None
    moments: Callable[[], Moments | None]


def open_init_source(path: Path, world: World) -> InitSource:
    """Opens a run directory or a published model; every rank calls this.

    Raises:
        UserError: The path is neither, or it is damaged.
    """
    path = Path(path)
    if published_model.is_published(path):
        return _open_published(path, world)
    return _open_run(path, world)


def _open_run(run: Path, world: World) -> InitSource:
    config, kept = read_train_config(run / "config.yaml"), KeptRows.read(run)
    best = open_checkpoint(run, "best", world)

    def moments() -> Moments | None:
        found = world.run_on_rank0(lambda: checkpoints(run, "step"))
        if not found:
            return None
        directory, info = found[0], read_info(found[0])
        by_user = RowFiles(directory, "users_optimizer", info)
        return Moments(directory, read_replicated(directory, "optimizer", info), by_user.pick)

    return InitSource(run, best.directory, config, kept, best.model, best.users.pick, best.lists.get(INTEREST), moments)


def _open_published(folder: Path, world: World) -> InitSource:
    description = published_model.read_description(folder)
    names = sorted(description["files"])
    damages = world.all_gather_objects(
        published_model.find_damage(folder, description, names[world.rank :: world.size])
    )
    if (damage := next(filter(None, damages), None)) is not None:
        raise UserError(damage)
    tensors = {
        stem: published_model.read_stem(folder, description, stem)
        for stem in (
            published_model.MODEL,
            published_model.INTEREST,
            published_model.OPTIMIZER,
            published_model.USERS,
            published_model.USERS_OPTIMIZER,
        )
    }
    kept = KeptRows.read(folder)
    for stem in (published_model.USERS, published_model.USERS_OPTIMIZER):
        for name, table in (tensors[stem] or {}).items():
            if len(table) != len(kept.users):
                raise UserError(f"{folder}: {name} has {len(table)} rows for {len(kept.users)} users: publish it again")
    optimizer = tensors[published_model.OPTIMIZER]
    moments = None
    if optimizer is not None:
        moments = Moments(folder, optimizer, _reader(tensors[published_model.USERS_OPTIMIZER]))
    return InitSource(
        folder,
        folder / published_model.tensor_file(published_model.MODEL),
        read_train_config(folder / "config.yaml"),
        kept,
        tensors[published_model.MODEL],
        _reader(tensors[published_model.USERS]),
        tensors[published_model.INTEREST],
        lambda: moments,
    )


def _reader(tables: Tensors | None) -> RowReader:
    """Reads rows of tables that hold all users; without tables there are none to read."""
    return lambda rows: {} if tables is None else {name: table[rows] for name, table in tables.items()}
