"""Writes the files of an export that encode users without torch (:mod:`gnnrec.inference.numpy_users.encoder`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from gnnrec.inference.export_directory import ExportDirectory
from gnnrec.inference.export_rows import write_arrays
from gnnrec.inference.generations.lineage import Lineage
from gnnrec.inference.list_encoder import ListEncoder
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.numpy_users.encoder import FOLDER, OWN_ROWS, WEIGHTS
from gnnrec.inference.numpy_users.run_arrays import encoder_files, rotated
from gnnrec.inference.rating_encoder import RatingEncoder
from gnnrec.inference.user_encoder import UserEncoder


def write_encoder(
    loaded: LoadedRun,
    encoder: UserEncoder,
    directory: ExportDirectory,
    lineage: Lineage,
    users: UserEncoder | None = None,
    num_users: int = 0,
) -> tuple[list[str], dict]:
    """Writes the files that are missing; on rank 0.

    Args:
        loaded: The run.
        encoder: Its encoder.
        directory: The export.
        lineage: The export that this one follows.
        users: Encoder of the users of the export, whose own rows are written; None to leave them out.
        num_users: Number of these users.

    Returns:
        Names of the files, and the entry of the manifest; none where the layers have no code in NumPy.
    """
    files = encoder_files(loaded, encoder)
    if files is None:
        return [], {}
    if lineage.successor is not None:
        alignment = lineage.successor.alignment
        files = rotated(files, alignment.rotation, alignment.user_shift)
    (directory.path / FOLDER).mkdir(exist_ok=True)
    writers = {f"{FOLDER}/{name}.npy": partial(_write_array, table) for name, table in files.tables.items()}
    if files.weights:
        writers[f"{FOLDER}/{WEIGHTS}"] = partial(write_arrays, files.weights)
    own = files.settings.get("own_rows", [])
    if own and users is not None:
        rating = users.rating if isinstance(users, ListEncoder) else users
        assert isinstance(rating, RatingEncoder)
        writers[f"{FOLDER}/{OWN_ROWS}.npy"] = partial(_write_own_rows, rating, own, num_users, files.settings["dim"])
    for name, write in writers.items():
        if not directory.has(name):
            directory.write(name, write)
    return list(writers), {"encoder": files.settings}


def _write_array(array: np.ndarray, path: Path) -> None:
    with open(path, "wb") as file:  # given a path, NumPy would append its own suffix
        np.save(file, array, allow_pickle=False)


def _write_own_rows(encoder: RatingEncoder, tables: list[str], users: int, dim: int, path: Path) -> None:
    """Writes table rows of users block by block."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (users, dim * len(tables))}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for rows in encoder.chunks.ranges(0, users):
            read = encoder.rows.read(rows)
            file.write(torch.cat([read[name] for name in tables], 1).float().cpu().numpy().tobytes())
