"""One chain of real commands on tiny synthetic ratings, which the tests here look at from all sides."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from tests.end_to_end.commands import GNNREC, ROOT, succeed, torchrun


@dataclasses.dataclass
class Chain:
    """Output of the commands.

    Attributes:
        directory: Holds ``ratings``, ``data``, ``run`` and ``export``.
        printed: What each command printed.
    """

    directory: Path
    printed: dict[str, str]

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def run(self) -> Path:
        return self.directory / "run"

    @property
    def export(self) -> Path:
        return self.directory / "export"

    @property
    def summary(self) -> dict:
        return json.loads((self.run / "summary.json").read_text())


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """synth, prepare, train on two ranks, evaluate, export on two ranks."""
    place = tmp_path_factory.mktemp("chain")
    printed = {}

    def step(name: str, command: list) -> None:
        printed[name] = succeed(command)

    ratings, data, run, export = (place / name for name in ("ratings", "data", "run", "export"))
    config = {"model": {"dim": 8}, "loader": {"folds": 3}, "optimizer": {"epochs": 4, "warmup_steps": 2}}
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    step("synth", [*GNNREC, "synth", ratings, "--users", 120, "--movies", 60, "--ratings", 3000, "--seed", 3])
    step("prepare", [*GNNREC, "prepare", data, "--ratings", ratings, "--shards", 8])
    train = [ROOT / "train_dist.py", "--config", place / "config.yaml", "--data", data, "--run-dir", run]
    step("train", torchrun(*train, "--device", "cpu", "--max-steps", 8, "--log-every", 3))
    step("evaluate", [*GNNREC, "evaluate", run, "--device", "cpu"])
    step("export", torchrun("-m", "gnnrec.export", run, "--out", export, "--part-rows", 25, "--device", "cpu"))
    return Chain(place, printed)


@pytest.hookimpl(tryfirst=True)  # before the hook of tests/conftest.py, which puts other tests into groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the chain share one process of pytest-xdist, so that the chain runs once."""
    for item in items:
        if "chain" in getattr(item, "fixturenames", ()):
            for marker in (pytest.mark.xdist_group("chain"), pytest.mark.processes, pytest.mark.slow):
                item.add_marker(marker)
