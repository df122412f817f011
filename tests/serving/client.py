"""Asks an ASGI application, in this process and without a server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Headers, in lower case.
        body: Its bytes.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclasses.dataclass(frozen=True)
class Question:
    """A request.

    Attributes:
        path: Path and query.
        body: Body; None for GET.
        method: Method, by default GET or POST.
        headers: Headers.
        parts: Bodies that arrive one after the other, instead of ``body``.
        endless: Whether the body never ends.
    """

    path: str
    body: Any = None
    method: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    parts: tuple[bytes, ...] = ()
    endless: bool = False


def get(path: str, **query: Any) -> Question:
    """Returns a question by its query."""
    return Question(path + ("?" + urlencode(query, doseq=True) if query else ""))


def ask_all(app: Any, questions: Sequence[Question]) -> list[Answer]:
    """Asks several questions at the same time."""

    async def ask() -> list[Answer]:
        return await asyncio.gather(*(asked(app, question) for question in questions))

    return asyncio.run(ask())


def ask(app: Any, question: Question) -> Answer:
    """Asks one question."""
    return ask_all(app, [question])[0]


async def asked(app: Any, question: Question) -> Answer:
    """Asks one question in the running event loop."""
    path, _, query = question.path.partition("?")
    body = question.body
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    posts = body is not None or question.parts or question.endless
    parts, sent = list(question.parts or [body or b""]), []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "path": path,
        "method": question.method or ("POST" if posts else "GET"), "raw_path": path.encode(),
        "query_string": query.encode("utf-8", "surrogateescape"), "root_path": "", "client": ("127.0.0.1", 1),
        "headers": [(name.lower().encode(), value.encode()) for name, value in question.headers],
        "server": ("127.0.0.1", 1),
    }  # fmt: skip

    async def receive() -> dict:
        if parts:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts) or question.endless}
        await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(sent[0]["status"], headers, content)
