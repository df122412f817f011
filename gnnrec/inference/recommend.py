"""``gnnrec recommend``: movies for one user or all users, and movies similar to a movie.

For one user of an export neither torch nor pandas is imported: importing them takes longer than the answer.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec.errors import UserError
from gnnrec.inference.export_directory import MANIFEST
from gnnrec.inference.export_vectors import ExportVectors
from gnnrec.inference.recommend_one import recommend_one
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import VectorSource

if TYPE_CHECKING:
    from gnnrec.distributed.world import World


def run_recommend(path: Path, options: RecommendOptions) -> None:
    """Runs the command: prints movies, or writes them with ``options.all``.

    Args:
        path: Run directory or export.
        options: The options.
    """
    options.check()
    if not options.all and is_export(path):
        if os.environ.get("RANK", "0") == "0":
            _print(ExportVectors(path, options.data, options.file), options)
        return
    from gnnrec.distributed import process_group
    from gnnrec.inference.recommend_all import write_recommendations

    process_group.share_cores()
    with process_group.process_group(options.device) as world:
        source = open_source(path, options, world)
        if options.all:
            write_recommendations(source, options, world)
        elif world.is_main:
            _print(source, options)


def open_source(path: Path, options: RecommendOptions, world: World | None = None) -> VectorSource:
    """Opens the vectors of an export or a run.

    Raises:
        UserError: The path is neither.
    """
    if is_export(path):
        return ExportVectors(path, options.data, options.file)
    from gnnrec.distributed.world import World
    from gnnrec.inference.run_vectors import RunVectors

    return RunVectors(path, world or World(), options.checkpoint, options.data, options.chunk, options.file)


def is_export(path: Path) -> bool:
    """Returns whether a path is an export; otherwise it is a run.

    Raises:
        UserError: The path is neither, or an unfinished export.
    """
    path = Path(path)
    if (path / "config.yaml").exists():
        return False
    if (path / MANIFEST).exists():
        return True
    if (path / "users").is_dir() and (path / "movies").is_dir():
        raise UserError(f"{path} has no {MANIFEST}: run the same gnnrec export again to finish it")
    if not path.exists():
        raise UserError(f"{path} does not exist: pass a run directory or an export")
    raise UserError(f"{path} is not a run directory (it has no config.yaml), and not an export (no {MANIFEST})")


def _print(source: VectorSource, options: RecommendOptions) -> None:
    print("\n".join(recommend_one(source, options).lines()))
