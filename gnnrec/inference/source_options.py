"""Options that say which vectors to read, for all commands that take a run or an export."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from gnnrec.data.column_options import ColumnOptions
from gnnrec.inference.ratings_file import RatingsFile
from gnnrec.utils.bounds import bounded


@dataclasses.dataclass(kw_only=True)
class SourceOptions(ColumnOptions):
    """Vectors of a run or an export.

    Args:
        chunk: Users whose ratings are in memory at a time, with a run.
        checkpoint: Checkpoint of a run.
        ratings: Ratings file whose users replace those of the dataset, in any layout that gnnrec prepare reads: new
            users from these ratings alone, known ones from these and those of the dataset. With an export that was made
            from such a file, that file.
        user_features: Files with features of users, with the columns of those that the dataset was prepared with: these
            users replace those of the dataset, with the ratings of --ratings or without any; by default none.
        data: Prepared dataset, if it has moved since training; by default the one that is recorded.
        device: Device of every rank; auto is CUDA if available, else the CPU.
    """

    chunk: int = bounded(65536, least=1)
    checkpoint: Literal["best", "last"] = "best"
    ratings: Path | None = None
    user_features: list[str] = dataclasses.field(default_factory=list)
    data: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @property
    def file(self) -> RatingsFile | None:
        """The files of users, if any."""
        if self.ratings is None and not self.user_features:
            return None
        return RatingsFile(self.ratings, self.named_columns(), tuple(self.user_features))
