"""Small runs of every kind, and access to the content of their reports."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.distributed.world import World
from gnnrec.reporting.content import Figure, Page
from gnnrec.reporting.report import ReportOptions, run_page
from gnnrec.reporting.run_records import read_run
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import ratings_table, write_dataset

#: A title that would end a script or begin an element unless escaped.
NASTY = '</script><b>"Film" & more</b>'

collect_ignore = ["test_browser.py"] if os.environ.get("GNNREC_SKIP_CHROMIUM") == "1" else []


def page_of(run: Path, **options) -> Page:
    """Creates the page about a run."""
    return run_page(read_run(run), ReportOptions(**options), World())


def figure(page: Page, name: str) -> Figure:
    """Returns the figure of a name."""
    (match,) = [figure for figure in page.figures if figure.name == name]
    return match


def data(figure: Figure) -> pd.DataFrame:
    """Returns all rows of a chart."""
    return pd.concat([pd.DataFrame(rows) for rows in figure.spec["datasets"].values()], ignore_index=True)


def section_names(page: Page) -> list[str]:
    """Returns the anchors of the sections."""
    return [section.anchor for section in page.sections]


@pytest.fixture(scope="session")
def rating_run(tmp_path_factory) -> Path:
    """Rating model of a dataset with titles, genres, baselines and interest; one title has markup."""
    place = tmp_path_factory.mktemp("rating")
    write_dataset(place / "first", users=60, movies=50, ratings=1400)
    movies = pd.read_csv(place / "first" / "movies.csv")
    popular = pd.read_csv(place / "first" / "ratings.csv")["movieId"].mode()[0]
    movies.loc[movies["movieId"] == popular, "title"] = NASTY
    movies.to_csv(place / "first" / "movies.csv", index=False)
    prepare(place / "data", PrepareOptions(ratings=place / "first" / "ratings.csv", validation=0.1, test=0.2, shards=8))
    config = make_config(
        place / "data", place / "run", optimizer={"epochs": 4, "lr": 0.05}, baselines=True, log_every=1, interest={}
    )
    train(config, World())
    return place / "run"


@pytest.fixture(scope="session")
def ranking_run(tmp_path_factory) -> Path:
    """Ranking model with held-out users."""
    place = tmp_path_factory.mktemp("ranking")
    dataset = write_dataset(
        place, users=90, movies=40, ratings=1900, protocol="strong", validation=0.15, test=0.3, relevant=3.5
    )
    config = make_config(
        dataset.directory, place / "run", objective="ranking", ranking={"dim": 8, "users_a_step": 20},
        optimizer={"epochs": 3}, baselines=True, log_every=1,
    )  # fmt: skip
    train(config, World())
    return place / "run"


@pytest.fixture(scope="session")
def bare_run(tmp_path_factory) -> Path:
    """Rating model without titles, genres, times, baselines and validation ratings, with strings as ids."""
    place = tmp_path_factory.mktemp("bare")
    table = ratings_table(30, 20, 300).drop(columns="timestamp")
    table["userId"], table["movieId"] = "u" + table["userId"].astype(str), "m" + table["movieId"].astype(str)
    table.to_csv(place / "ratings.csv", index=False)
    prepare(place / "data", PrepareOptions(ratings=place / "ratings.csv", validation=0.0))
    train(make_config(place / "data", place / "run"), World())
    return place / "run"
