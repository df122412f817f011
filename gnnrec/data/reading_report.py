"""Prints how ``gnnrec prepare`` has understood its files, and warns about what is probably a mistake."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import numpy as np

from gnnrec.data.ids import EncodedIds
from gnnrec.data.layout import ID_ROLES, Layout, shown
from gnnrec.data.read import Ratings
from gnnrec.data.reading import times
from gnnrec.utils.log import logger

_KINDS = {
    "csv": "CSV", "dat": ":: between fields", "json": "JSON records", "netflix": "Netflix Prize", "parquet": "Parquet",
}  # fmt: skip
_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", " ": "blanks"}
_DAY = 86400


@dataclasses.dataclass
class TimeRange:
    """The first and the last of some times, and how many are not plausible.

    Attributes:
        first: Seconds since 1970.
        last: Seconds since 1970.
        implausible: Number of times before 1970 or after tomorrow.
    """

    first: int
    last: int
    implausible: int

    @staticmethod
    def of(timestamp: np.ndarray | None) -> TimeRange | None:
        """The range of timestamps in seconds, int64 ``[ratings]``; None without any."""
        if timestamp is None or not len(timestamp):
            return None
        first, last, tomorrow = int(timestamp.min()), int(timestamp.max()), _tomorrow()
        plausible = 0 <= first and last <= tomorrow
        implausible = 0 if plausible else int(((timestamp < 0) | (timestamp > tomorrow)).sum())
        return TimeRange(first, last, implausible)

    @staticmethod
    def merge(ranges: list[TimeRange]) -> TimeRange | None:
        """The range of all parts."""
        if not ranges:
            return None
        first, last = min(part.first for part in ranges), max(part.last for part in ranges)
        return TimeRange(first, last, sum(part.implausible for part in ranges))


@dataclasses.dataclass
class IdSummary:
    """The ids of one role.

    Attributes:
        is_text: They are kept as text.
        example: One of them.
        integer_rows: Number of ratings whose id is an integer.
        other_ids: Up to two ids that are no integers.
    """

    is_text: bool
    example: object
    integer_rows: int
    other_ids: tuple[str, ...]

    @staticmethod
    def of(encoded: EncodedIds) -> IdSummary:
        """The summary of encoded ids."""
        return IdSummary(encoded.raw.dtype == object, encoded.raw[0], encoded.integer_rows, encoded.other_ids)


@dataclasses.dataclass
class ReadingReport:
    """The columns, times, ids and titles that were found in files.

    Attributes:
        layouts: The ratings files.
        ids: Role -> its ids.
        ratings: Number of rows that were read.
        scale: Lowest and highest possible rating.
        times: Range of the times, or None.
        left_out: Number of rows with a rating that stands for "not rated".
        movies_path: The movies file, or None.
        movies: Number of rated movies.
        titles: Number of rated movies in the movies file.
        tells_titles: Print the number of titles.
    """

    layouts: list[Layout]
    ids: dict[str, IdSummary]
    ratings: int
    scale: tuple[float, float]
    times: TimeRange | None
    left_out: int
    movies_path: Path | None
    movies: int
    titles: int
    tells_titles: bool = True

    @staticmethod
    def of(
        layouts: list[Layout], ratings: Ratings, scale: tuple[float, float], movies_path: Path | None, titles: int
    ) -> ReadingReport:
        """The report of ratings in memory; see the attributes."""
        return ReadingReport(
            layouts=layouts,
            ids={role: IdSummary.of(getattr(ratings, role)) for role in ID_ROLES},
            ratings=len(ratings.rating),
            scale=scale,
            times=TimeRange.of(ratings.timestamp),
            left_out=ratings.left_out,
            movies_path=movies_path,
            movies=len(ratings.movie.raw),
            titles=titles,
        )

    def log(self) -> None:
        """Prints the report, and warnings."""
        first, others = self.layouts[0], len(self.layouts) - 1
        kind = _KINDS[first.kind]
        if first.kind == "csv":
            kind += f" with {_DELIMITERS[first.delimiter]}" + ("" if first.header_lines else ", no header")
        more = f" and {others:,} more" if others else ""
        logger.info(f"  {first.path.name}{more}: {kind}; " + "; ".join(self._columns()))
        if self.left_out:
            logger.info(f"  {self.left_out:,} rows left out (--not-rated)")
        if not self.tells_titles:
            pass
        elif self.movies_path is None:
            logger.info("  no movies file: titles are ids (--movies names one)")
        else:
            logger.info(f"  titles of {self.titles:,} of {self.movies:,} movies ({self.movies_path.name})")
        for warning in self._warnings():
            logger.warning(warning)

    def _columns(self) -> list[str]:
        columns = self.layouts[0].columns
        described = [
            f"{role} '{shown(columns[role])}': {'text' if self.ids[role].is_text else 'integers'}" for role in ID_ROLES
        ]
        low, high = self.scale
        name = f" '{shown(columns['rating'])}'" if "rating" in columns else ""
        described.append(f"rating{name}: {low:g} to {high:g}" if name else "no ratings (--implicit)")
        if self.times is None:
            described.append("no times")
        else:
            units = sorted({times.UNIT_NAMES[layout.time_unit] for layout in self.layouts})
            span = f"{_date(self.times.first)} to {_date(self.times.last)}"
            described.append(f"time '{shown(columns['timestamp'])}': {', '.join(units)}, {span}")
        return described

    def _warnings(self) -> list[str]:
        warnings = []
        for role in ID_ROLES:
            summary = self.ids[role]
            if role not in self.layouts[0].text_ids and summary.other_ids and summary.integer_rows:
                warnings.append(
                    f"{role} ids are of mixed kinds: {summary.integer_rows:,} of {self.ratings:,} ratings have "
                    f"integers, the others ids such as '{shown(summary.other_ids[0])}'; all are kept as text"
                )
        if self.times is not None and self.times.implausible:
            warnings.append(
                f"{self.times.implausible:,} of {self.ratings:,} times are outside 1970 to tomorrow: they range from "
                f"{_date(self.times.first)} to {_date(self.times.last)} (check --timestamp-column)"
            )
        if self.movies_path is not None and not self.titles:
            warnings.append(
                f"titles of 0 of {self.movies:,} movies: no movie of {self.movies_path.name} has an id of the ratings, "
                f"such as {shown(self.ids['movie'].example)} (check --movie-column and the file)"
            )
        return warnings


def _tomorrow() -> int:
    return int(datetime.datetime.now(datetime.timezone.utc).timestamp()) + _DAY


def _date(seconds: int) -> str:
    """The day of a time, also before the year 1 and after the year 9999."""
    return str(np.datetime64(seconds, "s").astype("datetime64[D]"))
