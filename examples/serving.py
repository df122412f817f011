"""Recommendations inside your own service, with and without HTTP.

Run it with an export::

    python examples/serving.py export/mine          # prints a list
    EXPORT=export/mine uvicorn examples.serving:app  # your routes, and those of gnnrec below /gnnrec
"""

from __future__ import annotations

import os
import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from gnnrec.serving.answers import list_answer
from gnnrec.serving.app import ServingApp, create_app
from gnnrec.serving.requests import LIST, list_request
from gnnrec.serving.targets import find_target


def recommended(service: ServingApp, user: str, **wanted: object) -> list[dict]:
    """Returns movies for a known user, from the export that is served now."""
    snapshot = service.live.current
    return list_answer(snapshot, list_request(LIST.of_json(wanted)), find_target(snapshot, user))["movies"]


def application(export: str) -> Starlette:
    """Returns an application with a route of its own, which mounts the service."""
    service = create_app(export)

    async def home(request: Request) -> JSONResponse:
        """Adds a list to what the page of your user shows anyway."""
        user = request.path_params["user"]
        return JSONResponse({"hello": user, "for_you": recommended(service, user, top=3, diversity=0.3)})

    return Starlette(routes=[Route("/home/{user}", home), Mount("/gnnrec", app=service)])


if "EXPORT" in os.environ:
    app = application(os.environ["EXPORT"])

if __name__ == "__main__":
    service = create_app(sys.argv[1])
    known = service.live.current.users[0]
    for movie in recommended(service, str(known), top=5):
        print(f"{movie['score']:8.3f}  {movie['title']}")
