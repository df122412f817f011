"""The service as an ASGI application, which other applications can mount."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gnnrec.errors import UserError
from gnnrec.serving.answers import (
    find_near,
    list_answer,
    score_answer,
    search_answer,
    similar_answer,
)
from gnnrec.serving.batcher import Batcher
from gnnrec.serving.bodies import Limits, read_body
from gnnrec.serving.errors import RequestError
from gnnrec.serving.live import Live, WatchedExport
from gnnrec.serving.metrics import CONTENT_TYPE, RequestMetrics
from gnnrec.serving.openapi import description
from gnnrec.serving.requests import (
    LIST,
    MOST_IDS,
    SCORE,
    SEARCH,
    SIMILAR,
    USER_SCORE,
    ListRequest,
    NewUser,
    check_filters,
    list_request,
    user_and_list,
    users_of_body,
)
from gnnrec.serving.snapshot import Snapshot
from gnnrec.serving.targets import Target, find_target
from gnnrec.serving.tokens import carries_token, checked_token
from gnnrec.utils.log import logger

Handler = Callable[[Request], Awaitable[Response]]
_PAGE = Path(__file__).parent / "page.html"
#: Seconds that a request of many users is answered at a time.
_TURN = 0.01
#: Routes that need no token: the page has no data, and asks for the token.
_OPEN = ("/", "/health")


class ServingApp:
    """The routes.

    Args:
        live: The snapshot.
        limits: Bounds of requests.
        token: Token that requests carry as ``Authorization: Bearer``; None for none.
    """

    def __init__(self, live: Live, limits: Limits | None = None, token: str | None = None):
        self.live, self.limits = live, limits or Limits()
        self._token = None if token is None else checked_token(token, "token")
        self._metrics, self._batcher, self._running = RequestMetrics(), Batcher(), 0
        self._routes: dict[str, dict[str, Handler]] = {
            "/": {"GET": self._page},
            "/recommend": {"GET": self._recommend, "POST": self._recommend},
            "/similar": {"GET": self._similar},
            "/score": {"GET": self._score, "POST": self._score},
            "/search": {"GET": self._search},
            "/health": {"GET": self._health},
            "/metrics": {"GET": self._metrics_text},
            "/openapi.json": {"GET": self._openapi},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; every error is an object with one sentence, ``error``."""
        if scope["type"] != "http":
            return
        self.live.watch()
        started, root, path = time.perf_counter(), scope.get("root_path", ""), scope["path"]
        path = path.removeprefix(root) or "/"
        route = path if path in self._routes else "other"
        self._running += 1
        try:
            response = await self._response(path, Request(scope, receive))
            self._metrics.add(route, response.status_code, time.perf_counter() - started)
            await response(scope, receive, send)  # waits where answers before it are not read
        finally:
            self._running -= 1

    async def _response(self, path: str, request: Request) -> Response:
        try:
            return await self._answer(path, request)
        except RequestError as error:
            return _error(error.status, error.text)
        except UserError as error:
            return _error(400, str(error))
        except ClientDisconnect:
            return _error(400, "the request ended before its body")
        except Exception:
            logger.exception(f"{request.method} {path} failed")
            return _error(500, "the service failed: its log says why")

    async def _answer(self, path: str, request: Request) -> Response:
        handlers, method = self._routes.get(path), request.method
        if handlers is None:
            raise RequestError(404, f"there is no {path[:60]} here: see /openapi.json")
        handler = handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            raise RequestError(405, f"{path} answers {' and '.join(handlers)}, not {method[:20]}")
        if path not in _OPEN and not self._trusts(request):
            raise RequestError(401, "send the token of this service as Authorization: Bearer TOKEN")
        if self._running > self.limits.requests:
            raise RequestError(503, "too many requests at a time: try again")
        return await handler(request)

    def _trusts(self, request: Request) -> bool:
        return self._token is None or carries_token(request.headers.get("authorization", ""), self._token)

    async def _recommend(self, request: Request) -> Response:
        started = time.perf_counter()
        users: list[str | NewUser]
        if request.method == "POST":
            users, others, many = users_of_body(await read_body(request, self.limits), self.limits.batch)
            wanted = list_request(LIST.of_json(others))
        else:
            known, wanted = user_and_list(_query(request))
            users, many = [known], False
        snapshot = await self.live.snapshot(wanted.generation)
        found: list[dict[str, Any]] = []
        turn = started
        for user in users:
            if found and (now := time.perf_counter()) - turn > _TURN:
                if now - started > self.limits.seconds:
                    raise RequestError(503, f"not answered within {self.limits.seconds:g} seconds: ask for fewer users")
                await asyncio.sleep(0)  # others are answered in between
                turn = time.perf_counter()
            target = find_target(snapshot, user)
            found.append(list_answer(snapshot, wanted, target) if many else await self._one(snapshot, wanted, target))
        answer = {"generation": snapshot.generation}
        return _json(answer | ({"users": found} if many else found[0]))

    async def _one(self, snapshot: Snapshot, wanted: ListRequest, target: Target) -> dict[str, Any]:
        """Answers one user, together with others that ask at the same time where all movies are scored."""
        if (found := _without_all_scores(snapshot, wanted, target)) is not None:
            return found
        scores = await self._batcher.scores(snapshot.ranker(wanted.order_by), target.user.vectors)
        return list_answer(snapshot, wanted, target, scores)

    def at_once(self, query: str) -> bytes | None:
        """Returns the body of an answer to ``GET /recommend`` that needs no other request, and no error.

        Requests that come here and not to :meth:`__call__` save a third of their time: no task, and no messages.

        Args:
            query: The query of the URL.

        Returns:
            The body, of status 200; None if the request has to be answered by :meth:`__call__`.
        """
        if self._token is not None or self._running >= self.limits.requests:
            return None
        self.live.watch()
        started = time.perf_counter()
        try:
            user, wanted = user_and_list(parse_qsl(query, keep_blank_values=True))
            if wanted.why or wanted.generation is not None:
                return None
            snapshot = self.live.current
            found = _without_all_scores(snapshot, wanted, find_target(snapshot, user))
        except (RequestError, UserError):
            return None
        if found is None:
            return None
        body = orjson.dumps({"generation": snapshot.generation} | found)
        self._metrics.add("/recommend", 200, time.perf_counter() - started)
        return body

    async def _similar(self, request: Request) -> Response:
        values = SIMILAR.of_query(_query(request))
        check_filters(values)
        snapshot = self.live.current
        return _json({"generation": snapshot.generation} | similar_answer(snapshot, values))

    async def _score(self, request: Request) -> Response:
        user: str | NewUser
        if request.method == "POST":
            users, others, many = users_of_body(await read_body(request, self.limits), 1)
            if many:
                raise RequestError(400, "users: send one user or ratings, and movie, a list of ids")
            user, values = users[0], SCORE.of_json(others)
        else:
            values = USER_SCORE.of_query(_query(request))
            user = values["user"]
        movies = values["movie"]
        if not 0 < len(movies) <= MOST_IDS:
            raise RequestError(400, f"movie has {len(movies)} ids: send 1 to {MOST_IDS}")
        snapshot = self.live.current
        target = find_target(snapshot, user)
        return _json({"generation": snapshot.generation} | score_answer(snapshot, target, movies))

    async def _search(self, request: Request) -> Response:
        values = SEARCH.of_query(_query(request))
        snapshot = self.live.current
        return _json({"generation": snapshot.generation} | search_answer(snapshot, values["q"], values["top"]))

    async def _health(self, request: Request) -> Response:
        snapshot = self.live.current
        counts = {"users": len(snapshot.users), "movies": len(snapshot.movies), "genres": snapshot.movies.genres}
        encoder = snapshot.encoder
        offers = {"new_users": encoder is not None, "rating_scale": None if encoder is None else encoder.rating_scale}
        place = {"export": snapshot.place} if self._trusts(request) else {}
        return _json({"status": "ok", "generation": snapshot.generation} | place | counts | offers)

    async def _metrics_text(self, request: Request) -> Response:
        live = self.live
        counts = len(live.current.users), len(live.current.movies)
        return Response(self._metrics.text(*counts, live.swaps, live.refused), headers={"content-type": CONTENT_TYPE})

    async def _openapi(self, request: Request) -> Response:
        return _json(description(self._token is not None))

    async def _page(self, request: Request) -> Response:
        return Response(_PAGE.read_bytes(), media_type="text/html")


def _without_all_scores(snapshot: Snapshot, wanted: ListRequest, target: Target) -> dict[str, Any] | None:
    """Answers one user by bounds or an index; returns None where all movies have to be scored."""
    if snapshot.ranker(wanted.order_by).bounds is not None:
        return list_answer(snapshot, wanted, target)  # which asks the index itself
    near = find_near(snapshot, wanted, target)
    return None if near is None else list_answer(snapshot, wanted, target, near=near)


def _query(request: Request) -> list[tuple[str, str]]:
    """Returns the names and values of a query; Starlette's own way makes several dictionaries of them."""
    return parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _error(status: int, text: str) -> Response:
    response = _json({"error": text}, status)
    if status in (408, 413):  # the rest of the body is not read
        response.headers["connection"] = "close"
    if status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response


def create_app(
    export: Path | str,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    cache_dir: Path | None = None,
    data: Path | None = None,
) -> ServingApp:
    """Returns the service of an export as an ASGI application, to run or to mount in another one.

    The export is converted if it was not yet. The application looks for other exports while it answers requests.

    Args:
        export: An export, a link to one, or a directory of ``gnnrec update``.
        limits: Bounds of requests.
        token: Token that requests carry as ``Authorization: Bearer``; None for none.
        cache_dir: Directory of converted exports; by default beside the export.
        data: The prepared dataset, if it has moved since the export.

    Raises:
        UserError: There is no complete export, or it is damaged.
    """
    return ServingApp(Live(WatchedExport(Path(export), cache_dir, data)), limits, token)
