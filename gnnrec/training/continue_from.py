"""Starts training from the weights and the optimizer state of another run, on data that may have grown since.

Rows are found by raw id, so the order of rows may differ. Users and movies that the other run does not have start with
rows of zeros, for which their ratings and features speak: initial rows are several times as long as trained ones, and a
short schedule cannot shrink them. New rating levels and columns of features keep their initial rows.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gnnrec.config.train_config import TrainConfig
from gnnrec.errors import UserError
from gnnrec.models.layer_file import is_layer_file
from gnnrec.training.checkpoint.info import Tensors
from gnnrec.training.init_source import InitSource, RowReader, open_init_source
from gnnrec.training.kept_rows import KeptRows, rows_of
from gnnrec.training.optimizer import set_optimizer_state
from gnnrec.training.trainer import Trainer

#: Options of the model that may differ: they give no table another shape or meaning.
_MAY_DIFFER = (
    *("dropout", "message_dropout", "row_dropout", "message_tables", "shrinkage", "init_std", "movie_id_init_std"),
)


@torch.no_grad()
def continue_from(trainer: Trainer, run: Path) -> None:
    """Copies the best weights of a run and the optimizer state of its last step; every rank calls this.

    Args:
        trainer: A rating trainer before its first step.
        run: The run directory of the other run, or a published model.

    Raises:
        UserError: Not a finished rating run, or one of another model.
    """
    world = trainer.world
    source = open_init_source(run, world)
    _check(trainer.config, source)
    rows, kept = KeptRows.of(trainer.dataset), source.kept
    maps = RowMaps(kept, rows)
    all_users = rows_of(kept.users, rows.users)
    users = all_users[trainer.part.start : trainer.part.stop]
    for name, parameter in trainer.replicated.named_parameters():
        if name in source.model and parameter.requires_grad:  # others follow from the data, or are chosen anew
            _copy(parameter, source.model[name], maps.of(name), f"{run}: {name}")
            if name.startswith("movies."):
                parameter[(maps.movies < 0).to(parameter.device)] = 0
    _copy_users(trainer.users.tables(), source.users, users)
    _restore_optimizers(trainer, source, maps, users)
    known = int((all_users >= 0).sum()), int((maps.movies >= 0).sum())
    world.log(
        f"continues from {run}: {known[0]:,} of {len(rows.users):,} users and {known[1]:,} of {len(rows.movies):,} "
        "movies have its rows"
    )


def _check(config: TrainConfig, source: InitSource) -> None:
    other, run = source.config, source.path
    if config.objective != "rating" or other.objective != "rating":
        raise UserError(
            f"--init-from {run}: ranking models start from a closed form, which is fitted anew: leave --init-from out"
        )
    for field in dataclasses.fields(config.model):
        value, before = (getattr(each.model, field.name) for each in (config, other))
        if field.name not in _MAY_DIFFER and _meant(value) != _meant(before):
            name = field.name.replace("_", "-")
            raise UserError(
                f"--model.{name} {value}: {run} was trained with {before}: keep that, or leave --init-from out"
            )


def _meant(value: Any) -> Any:
    """A value of an option without the folder of a user's own layer, which may have moved."""
    return f".py:{value.rpartition(':')[2]}" if isinstance(value, str) and is_layer_file(value) else value


class RowMaps:
    """Rows of the tables of an earlier model, by the names of the rows.

    Attributes:
        movies: Earlier row of each movie, int64 ``[movies]``; -1 for none.

    Args:
        kept: Names of the earlier rows.
        rows: Names of the rows now.
    """

    def __init__(self, kept: KeptRows, rows: KeptRows):
        self.movies = rows_of(kept.movies, rows.movies)
        self._by_beginning = {
            "movies.": self.movies,
            "genres.tables.": rows_of(kept.genres, rows.genres),
            "movie_features.tables.": rows_of(kept.features["movie"], rows.features["movie"]),
            "user_features.tables.": rows_of(kept.features["user"], rows.features["user"]),
        }
        self._levels = rows_of(kept.levels, rows.levels)

    def of(self, name: str) -> Tensor | None:
        """Earlier rows of a parameter, int64 ``[rows]``; None for one whose rows have no names."""
        if name.endswith((".to_users.rating", ".to_movies.rating")):
            return self._levels
        return next((found for beginning, found in self._by_beginning.items() if name.startswith(beginning)), None)


def _copy(target: Tensor, source: Tensor, rows: Tensor | None, place: str) -> None:
    """Copies a tensor, or the rows of it that are there."""
    if rows is None:
        if target.shape != source.shape:
            raise UserError(f"{place} has shape {list(source.shape)}, not {list(target.shape)}: leave --init-from out")
        target.copy_(source)
        return
    if target.shape[1:] != source.shape[1:] or len(rows) != len(target):
        raise UserError(f"{place} has rows of shape {list(source.shape[1:])}: leave --init-from out")
    here = rows >= 0
    target[here.to(target.device)] = source[rows[here]].to(target.device)


def _copy_users(tables: Tensors, read: RowReader, rows: Tensor) -> None:
    here, values = rows >= 0, read(rows[rows >= 0])
    for name, table in tables.items():
        table[(~here).to(table.device)] = 0
        if name in values:
            table[here.to(table.device)] = values[name].to(table.device)


def _restore_optimizers(trainer: Trainer, source: InitSource, maps: RowMaps, users: Tensor) -> None:
    """Copies the moments of Adam, which are zeros for new rows; none where the run has kept no state of training."""
    if trainer.config.optimizer.name != "adam" or (found := source.moments()) is None:
        return
    directory, stored = found.place, found.replicated
    here = users >= 0
    rows_of_users = found.users(users[here])
    for module, optimizer, prefix in zip((trainer.replicated, trainer.users), trainer.optimizers, ("", "users/")):
        state = {}
        for name, parameter in module.named_parameters():
            step = stored.get(f"{prefix}{name}/step")
            if step is None or not parameter.requires_grad:
                continue
            state[f"{name}/step"] = step
            for moment in ("exp_avg", "exp_avg_sq"):
                key = f"{name}/{moment}"
                state[key] = _moment(optimizer, trainer, parameter, moment, bool(prefix))
                if not prefix:
                    _copy(state[key], stored[key], maps.of(name), f"{directory}: {key}")
                elif key in rows_of_users:
                    state[key][here.to(state[key].device)] = rows_of_users[key].to(state[key].device)
        set_optimizer_state(optimizer, module, state, directory)


def _moment(
    optimizer: torch.optim.Optimizer, trainer: Trainer, parameter: nn.Parameter, moment: str, of_users: bool
) -> Tensor:
    """Zeros for a moment, in the memory in which the optimizer has it."""
    placed = optimizer.state.get(parameter, {}).get(moment)
    if placed is not None:
        return placed.zero_()
    if of_users:
        return trainer.users.memory.zeros(parameter.shape, parameter.dtype)
    return torch.zeros_like(parameter)
