"""Recall counts what belongs into a list, and the search width is raised until there is enough of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gnnrec.stores import recall as recalls
from gnnrec.stores.recall import TOP, ExactLists, choose_width, search
from gnnrec.stores.store import EXACT, Hit, NodeRows

MOVIES, USERS = 300, 70


class Source:
    """An export of one file of movies."""

    def __init__(self):
        rng, vectors = np.random.default_rng(0), np.random.default_rng(1).integers(-2, 3, (MOVIES, 3))
        ids = [f"movie {number}" for number in range(MOVIES)]
        genres = [["War"] if number % 3 else ["Drama", "War"] for number in range(MOVIES)]
        zeros = np.zeros(MOVIES, np.float32)
        self.movies = NodeRows("movies", ids, vectors.astype(np.float32), zeros, ids, genres)
        self.users = rng.integers(-3, 4, (USERS, 3)).astype(np.float32)
        self.scores = self.users.astype(np.float64) @ vectors.T

    def steps(self) -> list:
        return [("upsert", "movies", "a"), ("upsert", "users", "b")]

    def rows(self, kind: str, name: str) -> NodeRows:
        assert (kind, name) == ("movies", "a")
        return self.movies

    def sample_users(self, count: int) -> np.ndarray:
        return self.users[:count]


class MadeStore:
    """A store that lists what a function of the user and the search width returns."""

    widths = (10, 20, 40, EXACT)

    def __init__(self, lists: Callable[[int, int], list[int]]):
        self.width, self.lists, self.searched = self.widths[0], lists, 0

    def search(self, queries: np.ndarray, top: int, genre: str | None = None) -> list[list[Hit]]:
        assert top == TOP and len(queries) <= 64
        users = range(self.searched, self.searched + len(queries))
        self.searched = (self.searched + len(queries)) % USERS
        return [[Hit(f"movie {row}", 0.0, "") for row in self.lists(user, self.width)] for user in users]


@pytest.fixture
def source() -> Source:
    return Source()


def measured(source: Source, lists: Callable[[int, int], list[int]], genre: str | None = None) -> float:
    return ExactLists(source.users, source.movies, genre).recall(search(MadeStore(lists), source.users, genre))


@pytest.mark.parametrize("block", [64 * 7, 16_000_000])
def test_recall_counts_movies_that_belong_there(source, monkeypatch, block):
    monkeypatch.setattr(recalls, "_SCORES", block)
    order = np.argsort(-source.scores, 1, kind="stable")
    reversed_ties = MOVIES - 1 - np.argsort(-source.scores[:, ::-1], 1, kind="stable")
    assert (order[:, :TOP] != reversed_ties[:, :TOP]).any()
    assert measured(source, lambda user, _: order[user, :TOP]) == 1
    assert measured(source, lambda user, _: reversed_ties[user, :TOP]) == 1, "equal scores are equally good"
    assert measured(source, lambda user, _: order[user, ::-1][:TOP]) == 0
    assert measured(source, lambda user, _: [order[user, 0]] * TOP) == pytest.approx(1 / TOP), "repeated movies"
    assert measured(source, lambda user, _: order[user, :5]) == pytest.approx(5 / TOP), "short lists"
    assert measured(source, lambda user, _: []) == 0
    assert measured(source, lambda user, _: [MOVIES + 7] * TOP) == 0, "movies that are gone"
    many = measured(source, lambda user, _: np.r_[order[user, ::-1][:TOP], order[user, :TOP]])
    assert many == 0, "more than asked for"


def test_recall_of_a_genre_counts_its_movies_alone(source):
    drama = [row for row, genres in enumerate(source.movies.genres) if "Drama" in genres]
    best = np.argsort(-source.scores[:, drama], 1, kind="stable")[:, :TOP]
    assert measured(source, lambda user, _: np.array(drama)[best[user]], "Drama") == 1
    assert measured(source, lambda user, _: np.array(drama)[best[user]] + 1, "Drama") == 0, "the next movie has none"
    everything = measured(source, lambda user, _: np.argsort(-source.scores[user])[:TOP], "Drama")
    assert 0 < everything < 0.9
    assert measured(source, lambda user, _: [], "Western") == 1, "no movie has it"


@pytest.mark.parametrize(("enough", "chosen"), [(10, 10), (40, 40), (10**6, EXACT)])
def test_the_width_is_raised_until_recall_is_enough(source, enough, chosen):
    order = np.argsort(-source.scores, 1)

    def lists(user: int, width: int) -> np.ndarray:
        good = width == EXACT or width >= enough or user > 0 and width == 20  # 69 of 70 users are not .99
        return order[user, :TOP] if good else order[user, -TOP:]

    store = MadeStore(lists)
    assert choose_width(store, source) == (1.0, USERS) and store.width == chosen
