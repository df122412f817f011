"""``gnnrec recommend``: movies for one user or all users, and movies similar to a movie.

For one user of an export neither torch nor pandas is imported: importing them takes longer than the answer.
"""

from __future__ import annotations

import os
from pathlib import Path

from gnnrec.inference.open_source import is_export, open_source
from gnnrec.inference.recommend_one import recommend_one
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import VectorSource
from gnnrec.utils.log import print_line, printable


def run_recommend(path: Path, options: RecommendOptions) -> None:
    """Runs the command: prints movies, or writes them with ``options.all``.

    Args:
        path: Run directory or export.
        options: The options.
    """
    options.check()
    if not options.all and is_export(path):
        if os.environ.get("RANK", "0") == "0":
            _print(open_source(path, options), options)
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


def _print(source: VectorSource, options: RecommendOptions) -> None:
    print_line("\n".join(map(printable, recommend_one(source, options).lines())))
