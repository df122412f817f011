"""Scores of requests that arrive together: one pass over the movies for all of them."""

from __future__ import annotations

import asyncio

import numpy as np

from gnnrec.inference.movie_ranker import MovieRanker

#: Users in one product: more of them make others wait, and save little.
MOST_USERS = 8
#: Scores of a product: fewer users at a time where there are many movies.
MOST_SCORES = 4_000_000


class Batcher:
    """Collects the vectors that wait for scores while other requests are read."""

    def __init__(self) -> None:
        self._waiting: list[tuple[MovieRanker, np.ndarray, asyncio.Future[np.ndarray]]] = []

    async def scores(self, ranker: MovieRanker, vectors: np.ndarray) -> np.ndarray:
        """Returns :meth:`gnnrec.inference.movie_ranker.MovieRanker.scores` of one user, float32 ``[movies]``.

        Args:
            ranker: The movies.
            vectors: The user's vector, float32 ``[1, dim]``.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[np.ndarray] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._answer)
        self._waiting.append((ranker, vectors, future))
        return await future

    def _answer(self) -> None:
        """Answers those that have the same movies as the first one, as many as one product takes."""
        ranker = self._waiting[0][0]
        most = max(1, min(MOST_USERS, MOST_SCORES // max(len(ranker.order.first.bias), 1)))
        mine = [entry for entry in self._waiting if entry[0] is ranker][:most]
        self._waiting = [entry for entry in self._waiting if not any(entry is other for other in mine)]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._answer)
        live = [(vectors, future) for _, vectors, future in mine if not future.done()]
        if not live:
            return
        try:
            scores = ranker.scores(np.concatenate([vectors for vectors, _ in live]))
        except Exception as error:
            for _, future in live:
                future.set_exception(error)
            return
        for (_, future), row in zip(live, scores):
            future.set_result(row)
