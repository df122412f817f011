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
        "genres": {"type": "array", "items": {"type": "string"}},
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
_ID: dict[str, Any] = {"type": ["integer", "string"]}
_TEXT, _COUNT, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


def _listed(schema: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{schema}"}}


_PAGE = {"user": _ID, "score": _TEXT, "page": _COUNT, "movies": _listed("Movie")}
#: Schemas of answers.
_ANSWERS = {
    "List": _object("generation score page movies", generation=_TEXT, **_PAGE),
    "UserList": _object("score page movies", **_PAGE),
    "Lists": _object("generation users", generation=_TEXT, users=_listed("UserList")),
    "Similar": _object(
        "generation movie title page movies",
        generation=_TEXT, movie=_ID, title=_TEXT, page=_COUNT, movies=_listed("Movie"),
    ),
    "Scores": _object(
        "generation score movies", generation=_TEXT, user=_ID, score=_TEXT, movies=_listed("Movie")
    ),
    "Found": _object("generation movies", generation=_TEXT, movies=_listed("Movie")),
    "Health": _object(
        "status generation users movies genres new_users rating_scale",
        status=_TEXT, generation=_TEXT, export=_TEXT, users=_COUNT, movies=_COUNT, new_users=_FLAG,
        genres={"type": "array", "items": _TEXT}, rating_scale={"type": ["array", "null"], "items": {"type": "number"}},
    ),
}  # fmt: skip
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
            "get": _operation("recommend", "Movies for a known user.", "List", USER_LIST.all),
            "post": _operation(
                "recommendToUsers",
                "Movies for users, known or new.",
                "List or Lists",
                (),
                user | users | _body(LIST.all),
            ),
        },
        "/similar": {"get": _operation("similar", "Movies with similar vectors.", "Similar", SIMILAR.all)},
        "/score": {
            "get": _operation("score", "Scores of given movies for a known user.", "Scores", USER_SCORE.all),
            "post": _operation(
                "scoreForUser", "Scores of given movies for a user.", "Scores", (), user | _body(SCORE.all)
            ),
        },
        "/search": {
            "get": _operation("search", "The most rated movies with a text in their titles.", "Found", SEARCH.all)
        },
        "/health": {"get": _operation("health", "The generation that answers, and its counts.", "Health", ())},
        "/metrics": {"get": _operation("metrics", "Metrics in the text format of Prometheus.", "", ())},
    }
    schemas: dict[str, Any] = {"schemas": {"Movie": _MOVIE, **_ANSWERS, "Error": _ERROR}}
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
    answer: str,
    parameters: tuple[RequestParameter, ...],
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the entry of an operation, whose answer is one of some schemas, or text."""
    kind, choices = "application/json", [{"$ref": f"#/components/schemas/{name}"} for name in answer.split(" or ")]
    schema: dict[str, Any] = choices[0] if len(choices) == 1 else {"oneOf": choices}
    if not answer:
        kind, schema = "text/plain", {"type": "string"}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": "The answer.", "content": {kind: {"schema": schema}}},
            "4XX": {"description": "A malformed request: one sentence says what is wrong.", "content": error},
            "5XX": {"description": "No answer for now, with 503, or a mistake of the service.", "content": error},
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
