"""The example that embeds the service."""

from __future__ import annotations

import runpy
import sys

import pytest

from tests.end_to_end.commands import ROOT
from tests.serving.client import ask, get

EXAMPLE = ROOT / "examples" / "serving.py"


def test_its_routes_and_those_of_the_service(export, app):
    embedded = runpy.run_path(str(EXAMPLE))["application"](str(export))
    listed = ask(app, get("/recommend", user=7, top=3, diversity=0.3)).json["movies"]
    assert ask(embedded, get("/home/7")).json == {"hello": "7", "for_you": listed}
    assert ask(embedded, get("/gnnrec/recommend", user=7)).json == ask(app, get("/recommend", user=7)).json
    assert ask(embedded, get("/gnnrec/nowhere")).status == 404


def test_it_prints_a_list(export, app, dataset, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["serving.py", str(export)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    user = int(dataset.users["user"][0])
    listed = ask(app, get("/recommend", user=user, top=5)).json["movies"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == [movie["title"] for movie in listed]
    assert [float(line.split()[0]) for line in lines] == pytest.approx([movie["score"] for movie in listed], abs=5e-4)
