"""Profiles cover the requested steps on every rank, and contain gnnrec's operators."""

from __future__ import annotations

import json

import pytest

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.training.profiling import SKIPPED
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import write_dataset


@pytest.mark.slow
def test_a_profile_has_the_requested_steps(tmp_path):
    dataset = write_dataset(tmp_path / "data", validation=0.1, test=0.1)
    config = make_config(dataset.directory, tmp_path / "run", profile=2, loader={"folds": 4}, device="cpu")
    train(config, World())
    trace = json.loads((tmp_path / "run" / "profile" / "trace-0.json").read_text())
    steps = [event["name"] for event in trace["traceEvents"] if event.get("name", "").startswith("ProfilerStep#")]
    assert sorted(set(steps)) == [f"ProfilerStep#{SKIPPED + number}" for number in range(2)]
    table = (tmp_path / "run" / "profile" / "table-0.txt").read_text()
    for name in ("statistics", "forward", "backward", "update", "gnnrec::gather_sums", "gnnrec::scatter_sums"):
        assert name in table


def test_nothing_is_profiled_by_default(tmp_path):
    dataset = write_dataset(tmp_path / "data", validation=0.1, test=0.1)
    train(make_config(dataset.directory, tmp_path / "run", device="cpu"), World())
    assert not (tmp_path / "run" / "profile").exists()


def test_a_negative_number_of_steps_is_refused():
    with pytest.raises(UserError, match="profile -1"):
        make_config(profile=-1)
