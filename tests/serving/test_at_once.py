"""Requests that the protocol answers at once, next to the general way."""

from __future__ import annotations

import asyncio
import re

import pytest
import uvicorn
from uvicorn.server import ServerState

from gnnrec.inference import score_bounds
from gnnrec.serving import convert
from gnnrec.serving.app import Limits, ServingApp, create_app
from gnnrec.serving.http_protocol import uvicorn_options
from tests.serving.client import ask, get


@pytest.fixture(scope="module")
def bounded(export, tmp_path_factory) -> ServingApp:
    """A service with bounds, which so few movies would not have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "_TOP", 3)
        patch.setattr(score_bounds, "_COLUMNS", (1, 2))
        patch.setattr(score_bounds, "_WORTH", 1e6)
        app = create_app(export, cache_dir=tmp_path_factory.mktemp("bounded"))
    assert app.live.current.ranker(None).bounds is not None
    return app


QUERIES = (
    {"top": 3}, {"top": 5, "page": 2}, {"genre": ["drama", "comedy"]}, {"top": 29}, {"diversity": 0.4, "top": 4},
    {"deny": [2, 7]}, {"new_movies": True}, {"min_ratings": 10},
)  # fmt: skip


def test_lists_with_bounds_are_those_without(app, bounded, dataset):
    for user in dataset.users["user"].tolist()[:20]:
        for wanted in QUERIES:
            answers = [ask(each, get("/recommend", user=user, **wanted)) for each in (app, bounded)]
            assert answers[0].body == answers[1].body and answers[0].status == 200


async def _sent(app: ServingApp, parts: list[bytes]) -> bytes:
    """Sends parts on one connection; returns all that comes back until it is closed."""
    config, state = uvicorn.Config(app, **uvicorn_options(5.0)), ServerState()
    config.load()
    loop = asyncio.get_running_loop()
    protocol = config.http_protocol_class
    server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)  # type: ignore[call-arg]
    try:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.02)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer
    finally:
        server.close()


def _request(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "host: here", *headers, "", ""]).encode()


CLOSE = "connection: close"


def _answers(app: ServingApp, parts: list[bytes]) -> list[bytes]:
    """Answers without their dates."""
    received = re.sub(rb"date: [^\r]*\r\n", b"", asyncio.run(_sent(app, parts)))
    return [b"HTTP/1.1 " + answer for answer in received.split(b"HTTP/1.1 ")[1:]]


@pytest.fixture
def counted(bounded, monkeypatch) -> list[bool]:
    """Whether each request that came there was answered at once."""
    calls: list[bool] = []
    at_once = bounded.at_once

    def count(query: str) -> bytes | None:
        body = at_once(query)
        calls.append(body is not None)
        return body

    monkeypatch.setattr(bounded, "at_once", count)
    return calls


def test_bytes_are_those_of_the_general_way(bounded, dataset, counted):
    users = dataset.users["user"].tolist()[:3]
    paths = [f"/recommend?user={user}&top={top}" for user in users for top in (1, 4)]
    at_once = _answers(bounded, [*map(_request, paths), _request("/health", CLOSE)])
    assert counted == [True] * len(paths)
    general = _answers(bounded, [*(_request(path, "content-length: 0") for path in paths), _request("/health", CLOSE)])
    assert at_once == general and len(at_once) == len(paths) + 1 and len(counted) == len(paths)


def test_pipelined_requests_are_answered_in_order(bounded, dataset):
    user = dataset.users["user"].tolist()[0]
    paths = [f"/recommend?user={user}&top={top}" for top in (1, 2)] + ["/search?q=a", f"/recommend?user={user}&top=3"]
    alone = [_answers(bounded, [_request(path), _request("/health", CLOSE)])[0] for path in paths]
    together = _answers(bounded, [b"".join(map(_request, paths)) + _request("/health", CLOSE)])
    assert together[:-1] == alone


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (_request("/recommend?user=nobody", CLOSE), 404),
        (_request("/recommend?user=9001&top=0", CLOSE), 400),
        (_request("/recommend", CLOSE), 400),
        (_request("/recommend?user=9001", CLOSE, method="HEAD"), 200),
        (_request("/recommend?user=9001", CLOSE, method="PUT"), 405),
        (_request("/recommend?user=9001&generation=old", CLOSE), 409),
        (_request("/recommend?user=9001", version="1.0"), 200),
    ],
)
def test_other_requests_are_answered_in_the_general_way(bounded, counted, request_bytes, status):
    (answer,) = _answers(bounded, [request_bytes])
    assert answer.startswith(b"HTTP/1.1 %d " % status) and not any(counted)


def test_a_token_and_the_limit_of_requests_hold_here_too(bounded, dataset):
    query = f"user={dataset.users['user'].tolist()[0]}"

    async def run() -> list[bytes | None]:
        others = ServingApp(bounded.live, token="secret"), ServingApp(bounded.live, Limits(requests=0))
        return [each.at_once(query) for each in (bounded, *others)]

    answer, *refused = asyncio.run(run())
    assert answer is not None and refused == [None, None]


def test_answers_are_counted(bounded, dataset):
    def count() -> float:
        lines = ask(bounded, get("/metrics")).body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith('gnnrec_requests_total{route="/rec'))

    before = count()
    _answers(bounded, [_request(f"/recommend?user={dataset.users['user'].tolist()[0]}"), _request("/health", CLOSE)])
    assert count() == before + 1
