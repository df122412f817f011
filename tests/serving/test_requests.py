"""Lists that are kept between requests, and what they must not mix up."""

from __future__ import annotations

import pytest

from gnnrec.serving import requests
from gnnrec.serving.errors import RequestError
from gnnrec.serving.requests import user_and_list


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(requests, "_KEPT", {})


def test_a_list_that_was_asked_for_is_kept_for_all_users() -> None:
    first = user_and_list([("user", "7"), ("top", "3"), ("genre", "drama"), ("genre", "war")])
    second = user_and_list([("top", "3"), ("genre", "drama"), ("user", "x"), ("genre", "war")])
    assert (first[0], second[0]) == ("7", "x") and first[1] is second[1]
    assert first[1].top == 3 and first[1].filters.genre == ("drama", "war")


def test_other_lists_are_others() -> None:
    lists = [[("top", "3")], [("top", "4")], [("page", "3")], [("genre", "war"), ("genre", "drama")], []]
    found = [user_and_list([("user", "1"), *values])[1] for values in lists]
    assert [request.top for request in found] == [3, 4, 10, 10, 10] and found[2].page == 3
    assert found[3].filters.genre == ("war", "drama") and len(set(found)) == len(lists)


@pytest.mark.parametrize(
    "query", [[("top", "x")], [("user", "1"), ("user", "2")], [("user", "1"), ("top", "0")], [("user", "1" * 2000)], []]
)
def test_bad_queries_are_refused_before_and_after_good_ones(query: list[tuple[str, str]]) -> None:
    for _ in range(2):
        with pytest.raises(RequestError):
            user_and_list(query)
        user_and_list([("user", "1")])
        user_and_list([("user", "1"), ("top", "5")])


def test_few_and_short_ones_are_kept(monkeypatch) -> None:
    monkeypatch.setattr(requests, "_MOST_KEPT", 5)
    for page in range(1, 20):
        assert user_and_list([("user", "1"), ("page", str(page))])[1].page == page
        assert len(requests._KEPT) <= 5
    before = len(requests._KEPT)
    user_and_list([("user", "1"), *[("genre", f"name {number}" * 5) for number in range(90)]])
    assert len(requests._KEPT) == before
