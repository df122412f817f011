"""The OpenAPI description of the service, written from the parameters that requests are read by."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from gnnrec._version import __version__
from gnnrec.serving.parameters import RequestParameter
from gnnrec.serving.requests import LIST, RATING, SCORE, SEARCH, SIMILAR, USER_LIST, USER_SCORE

_MOVIE = {
    "type": "object",
    "properties": {
        "movie": {"type": ["integer", "string"]},
        "title": {"type": "string"},
        "score": {"type": "number"},
        "rating": {"type": "number"},
        "similarity": {"type": "number"},
        "why": {"type": "object"},
    },
    "required": ["movie", "title"],
}
_RATINGS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {parameter.name: parameter.schema() for parameter in RATING.all},
        "required": [parameter.name for parameter in RATING.all if parameter.required],
    },
}
_LIST = {
    "type": "object",
    "properties": {
        "generation": {"type": "string"},
        "user": {"type": ["integer", "string"]},
        "score": {"type": "string"},
        "page": {"type": "integer"},
        "movies": {"type": "array", "items": {"$ref": "#/components/schemas/Movie"}},
        "users": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["generation"],
}
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}


@lru_cache(maxsize=2)
def description(token: bool) -> dict[str, Any]:
    """Returns the description.

    Args:
        token: Whether requests carry a token.
    """
    entry = {"type": ["integer", "string"], "description": "Id of a known user."}
    user = {"user": entry, "ratings": _RATINGS | {"description": "Ratings of a new user."}}
    users = {"users": {"type": "array", "items": {"type": "object", "properties": user}}}
    paths = {
        "/recommend": {
            "get": _operation("recommend", "Movies for a known user.", USER_LIST.all),
            "post": _operation(
                "recommendToUsers", "Movies for users, known or new.", (), user | users | _body(LIST.all)
            ),
        },
        "/similar": {"get": _operation("similar", "Movies with similar vectors.", SIMILAR.all)},
        "/score": {
            "get": _operation("score", "Scores of given movies for a known user.", USER_SCORE.all),
            "post": _operation("scoreForUser", "Scores of given movies for a user.", (), user | _body(SCORE.all)),
        },
        "/search": {"get": _operation("search", "The most rated movies with a text in their titles.", SEARCH.all)},
        "/health": {"get": _operation("health", "The generation that answers, and its counts.", ())},
        "/metrics": {"get": _operation("metrics", "Metrics in the text format of Prometheus.", (), kind="text/plain")},
    }
    schemas: dict[str, Any] = {"schemas": {"Movie": _MOVIE, "List": _LIST, "Error": _ERROR}}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "gnnrec", "version": __version__, "description": "Recommendations from an export."},
        "paths": paths,
        "components": schemas,
    }
    if token:
        schemas["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


def _body(parameters: tuple[RequestParameter, ...]) -> dict[str, Any]:
    return {parameter.name: parameter.schema() | {"description": parameter.help} for parameter in parameters}


def _operation(
    name: str,
    summary: str,
    parameters: tuple[RequestParameter, ...],
    body: dict[str, Any] | None = None,
    kind: str = "application/json",
) -> dict[str, Any]:
    schema = {"type": "string"} if kind == "text/plain" else {"$ref": "#/components/schemas/List"}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": "The answer.", "content": {kind: {"schema": schema}}},
            "4XX": {"description": "A malformed request: one sentence says what is wrong.", "content": error},
        },
    }
    if parameters:
        operation["parameters"] = [
            {
                "name": parameter.name,
                "in": "query",
                "required": parameter.required,
                "description": parameter.help,
                "schema": parameter.schema(),
            }
            for parameter in parameters
        ]
    if body is not None:
        content = {"application/json": {"schema": {"type": "object", "properties": body}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation
