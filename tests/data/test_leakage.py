"""The audit of a split against plain loops over users."""

from __future__ import annotations

import numpy as np
import pytest

from gnnrec.cli.main import run_command
from gnnrec.data import leakage
from gnnrec.data.leakage import audit_split
from gnnrec.data.prepared import PreparedDataset
from tests.data.file_tables import ratings


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch) -> None:
    monkeypatch.setattr(leakage, "_BLOCK", 100)


def counted(data: PreparedDataset) -> dict[str, int]:
    """The same counts, rating by rating."""
    counts = dict.fromkeys(vars(leakage.SplitAudit()), 0)
    trained = set(data.movie[data.split == 0].tolist())
    cold_movies = set()
    for start, end in zip(data.user_ptr, data.user_ptr[1:]):
        split, movie, time = data.split[start:end], data.movie[start:end], data.timestamp[start:end]
        known = time[np.isin(split, (0, 3, 4))]
        held_out = np.flatnonzero((split == 1) | (split == 2))
        counts["cold_users"] += len(held_out) > 0 and len(known) == 0
        for position in held_out:
            counts["held_out"] += 1
            counts["same_session"] += bool((np.abs(known - time[position]) <= 1800).any())
            counts["later"] += bool((known > time[position]).any())
            counts["equal_time"] += bool((known == time[position]).any())
            counts["cold_user_ratings"] += len(known) == 0
            if movie[position] not in trained:
                counts["cold_movie_ratings"] += 1
                cold_movies.add(int(movie[position]))
    return counts | {"cold_movies": len(cold_movies)}


@pytest.mark.parametrize("protocol", ["random", "temporal", "global-time", "strong", "leave-last"])
@pytest.mark.parametrize("spread", [50, 20_000, 10**8])
def test_counts_are_those_of_plain_loops(tmp_path, prepared, protocol, spread):
    frame = ratings().assign(time=lambda table: 10**9 + table.time % spread)
    frame = frame[(frame.movie > 5) | (frame.user % 20 == 0)]
    frame.to_csv(tmp_path / "a.csv", index=False)
    options = {"protocol": protocol, "test": 0.3, "validation": 0.3, "relevant": 2.0, "shards": 4}
    data = prepared(tmp_path / "a.csv", tmp_path / "out", **options)
    audit = audit_split(data)
    assert vars(audit) == counted(data)
    assert audit.held_out > 50
    if protocol in ("global-time", "leave-last"):
        assert audit.later == 0


def test_cold_users_and_data_without_times(tmp_path, prepared):
    frame = ratings().drop(columns="time").assign(split="train")
    frame.loc[(frame.user == 7) | (frame.movie == 9), "split"] = "test"
    frame.to_csv(tmp_path / "a.csv", index=False)
    audit = audit_split(prepared(tmp_path / "a.csv", tmp_path / "out", split_column="split", shards=4))
    assert (audit.later, audit.cold_users, audit.cold_movies) == (None, 1, 1)
    assert audit.cold_user_ratings == (frame.user == 7).sum() and audit.cold_movie_ratings == (frame.movie == 9).sum()
    assert len(audit.lines()) == 1 and "1 users without training ratings" in audit.lines()[0]


def test_prepare_prints_it(tmp_path, capsys):
    ratings().to_csv(tmp_path / "a.csv", index=False)
    run_command(["prepare", str(tmp_path / "out"), "--ratings", str(tmp_path / "a.csv"), "--audit", "--shards", "4"])
    printed = capsys.readouterr().out
    audit = audit_split(PreparedDataset(tmp_path / "out"))
    assert f"of {audit.held_out} held-out ratings, " in printed
    assert f"{100 * audit.later / audit.held_out:.1f} % a later one" in printed
