"""Files of all kinds give the ratings that pandas has written, in memory and in splits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gnnrec.data.growth.append import append
from gnnrec.data.growth.append_options import AppendOptions
from gnnrec.data.out_of_core import prepare as out_of_core
from gnnrec.data.out_of_core.size import Plan
from gnnrec.data.prepared import PreparedDataset
from tests.data.file_cases import CASES
from tests.data.file_tables import Case, assert_same_bytes, movies


@pytest.fixture
def small_splits(monkeypatch) -> None:
    """Input splits of about 137 rows, and two buckets."""
    monkeypatch.setattr(out_of_core, "plan", lambda layouts, options: Plan(137, 1))


def assert_holds(data: PreparedDataset, case: Case) -> None:
    """Compares ids, ratings, times, titles and genres with the table of the case, types included."""
    user = np.repeat(data.users["user"].to_numpy(), np.diff(data.user_ptr))
    actual = pd.DataFrame({"user": user, "movie": data.movies["movie"].to_numpy()[data.movie], "rating": data.rating})
    if data.timestamp is not None:
        actual["time"] = data.timestamp
    expected = case.expected.sort_values(["user", "movie"], ignore_index=True)
    actual = actual.sort_values(["user", "movie"], ignore_index=True)
    pd.testing.assert_frame_equal(actual[list(expected.columns)], expected, check_dtype=False)
    assert list(actual.columns) == list(expected.columns)
    for name, column in (("user", data.users["user"]), ("movie", data.movies["movie"])):
        assert pd.api.types.is_integer_dtype(column) == pd.api.types.is_integer_dtype(expected[name]), name
    rating = data.manifest.rating
    assert (rating["min"], rating["max"]) == (expected["rating"].min(), expected["rating"].max())
    if case.titles:
        listed = movies().astype({"movie": str}).set_index("movie").loc[data.movies["movie"].astype(str)]
        assert data.movies["title"].tolist() == listed["title"].tolist()
        assert data.movies["genres"].tolist() == listed["genres"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_files_are_read_in_memory_and_in_splits(name, tmp_path, prepared, small_splits):
    (tmp_path / "in").mkdir()
    case = CASES[name](tmp_path / "in")
    data = prepared(case.path, tmp_path / "memory", engine="memory", shards=4, **case.options)
    assert_holds(data, case)
    prepared(case.path, tmp_path / "stream", engine="stream", workers=1, shards=4, **case.options)
    assert_same_bytes(tmp_path / "memory", tmp_path / "stream")
    append(tmp_path / "memory", AppendOptions([str(case.path)], again=True))
    grown = PreparedDataset(tmp_path / "memory", verify=True)
    if "implicit" in case.options:
        assert np.array_equal(grown.rating, 2 * data.rating)
    else:
        assert_holds(grown, case)
    counts = grown.manifest.increments[0]["counts"]
    assert (counts["ratings"], counts["changed"]) == (0, data.num_ratings)
