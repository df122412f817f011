"""Numbers of training ratings of users and movies."""

from __future__ import annotations

import numpy as np

from gnnrec.data.blocks import user_blocks
from gnnrec.data.prepared import TRAIN, PreparedDataset

#: Ratings that are counted at a time.
_RATINGS = 1 << 22


def training_degrees(dataset: PreparedDataset) -> tuple[np.ndarray, np.ndarray]:
    """Returns the training ratings of each user and of each movie, int64 ``[users]`` and int64 ``[movies]``.

    Raises:
        UserError: The dataset is damaged.
    """
    users, movies = np.zeros(dataset.num_users, np.int64), np.zeros(dataset.num_movies, np.int64)
    for first, end in user_blocks(dataset.user_ptr, _RATINGS):
        dataset.check(first, end)
        ptr = dataset.user_ptr[first : end + 1].astype(np.int64)
        train = np.asarray(dataset.split[ptr[0] : ptr[-1]]) == TRAIN
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(train)])
        users[first:end] = np.diff(sums[ptr - ptr[0]])
        movies += np.bincount(dataset.movie[ptr[0] : ptr[-1]][train], minlength=len(movies))
    return users, movies
