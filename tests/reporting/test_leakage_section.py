"""The table of the leakage audit, against plain loops over ratings."""

from __future__ import annotations

import numpy as np
import pytest

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.reporting.leakage_section import leakage_section
from tests.datasets import ratings_table, write_dataset


def test_the_table_has_counts_and_shares(tmp_path):
    dataset = write_dataset(tmp_path, 60, 29, 431, test=0.3)
    counts, held_out = dict.fromkeys(("session", "same", "later"), 0), 0
    for start, end in zip(dataset.user_ptr, dataset.user_ptr[1:]):
        split, time = np.asarray(dataset.split[start:end]), np.asarray(dataset.timestamp[start:end])
        known = time[split == TRAIN]
        for moment in time[(split == VALIDATION) | (split == TEST)]:
            held_out += 1
            counts["session"] += bool((np.abs(known - moment) <= 30 * 60).any())
            counts["same"] += bool((known == moment).any())
            counts["later"] += bool((known > moment).any())
    section = leakage_section(dataset)
    (table,) = section.items
    expected = {
        "with a training rating of the same user within 30 minutes": counts["session"],
        "with a training rating of the same user at the same time": counts["same"],
        "with a training rating of the same user that is later": counts["later"],
    }
    found = {name: (number, share) for name, number, share in table.rows}
    for name, count in expected.items():
        assert found[name] == (f"{count:,}", f"{100 * count / held_out:.1f} %")
    assert counts["session"] > counts["same"] and held_out > counts["later"] > 0
    assert f"the {held_out:,} validation and test ratings of the split (random)" in section.text


def test_data_without_times_have_cold_users_and_movies_alone(tmp_path):
    ratings_table(30, 20, 300).drop(columns="timestamp").to_csv(tmp_path / "ratings.csv", index=False)
    prepare(tmp_path / "data", PrepareOptions(ratings=tmp_path / "ratings.csv"))
    (table,) = leakage_section(PreparedDataset(tmp_path / "data")).items
    assert len(table.rows) == 2 and all("cold" in row[0] for row in table.rows)


@pytest.mark.parametrize("held_out", [False, None])
def test_there_is_no_section_without_held_out_ratings(tmp_path, held_out):
    dataset = None if held_out is None else write_dataset(tmp_path, test=0.0, validation=0.0)
    assert leakage_section(dataset) is None
