"""``gnnrec prepare --verify``: checks a prepared dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from gnnrec.data.blocks import user_blocks
from gnnrec.data.features.node_features import NODES
from gnnrec.data.prepared import SPLIT_NAMES, TRAIN, PreparedDataset
from gnnrec.data.rating_counts import RatingCounts
from gnnrec.data.shard_check import AGAIN
from gnnrec.errors import UserError
from gnnrec.utils.log import logger

#: Ratings per block.
_BLOCK = 1 << 20


@dataclasses.dataclass
class VerifyDataOptions:
    """Options of ``gnnrec prepare --verify``: there are none."""


def verify_data(directory: Path, options: VerifyDataOptions) -> None:
    """Reads all files and prints one line.

    Checks checksums, types, sizes and bounds; that movies ascend within a user; that raw ids are unique; and that the
    counts of splits, mean and standard deviation of the manifest are those of the ratings.

    Args:
        directory: The prepared dataset.
        options: The options.

    Raises:
        UserError: A check failed; the message names the file.
    """
    dataset = PreparedDataset(directory, verify=True)
    dataset.check()
    for node in NODES:
        if (features := dataset.features(node)) is not None:
            features.check()
    for table, column in (("users", "user"), ("movies", "movie")):
        ids = getattr(dataset, table)[column]
        if ids.isna().any() or ids.duplicated().any():
            raise UserError(f"{dataset.path(f'{table}.parquet')} is damaged (ids are missing or not unique): {AGAIN}")
    manifest, low = dataset.manifest, dataset.manifest.rating["min"]
    counts, train = np.zeros(len(SPLIT_NAMES), np.int64), RatingCounts(np.empty(0, np.float32), np.empty(0), low)
    for first, end in user_blocks(dataset.user_ptr, _BLOCK):
        pointer = np.asarray(dataset.user_ptr[first : end + 1])
        edges = slice(int(pointer[0]), int(pointer[-1]))
        ascends = np.diff(dataset.movie[edges]) > 0
        last = pointer[1:-1][np.diff(pointer)[:-1] > 0] - pointer[0] - 1  # of each user but the last one
        ascends[last[last < len(ascends)]] = True
        if not ascends.all():
            raise UserError(f"{dataset.path('movie.npy')} is damaged (rows do not ascend within a user): {AGAIN}")
        split = np.asarray(dataset.split[edges])
        counts += np.bincount(split, minlength=len(SPLIT_NAMES))
        train = RatingCounts.merge(
            [train, RatingCounts.of(np.asarray(dataset.rating[edges])[split == TRAIN], low)], low
        )
    if counts.tolist() != [manifest.split["counts"][name] for name in SPLIT_NAMES]:
        raise UserError(f"{dataset.path('split.npy')} does not have the counts of manifest.json: {AGAIN}")
    if train.moments() != (manifest.rating["mean"], manifest.rating["std"]):
        raise UserError(f"{dataset.path('rating.npy')} does not have the mean of manifest.json: {AGAIN}")
    size = sum(entry["bytes"] for entry in manifest.files.values())
    logger.info(f"{dataset.directory} is sound: {len(manifest.files)} files, {size / 2**20:.1f} MiB, {dataset!r}")
