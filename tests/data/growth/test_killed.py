"""A change of a dataset that is killed at any file operation leaves the old dataset or the new one."""

from __future__ import annotations

import sys

import pytest

from tests.data.growth.days import write_days
from tests.end_to_end.commands import succeed


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("change", ["append", "compact", "forget"])
def test_a_killed_change_is_whole_or_not_there(days, tmp_path, change):
    small = [day[:60] for day in days]
    last = small[2].assign(timestamp=small[2]["timestamp"] + 10**6)
    write_days([*small, last], tmp_path)
    output = succeed([sys.executable, "-m", "tests.data.growth.killed", tmp_path, change])
    moments, kills, after = map(int, output.split())
    assert moments >= kills > 15 and 4 < after < kills - 8
