"""Forgotten users are in no file of the dataset, and the others are as a preparation without them has them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from gnnrec.cli.main import run_command
from gnnrec.data.growth.compact import CompactOptions, compact
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.verify import VerifyDataOptions, verify_data
from gnnrec.errors import UserError
from tests.data.growth.days import grown_and_fresh, raw_ratings


@pytest.mark.parametrize("protocol", ["random", "global-time", "strong"])
def test_forgotten_users_leave_no_trace(days, tmp_path, protocol):
    options = {"protocol": protocol, "shards": 4, "test": 0.2, "validation": 0.2, "relevant": 2.5}
    grown, _ = grown_and_fresh(days, tmp_path, **options)
    before = PreparedDataset(grown.directory)
    users = before.users["user"].to_numpy()
    gone = [int(user) for user in (users[0], users[-1], users[13], users[14])]
    receipt = tmp_path / "receipt.json"
    words = ["prepare", str(grown.directory), "--forget-user", *map(str, gone), "--receipt", str(receipt)]
    run_command(words)
    data = PreparedDataset(grown.directory, verify=True)
    verify_data(data.directory, VerifyDataOptions())
    content = json.loads(receipt.read_text())
    lost = before.num_ratings - data.num_ratings
    assert (content["users"], content["ratings_removed"]) == (gone, lost) and lost > 10
    assert (content["fingerprint_before"], content["fingerprint"]) == (before.fingerprint, data.fingerprint)
    assert data.manifest.increments[-1]["counts"] == {"users": -4, "ratings": -lost}
    rows = np.load(data.path("user_rows_before.npy"))
    assert np.array_equal(users[rows], data.users["user"])
    for path in data.directory.rglob("*.npy"):
        assert path in {data.path(name) for name in data.manifest.files}, "an older file has the ratings"
    whole = pd.concat(days)
    kept = whole[~whole["user"].isin(gone)]
    kept.to_csv(tmp_path / "kept.csv", index=False)
    prepare(tmp_path / "kept", PrepareOptions(ratings=tmp_path / "kept.csv", **options))
    fresh = PreparedDataset(tmp_path / "kept")
    pd.testing.assert_frame_equal(raw_ratings(data), raw_ratings(fresh))
    assert (data.manifest.rating, data.manifest.split) == (fresh.manifest.rating, fresh.manifest.split)
    compact(data.directory, CompactOptions())
    assert PreparedDataset(data.directory, verify=True).users.equals(fresh.users)
    with pytest.raises(UserError, match="has changed since it was opened and its files are gone: open it again"):
        before.movie  # noqa: B018


def test_a_receipt_is_next_to_the_dataset_by_default(days, tmp_path):
    grown, _ = grown_and_fresh(days[:1], tmp_path, shards=4)
    user = grown.users["user"].iloc[3]
    run_command(["prepare", str(grown.directory), "--forget-user", str(user)])
    (path,) = tmp_path.glob("grown.forgotten-*.json")
    assert json.loads(path.read_text())["users"] == [user]
