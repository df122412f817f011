"""Features of a prepared dataset are those that pandas, NumPy and scikit-learn compute from the tables."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import make_union
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler

from gnnrec.data.features.new_nodes import encode_new_nodes
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from tests.data import feature_tables
from tests.data.feature_tables import COLD_MOVIES, COLD_USERS


def prepared_with(options: dict, out: Path, **changes) -> PreparedDataset:
    prepare(out, PrepareOptions(**options | changes))
    return PreparedDataset(out, verify=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def options(place) -> dict:
    return feature_tables.write(place)


@pytest.fixture(scope="module")
def dataset(place, options) -> PreparedDataset:
    return prepared_with(options, place / "data")


@pytest.fixture(scope="module")
def users(dataset) -> pd.DataFrame:
    """The table of users in the order of rows; one user is not in it."""
    table = feature_tables.users().set_index("user").reindex(dataset.users["user"])
    assert table["age"].isna().sum() == 1
    return table


@pytest.fixture(scope="module")
def movies(dataset) -> pd.DataFrame:
    return feature_tables.movies().set_index("movie").loc[dataset.movies["movie"]]


def columns(dataset: PreparedDataset, node: str, name: str) -> np.ndarray:
    features = dataset.features(node)
    return np.array(features.x[:, next(group for group in features.schema if group.name == name).slice])


def trained(table: pd.DataFrame) -> np.ndarray:
    cold = COLD_USERS if "age" in table else COLD_MOVIES
    mask = ~table.index.isin(cold)
    assert 0 < (~mask).sum() < len(mask)
    return mask


def test_the_kinds_are_guessed(dataset):
    kinds = {group.name: group.kind for node in ("user", "movie") for group in dataset.features(node).schema}
    assert kinds == {
        "age": "number", "height": "number", "job": "category", "since": "date", "likes": "list", "plot": "text",
        "embedding": "vector",
    }  # fmt: skip


def test_columns_have_names(dataset):
    names = {group.name: group.column_names() for node in ("user", "movie") for group in dataset.features(node).schema}
    assert names["age"] == ["age", "age (missing)"] and names["plot"] == [f"plot {k}" for k in range(4)]
    assert names["job"] == ["job=nurse", "job=cook", "job=pilot", "job (rare)", "job (missing)"]
    assert names["since"] == ["since (year)", "since (day of the year)", "since (missing)"]
    for node in ("user", "movie"):
        assert (
            sum(len(names[group.name]) for group in dataset.features(node).schema) == dataset.features(node).x.shape[1]
        )


@pytest.mark.parametrize("name", ["age", "height"])
def test_numbers_are_standardized_on_nodes_with_training_ratings(dataset, users, name):
    values = users[[name]].to_numpy()
    expected = StandardScaler().fit(values[trained(users)]).transform(values)
    missing = np.isnan(values)
    assert np.allclose(columns(dataset, "user", name), np.hstack([np.where(missing, 0, expected), missing]), atol=1e-6)


def test_rare_categories_share_a_column(dataset, users):
    count = users["job"][trained(users)].value_counts()
    frequent = sorted(count[count >= 5].index, key=lambda job: (-count[job], job))
    assert 1 < len(frequent) < len(count)
    group = next(group for group in dataset.features("user").schema if group.name == "job")
    assert group.details["categories"] == frequent and group.columns == len(frequent) + 2
    label = users["job"].where(users["job"].isin(frequent) | users["job"].isna(), "rare").fillna("missing")
    expected = pd.get_dummies(label)[[*frequent, "rare", "missing"]].to_numpy(float)
    assert np.array_equal(columns(dataset, "user", "job"), expected)


def test_rows_of_lists_sum_to_one(dataset, users):
    known = users["likes"].notna().to_numpy()
    lists = [likes.split("|") for likes in users["likes"][known]]
    group = next(group for group in dataset.features("user").schema if group.name == "likes")
    flags = MultiLabelBinarizer(classes=group.details["categories"]).fit_transform(lists)
    actual = columns(dataset, "user", "likes")
    assert group.columns == 5 and np.allclose(actual[known, :4], flags / flags.sum(1, keepdims=True))
    assert (actual[~known] == [0, 0, 0, 0, 1]).all()


def test_dates_are_years_and_days(dataset, users):
    dates = pd.to_datetime(users["since"])
    parts = np.stack([dates.dt.year, dates.dt.day_of_year], 1)
    expected = np.nan_to_num(StandardScaler().fit(parts[trained(users)]).transform(parts))
    assert np.allclose(columns(dataset, "user", "since")[:, :2], expected, atol=1e-5)


def normalized(projected: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Distances of all pairs, where the mean squared distance of a training row from their mean is 1."""
    deviations = projected - projected[train].mean(0)
    return pdist(deviations / np.sqrt((deviations[train] ** 2).sum(1).mean()))


def test_long_vectors_become_their_principal_components(dataset, movies):
    values, train = np.stack(movies["embedding"]), trained(movies)
    actual = columns(dataset, "movie", "embedding")
    assert actual.shape[1] == 4 and np.allclose(actual[train].mean(0), 0, atol=1e-6)
    assert np.allclose(pdist(actual), normalized(PCA(4).fit(values[train]).transform(values), train), atol=1e-5)


def test_short_vectors_are_only_centered_and_scaled(place, options, dataset, movies):
    data = prepared_with(options, place / "short", feature_dims=6, user_features=[])
    values, train = np.stack(movies["embedding"]), trained(movies)
    deviations = values - values[train].mean(0)
    expected = deviations / np.sqrt((deviations[train] ** 2).sum(1).mean())
    assert np.allclose(columns(data, "movie", "embedding"), expected, atol=1e-5)


def test_text_is_a_truncated_svd_of_hashed_words_and_letters(dataset, movies):
    shared = {"n_features": 1 << 13, "alternate_sign": False}
    hashed = make_union(
        HashingVectorizer(ngram_range=(1, 2), token_pattern=r"\b\w+\b", **shared),
        HashingVectorizer(analyzer="char_wb", ngram_range=(3, 4), **shared),
    )
    train = trained(movies)
    shares = hashed.transform(movies["plot"])
    weighted = TfidfTransformer(norm=None).fit(shares[train]).transform(shares).toarray()
    _, values, components = np.linalg.svd(weighted[train], full_matrices=False)
    assert values[3] > 1.01 * values[4]
    actual = columns(dataset, "movie", "plot")
    assert actual.shape[1] == 4 and np.allclose(actual[train].mean(0), 0, atol=1e-6)
    assert (actual[train] ** 2).sum(1).mean() == pytest.approx(1, abs=1e-5)
    expected = normalized(weighted @ components[:4].T, train)
    assert np.allclose(pdist(actual), expected, atol=1e-3)  # the SVD is iterative


def test_nothing_is_learned_from_nodes_without_training_ratings(place, options, dataset):
    """Their rows change, with one of a user who has no ratings at all; the others keep theirs."""
    users, movies = feature_tables.users(), feature_tables.movies()
    is_cold = users["user"].isin(COLD_USERS | {61})
    users.loc[is_cold, ["age", "height", "job", "since", "likes"]] = [1e6, np.nan, "spy", "2050-01-01", "golf|rum"]
    for row in np.flatnonzero(movies["movie"].isin(COLD_MOVIES)):
        movies.at[row, "plot"], movies.at[row, "embedding"] = "desert desert desert", np.full(6, 1e4)
    (place / "other").mkdir()
    users.to_csv(place / "other" / "users.csv", index=False)
    movies.to_parquet(place / "other" / "movies.parquet")
    tables = {"user_features": [place / "other" / "users.csv"], "movie_features": [place / "other" / "movies.parquet"]}
    other = prepared_with(options, place / "changed", **tables)
    for node, cold in (("user", COLD_USERS), ("movie", COLD_MOVIES)):
        before, after = dataset.features(node), other.features(node)
        assert [dataclasses.asdict(group) for group in before.schema] == [
            dataclasses.asdict(group) for group in after.schema
        ]
        is_warm = ~getattr(dataset, f"{node}s")[node].isin(cold).to_numpy()
        assert np.array_equal(before.x[is_warm], after.x[is_warm])
        assert (before.x[~is_warm] != after.x[~is_warm]).any(1).all()


def test_engines_write_the_same_bytes(place, options, dataset):
    other = prepared_with(options, place / "stream", engine="stream")
    assert dataset.manifest.files == other.manifest.files and "user_features.npy" in other.manifest.files


@pytest.mark.parametrize("node", ["user", "movie"])
def test_new_nodes_are_encoded_as_those_of_the_dataset(options, dataset, node):
    features = dataset.features(node)
    new = encode_new_nodes(features, options[f"{node}_features"], text_ids=False)
    raw = getattr(dataset, f"{node}s")[node].to_numpy()
    rows = {number: row for row, number in enumerate(new.ids.to_pylist())}
    known = [number for number in raw if number in rows]
    assert len(known) == len(raw) - (node == "user") and len(rows) == len(known) + (node == "user")
    actual = new.x[[rows[number] for number in known]]
    assert np.array_equal(actual, features.x[np.isin(raw, known)])
