"""The page of the service in a real browser, light and dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.inference.exports import exported
from tests.reporting.browser import install, open_page
from tests.serving.service import Service, served

pytestmark = [pytest.mark.xdist_group("chromium"), pytest.mark.browser, pytest.mark.slow, pytest.mark.processes]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("rated"))


@pytest.fixture(scope="module")
def service(data, tmp_path_factory):
    install()
    place = tmp_path_factory.mktemp("paged")
    train(make_config(data.directory, place / "run"), World())
    exported(place / "run", place / "export")
    with served(place / "export") as running:
        yield running


def shown(document: str) -> list[str]:
    """Returns the titles of the recommended movies."""
    listed = re.search(r'<ol id="list".*?</ol>', document, re.DOTALL)[0]
    return re.findall(r"<span>\d+\. ([^<]*)</span>", listed)


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 400)])
def test_ratings_in_the_address_give_a_list_with_reasons(service: Service, data, tmp_path: Path, dark, width):
    ids = data.movies["movie"].tolist()[:2]
    ratings = [{"movie": movie, "rating": rating} for movie, rating in zip(ids, (5, 2.5))]
    wanted = service.ask("/recommend", {"ratings": ratings, "why": 3})[1]["movies"]
    address = f"http://127.0.0.1:{service.port}/#rated={ids[0]}:5,{ids[1]}:2.5"
    opened = open_page(address, tmp_path, dark, width, tmp_path / "page.png")
    assert opened.console == []
    assert shown(opened.document) == [movie["title"] for movie in wanted]
    titles = data.movies.set_index("movie")["title"]
    why = re.findall(r'<div class="why">(.*?)</div>', opened.document, re.DOTALL)
    assert len(why) == len(wanted)
    for text, movie in zip(why, wanted):
        for entry in movie["why"]["ratings"]:
            assert f"{titles[entry['movie']]}, which you rated {entry['rating']:g}" in text
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_needs_nothing_from_elsewhere(service: Service):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    connection.request("GET", "/")
    text = connection.getresponse().read().decode()
    assert re.findall(r"""(?:src|href)=["']?(?!data:)([^"'> ]+)""", text) == [] and "http" not in text
