"""Pages in a real browser, light and dark: all charts are drawn without errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gnnrec.cli.main import run_command
from gnnrec.reporting.theme import DARK, LIGHT
from tests.reporting.browser import install, open_page

pytestmark = [pytest.mark.xdist_group("chromium"), pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def chromium() -> None:
    install()


@pytest.fixture(scope="module")
def reports(rating_run, ranking_run, tmp_path_factory) -> dict[str, Path]:
    """Returns name -> page."""
    place = tmp_path_factory.mktemp("reports")
    for name, runs in (("rating", [rating_run]), ("ranking", [ranking_run]), ("both", [rating_run, ranking_run])):
        run_command(["report", *map(str, runs), "--out", str(place / name), "--device", "cpu"])
    return {path.parent.name: path for path in place.glob("*/report.html")}


def charts_of(document: str) -> dict[str, str]:
    """Returns name of a chart -> its SVG."""
    return dict(re.findall(r'data-spec="([\w.]+)".*?(<svg.*?</svg>)', document, re.DOTALL))


@pytest.mark.parametrize(
    ("name", "dark", "width"), [("rating", False, 1280), ("rating", True, 400), ("ranking", True, 900)]
)
def test_all_charts_are_drawn(reports, tmp_path, name, dark, width):
    opened = open_page(reports[name], tmp_path, dark, width)
    assert opened.console == []
    charts = charts_of(opened.document)
    theme, colors, others = ("dark", DARK, LIGHT) if dark else ("light", LIGHT, DARK)
    assert f'data-drawn="{len(charts)} {theme}"' in opened.document and len(charts) >= 8
    assert charts.keys() == {path.stem for path in reports[name].parent.glob("*.png")}
    for chart in charts.values():
        marks = re.findall(r'class="mark-(?:line|rect|symbol)[^"]*" role="graphics-object".*?</g>', chart, re.DOTALL)
        assert any("<path" in mark for mark in marks)
        assert colors.muted in chart or colors.ink in chart
        assert any(color in chart for color in (*colors.series, colors.soft))
        assert not any(color in chart for color in (others.ink, others.muted, others.soft, *others.series))
    if name == "rating":
        assert charts["movie_map"].count('aria-roledescription="circle"') == 50


def test_a_comparison_of_different_objectives_is_drawn(reports, tmp_path):
    opened = open_page(reports["both"], tmp_path, dark=False)
    assert opened.console == [] and 'data-drawn="2 light"' in opened.document


def test_errors_of_the_console_are_found(tmp_path):
    (tmp_path / "bad.html").write_text("<script>nothing.here()</script>")
    opened = open_page(tmp_path / "bad.html", tmp_path / "browser", dark=False)
    assert "ReferenceError" in "".join(opened.console)
