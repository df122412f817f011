"""MovieLens datasets that can be downloaded by name, with their license and citation."""

from __future__ import annotations

import dataclasses

from gnnrec.errors import UserError

BASE_URL = "https://files.grouplens.org/datasets/movielens"
LICENSE = (
    "MovieLens data come from GroupLens, University of Minnesota, under the license in their README: "
    "research use, no redistribution and no commercial use without permission."
)
CITATION = (
    "Please cite: F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. "
    "ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19. https://doi.org/10.1145/2827872"
)


@dataclasses.dataclass(frozen=True)
class Archive:
    """A published zip file.

    Attributes:
        name: File name without ``.zip``.
        members: Files to extract, by base name; the first one holds the ratings.
        md5: Checksum of the published file, or None if it is replaced from time to time.
        folder: Folder inside the zip file.
        base_url: URL of the directory that holds the zip file.
        credit: License and citation, printed with every download.
    """

    name: str
    members: tuple[str, ...]
    md5: str | None
    folder: str
    base_url: str = BASE_URL
    credit: str = f"{LICENSE}\n{CITATION}"


_CSV = ("ratings.csv", "movies.csv", "README.txt")
#: Published splits of ml-100k: five folds, and two with ten ratings of each user held out.
ML_100K_SPLITS = tuple(f"u{split}.{part}" for split in "12345ab" for part in ("base", "test"))
ARCHIVES = {
    archive.name: archive
    for archive in (
        Archive("ml-latest-small", _CSV, None, "ml-latest-small"),
        # users.dat and tags.dat are not read.
        Archive("ml-1m", ("ratings.dat", "movies.dat", "README"), "c4d9eecfca2ab87c1945afe126590906", "ml-1m"),
        Archive(
            "ml-10m", ("ratings.dat", "movies.dat", "README.html"), "ce571fd55effeba0271552578f2648bd", "ml-10M100K"
        ),
        Archive("ml-20m", _CSV, "cd245b17a1ae2cc31bb14903e1204af3", "ml-20m"),
        Archive("ml-25m", _CSV, "6b51fb2759a8657d3bfcbfc42b592ada", "ml-25m"),
        Archive("ml-32m", _CSV, "d472be332d4daa821edc399621853b57", "ml-32m"),
        Archive(
            "ml-100k", ("u.data", "u.item", "README", *ML_100K_SPLITS), "0e33842e24a9c977be4e0107933c0723", "ml-100k"
        ),
    )
}


def archive(name: str) -> Archive:
    """Returns the archive of a dataset; raises :class:`UserError` for an unknown name."""
    if name not in ARCHIVES:
        raise UserError(f"--dataset {name} is unknown: choose one of {', '.join(ARCHIVES)}, or pass --ratings FILE")
    return ARCHIVES[name]
