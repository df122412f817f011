"""The commands in the tables of docs/data.md read the files that they are for."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.cli.main import run_command
from gnnrec.data.prepared import PreparedDataset
from tests.data.file_cases import CASES
from tests.data.file_tables import movies, ratings
from tests.end_to_end.commands import ROOT

DOCUMENT = ROOT / "docs" / "data.md"
ROWS = re.findall(r"^\| (.+) \| `(gnnrec prepare .+)` \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)


def csv(at: Path) -> None:
    ratings().to_csv(at / "ratings.csv", index=False)
    movies().to_csv(at / "movies.csv", index=False)


def movielens(at: Path) -> None:
    names = {"user": "userId", "movie": "movieId", "time": "timestamp"}
    ratings().rename(columns=names).to_csv(at / "ratings.csv", index=False)
    movies().rename(columns=names).to_csv(at / "movies.csv", index=False)


def codes(at: Path) -> None:
    extra = ratings()[:20].assign(movie=1000, rating=[99, -1] * 10)
    pd.concat([ratings(), extra]).to_csv(at / "ratings.csv", index=False)


def with_split(at: Path) -> None:
    splits = np.array(["train", "validation", "test"])[np.arange(900) % 10 // 8 * (np.arange(900) % 2 + 1)]
    ratings().assign(split=splits).to_csv(at / "ratings.csv", index=False)


def folds(at: Path) -> None:
    table = ratings().astype({"rating": int})
    for name, part in (("u1.base", table[:720]), ("u1.test", table[720:])):
        part.to_csv(at / name, sep="\t", header=False, index=False)


def benchmark(at: Path) -> None:
    typed = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
    for name, part in (("train", ratings()[:720]), ("valid", ratings()[720:800]), ("test", ratings()[800:])):
        part.set_axis(typed, axis=1).to_csv(at / f"films.{name}.inter", sep="\t", index=False)


def mult_vae(at: Path) -> None:
    table = ratings()[["user", "movie", "time"]].set_axis(["uid", "sid", "time"], axis=1)
    held_out = {"validation": table["uid"].between(41, 50), "test": table["uid"] > 50}
    for name, users in held_out.items():
        shown = users & (np.arange(900) % 5 > 0)
        table[shown].to_csv(at / f"{name}_tr.csv", index=False)
        table[users & ~shown].to_csv(at / f"{name}_te.csv", index=False)
    table[table["uid"] <= 40].to_csv(at / "train.csv", index=False)


def monti(at: Path) -> None:
    """Writes the ratings with the program of the document, which reads matrices from a stand-in for h5py."""
    matrices = {name: np.zeros((61, 41)) for name in ("M", "Otraining", "Otest")}
    for number, row in enumerate(ratings().itertuples()):
        matrices["M"][row.user, row.movie] = row.rating
        matrices["Otest" if number >= 720 else "Otraining"][row.user, row.movie] = 1
    transposed = {name: matrix.T for name, matrix in matrices.items()}  # as MATLAB stores it
    h5py = types.ModuleType("h5py")
    h5py.File = lambda path: contextlib.nullcontext(transposed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "h5py", h5py)
        patch.chdir(at.parent)
        exec(re.search(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)[1], {})


#: Directory of a command's files -> what writes them.
FILES: dict[str, Callable] = {
    "csv": csv,
    "no-header": CASES["no_header"],
    "json": CASES["json_lines"],
    "parquet": CASES["text_ids_in_parquet"],
    "hive": CASES["hive_directories"],
    "movielens": movielens,
    "ml-100k": CASES["ml_100k"],
    "netflix": CASES["netflix"],
    "recbole": CASES["recbole"],
    "clicks": CASES["clicks"],
    "codes": codes,
    "split": with_split,
    "u1": folds,
    "benchmark": benchmark,
    "mult-vae": mult_vae,
    "douban": monti,
}
#: Number of ratings in train, validation and test, for splits that are given.
GIVEN = {"split": (720, 90, 90), "u1": (720, 0, 180), "benchmark": (720, 80, 100), "douban": (720, 0, 180)}


def test_the_table_covers_all_kinds_of_files():
    assert len(ROWS) == len(FILES) and {command.split()[2] for _, command in ROWS} == {f"data/{name}" for name in FILES}


@pytest.mark.parametrize("kind, command", ROWS, ids=[command.split()[2] for _, command in ROWS])
def test_the_command_of_a_format_reads_all_ratings(kind, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    name = words[2].removeprefix("data/")
    named = Path(next((word for word in words[3:] if "/" in word), words[4]))
    place = named.parent if named.suffix else named
    place.mkdir()
    FILES[name](place)
    run_command([*words[1:], "--shards", "4"])
    data = PreparedDataset(words[2], verify=True)
    assert (data.num_users, data.num_movies, data.num_ratings) == (60, 40, 900)
    assert (data.timestamp is None) == (name == "douban")
    expected = ratings()
    counts = data.manifest.split["counts"]
    if name in GIVEN:
        assert (counts["train"], counts["validation"], counts["test"]) == GIVEN[name]
    if name == "mult-vae":
        assert data.manifest.split["protocol"] == "strong" and counts["train"] == (expected["user"] <= 40).sum()
    if name in ("clicks", "mult-vae"):
        assert set(data.rating) == {1.0}
    else:
        assert float(data.rating.sum()) == expected["rating"].sum()
