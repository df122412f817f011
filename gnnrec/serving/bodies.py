"""Bodies of requests, within bounds of size and time."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import orjson
from starlette.requests import Request

from gnnrec.serving.errors import RequestError

#: Bytes of a body that is too large which are read nevertheless: many clients read no answer before they have sent all.
_DRAINED = 16_000_000


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of requests.

    Attributes:
        body: Bytes of a body.
        batch: Users of a request.
        seconds: Seconds to receive and answer a request.
        requests: Requests at a time.
    """

    body: int = 1_000_000
    batch: int = 100
    seconds: float = 10.0
    requests: int = 1000


async def read_body(request: Request, limits: Limits) -> Any:
    """Returns the decoded body of a POST.

    Args:
        request: The request.
        limits: Its bounds.

    Raises:
        RequestError: It is too large, slow, or no JSON, or there is a query too.
    """
    if request.scope["query_string"]:
        raise RequestError(400, "a POST takes all parameters from its body: leave out what follows the ?")
    most = limits.body
    length = request.headers.get("content-length", "")
    declared = int(length) if length.isascii() and length.isdigit() and len(length) < 19 else 0
    too_large = RequestError(413, f"the body has more than {most} bytes: send less")
    if declared > most + _DRAINED or len(length) >= 19:
        raise too_large

    async def read() -> bytes:
        body, size = bytearray(), 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= most:
                body += chunk
            if size > most + _DRAINED:
                break
        if size > most:
            raise too_large
        return bytes(body)

    try:
        content = await asyncio.wait_for(read(), limits.seconds)
    except asyncio.TimeoutError:
        if declared > most:
            raise too_large from None
        raise RequestError(408, f"the body did not arrive within {limits.seconds:g} seconds") from None
    try:
        return orjson.loads(content)
    except ValueError as error:
        raise RequestError(400, f"the body is no JSON ({str(error)[:100]}): send a JSON object") from None
