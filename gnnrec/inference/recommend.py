"""``gnnrec recommend``: movies for one user or all users, and movies like another one.

For one user of an export nothing of torch or pandas is imported: they take longer than the answer.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec.errors import UserError
from gnnrec.inference.export_directory import MANIFEST
from gnnrec.inference.recommend_one import Answer, for_user, like_movie
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import VectorSource
from gnnrec.inference.vectors_of_export import VectorsOfExport

if TYPE_CHECKING:
    import pandas as pd

    from gnnrec.distributed.world import World


def run_recommend(path: Path, options: RecommendOptions) -> None:
    """The command: prints, or writes.

    Args:
        path: Run directory or export.
        options: The options.
    """
    options.check()
    if not options.all and is_export(path):
        if os.environ.get("RANK", "0") == "0":
            _print(_answer(VectorsOfExport(path, options.data, options.file), options))
        return
    from gnnrec.distributed import process_group

    process_group.share_cores()
    with process_group.process_group(options.device) as world:
        if options.all:
            recommend_all(path, options, world)
            return
        answer = _answer(open_source(path, options, world), options)
        if world.is_main:
            _print(answer)


def recommend(path: Path, options: RecommendOptions, world: World | None = None) -> pd.DataFrame:
    """Movies for ``options.user``, or movies like ``options.similar_to``.

    Args:
        path: Run directory of ``train_dist.py``, or export.
        options: The options.
        world: The ranks; every rank calls this.

    Returns:
        Columns ``rank``, ``movie`` (raw id), ``title``, and ``rating`` (predicted, clipped to the scale), ``score`` (of
        a ranking model) or ``similarity``.
    """
    import pandas as pd

    options.check()
    answer = _answer(open_source(path, options, world), options)
    ranks = range(1, len(answer.titles) + 1)
    columns = {"rank": ranks, "movie": answer.movies, "title": answer.titles, answer.name: answer.scores}
    return pd.DataFrame(columns)


def recommend_all(path: Path, options: RecommendOptions, world: World) -> dict:
    """Movies for all users: see :func:`gnnrec.inference.recommend_all.write_recommendations`."""
    from gnnrec.inference.recommend_all import write_recommendations

    options.check()
    return write_recommendations(open_source(path, options, world), options, world)


def open_source(path: Path, options: RecommendOptions, world: World | None = None) -> VectorSource:
    """The vectors of an export or a run.

    Raises:
        UserError: Neither of them.
    """
    if is_export(path):
        return VectorsOfExport(path, options.data, options.file)
    from gnnrec.distributed.world import World
    from gnnrec.inference.vectors_of_run import VectorsOfRun

    return VectorsOfRun(path, world or World(), options.checkpoint, options.data, options.chunk, options.file)


def is_export(path: Path) -> bool:
    """Whether a path is an export; otherwise it is a run.

    Raises:
        UserError: Neither of them, or an export that is not complete.
    """
    path = Path(path)
    if (path / "config.yaml").exists():
        return False
    if (path / MANIFEST).exists():
        return True
    if (path / "users").is_dir() and (path / "movies").is_dir():
        raise UserError(f"{path} has no {MANIFEST}: run the same gnnrec export again to finish it")
    raise UserError(f"{path} is not a run directory (it has no config.yaml), and not an export (no {MANIFEST})")


def print_recommendations(user: str, table: pd.DataFrame) -> None:
    """A table of :func:`recommend` as text."""
    name = table.columns[-1]
    movies, titles = table["movie"].tolist(), table["title"].tolist()
    _print(Answer([f"for user {user}"], movies, titles, table[name].to_numpy(), name))


def _answer(source: VectorSource, options: RecommendOptions) -> Answer:
    return like_movie(source, options) if options.user is None else for_user(source, options)


def _print(answer: Answer) -> None:
    print("\n".join(answer.lines()))
