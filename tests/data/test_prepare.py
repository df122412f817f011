"""End-to-end tests of prepare: contents of the output, and independence of the order of the rows."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST
from gnnrec.data.split import PROTOCOLS


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("ids", ["integers", "strings"])
def test_row_order_does_not_matter(table, tmp_path, prepared, protocol, ids):
    if ids == "strings":
        table = table.assign(userId="u" + table["userId"].astype(str), movieId="m" + table["movieId"].astype(str))
    older = table.sample(50, random_state=0).assign(rating=0.5, timestamp=table["timestamp"] - 10**8)
    whole = pd.concat([table, older])
    options = {"protocol": protocol, "shards": 4, "seed": 3, "user_column": "userId"}
    for seed in (1, 2):
        whole.sample(frac=1, random_state=seed).to_csv(tmp_path / f"{seed}.csv", index=False)
    first, second = (prepared(tmp_path / f"{seed}.csv", tmp_path / f"out{seed}", **options) for seed in (1, 2))
    assert first.manifest.files == second.manifest.files
    assert first.manifest.source != second.manifest.source
    first.manifest.source = second.manifest.source
    assert first.manifest == second.manifest
    assert first.manifest.counts["duplicates_dropped"] == 50


def test_output_follows_the_data_format(table, tmp_path, prepared, edges, capsys):
    table.to_csv(tmp_path / "ratings.csv", index=False)
    data = prepared(tmp_path, tmp_path / "out", shards=8, test=0.2)
    counts = data.manifest.counts
    assert counts == {"users": 40, "movies": 30, "ratings": 600, "duplicates_dropped": 0}
    assert data.users["row"].tolist() == list(range(40)) and data.users["user"].is_unique
    assert not data.users["user"].is_monotonic_increasing
    counts = table["movieId"].value_counts()
    assert data.movies["movie"].tolist() == sorted(counts.index, key=lambda movie: (-counts[movie], movie))
    assert len(counts.unique()) > 5 and counts.duplicated().any()
    assert data.movies["title"].tolist() == data.movies["movie"].astype(str).tolist()
    types = {name: getattr(data, name).dtype for name in ("user_ptr", "movie", "rating", "split", "timestamp")}
    assert types == {
        "user_ptr": np.int64,
        "movie": np.int32,
        "rating": np.float32,
        "split": np.uint8,
        "timestamp": np.int64,
    }
    for start, end in zip(data.user_ptr, data.user_ptr[1:]):
        assert (np.diff(data.movie[start:end]) > 0).all() and end > start
    assert data.manifest.split["counts"]["test"] == (edges(data)["split"] == TEST).sum()
    assert 0.12 < data.manifest.split["counts"]["test"] / 600 < 0.28
    assert (len(data.manifest.shards), data.manifest.shards[0], data.manifest.shards[-1]) == (9, 0, 40)
    printed = capsys.readouterr().out
    assert "40 users, 30 movies, 600 ratings" in printed and "0 duplicates dropped" in printed


def test_seeds_give_different_datasets(table, tmp_path, prepared):
    table.to_csv(tmp_path / "ratings.csv", index=False)
    first, second = (prepared(tmp_path, tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert first.users["user"].tolist() != second.users["user"].tolist()
    assert first.fingerprint != second.fingerprint


def test_more_than_64_ratings_become_20_levels(tmp_path, prepared):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"user": np.arange(200) % 9, "item": np.arange(200), "score": rng.random(200) * 10})
    frame.loc[:1, "score"] = [0, 10]
    frame.to_csv(tmp_path / "a.csv", index=False)
    rating = prepared(tmp_path / "a.csv", tmp_path / "out").manifest.rating
    assert (rating["min"], rating["max"]) == (0, 10)
    assert len(rating["levels"]) == 20 and set(rating["levels"]) <= set(
        frame["score"].astype(np.float32).astype(str).astype(float)
    )
    np.testing.assert_allclose(rating["levels"], np.quantile(frame["score"], (np.arange(20) + 0.5) / 20), atol=0.6)


def test_scale_from_data_is_written_in_short_decimals(tmp_path, prepared):
    (tmp_path / "a.csv").write_text("user,item,score\n1,1,0.1\n2,1,0.7\n")
    rating = prepared(tmp_path / "a.csv", tmp_path / "out", test=0, validation=0).manifest.rating
    assert (rating["min"], rating["max"], rating["levels"]) == (0.1, 0.7, [0.1, 0.7])
    assert (rating["mean"], rating["std"]) == pytest.approx((0.4, 0.3))
    manifest = prepare(tmp_path / "wide", PrepareOptions(ratings=tmp_path / "a.csv", rating_scale=(0, 1)))
    assert (manifest.rating["min"], manifest.rating["max"]) == (0, 1)


@pytest.mark.slow
def test_prepare_does_not_import_training_packages():
    code = (
        "import sys, gnnrec.cli.main; gnnrec.cli.main.COMMANDS['prepare'].load(); "
        "print([name for name in ('torch_geometric', 'torch._dynamo', 'numba', 'scipy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
