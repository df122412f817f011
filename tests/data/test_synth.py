"""Generated ratings have exact counts, MovieLens' statistics, and a floor that matches independent computations."""

import hashlib
import json
import math

import numpy as np
import pandas as pd
import pytest

from gnnrec.data import synth as synth_module
from gnnrec.data.synth import SynthOptions, synth
from gnnrec.data.synth_model import HISTOGRAM, generate
from gnnrec.data.synth_movies import GENRES
from gnnrec.data.synth_pairs import popularity
from gnnrec.errors import UserError

SMALL = {"users": 600, "movies": 1500, "ratings": 60000}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("synth") / "made" / "small"
    report = synth(out, SynthOptions(**SMALL))
    return out, report, pd.read_csv(out / "ratings.csv"), pd.read_csv(out / "movies.csv")


@pytest.fixture(scope="module")
def medium():
    return generate(SynthOptions(users=3000, movies=2500, ratings=400_000))


def fit_biases(data, sweeps=10):
    """RMSE of lightly regularized global, user and movie biases on the ratings that they are fitted to."""
    stars = data.stars / 2
    centered = stars - stars.mean()
    users, movies = np.bincount(data.user), np.bincount(data.movie)
    user_bias = np.zeros(users.size)
    for _ in range(sweeps):
        movie_bias = np.bincount(data.movie, centered - user_bias[data.user]) / (movies + 3)
        user_bias = np.bincount(data.user, centered - movie_bias[data.movie]) / (users + 3)
    return float(np.sqrt(np.mean((centered - user_bias[data.user] - movie_bias[data.movie]) ** 2)))


def checksums(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_counts_are_exact(written):
    _, report, ratings, movies = written
    assert len(ratings) == 60000 and list(ratings) == ["userId", "movieId", "rating", "timestamp"]
    assert not ratings.duplicated(["userId", "movieId"]).any()
    per_user = ratings.groupby("userId").size()
    assert list(per_user.index) == list(range(1, 601))
    assert per_user.min() >= 20 and per_user.max() > 300
    assert len(movies) == 1500 and set(ratings.movieId) == set(movies.movieId)
    assert ratings.equals(ratings.sort_values(["userId", "movieId"], kind="stable"))
    assert ratings.timestamp.between(789_652_009, 1_427_784_002).all()
    assert report["ratings"]["least_per_user"] == per_user.min()
    assert report["ratings"]["std"] == pytest.approx(ratings.rating.std(ddof=0))


def test_files_look_like_movielens(written):
    out, report, _, movies = written
    lines = (out / "ratings.csv").read_text().splitlines()
    assert lines[0] == "userId,movieId,rating,timestamp"
    assert all(len(line.split(",")) == 4 and "." in line.split(",")[2] for line in lines[1:100])
    assert list(movies) == ["movieId", "title", "genres"]
    assert movies.title.str.fullmatch(r".+ \(19\d\d\)").all()
    assert movies.title.str.contains(", The (", regex=False).any()
    assert movies.title.str.contains('"').any()
    carried = set("|".join(movies.genres).split("|"))
    assert carried == {*GENRES, "(no genres listed)"}
    assert json.loads((out / "floor.json").read_text()) == report


@pytest.mark.slow
def test_same_seed_gives_the_same_files(written, tmp_path):
    synth(tmp_path / "again", SynthOptions(**SMALL))
    synth(tmp_path / "other", SynthOptions(**SMALL, seed=1))
    first, again, other = checksums(written[0]), checksums(tmp_path / "again"), checksums(tmp_path / "other")
    assert first == again
    assert all(first[name] != other[name] for name in first)


def test_block_size_does_not_matter(monkeypatch):
    options = SynthOptions(users=100, movies=200, ratings=4000)
    whole = generate(options)
    monkeypatch.setattr("gnnrec.data.blocks._BLOCK", 777)
    parts = generate(options)
    for name in ("movie", "time", "stars", "score"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name
    assert whole.floor()["rmse"] == pytest.approx(parts.floor()["rmse"], abs=1e-12)


@pytest.mark.slow
def test_histogram_is_that_of_movielens(medium):
    shares = np.bincount(medium.stars, minlength=11) / medium.stars.size
    assert shares[0] == 0
    assert np.abs(shares[1:] - HISTOGRAM).max() < 0.003
    assert (medium.stars / 2).std() == pytest.approx(1.05, abs=0.01)


def test_popularity_matches_its_target(medium):
    planned = popularity(3000, 2500, 400_000)
    realized = np.sort(np.bincount(medium.movie, minlength=2500))[::-1]
    assert planned.sum() == pytest.approx(400_000) and planned.min() >= 1
    assert realized[0] == pytest.approx(0.486 * 3000, rel=0.05)
    for rank in (0, 10, 100, 500, 1250):
        assert realized[rank] == pytest.approx(planned[rank], rel=0.1, abs=3)


def test_popularity_at_full_size_is_that_of_movielens():
    planned = popularity(138_493, 26_744, 20_000_263)
    assert planned[0] == pytest.approx(67_310, rel=0.01)
    assert planned[13_372] == pytest.approx(18, abs=1)
    assert planned.sum() == pytest.approx(20_000_263)


@pytest.mark.slow
def test_users_prefer_what_they_like():
    """Without biases the score is the match of tastes, which is positive on average over the chosen pairs."""
    sizes = {"users": 3000, "movies": 2500, "ratings": 400_000, "user_bias": 0, "movie_bias": 0, "drift": 0}
    with_affinity, without = (generate(SynthOptions(**sizes, **more)).score.mean() for more in ({}, {"affinity": 0}))
    assert 0.02 < with_affinity < 0.3
    assert abs(without) < 0.01


@pytest.mark.slow
def test_floor_agrees_with_its_expectation(medium):
    floor = medium.floor()
    stars = medium.stars / 2
    mean, variance, distance = medium.expectation(medium.score)
    # recomputed from the closed forms, without tables
    assert floor["rmse"] == pytest.approx(math.sqrt(np.mean((stars - mean) ** 2)), abs=1e-5)
    assert floor["rmse_expected"] == pytest.approx(math.sqrt(variance.mean()), abs=1e-5)
    assert floor["mae_of_rmse_predictions"] == pytest.approx(np.abs(stars - mean).mean(), abs=1e-5)
    # draws vary around the expectation
    error = np.std((stars - mean) ** 2) / math.sqrt(stars.size)
    assert abs(np.mean((stars - mean) ** 2) - variance.mean()) < 4 * error
    assert floor["mae"] == pytest.approx(floor["mae_expected"], abs=0.005)
    assert floor["mae"] < floor["mae_of_rmse_predictions"]
    # predictions are unbiased at every level
    for low, high in ((0, 2), (2, 3), (3, 4), (4, 5)):
        in_range = (mean >= low) & (mean < high)
        assert stars[in_range].mean() == pytest.approx(mean[in_range].mean(), abs=5 / math.sqrt(in_range.sum()))


def test_closed_forms_match_sampled_noise(medium):
    scores = np.array([-2.0, -0.5, 0.0, 0.3, 1.0, 3.0])
    noise = np.random.default_rng(0).normal(0, medium.noise, (200_000, 1))
    stars = (np.searchsorted(medium.thresholds, scores + noise) + 1) / 2
    mean, variance, distance = medium.expectation(scores)
    assert mean == pytest.approx(stars.mean(0), abs=0.01)
    assert variance == pytest.approx(stars.var(0), abs=0.01)
    assert distance == pytest.approx(np.abs(stars - np.median(stars, axis=0)).mean(0), abs=0.01)


def test_floor_is_below_the_error_of_biases(medium):
    floor = medium.floor()["rmse"]
    assert 0.72 < floor < 0.76
    assert 0.84 < fit_biases(medium) < 0.88


@pytest.mark.parametrize(
    ("users", "movies", "ratings", "least"),
    [
        (50, 40, 2000, 40),  # every user rates every movie
        (50, 40, 1990, 20),
        (400, 50, 8000, 20),  # exactly twenty each
        (300, 200, 300 * 8, 4),  # fewer than twenty each: half the average at least
        (300, 1000, 1000, 1),  # as many ratings as movies
        (300, 1000, 900, 1),  # fewer ratings than movies
        (1, 100, 37, 37),
    ],
)
def test_extreme_sizes_keep_exact_counts(users, movies, ratings, least):
    data = generate(SynthOptions(users=users, movies=movies, ratings=ratings))
    assert data.user.size == ratings
    assert np.unique(data.user.astype(np.int64) * movies + data.movie).size == ratings
    assert np.bincount(data.user, minlength=users).min() >= least
    rated = np.unique(data.movie).size
    assert rated == movies or ratings < movies


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"users": 10, "movies": 30, "ratings": 301}, "--ratings 301: 10 users and 30 movies make 300 pairs"),
        ({"users": 10, "movies": 19, "ratings": 100}, "--movies 19"),
        ({"users": 0, "movies": 30, "ratings": 100}, "--users 0"),
        ({"users": 100, "movies": 30, "ratings": 99}, "--ratings 99"),
        ({"seed": -1}, "--seed -1"),
        ({"noise": 0.0}, "--noise 0.0"),
        ({"noise": math.nan}, "--noise nan"),
        ({"taste": -0.1}, "--taste -0.1"),
    ],
)
def test_impossible_options_are_refused(tmp_path, options, named):
    with pytest.raises(UserError) as error:
        synth(tmp_path / "out", SynthOptions(**options))
    assert named in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_failure_leaves_no_files(tmp_path, monkeypatch):
    def full(path, data, progress):
        path.write_text("userId")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(synth_module, "_write_ratings", full)
    with pytest.raises(UserError, match="No space left"):
        synth(tmp_path / "out", SynthOptions(users=30, movies=30, ratings=600))
    assert not list(tmp_path.iterdir())


def test_existing_directory_needs_overwrite(tmp_path):
    options = {"users": 30, "movies": 30, "ratings": 600}
    first = synth(tmp_path / "out", SynthOptions(**options))
    with pytest.raises(UserError, match="--overwrite"):
        synth(tmp_path / "out", SynthOptions(**options, seed=1))
    assert json.loads((tmp_path / "out" / "floor.json").read_text()) == first
    second = synth(tmp_path / "out", SynthOptions(**options, seed=1, overwrite=True))
    assert second != first and "overwrite" not in second["options"]


def test_summary_is_printed_without_progress_bar(tmp_path, capsys):
    synth(tmp_path / "out", SynthOptions(users=30, movies=30, ratings=600))
    captured = capsys.readouterr()
    assert "600 ratings of 30 users and 30 movies" in captured.out and "RMSE 0." in captured.out
    assert captured.err == ""
