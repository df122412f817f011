"""``gnnrec publish``: writes a finished rating run as a folder that the Hugging Face hub accepts."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from gnnrec.config.train_config import TrainConfig
from gnnrec.config.training_options import CONTINUED_DEFAULTS
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.same_dataset import open_recorded
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.partition import Partition
from gnnrec.models.layer_file import COPY, is_layer_file, of_run
from gnnrec.reporting.run_records import RunRecords, read_run
from gnnrec.tools.publishing.card import model_card
from gnnrec.tools.publishing.options import PublishOptions
from gnnrec.training import published_model as layout
from gnnrec.training.checkpoint.info import INTEREST, CheckpointInfo, checkpoints, read_info
from gnnrec.training.checkpoint.opened import OpenedCheckpoint, open_checkpoint
from gnnrec.training.checkpoint.read import read_replicated
from gnnrec.training.checkpoint.rows import RowFiles
from gnnrec.training.checkpoint.tensors import kinds_of
from gnnrec.training.kept_rows import KeptRows
from gnnrec.training.safetensors_file import write_pieces, write_tensors
from gnnrec.utils import files, strict_json
from gnnrec.utils.log import logger

#: Users whose rows are in memory at a time.
_CHUNK = 65536
#: Options that say where and how a run was made, not which model it is; they get their defaults. The schedule is among
#: them: that of ``--init-from`` is shorter.
_OF_THE_RUN = ("wandb", "mlflow", "tensorboard", "device", "max_steps", "max_minutes", "resume", "profile", "overwrite")
#: Fields of a summary whose texts have paths.
_WITH_PATHS = ("returns", "lost_best")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")


def publish(run: Path, options: PublishOptions) -> Path:
    """Writes the folder, whole or not at all; the same run always gives the same bytes.

    Args:
        run: Run directory of a finished rating run.
        options: The options.

    Returns:
        The folder.

    Raises:
        UserError: The run is not such a run, its dataset is another, or the folder exists.
    """
    run = Path(run)
    if options.license and not _LICENSE.fullmatch(options.license):
        raise UserError(f"--license {options.license}: write the id of a license, such as mit or cc-by-nc-4.0")
    records = read_run(run)
    if records.ranking:
        raise UserError(f"{run} is a ranking run, which no other run can start from: publish its gnnrec export")
    if not records.ended:
        raise UserError(f"{run} has not finished: resume it with --resume auto, then publish it")
    _check_target(options)
    best = open_checkpoint(run, "best", World())
    dataset = open_recorded(records.config.data, options.data, best.info.dataset, f"that {run} was trained on")
    with files.complete_directory(options.to, options.overwrite, layout.DESCRIPTION) as folder:
        _write_tensors(folder, run, best, options)
        kept = KeptRows.read(run)
        (kept if options.with_users else kept.without_users()).write(folder)
        config = _published_config(records.config)
        if is_layer_file(records.config.model.architecture):
            of_run(records.config.model, run)  # refuses a copy that has changed
            shutil.copyfile(run / COPY, folder / COPY)
        files.write_text(folder / "config.yaml", config.yaml())
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        description = _describe(records, best.info, dataset, options)
        description["files"] = {name: files.sha256(folder / name) for name in names}
        files.write_text(folder / layout.DESCRIPTION, strict_json.dumps(description, indent=1) + "\n")
        card = model_card(options.to.name, records, description, options)
        files.write_text(folder / "README.md", card)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    users = f"{len(kept.users):,} users" if options.with_users else "no users"
    logger.info(f"{options.to}: {len(kept.movies):,} movies, {users}, {size / 2**20:.1f} MiB")
    return options.to


def _check_target(options: PublishOptions) -> None:
    """Refuses early a target that is not replaced; other programs write files of the same name."""
    files.check_replaceable(options.to, options.overwrite, layout.DESCRIPTION)
    if (options.to / layout.DESCRIPTION).exists():
        layout.read_description(options.to)


def _write_tensors(folder: Path, run: Path, best: OpenedCheckpoint, options: PublishOptions) -> None:
    write_tensors(folder / layout.tensor_file(layout.MODEL), best.model)
    if INTEREST in best.lists:
        write_tensors(folder / layout.tensor_file(layout.INTEREST), best.lists[INTEREST])
    if options.with_users:
        _write_rows(folder / layout.tensor_file(layout.USERS), best.users)
    last = checkpoints(run, "step")
    if not options.optimizer or not last:
        return
    info = read_info(last[0])
    state = read_replicated(last[0], "optimizer", info)
    if not state:  # SGD has none
        return
    write_tensors(folder / layout.tensor_file(layout.OPTIMIZER), state)
    if options.with_users:
        rows = RowFiles(last[0], "users_optimizer", info)
        _write_rows(folder / layout.tensor_file(layout.USERS_OPTIMIZER), rows)


def _write_rows(path: Path, rows: RowFiles) -> None:
    """Writes the tables of all users, of which a chunk at a time is in memory."""
    users = rows.num_users
    first = kinds_of(rows.read(Partition((0, min(1, users)), 0, 1)))
    kinds = {name: ((users, *shape[1:]), dtype) for name, (shape, dtype) in first.items()}

    def pieces(name: str) -> Iterator[Tensor]:
        for start in range(0, users, _CHUNK):
            yield rows.read(Partition((start, min(start + _CHUNK, users)), 0, 1))[name]

    write_pieces(path, kinds, {name: pieces(name) for name in kinds})


def _published_config(config: TrainConfig) -> TrainConfig:
    """The configuration to continue with: without paths, and with the schedule of ``--init-from``."""
    unset = TrainConfig(Path("data"), Path("run"))
    reset: dict[str, Any] = {name: getattr(unset, name) for name in ("data", "run_dir", "init_from", *_OF_THE_RUN)}
    schedule: dict[str, Any] = {name: None for name in CONTINUED_DEFAULTS}
    optimizer = dataclasses.replace(config.optimizer, **schedule)
    model = dataclasses.replace(config.model, architecture=_architecture(config))
    published = dataclasses.replace(config, **reset, model=model)
    published.optimizer = optimizer  # not filled in: the schedule is chosen when a run continues
    return published


def _architecture(config: TrainConfig) -> str:
    """The architecture; that of a user's own layer is in the folder."""
    name = config.model.architecture
    return f"{COPY}:{name.rpartition(':')[2]}" if is_layer_file(name) else name


def _describe(
    records: RunRecords, info: CheckpointInfo, dataset: PreparedDataset, options: PublishOptions
) -> dict[str, Any]:
    trained = json.loads(json.dumps(records.config.as_dict(), default=str))
    for name in ("data", "run_dir", "init_from", *_OF_THE_RUN):
        del trained[name]
    trained["model"]["architecture"] = _architecture(records.config)
    return {
        "model_type": layout.MODEL_TYPE,
        "format_version": layout.FORMAT_VERSION,
        "objective": records.config.objective,
        "with_users": options.with_users,
        "model_fingerprint": info.fingerprint,
        "dataset_fingerprint": info.dataset,
        "dataset": {"counts": dataset.manifest.counts, "rating": dataset.manifest.rating},
        "split": dataset.manifest.split,
        "summary": {name: value for name, value in records.summary.items() if name not in _WITH_PATHS},
        "trained_with": trained,
    }
