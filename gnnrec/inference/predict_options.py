"""Options of ``gnnrec predict``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.inference.outputs import check_output_file
from gnnrec.inference.source_options import SourceOptions
from gnnrec.utils.bounds import bounded, check_bounds

#: Endings of the output file.
SUFFIXES = (".csv", ".csv.gz", ".parquet")


@dataclasses.dataclass
class PredictOptions(SourceOptions):
    """Options of ``gnnrec predict``.

    Args:
        pairs: File of pairs, CSV (also gzipped) or Parquet, with a column of users and one of movies. Further columns
            are ignored.
        out: File to write, with a row for each pair in the order of the pairs. Its name ends in .csv, .csv.gz or
            .parquet, and it may be an address that fsspec opens (s3://, https://).
        user_column: Column of the user ids in the pairs file, and in the ratings file if one is read; by default
            guessed from usual names.
        movie_column: Column of the movie ids in the pairs file, and in the ratings file if one is read; by default
            guessed.
        block: Pairs in memory at a time.
        overwrite: Replace the output file if it exists.
    """

    pairs: Path
    out: Path
    block: int = bounded(1_000_000, least=1)
    overwrite: bool = False

    def check(self) -> None:
        """Checks the values of the options.

        Raises:
            UserError: An invalid value; the message names the option.
        """
        check_bounds(self)
        if not self.out.name.endswith(SUFFIXES):
            raise UserError(f"--out {self.out}: its name must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
        for name in ("pairs", "ratings"):
            path = getattr(self, name)
            if path is not None and self.out.exists() and path.exists() and self.out.samefile(path):
                raise UserError(f"--out {self.out} is also --{name}: choose another file")
        check_output_file(self.out, self.overwrite)
