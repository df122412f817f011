"""Writes the files of an export that encode users without torch (:mod:`gnnrec.inference.numpy_users.encoder`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from gnnrec.inference.export_directory import ExportDirectory
from gnnrec.inference.export_rows import write_arrays
from gnnrec.inference.generations.lineage import Lineage
from gnnrec.inference.loaded_run import LoadedRun
from gnnrec.inference.numpy_users.encoder import FOLDER, WEIGHTS
from gnnrec.inference.numpy_users.run_arrays import encoder_files, rotated
from gnnrec.inference.user_encoder import UserEncoder


def write_encoder(
    loaded: LoadedRun, encoder: UserEncoder, directory: ExportDirectory, lineage: Lineage
) -> tuple[list[str], dict]:
    """Writes the files that are missing; on rank 0.

    Args:
        loaded: The run.
        encoder: Its encoder.
        directory: The export.
        lineage: The export that this one follows.

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
    for name, write in writers.items():
        if not directory.has(name):
            directory.write(name, write)
    return list(writers), {"encoder": files.settings}


def _write_array(array: np.ndarray, path: Path) -> None:
    with open(path, "wb") as file:  # given a path, NumPy would append its own suffix
        np.save(file, array, allow_pickle=False)
