"""Three exports that follow one another, the deltas between them, and a comparison of a store with one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.generations.delta import write_delta
from gnnrec.inference.generations.stored_rows import StoredRows
from gnnrec.stores.open_store import opened_store
from tests.inference.made_export import GENRES, all_scores, make_dataset, make_export, read


class Generations:
    """Three exports, the second with fewer movies and the third with all again, and the deltas between them."""

    def __init__(self, place: Path):
        self.data = make_dataset(place / "data")
        self.few = make_dataset(place / "few", movies=20)
        self.exports = [
            make_export(data, place / f"export{number}", seed=number)
            for number, data in enumerate((self.data, self.few, self.data))
        ]
        stored = [StoredRows(out, read_manifest(out)) for out in self.exports]
        self.deltas = [place / "delta0", place / "delta1"]
        for number, out in enumerate(self.deltas):
            write_delta(stored[number], stored[number + 1], out, overwrite=False)


def check_content(address: str, name: str, generations: Generations, number: int) -> None:
    """Compares searches for some users, and their vectors, with an export."""
    export, data = generations.exports[number], (generations.data, generations.few, generations.data)[number]
    scores, (users, bias) = all_scores(export), read(export, "user")
    row_of = {movie: row for row, movie in enumerate(data.movies["movie"].tolist())}
    genres = [GENRES[(movie - 2) // 5 % 4].split("|") for movie in row_of]
    with opened_store(address, name) as store:
        rows = range(number, len(users), 6)
        found = [store.find_user(int(data.users["user"][row])) for row in rows]
        further = np.tile([1, 0], (len(users), 1))
        np.testing.assert_array_equal([vector for vector, _ in found], np.hstack([users, further])[rows])
        np.testing.assert_array_equal([own for _, own in found], bias[rows])
        assert store.find_user(10**9) is None
        queries = np.stack([vector for vector, _ in found])
        for genre, top in ((None, 5), (None, 100), ("Drama", 5), ("Action", 100)):
            allowed = [row for row, own in enumerate(genres) if genre is None or genre in own]
            for user, hits in zip(rows, store.search(queries, top, genre), strict=True):
                movies = [row_of[hit.movie] for hit in hits]
                assert len(set(movies)) == len(movies) and set(movies) <= set(allowed)
                expected = np.sort(scores[user, allowed])[::-1][:top]
                actual = [hit.score + bias[user] + 1.0 for hit in hits]  # 1 is the offset of these exports
                np.testing.assert_allclose(actual, expected, atol=1e-4)
                np.testing.assert_allclose(scores[user, movies], expected, atol=1e-4)
