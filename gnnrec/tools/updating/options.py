"""Options of ``gnnrec update``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from gnnrec.data.column_options import ColumnOptions
from gnnrec.data.growth.append_options import AppendOptions
from gnnrec.utils.bounds import bounded


@dataclasses.dataclass(kw_only=True)
class UpdateOptions(ColumnOptions):
    """Options of ``gnnrec update``.

    Args:
        ratings: Files, directories or patterns with new ratings, in any format that gnnrec prepare reads.
        out: Directory of generations to make; by default the one that is updated.
        movies: File with titles and genres of new movies; by default the movies file next to a ratings file, if any.
        movie_features: Files, directories or patterns with features of new movies; by default they have no values.
        user_features: The same for users.
        again: Append files that were appended before, and ratings that are all older than those of the dataset.
        share: Share of the steps of the first generation's training that an update takes; less where few ratings are
            new, seven times their share of all training ratings.
        lr: Peak learning rate of an update.
        fit_interest_after: Growth of the training ratings since interest was last fitted, as a share, from which it is
            fitted again; until then its movie tables stay, and newer movies are of no interest.
        tolerance: Rows of the export before stay where they changed by at most this share of a row's typical length.
        hold_back: Rise of the test RMSE without time over that of the generation before, on ratings of its users and
            movies, from which a generation is not published; by default every generation is.
        device: Device of every rank; auto is CUDA if available, else the CPU.
    """

    ratings: list[str] = dataclasses.field(default_factory=list)
    out: Path | None = None
    movies: Path | None = None
    movie_features: list[str] = dataclasses.field(default_factory=list)
    user_features: list[str] = dataclasses.field(default_factory=list)
    again: bool = False
    share: float = bounded(0.1, above=0, most=1)
    lr: float = bounded(0.006, above=0)
    fit_interest_after: float = bounded(0.01, least=0)
    tolerance: float = bounded(0.02, least=0)
    hold_back: float | None = bounded(None, least=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def append_options(self) -> AppendOptions:
        """The options with which the dataset is appended to."""
        names = [field.name for field in dataclasses.fields(ColumnOptions)]
        names += ["movies", "movie_features", "user_features", "again"]
        return AppendOptions(append=self.ratings, **{name: getattr(self, name) for name in names})
