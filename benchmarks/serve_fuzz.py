"""Random requests: nearly valid ones, and ones of random bytes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class FuzzedRequest:
    """A request.

    Attributes:
        path: Path and query.
        body: Body; None for none.
        method: Method; None for GET, or POST with a body.
    """

    path: str
    body: bytes | None = None
    method: str | None = None


_PATHS = [
    "/recommend",
    "/similar",
    "/score",
    "/search",
    "/health",
    "/openapi.json",
    "/metrics",
    "/",
    "/none",
    "//",
    "/%00",
]
_NAMES = [
    "user", "ratings", "users", "movie", "rating", "top", "page", "genre", "min_year", "max_year", "min_ratings",
    "new_movies", "allow", "deny", "order_by", "new_share", "diversity", "why", "generation", "q", "tpo", "", "\x00",
]  # fmt: skip
_FITTING = [
    ("top", "3"), ("page", "2"), ("genre", "drama"), ("min_year", "1985"), ("max_year", "2001"), ("min_ratings", "2"),
    ("new_movies", "true"), ("allow", "2"), ("deny", "7"), ("order_by", "rating"), ("diversity", "0.5"),
]  # fmt: skip
_WORDS = [
    "7", "10", "2", "-1", "0", "1e400", "NaN", "Infinity", "9" * 30, "true", "false", "drama", "both", "rating",
    "Film 2 (", "", " ", "\u202e", "\U0001f3ac", "%", "a" * 3000, "'; drop", "../../etc/passwd", "null", "1.5", "0x10",
    "\u0661", "12",
]  # fmt: skip
_VALUES = [
    None, True, False, 0, 1, 7, -3, 2, 1.5, 1e300, 2**63, -(2**63), 2**64 - 1, "2", "", "drama", "\x00", [], {}, [[]],
    [7], ["2"], [{"movie": 2, "rating": 3}], [{"movie": 2, "rating": 3}, {"movie": 2, "rating": 1}],
    [{"user": 7}, {"user": 10}],
    [{"user": None}], {"movie": 2}, [None], [True], [{"movie": 2}], [{"rating": 2}], [{"movie": 999, "rating": 1}],
    [{"movie": "2", "rating": 1e9}], [{"ratings": [{"movie": 2, "rating": 3}]}], "a" * 2000,
]  # fmt: skip


def random_request(seed: int) -> FuzzedRequest:
    """Returns a request."""
    rng = np.random.default_rng(seed)
    pick = lambda values: values[rng.integers(len(values))]  # noqa: E731
    path = pick(_PATHS[:4]) if rng.random() < 0.8 else pick(_PATHS)
    method = None if rng.random() < 0.9 else pick(["PUT", "DELETE", "HEAD", "POST", "GET", "OPTIONS", "PATCH", "BREW"])
    if rng.random() < 0.25:  # valid, or nearly so
        some = [_FITTING[place] for place in rng.permutation(len(_FITTING))[: rng.integers(0, 5)]]
        words = [_quoted(pick(_WORDS), rng) if rng.random() < 0.1 else word for _, word in some]
        query = "&".join(f"{name}={word}" for (name, _), word in zip(some, words))
        return FuzzedRequest(f"{pick(['/recommend?user=7', '/similar?movie=2'])}&{query}")
    query = "&".join(f"{_quoted(pick(_NAMES), rng)}={_quoted(pick(_WORDS), rng)}" for _ in range(rng.integers(0, 5)))
    if rng.random() < 0.5:
        return FuzzedRequest(f"{path}?{query}", method=method)
    body: Any = {pick(_NAMES): pick(_VALUES) for _ in range(rng.integers(0, 5))}
    if rng.random() < 0.5:
        body |= pick([{"user": 7}, {"ratings": [{"movie": 2, "rating": 1}]}, {"users": [{"user": 7}]}])
    if rng.random() < 0.1:
        body = pick(_VALUES)
    content = json.dumps(body).encode()
    if rng.random() < 0.3:  # damage
        damaged = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(0, len(damaged) + 1))
            damaged[place : place + int(rng.integers(0, 3))] = rng.bytes(int(rng.integers(0, 3)))
        content = bytes(damaged)
    if rng.random() < 0.02:
        content = b"[" * 100_000
    return FuzzedRequest(f"{path}?{query}" if rng.random() < 0.1 else path, content, method)


def _quoted(text: str, rng: np.random.Generator) -> str:
    from urllib.parse import quote_plus

    return quote_plus(text) if rng.random() < 0.9 else "".join(letter for letter in text if " " < letter < "\x7f")


def random_bytes(seed: int) -> bytes:
    """Returns a request as bytes, valid up to some damage, or none at all."""
    rng = np.random.default_rng(seed)
    request = random_request(seed)
    body = request.body or b""
    method = request.method or ("POST" if body else "GET")
    length = len(body) if rng.random() < 0.8 else int(rng.integers(-5, 10**9))
    head = f"{method} {request.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    content = bytearray(head.encode("utf-8", "surrogateescape") + body)
    for _ in range(rng.integers(0, 4)):
        place = int(rng.integers(0, len(content) + 1))
        content[place : place + int(rng.integers(0, 4))] = rng.bytes(int(rng.integers(0, 4)))
    return bytes(content)
