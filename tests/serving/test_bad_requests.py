"""A malformed request gets a status of 4xx and one sentence in JSON."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import pytest

from benchmarks.serve_fuzz import random_request
from gnnrec.errors import UserError
from gnnrec.serving.app import Limits, ServingApp
from gnnrec.serving.serve import ServeOptions
from gnnrec.serving.tokens import TOKEN
from tests.serving.client import Answer, Question, ask, ask_all, asked, get

_BEARER = (("authorization", "Bearer secret"),)


def refused(app, question: Question) -> tuple[int, str]:
    answer = ask(app, question)
    check_error(answer)
    return answer.status, answer.json["error"]


def check_error(answer: Answer) -> None:
    """An error is an object with one sentence: no line breaks, no traceback, not too long."""
    assert 400 <= answer.status < 500 and answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error"]
    text = answer.json["error"]
    assert 10 < len(text) < 500 and "Traceback" not in text and "\n" not in text


@pytest.mark.parametrize(
    ("question", "status", "says"),
    [
        (get("/recommend"), 400, "user is missing: send the id of a known user"),
        (get("/recommend", user=8), 404, "user 8: no user has this id (ids look like 7, 10, 13)"),
        (get("/recommend", usr=7), 400, "usr is no parameter here (did you mean user?)"),
        (get("/recommend", user=[7, 10]), 400, "user comes twice"),
        (get("/recommend", user=7, top=0), 400, "top 0: send a number of 1 to 1000"),
        (get("/recommend", user=7, top="ten"), 400, "top ten: send a whole number"),
        (get("/recommend", user=7, top=500, page=3), 400, "page 3 of 500 movies ends behind movie 1000"),
        (get("/recommend", user=7, min_year=2000, max_year=1990), 400, "min_year 2000 is after max_year 1990"),
        (get("/recommend", user=7, genre="Opera"), 400, "genre Opera: no movie has it, choose among Action, Comedy"),
        (get("/recommend", user=7, order_by="best"), 400, "order_by best: send one of both, rating, interest"),
        (get("/recommend", user=7, new_share=0.5), 400, "new_share 0.5: send new_movies true with it"),
        (get("/recommend", user=7, diversity=2), 400, "diversity 2"),
        (get("/recommend", user=7, deny=1), 404, "deny 1: no movie has this id (ids look like 2, 7, 12)"),
        (get("/recommend", user=7, generation="x"), 409, "generation x is gone"),
        (get("/similar", movie="Film"), 404, "29 titles begin with it: Film "),
        (get("/similar", movie="Opera"), 404, "movie Opera: no movie has this id or a title that begins with it"),
        (get("/score", user=7), 400, "movie has 0 ids"),
        (get("/nowhere"), 404, "there is no /nowhere here"),
        (Question("/recommend", method="PUT"), 405, "/recommend answers GET and POST, not PUT"),
        (Question("/recommend", b"{"), 400, "the body is no JSON"),
        (Question("/recommend", [1]), 400, "the body is no JSON object"),
        (Question("/recommend", {"top": 3}), 400, "send one of user, ratings and users"),
        (Question("/recommend", {"user": 7, "users": []}), 400, "not user and users"),
        (Question("/recommend", {"users": []}), 400, "users: send a list of objects"),
        (Question("/recommend", {"users": [3]}), 400, "ratings: send a list of objects"),
        (Question("/recommend", {"users": [{"user": 7, "ratings": [[2, 3]]}]}), 400, "both user and"),
        (Question("/recommend", {"users": [{"user": 7, "top": 3}]}), 400, "users: top is no entry of a user"),
        (Question("/recommend?top=3", {"user": 7}), 400, "a POST takes all parameters from its body"),
        (Question("/score?movie=2", {"user": 7, "movie": [2]}), 400, "a POST takes all parameters from its body"),
        (Question("/recommend", {"user": True}), 400, "user True: send an id"),
        (Question("/recommend", {"user": 7, "genre": "Drama"}), 400, "genre Drama: send a list"),
        (Question("/recommend", {"ratings": [[2, 3]]}), 400, "ratings: [2, 3] is no object such as"),
        (Question("/recommend", {"ratings": [{"movie": 2, "rating": "5"}]}), 400, "rating 5: send a number"),
        (Question("/recommend", {"users": [{"user": 7}] * 101}), 413, "users has 101 entries: send at most 100"),
        (Question("/recommend", b"[" * 1_000_001), 413, "the body has more than 1000000 bytes"),
        (Question("/recommend", parts=(b" " * 500_000,) * 40), 413, "the body has more than 1000000 bytes"),
        (Question("/recommend", b"{}", headers=(("content-length", "9" * 30),)), 413, "more than 1000000 bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(app, question, status, says):
    found, text = refused(app, question)
    assert (found, says in text) == (status, True), text


def limited(app: ServingApp, token: str | None = None, **limits) -> ServingApp:
    """Returns an app with other limits on the same snapshot."""
    return ServingApp(app.live, dataclasses.replace(Limits(), **limits), token)


def test_a_body_that_does_not_arrive(app):
    slow = limited(app, seconds=0.05)
    assert refused(slow, Question("/recommend", parts=(b"{",), endless=True))[0] == 408
    large = Question("/recommend", parts=(b" " * 60,) * 4)
    assert refused(limited(app, body=200), large)[0] == 413


def test_too_many_requests_at_a_time_are_told_so(app):
    busy = limited(app, requests=2)
    answers = ask_all(busy, [get("/recommend", user=7)] * 6)
    assert sorted({answer.status for answer in answers}) == [200, 503]
    assert ask(busy, get("/recommend", user=7)).status == 200


def test_a_request_whose_answer_is_not_taken_counts_as_one_at_a_time(app):
    busy = limited(app, requests=1)

    async def taken_late() -> tuple[int, int]:
        late, statuses = asyncio.Event(), []

        async def send(message: dict) -> None:
            await late.wait()

        async def receive() -> dict:
            return {"type": "http.request", "body": b""}

        scope = {"type": "http", "path": "/health", "method": "GET", "query_string": b"", "headers": []}
        first = asyncio.ensure_future(busy(scope, receive, send))
        for _ in range(2):
            await asyncio.sleep(0.01)
            statuses.append((await asked(busy, get("/recommend", user=7))).status)
            late.set()
            await first
        return statuses[0], statuses[1]

    assert asyncio.run(taken_late()) == (503, 200)


def test_many_users_leave_room_for_others_and_end_in_time(app, dataset, monkeypatch):
    order, users = [], [{"user": user} for user in dataset.users["user"][:6].tolist()]

    def slow(*arguments: object) -> dict:
        time.sleep(0.02)
        order.append("user")
        return {}

    async def ask_both() -> None:
        many = asyncio.ensure_future(asked(app, Question("/recommend", {"users": users})))
        await asyncio.sleep(0)
        assert (await asked(app, get("/health"))).status == 200
        order.append("health")
        assert len((await many).json["users"]) == 6

    monkeypatch.setattr("gnnrec.serving.app.list_answer", slow)
    asyncio.run(ask_both())
    assert order.index("health") < 6
    answer = ask(limited(app, seconds=0.05), Question("/recommend", {"users": users}))
    assert answer.status == 503 and "ask for fewer users" in answer.json["error"]


def test_a_token_is_asked_for(app):
    guarded = limited(app, token="secret")
    for header in ((), (("authorization", "Bearer wrong"),), (("authorization", "secret"),)):
        for path in ("/recommend?user=7", "/metrics", "/openapi.json"):
            answer = ask(guarded, Question(path, headers=header))
            assert answer.status == 401 and "Bearer" in answer.json["error"]
    answer = ask(guarded, Question("/recommend?user=7", headers=(("Authorization", "Bearer secret"),)))
    assert answer.status == 200
    assert ask(guarded, get("/health")).status == ask(guarded, get("/")).status == 200
    assert "export" not in ask(guarded, get("/health")).json
    for open_to_it in (ask(app, get("/health")), ask(guarded, Question("/health", headers=_BEARER))):
        assert open_to_it.json["export"] == app.live.current.place
    assert ask(guarded, Question("/metrics", headers=(("authorization", "Bearer s\xe9cret"),))).status == 401


@pytest.mark.parametrize("token", ["", " \n", "two\nlines", "s\xe9cret"])
def test_a_token_that_no_request_can_carry_is_refused(app, token, monkeypatch, tmp_path):
    monkeypatch.setenv(TOKEN, token)
    (tmp_path / "token").write_text(token)
    for options, place in ((ServeOptions(), TOKEN), (ServeOptions(token_file=tmp_path / "token"), str(tmp_path))):
        with pytest.raises(UserError, match=f"{place}.* has no token: write one line of ASCII characters"):
            options.token()
    with pytest.raises(UserError, match="token has no token"):
        limited(app, token=token)


def test_a_token_of_the_environment_has_no_space_around_it(monkeypatch):
    monkeypatch.setenv(TOKEN, "secret\n")
    assert ServeOptions().token() == "secret"
    monkeypatch.delenv(TOKEN)
    assert ServeOptions().token() is None


@pytest.mark.slow
def test_fuzzed_requests(app):
    statuses = []
    for seed in range(300):
        fuzzed = random_request(seed)
        question = Question(fuzzed.path, fuzzed.body, fuzzed.method)
        answer = ask(app, question)
        statuses.append(answer.status)
        assert answer.status < 500, question
        if answer.status >= 400:
            check_error(answer)
    assert set(statuses) >= {200, 400, 404, 405} and 20 < statuses.count(200) < 250


def test_the_description_has_all_routes_and_parameters(app):
    described = ask(app, get("/openapi.json")).json
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]) | {"/", "/openapi.json"} == set(app._routes)
    for path, methods in app._routes.items():
        assert path in ("/", "/openapi.json") or {name.upper() for name in described["paths"][path]} == set(methods)
    names = {entry["name"] for entry in described["paths"]["/recommend"]["get"]["parameters"]}
    text = refused(app, get("/recommend", xyzzy=1))[1]
    assert names == set(text.split("send some of ")[1].split(", "))
    body = described["paths"]["/recommend"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == names | {"ratings", "users"}
    assert "security" not in described
    token = (("authorization", "Bearer t"),)
    assert ask(limited(app, token="t"), Question("/openapi.json", headers=token)).json["security"] == [{"token": []}]


def check_schema(value: Any, schema: dict, schemas: dict) -> None:
    """Compares a value with a schema that names all of its entries."""
    schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    kinds = {dict: "object", list: "array", str: "string", int: "integer", float: "number", bool: "boolean"}
    wanted = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert kinds.get(type(value), "null") in wanted
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema["required"]) <= set(value) <= set(schema["properties"])
        for name, each in value.items():
            check_schema(each, schema["properties"][name], schemas)
    for each in value if isinstance(value, list) else ():
        check_schema(each, schema["items"], schemas)


def test_answers_have_the_shape_that_is_described(app):
    described = ask(app, get("/openapi.json")).json
    schemas, users = described["components"]["schemas"], {"users": [{"user": 7}, {"user": 10}]}
    for question in (
        get("/recommend", user=7), Question("/recommend", users), Question("/recommend", {"user": 7}),
        get("/similar", movie=2), get("/score", user=7, movie=2), get("/search", q="film"), get("/health"),
    ):  # fmt: skip
        answer, path = ask(app, question), question.path.partition("?")[0]
        responses = described["paths"][path]["get" if question.body is None else "post"]["responses"]
        assert answer.status == 200 and set(responses) == {"200", "4XX", "5XX"}
        schema = responses["200"]["content"]["application/json"]["schema"]
        choices = schema.get("oneOf", [schema])
        check_schema(answer.json, choices[-1 if "users" in answer.json else 0], schemas)


def test_metrics_count_requests_by_route_and_status(export):
    from gnnrec.serving.app import create_app

    app = create_app(export)
    for question in (get("/recommend", user=7), get("/recommend", user=7), get("/recommend", user=8), get("/x")):
        ask(app, question)
    lines = ask(app, get("/metrics")).body.decode().splitlines()
    assert 'gnnrec_requests_total{route="/recommend",status="200"} 2.0' in lines
    assert 'gnnrec_requests_total{route="/recommend",status="404"} 1.0' in lines
    assert 'gnnrec_requests_total{route="other",status="404"} 1.0' in lines
    assert 'gnnrec_request_seconds_count{route="/recommend"} 3.0' in lines
    assert 'gnnrec_rows{kind="movies"} 29.0' in lines
