"""The commands in README and docs are run, in the order of each document, on small data.

In this process and on one rank: ``test_chain.py`` starts torchrun. Those of docs/slurm.md run in ``tests/slurm``.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.cli.main import run_command
from gnnrec.config.train_config import parse_train_config
from gnnrec.distributed.world import World
from gnnrec.training.run import train
from tests.end_to_end.test_documents import DOCUMENTS, commands
from tests.serving.service import served
from tests.slurm.jobs import make_repository

pytestmark = pytest.mark.slow

#: What makes a command quick; of two values of an option the last one counts.
SMALL = {
    "train": "--max-steps 2 --model.dim 8 --ranking.dim 8 --baselines false --device cpu --wandb.mode disabled".split(),
    "tune": "--trials 1 --set model.dim=8 --set optimizer.epochs=2".split(),
    "compare": "--models biases --seeds 1 --set model.dim=8 --set optimizer.epochs=1".split(),
}
#: Not run: installation, all tests, a download, and the quickstart's own data; it runs with data of this test. Those of
#: PostgreSQL run with a server in ``test_stores_document.py``.
LEFT_OUT = [
    "bash launch/environment.sh test wandb metis",
    "bash launch/test.sh",
    "bash launch/test.sh tests/models -k gat",
    "bash launch/quickstart.sh",
    "bash launch/quickstart.sh --dataset ml-1m",
    "gnnrec store export/served --to postgresql://postgres@localhost/postgres",
    "gnnrec store export/change --to postgresql://postgres@localhost/postgres",
    "gnnrec store --query --to postgresql://postgres@localhost/postgres --user 42 --genre Drama",
]
#: The environment is there already, other tests run ruff and mypy, and nothing here can run an image.
ELSEWHERE = ("source", "export", "ruff", "mypy", "docker")
#: Files with later ratings and new users.
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
#: Documents that begin with what another one made: their directory -> what it is a copy of.
GIVEN = {
    "guide.md": {"data/ml-20m": "data"},
    "checkpoints.md": {"data/mine": "data"},
    "export.md": {"runs/mine": "run"},
    "publish.md": {"runs/mine": "run", "data/mine": "data"},
    "reasons.md": {"runs/mine": "run"},
    "stores.md": {"runs/mine": "run", "runs/newer": "run"},
    "report.md": {f"runs/{name}": "run" for name in ("mine", "sage", "gcn", "gat")},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Ratings, ``data`` and a ``run``."""
    place = tmp_path_factory.mktemp("made")
    run_command(["synth", str(place / "synth"), "--users", "120", "--movies", "60", "--ratings", "3000"])
    for name in ("ratings.csv", "movies.csv"):
        table = pd.read_csv(place / "synth" / name)
        table["movieId"] = table["movieId"].rank(method="dense").astype(int)  # one is movie 1, as in MovieLens
        table.to_csv(place / "synth" / name, index=False)
    days = pd.read_csv(place / "synth" / "ratings.csv")
    for number, name in enumerate(DAYS, 1):  # users 121 to 126 are new
        later = days["timestamp"].max() + number * 86400 + np.arange(90)
        day = days.sample(90, random_state=number).assign(timestamp=later, rating=3.5)
        day.loc[day.index[:30], "userId"] = 118 + 3 * number + np.arange(30) % 3
        day.drop_duplicates(["userId", "movieId"]).to_csv(place / "synth" / f"{name}.csv", index=False)
    new = pd.DataFrame({"movieId": [901, 902], "title": ["Tomorrow (2030)", "Day After (2031)"], "genres": "Drama"})
    new.to_csv(place / "synth" / "new_movies.csv", index=False)
    users = pd.DataFrame({"userId": [901, 902], "age": [33, 44]})
    users.to_csv(place / "synth" / "new_users.csv", index=False)
    users = pd.DataFrame({"userId": range(1, 121), "age": [20 + number % 50 for number in range(120)]})
    users.to_csv(place / "synth" / "users.csv", index=False)
    ratings = ["--ratings", str(place / "synth" / "ratings.csv"), "--movies", str(place / "synth" / "movies.csv")]
    run_command(["prepare", str(place / "data"), *ratings, "--shards", "8"])
    words = ["--data", str(place / "data"), "--run-dir", str(place / "run"), *SMALL["train"]]
    train(parse_train_config(words), World())
    return place


class Services:
    """Services that commands of a document have started; the last one answers on its port."""

    def __init__(self) -> None:
        self._started = contextlib.ExitStack()
        self._port: int | None = None

    def start(self, arguments: list[str]) -> None:
        """Starts a service on another port than the document says, and ends the one before."""
        self.stop()
        path, *options = arguments
        self._port = self._started.enter_context(served(Path(path), *options)).port

    def ask(self, words: list[str]) -> None:
        """Runs curl with the real port."""
        words = [word.replace("127.0.0.1:8000", f"127.0.0.1:{self._port}") for word in words]
        result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert result.returncode == 0, f"{words}: {result.stdout}{result.stderr}"

    def stop(self) -> None:
        """Ends the last service."""
        self._started.close()


@pytest.fixture
def services() -> Iterator[Services]:
    started = Services()
    yield started
    started.stop()


def run(words: list[str], services: Services) -> None:
    """Runs a command as its program would."""
    program, *arguments = words
    if words[:2] == ["gnnrec", "serve"] and "--convert-only" not in words:
        services.start(words[2:])
    elif program == "curl":
        services.ask(words)
    elif program == "bash":
        result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
    elif program == "torchrun" and "train_dist.py" in arguments:
        train(parse_train_config([*arguments[arguments.index("train_dist.py") + 1 :], *SMALL["train"]]), World())
    elif program == "torchrun":
        module, *rest = arguments[arguments.index("-m") + 1 :]
        run_gnnrec(["export", *rest] if module == "gnnrec.export" else rest)
    elif program not in ELSEWHERE:
        assert program == "gnnrec", f"what is {program}?"
        run_gnnrec(arguments)


def run_gnnrec(arguments: list[str]) -> None:
    run_command([*arguments, *SMALL.get(arguments[0], [])])


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if path.name != "slurm.md"], ids=lambda path: path.name
)
def test_every_command_runs(document: Path, made: Path, tmp_path: Path, monkeypatch, services: Services):
    place = make_repository(tmp_path / "repository")
    files = ["ratings.csv", "movies.csv", "users.csv", "new_movies.csv", "new_users.csv"]
    for name in (*files, *(f"{day}.csv" for day in DAYS)):
        (place / name).symlink_to(made / "synth" / name)
    shutil.copy(place / "ratings.csv", place / "new.csv")
    for target, source in GIVEN.get(document.name, {}).items():
        (place / target).parent.mkdir(exist_ok=True)
        shutil.copytree(made / source, place / target)
    monkeypatch.chdir(place)
    for words in commands(document):
        if " ".join(words) not in LEFT_OUT:
            run(words, services)


def test_the_python_of_the_readme_runs(made: Path, tmp_path: Path, monkeypatch, capsys):
    for name in ("ratings.csv", "movies.csv"):
        (tmp_path / name).symlink_to(made / "synth" / name)
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(re.search(r"^```python\n(.*?)^```", DOCUMENTS[0].read_text(), re.DOTALL | re.MULTILINE)[1], found)
    assert found["data"].num_users == len(found["vectors"].users) == 120
    assert "title" in capsys.readouterr().out


def test_what_is_left_out_is_in_a_document():
    assert {" ".join(words) for path in DOCUMENTS for words in commands(path)} >= set(LEFT_OUT)
