"""Requests: the parameters of each route, and their values in checked form."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from gnnrec.inference.list_order import OrderBy
from gnnrec.inference.new_share import new_places
from gnnrec.serving.errors import RequestError
from gnnrec.serving.movie_filters import Filters
from gnnrec.serving.movie_table import MovieTable
from gnnrec.serving.parameters import ParameterSet, RequestParameter

#: Bounds of a request that are no options: movies of a list with all pages before it, ids in a filter, ratings.
MOST_MOVIES, MOST_IDS, MOST_RATINGS = 1000, 10_000, 10_000

TOP = (
    RequestParameter("top", "integer", "Movies of a page.", 10, 1, MOST_MOVIES),
    RequestParameter("page", "integer", "Page of the list, from 1.", 1, 1, MOST_MOVIES),
)
FILTERS = (
    RequestParameter("genre", "string", "Genres to recommend from; all if it is missing.", many=True),
    RequestParameter("min_year", "integer", "Earliest year of a movie, as its title ends with.", None, 0, 9999),
    RequestParameter("max_year", "integer", "Latest year of a movie.", None, 0, 9999),
    RequestParameter("min_ratings", "integer", "Ratings in the dataset that a movie needs.", 0, 0),
    RequestParameter("new_movies", "boolean", "Include movies without training ratings.", False),
    RequestParameter("allow", "id", "Ids of the only movies that may be recommended.", many=True),
    RequestParameter("deny", "id", "Ids of movies that are not recommended.", many=True),
)
_LIST = (
    *TOP,
    *FILTERS,
    RequestParameter("order_by", "string", "Order of the movies.", None, choices=("both", "rating", "interest")),
    RequestParameter("new_share", "number", "Share of the list that new movies get, with new_movies.", None, 0, 1),
    RequestParameter("diversity", "number", "From 0, the order of scores, to 1, movies that differ most.", 0.0, 0, 1),
    RequestParameter("why", "integer", "Ratings to name in the reasons of each movie; 0 for no reasons.", 0, 0, 100),
    RequestParameter("generation", "string", "Answer only from this generation, so that pages fit.", None),
)
_USER = RequestParameter("user", "id", "Send the id of a known user.", required=True)
_MOVIES = RequestParameter("movie", "id", "Send the ids of movies.", many=True)
LIST, USER_LIST, KNOWN = ParameterSet(*_LIST), ParameterSet(_USER, *_LIST), ParameterSet(_USER)
SIMILAR = ParameterSet(
    RequestParameter("movie", "id", "Send the id of a movie, its title, or the beginning of it.", required=True),
    *TOP,
    *FILTERS,
)
SCORE, USER_SCORE = ParameterSet(_MOVIES), ParameterSet(_USER, _MOVIES)
SEARCH = ParameterSet(
    RequestParameter("q", "string", "Send a part of a title.", required=True),
    RequestParameter("top", "integer", "Movies.", 10, 1, 100),
)
RATING = ParameterSet(
    RequestParameter("movie", "id", "Send the id of the rated movie.", required=True),
    RequestParameter("rating", "number", "The rating; for likes without ratings it may be missing.", None, -1e30, 1e30),
    RequestParameter("time", "integer", "Seconds since 1970.", None, -(2**62), 2**62),
)
_FILTER_NAMES = tuple(field.name for field in dataclasses.fields(Filters))


@dataclasses.dataclass(frozen=True)
class ListRequest:
    """The list that is wanted, for any user.

    Attributes:
        top, page, order_by, new_share, diversity, why, generation: Values of :data:`LIST`.
        filters: Filters of the movies.
        allow: Ids of the only movies that may be in it; empty for all.
        deny: Ids of movies that are not in it.
    """

    top: int
    page: int
    order_by: OrderBy | None
    new_share: float | None
    diversity: float
    why: int
    generation: str | None
    filters: Filters
    allow: tuple[str, ...]
    deny: tuple[str, ...]

    @property
    def length(self) -> int:
        """Movies of this page and those before it."""
        return self.top * self.page

    @property
    def new_places(self) -> int | None:
        """Places of the list for new movies; None for no given number."""
        return new_places(self.new_share, self.length)


@dataclasses.dataclass(frozen=True)
class NewUser:
    """A user by ratings.

    Attributes:
        movies: Ids of the rated movies.
        ratings: float32 ``[ratings]``.
        times: Seconds since 1970, int64 ``[ratings]``; None if one is unknown.
    """

    movies: tuple[str, ...]
    ratings: np.ndarray
    times: np.ndarray | None = None


def list_request(values: dict[str, Any]) -> ListRequest:
    """Checks the values of :data:`LIST` together.

    Raises:
        RequestError: They do not fit one another.
    """
    check_filters(values)
    filters = filters_of(values)
    wanted = {name: values[name] for name in values if name not in _FILTER_NAMES}
    request = ListRequest(filters=filters, **wanted)
    if request.new_share is not None and not filters.new_movies:
        raise RequestError(400, f"new_share {request.new_share:g}: send new_movies true with it")
    if request.new_share is not None and (request.page > 1 or request.diversity):
        raise RequestError(400, "new_share is for the first page, without diversity: leave one of them out")
    return request


#: Lists that queries have asked for, by what they say beside the user: most of them ask for the same. So many are kept,
#: of queries with so many names.
_KEPT: dict[tuple[tuple[str, str], ...], ListRequest] = {}
_MOST_KEPT, _MOST_NAMES, _LONGEST_KEPT = 1000, 8, 200


def user_and_list(query: list[tuple[str, str]]) -> tuple[str, ListRequest]:
    """Reads a query with a known user.

    Args:
        query: Names and values.

    Returns:
        The id of the user, and the list.

    Raises:
        RequestError: A bad value.
    """
    users = [text for name, text in query if name == "user"]
    others = tuple(item for item in query if item[0] != "user")
    if len(users) == 1 and (kept := _KEPT.get(others)) is not None:
        return KNOWN.of_query([("user", users[0])])["user"], kept
    values = USER_LIST.of_query(query)
    user = values.pop("user")
    request = list_request(values)
    if len(others) <= _MOST_NAMES and sum(len(text) for item in others for text in item) <= _LONGEST_KEPT:
        if len(_KEPT) >= _MOST_KEPT:
            _KEPT.clear()
        _KEPT[others] = request
    return user, request


def filters_of(values: dict[str, Any]) -> Filters:
    """Returns the filters among the values of a request."""
    return Filters(*(values[name] for name in _FILTER_NAMES))


def check_filters(values: dict[str, Any]) -> None:
    """Checks what :data:`TOP` and :data:`FILTERS` say together.

    Raises:
        RequestError: They do not fit one another.
    """
    if values["top"] * values["page"] > MOST_MOVIES:
        raise RequestError(
            400, f"page {values['page']} of {values['top']} movies ends behind movie {MOST_MOVIES}: ask for less"
        )
    first, last = values["min_year"], values["max_year"]
    if first is not None and last is not None and first > last:
        raise RequestError(400, f"min_year {first} is after max_year {last}")
    for name in ("allow", "deny"):
        if len(values[name]) > MOST_IDS:
            raise RequestError(400, f"{name} has {len(values[name])} ids: send at most {MOST_IDS}")
    if len(values["genre"]) > 100:
        raise RequestError(400, f"genre has {len(values['genre'])} names: send at most 100")


def users_of_body(body: Any, most: int) -> tuple[list[str | NewUser], dict[str, Any], bool]:
    """Reads the users of a body with one user (``user`` or ``ratings``), or many (``users``).

    Args:
        body: The decoded body.
        most: Most users.

    Returns:
        Ids of known users and ratings of new ones, the other entries, and whether there may be many users.

    Raises:
        RequestError: The body has another shape.
    """
    if not isinstance(body, dict):
        raise RequestError(400, "the body is no JSON object: send one")
    others = {name: value for name, value in body.items() if name not in ("user", "ratings", "users")}
    given = [name for name in ("user", "ratings", "users") if body.get(name) is not None]
    if len(given) != 1:
        raise RequestError(
            400, "send one of user, ratings and users" + (f", not {' and '.join(given)}" if given else "")
        )
    if given[0] != "users":
        return [_user(body)], others, False
    users = body["users"]
    if not isinstance(users, list) or not users:
        raise RequestError(400, 'users: send a list of objects such as {"user": 42} and {"ratings": [...]}')
    if len(users) > most:
        raise RequestError(413, f"users has {len(users)} entries: send at most {most}")
    for user in users:
        if isinstance(user, dict) and (wrong := [name for name in user if name not in ("user", "ratings")]):
            raise RequestError(400, f"users: {str(wrong[0])[:60]} is no entry of a user: send user or ratings")
    return [_user(user) for user in users], others, True


def _user(entry: Any) -> str | NewUser:
    if isinstance(entry, dict) and entry.get("user") is not None:
        if entry.get("ratings") is not None:
            raise RequestError(400, "users: a user has both user and ratings: send one of them")
        return KNOWN.of_json({"user": entry["user"]})["user"]
    ratings = entry.get("ratings") if isinstance(entry, dict) else None
    if not isinstance(ratings, list) or not ratings:
        raise RequestError(400, 'ratings: send a list of objects such as {"movie": 1, "rating": 4.5}')
    if len(ratings) > MOST_RATINGS:
        raise RequestError(413, f"ratings has {len(ratings)} entries: send at most {MOST_RATINGS}")
    rows = [RATING.of_json(rating) if isinstance(rating, dict) else _bad_rating(rating) for rating in ratings]
    times = None if any(row["time"] is None for row in rows) else np.array([row["time"] for row in rows], np.int64)
    return NewUser(tuple(row["movie"] for row in rows), np.array([row["rating"] for row in rows], np.float32), times)


def _bad_rating(rating: Any) -> dict[str, Any]:
    raise RequestError(400, f'ratings: {str(rating)[:60]} is no object such as {{"movie": 1, "rating": 4.5}}')


def rated_rows(user: NewUser, movies: MovieTable, scale: tuple[float, float]) -> np.ndarray:
    """Returns the rows of a new user's rated movies, int64 ``[ratings]``.

    Args:
        user: The user.
        movies: The movies.
        scale: Lowest and highest rating.

    Raises:
        RequestError: An unknown movie, one that comes twice, or a rating off the scale.
    """
    rows = np.array([movies.row("ratings: movie", movie) for movie in user.movies], np.int64)
    different, first, counts = np.unique(rows, return_index=True, return_counts=True)
    if len(different) < len(rows):
        twice = user.movies[first[counts > 1].min()]
        raise RequestError(400, f"ratings: movie {twice} comes twice: send it once")
    if (missing := np.isnan(user.ratings)).any():
        if scale[0] < scale[1]:
            raise RequestError(400, "rating is missing: send the rating")
        user.ratings[missing] = scale[0]  # likes have no other one
    if len(off := user.ratings[(user.ratings < scale[0]) | (user.ratings > scale[1])]):
        raise RequestError(400, f"ratings: {off[0]:g} is off the scale of {scale[0]:g} to {scale[1]:g}")
    return rows
