"""``gnnrec prepare --dry-run``: reports how files are understood, from their first rows, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from gnnrec.data import rating_scale, read
from gnnrec.data.layout import Layout
from gnnrec.data.movies import movie_table
from gnnrec.data.prepare_options import PrepareOptions
from gnnrec.data.reading.json_lines import to_array
from gnnrec.data.reading.rows import SAMPLE, first_rows
from gnnrec.data.reading_report import ReadingReport
from gnnrec.utils.log import logger

#: Files whose first rows are read.
_FILES = 10


def dry_run(layouts: list[Layout], movies_path: Path | None, options: PrepareOptions) -> None:
    """Prints the report of the first rows.

    Args:
        layouts: The ratings files.
        movies_path: The movies file, or None.
        options: The options.

    Raises:
        UserError: Bad input in these rows.
    """
    some = layouts[:_FILES]
    parts: list[list[read.RatingColumns]] = []
    for layout in some:
        with read.explain_errors(layout):
            parts.append([read.check_columns(layout, _first_columns(layout))])
    ratings = read.join(some[0], parts)
    read.refuse_mixed_ids(some, ratings)
    by_file = np.split(ratings.rating, np.cumsum(ratings.file_rows)[:-1])
    scale = rating_scale.resolve_all(some, options.rating_scale, by_file)
    _, titles = movie_table(ratings.movie.raw, movies_path, options.movies_names())
    logger.info(f"dry run, first {len(ratings.rating):,} rows (nothing is written):")
    ReadingReport.of(layouts, ratings, scale, movies_path, titles).log()


def _first_columns(layout: Layout) -> dict[str, pa.ChunkedArray]:
    rows = first_rows(layout, SAMPLE)
    positions = {role: layout.header.index(name) for role, name in layout.columns.items()}
    return {role: pa.chunked_array([to_array([row[position] for row in rows])]) for role, position in positions.items()}
