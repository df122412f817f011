"""``gnnrec update`` makes generations: resumable, atomically published, with vectors that stay comparable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score

from gnnrec.config.train_config import read_train_config
from gnnrec.data.growth.append_options import AppendOptions
from gnnrec.data.growth.increment import read_increment
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.export_verify import VerifyOptions, verify
from gnnrec.inference.open_source import open_source
from gnnrec.inference.source_options import SourceOptions
from gnnrec.models.interest import Interest
from gnnrec.tools.updating import update as updating
from gnnrec.tools.updating.drift import errors_on_test, on_new_ratings
from gnnrec.tools.updating.generations import Generations
from gnnrec.tools.updating.options import UpdateOptions
from gnnrec.tools.updating.update import update
from gnnrec.training.checkpoint.info import find_checkpoint, read_info
from gnnrec.training.checkpoint.read import read_replicated
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import ratings_table
from tests.inference.exports import table_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A dataset, a run, and ``day0.csv`` to ``day2.csv`` with later ratings, of new users and movies too."""
    place = tmp_path_factory.mktemp("update")
    table = ratings_table(40, 30, 500).sort_values("timestamp", kind="stable")
    table[:410].to_csv(place / "ratings.csv", index=False)
    for day in range(3):
        table[410 + 30 * day : 440 + 30 * day].to_csv(place / f"day{day}.csv", index=False)
    prepare(place / "data", PrepareOptions(ratings=place / "ratings.csv", shards=6, test=0.2))
    options = {"optimizer": {"lr": 0.02, "epochs": 4}, "interest": {"dim": 6, "l2": 5.0}}
    train(make_config(place / "data", place / "run", **options), World())
    return place


@pytest.fixture
def place(begun, tmp_path, monkeypatch) -> Path:
    """A copy of it, as the working directory."""
    shutil.copytree(begun, tmp_path / "copy")
    config = tmp_path / "copy" / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(begun), str(tmp_path / "copy")))
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def day(number: int, **options) -> UpdateOptions:
    return UpdateOptions(ratings=[f"day{number}.csv"], **options)


def current(live: Path = Path("live")) -> str:
    return json.loads((live / "current.json").read_text())["generation"]


def test_days_make_generations_whose_deltas_lead_from_one_to_the_next(place):
    update(Path("run"), day(0, out=Path("live")), World())
    update(Path("live"), day(1, fit_interest_after=0.1), World())
    last = update(Path("live"), day(2, fit_interest_after=0.1), World())
    assert current() == "000003" and last == Path("live/000003")
    deltas = [f"live/{number:06d}/delta" for number in (1, 2, 3)]
    verify(last / "export", VerifyOptions(base=Path("live/000000/export"), deltas=deltas))
    dataset = PreparedDataset("data")
    assert dataset.num_ratings == 500
    np.testing.assert_array_equal(table_of(last / "export", "user")[0], dataset.users["user"])
    facts = [json.loads((Path("live") / f"{number:06d}" / "generation.json").read_text()) for number in range(4)]
    assert [each["number"] for each in facts] == [0, 1, 2, 3]
    fitted_on = [each["interest_fitted_on"] for each in facts]
    assert fitted_on[0] < fitted_on[1] == fitted_on[2] < fitted_on[3]
    assert facts[3]["steps"] == facts[3]["first_steps"] // 10
    first, end = read_manifest(Path("live/000000/export"))["interest"]["columns"]  # the first run chose how many
    configs = [read_train_config(Path(f"live/00000{number}/run/config.yaml")) for number in (1, 2, 3)]
    assert [config.interest.num_factors for config in configs] == [end - first] * 3
    assert [config.interest.keep for config in configs] == [False, True, False]


def test_interest_keeps_its_width_where_fewer_factors_are_left(place, monkeypatch):
    of_tables = Interest.of_tables
    update(Path("run"), day(0, out=Path("live")), World())
    columns = read_manifest(Path("live/000001/export"))["interest"]["columns"]

    def narrow(embedding, target, *rest):
        return of_tables(embedding[:, :-2], target[:, :-2], *rest)

    monkeypatch.setattr(Interest, "of_tables", narrow)
    update(Path("live"), day(1, fit_interest_after=0.0), World())
    assert not read_train_config(Path("live/000002/run/config.yaml")).interest.keep
    assert read_manifest(Path("live/000002/export"))["interest"]["columns"] == columns
    verify(Path("live/000002/export"), VerifyOptions(base=Path("live/000001/export"), deltas=["live/000002/delta"]))
    weights = read_replicated(best := find_checkpoint(Path("live/000002/run"), "best"), "interest", read_info(best))
    assert weights["target"][:, :-2].any(0).all() and not weights["target"][:, -2:].any()


def test_a_directory_of_generations_can_be_moved(place):
    update(Path("run"), day(0, out=Path("live")), World())
    (place / "other").mkdir()
    shutil.move("live", "other/moved")
    assert update(Path("other/moved"), day(1), World()) == Path("other/moved/000002")
    assert current(Path("other/moved")) == "000002" and not Path("live").exists()


def test_an_update_that_is_stopped_anywhere_ends_like_one_that_is_not(place, monkeypatch):
    shutil.copytree("data", "data_before")
    update(Path("run"), day(0, out=Path("live")), World())
    expected = {kind: table_of(Path("live/000001/export"), kind) for kind in ("user", "movie")}
    for name in ("append", "train", "export", "errors_on_test"):
        shutil.rmtree("live")
        shutil.rmtree("data")
        shutil.copytree("data_before", "data")
        if name == "append":
            update_until(monkeypatch, "on_new_ratings")
        update_until(monkeypatch, name)
        assert current() == "000000"
        update(Path("run"), day(0, out=Path("live")), World())
        assert current() == "000001"
        for kind, columns in expected.items():
            for one, other in zip(columns, table_of(Path("live/000001/export"), kind), strict=True):
                np.testing.assert_array_equal(one, other)


class Killed(Exception):
    pass


def update_until(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Runs an update that ends after a step, before it is noted anywhere."""
    original = getattr(updating, name)

    def call(*arguments):
        original(*arguments)
        if name != "export" or arguments[0] != Path("run"):
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(updating, name, call)
        with pytest.raises(Killed):
            update(Path("run"), day(0, out=Path("live")), World())


def test_an_update_that_has_ended_is_not_made_again(place):
    first = update(Path("run"), day(0, out=Path("live")), World())
    before = {str(path): path.stat().st_mtime_ns for path in Path("live").rglob("*") if path.is_file()}
    assert update(Path("live"), day(0), World()) == first
    after = {str(path): path.stat().st_mtime_ns for path in Path("live").rglob("*") if path.is_file()}
    assert {name: time for name, time in after.items() if not name.endswith(".lock")} == {
        name: time for name, time in before.items() if not name.endswith(".lock")
    }


def test_an_unfinished_update_is_not_finished_with_other_ratings(place, monkeypatch):
    """A file of the same name may have the ratings of another day: they would be lost."""
    update_until(monkeypatch, "append")
    shutil.copy("day1.csv", "day0.csv")
    with pytest.raises(UserError, match="000001 is an unfinished update with day0.csv: finish it with these"):
        update(Path("live"), day(0), World())


def test_a_worse_generation_is_held_back(place, monkeypatch):
    monkeypatch.setattr(updating, "errors_on_test", lambda exports, dataset: [0.8, 0.85])
    with pytest.raises(UserError, match="000001 is held back: its test RMSE is 0.8500, that of 000000 0.8000"):
        update(Path("run"), day(0, out=Path("live"), hold_back=0.04), World())
    assert current() == "000000"
    with pytest.raises(UserError, match="has changed since"):
        update(Path("live"), day(1), World())
    shutil.rmtree("live/000001")


def test_two_updates_at_once_are_refused(place):
    with Generations(Path("live")).locked():
        with pytest.raises(UserError, match="is being updated by another process"):
            update(Path("run"), day(0, out=Path("live")), World())


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("run", {"ratings": []}, "--ratings is missing"),
        ("run", {}, "with --out"),
        ("data", {"out": Path("live")}, "neither a directory of generations nor a run"),
        ("run", {"out": Path("live"), "ratings": ["ratings.csv"]}, "is in the dataset already"),
        ("run", {"out": Path("live"), "ratings": ["nothing.csv"]}, "nothing.csv does not exist"),
    ],
)
def test_mistakes_change_nothing(place, path, options, message):
    before = PreparedDataset("data").fingerprint
    with pytest.raises(UserError, match=message):
        update(Path(path), UpdateOptions(**{"ratings": ["day0.csv"], **options}), World())
    assert PreparedDataset("data").fingerprint == before


def test_a_ranking_run_is_refused_before_anything_is_written(place):
    options = {"optimizer": {"epochs": 1}, "ranking": {"dim": 4}, "objective": "ranking"}
    prepare(place / "likes", PrepareOptions(ratings=place / "ratings.csv", protocol="strong", relevant=3.0, test=0.2))
    train(make_config(place / "likes", place / "ranked", **options), World())
    before = PreparedDataset("likes").fingerprint
    with pytest.raises(UserError, match="^ranked is a ranking run, which cannot be updated"):
        update(Path("ranked"), day(0, out=Path("lists")), World())
    assert PreparedDataset("likes").fingerprint == before and not [*Path("lists").glob("0*")]


def test_what_was_made_before_says_that_the_data_have_grown(place):
    update(Path("run"), day(0, out=Path("live")), World())
    for path in (Path("run"), Path("live/000000/export")):
        with pytest.raises(UserError, match=f"is not the dataset .*{path}.*, or no longer, since ratings"):
            open_source(path, SourceOptions())
    with pytest.raises(UserError, match="live is a directory of generations: pass its newest export, live/000001/exp"):
        open_source(Path("live"), SourceOptions())


def test_data_that_changed_otherwise_are_refused(place):
    update(Path("run"), day(0, out=Path("live")), World())
    prepare(place / "data", PrepareOptions(ratings=place / "day0.csv", overwrite=True))
    with pytest.raises(UserError, match="has changed since .*000001 was made, but not by gnnrec update"):
        update(Path("live"), day(1), World())


def test_errors_are_those_of_the_vectors(place):
    update(Path("run"), day(0, out=Path("live")), World())
    dataset, exports = PreparedDataset("data"), [Path(f"live/00000{number}/export") for number in (0, 1)]
    ids, movie_ids = dataset.users["user"].to_numpy(), dataset.movies["movie"].to_numpy()
    owner = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    found = errors_on_test(exports, dataset)
    for export, error in zip(exports, found, strict=True):
        manifest = json.loads((export / "manifest.json").read_text())
        users, movies = (
            pd.DataFrame({"id": a, "v": list(v), "b": b}).set_index("id")
            for a, v, b in (table_of(export, "user"), table_of(export, "movie"))
        )
        first = [table_of(exports[0], kind)[0] for kind in ("user", "movie")]
        squares = []
        for user, movie, rating, split in zip(ids[owner], movie_ids[dataset.movie], dataset.rating, dataset.split):
            if split == 2 and user in first[0] and movie in first[1]:
                dim = manifest["interest"]["columns"][0]
                score = users.loc[user, "v"][:dim] @ movies.loc[movie, "v"][:dim]
                score += manifest["offset"] + users.loc[user, "b"] + movies.loc[movie, "b"]
                squares.append((np.clip(score, *manifest["rating_scale"]) - rating) ** 2)
        assert len(squares) > 20
        assert error == pytest.approx(np.mean(squares) ** 0.5, rel=1e-5)


def test_new_ratings_are_scored_before_training(place):
    """Only those of users and movies that the export knows."""
    update(Path("run"), day(0, out=Path("live")), World())
    dataset = PreparedDataset("data")
    increment = read_increment(dataset, AppendOptions(append=["day1.csv"]))
    found = on_new_ratings(Path("live/000001/export"), dataset, increment, liked=4.0)
    day1 = pd.read_csv("day1.csv")
    known = day1["userId"].isin(dataset.users["user"]) & day1["movieId"].isin(dataset.movies["movie"])
    assert found["ratings"] == known.sum() > 0
    assert 0.2 < found["rmse"] < 3
    (users, of_users, _), (movies, of_movies, bias) = (
        table_of(Path("live/000001/export"), k) for k in ("user", "movie")
    )
    values, owner = [], dataset.users["user"].to_numpy()[np.repeat(np.arange(len(users)), np.diff(dataset.user_ptr))]
    for user, rows in day1[known & (day1["rating"] >= 4)].groupby("userId"):
        open_to = ~np.isin(movies, dataset.movies["movie"].to_numpy()[dataset.movie][owner == user])
        scores = (of_movies @ of_users[list(users).index(user)] + bias)[open_to]
        values.append(ndcg_score([np.isin(movies, rows["movieId"])[open_to].astype(int)], [scores], k=20))
    assert len(values) > 1
    assert found["ndcg@20"] == pytest.approx(np.mean(values), rel=1e-5)
