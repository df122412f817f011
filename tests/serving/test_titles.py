"""Titles that are searched, next to a look at each of them."""

from __future__ import annotations

import numpy as np
import pytest

from gnnrec.serving.tables import map_array
from gnnrec.serving.title_table import TitleTable

TITLES = ["Heat (1995)", "heat", "The Heat (2013)", "Dead Heat", "Straße", "STRASSE 2", "a\nb", "", "Ünder", "Heatheat"]
COUNTS = np.array([5, 7, 5, 0, 2, 9, 1, 3, 4, 8])


@pytest.fixture
def titles(tmp_path) -> TitleTable:
    TitleTable.write(tmp_path, TITLES, COUNTS)
    return TitleTable(lambda name: map_array(tmp_path, name))


def folded(text: str) -> str:
    return text.casefold().replace("\n", " ")


TEXTS = ["heat", "HEAT (", " ead", "e", "strasse", "ß", "a b", "a\nb", "b\nh", "ü", "x", "", " ", "(2013)", ")"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("count", [1, 3, 100])
def test_the_most_rated_titles_with_a_text_in_them(titles, text, count):
    wanted = folded(text.strip())
    rows = [row for row, title in enumerate(TITLES) if wanted and wanted in folded(title)]
    assert titles.search(text, count) == sorted(rows, key=lambda row: (-COUNTS[row], row))[:count]


@pytest.mark.parametrize("text", TEXTS)
def test_titles_that_are_a_text_or_begin_with_it(titles, text):
    wanted = folded(text.strip())
    whole = [row for row, title in enumerate(TITLES) if wanted and folded(title) == wanted]
    begin = [row for row, title in enumerate(TITLES) if wanted and folded(title).startswith(wanted)]
    assert titles.named(text).tolist() == (whole or begin)


def test_a_search_ends_with_the_last_movie_that_is_wanted(titles, monkeypatch):
    looked, searchsorted = [], np.searchsorted
    monkeypatch.setattr(np, "searchsorted", lambda *args, **options: looked.append(1) or searchsorted(*args, **options))
    assert titles.search("e", 2) == [5, 9] and len(looked) == 2
