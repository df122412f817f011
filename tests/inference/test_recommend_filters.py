"""Movies that pass filters, and movies similar to a movie."""

from __future__ import annotations

import numpy as np
import pytest

from gnnrec.cli.main import run_command
from gnnrec.errors import UserError
from gnnrec.inference.movie_catalog import MovieCatalog, find_movie
from gnnrec.inference.recommend_options import RecommendOptions
from tests.datasets import changed_copy
from tests.inference.made_export import GENRES, MOVIES, expected, make_dataset, make_export, read, years
from tests.inference.recommended import recommend

FILTERS = {
    "one genre": {"genre": ["Comedy"]},
    "two genres, small letters": {"genre": ["drama", "THRILLER"]},
    "years": {"min_year": 1985, "max_year": 1999},
    "from a year": {"min_year": 1990},
    "to a year": {"max_year": 1990},
    "ratings": {"min_ratings": 14},
    "all of them": {"genre": ["Drama"], "min_year": 1984, "max_year": 2003, "min_ratings": 12},
}


def passes(dataset, genre=(), min_year=None, max_year=None, min_ratings=0) -> np.ndarray:
    """Computes the movies that pass in a loop."""
    number = {movie: position for position, movie in enumerate(np.arange(MOVIES) * 5 + 2)}
    result = []
    for row, movie in enumerate(dataset.movies["movie"]):
        year, names = years()[number[movie]], GENRES[number[movie] % 4].lower().split("|")
        fine = not genre or any(each.lower() in names for each in genre)
        if min_year is not None or max_year is not None:
            fine &= year is not None and (min_year or 0) <= year <= (max_year or 9999)
        result.append(fine and (dataset.movie == row).sum() >= min_ratings)
    return np.array(result)


@pytest.mark.parametrize("name", FILTERS)
def test_only_movies_that_pass_are_recommended(dataset, made, name):
    allowed = passes(dataset, **FILTERS[name])
    assert 0 < allowed.sum() < MOVIES
    wanted = expected(dataset, made, 5, allowed)
    for user in dataset.users["user"][::7]:
        found = recommend(made, RecommendOptions(str(user), top=5, **FILTERS[name]))
        assert found["movie"].tolist() == wanted.loc[wanted["user"] == user, "movie"].tolist()


def test_genres_as_words_and_repeated(dataset, made, capsys):
    def printed(*words: str) -> str:
        run_command(["recommend", str(made), "--user", "7", *words])
        return capsys.readouterr().out

    assert printed("--genre", "Comedy", "Action") == printed("--genre", "Comedy", "--genre", "Action")
    assert printed("--min-year", "1990") != printed()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"genre": ["Comdy"]}, "--genre Comdy: no movie has it; choose among Action, Comedy, Drama, Thriller"),
        ({"min_year": 2050}, "passes --min-year 2050: relax these filters"),
        ({"genre": ["Drama"], "min_ratings": 9999}, "passes --genre Drama --min-ratings 9999"),
        ({"min_year": 2000, "max_year": 1990}, "--min-year 2000 is after --max-year 1990"),
    ],
)
def test_filters_without_matches_are_refused(made, options, says):
    with pytest.raises(UserError, match=says):
        recommend(made, RecommendOptions("7", **options))


def test_data_without_titles_and_genres(tmp_path):
    dataset = make_dataset(tmp_path, titles=False)
    out = make_export(dataset, tmp_path / "export")
    with pytest.raises(UserError, match="--genre Drama: .* has no genres"):
        recommend(out, RecommendOptions("7", genre=["Drama"]))
    with pytest.raises(UserError, match="--max-year 1990: no title in .* ends with a year"):
        recommend(out, RecommendOptions("7", max_year=1990))
    assert len(recommend(out, RecommendOptions("7", min_ratings=2, top=3))) == 3


@pytest.mark.parametrize(
    ("title", "year"),
    [
        ("Heat (1995)", 1995),
        ("Show (1990-1993)", 1990),
        ("Show (1990\u2013)", 1990),
        ("2001: A Space Odyssey (1968) ", 1968),
        ("Se7en (a.k.a. Seven) (1995)", 1995),
        ("1984", -1),
        ("Blade (1998) again", -1),
        ("", -1),
    ],
)
def test_years_of_titles(dataset, monkeypatch, title, year):
    catalog = MovieCatalog(dataset)
    monkeypatch.setattr(catalog, "titles", [title])
    assert catalog.years.tolist() == [year]


@pytest.mark.parametrize("row", [0, 5, 28])
@pytest.mark.parametrize("filters", [{}, {"genre": ["Drama"]}])
def test_similar_movies_have_the_highest_cosine(dataset, made, row, filters):
    movies, _ = read(made, "movie")
    lengths = np.linalg.norm(movies, axis=1)
    cosine = np.round((movies @ movies[row]) / (lengths * lengths[row]), 6)
    order = [each for each in np.argsort(-cosine, kind="stable") if each != row and passes(dataset, **filters)[each]]
    found = recommend(made, RecommendOptions(similar_to=str(dataset.movies["movie"][row]), top=4, **filters))
    np.testing.assert_allclose(found["similarity"], cosine[order[:4]], atol=1e-5)
    assert found["title"].tolist() == [
        dataset.movies.set_index("movie")["title"][movie] for movie in found["movie"]
    ]  # equal cosines differ in the last bit, so their order is not compared


def test_movies_are_found_by_id_title_and_prefix(dataset, monkeypatch):
    catalog = MovieCatalog(dataset)
    names = ["Heat (1995)", "Heat (1986)", "Heatwave (2022)", "27 (2023)", "alien (1979)", "Alien (1979)"]
    monkeypatch.setattr(catalog, "titles", names + ["Film"] * (MOVIES - len(names)))
    assert find_movie(catalog, "heat (1986)") == 1 and find_movie(catalog, "HEATW") == 2
    assert find_movie(catalog, "27 (") == 3
    assert catalog.movies[find_movie(catalog, "27")].as_py() == 27, "an id comes first"
    ids = [movie.as_py() for movie in catalog.movies[:6]]
    with pytest.raises(UserError) as caught:
        find_movie(catalog, "heat")
    assert f"3 titles begin with it: Heat (1995) (id {ids[0]}); Heat (1986) (id {ids[1]})" in str(caught.value)
    with pytest.raises(UserError, match="2 titles"):
        find_movie(catalog, "Alien (1979)")
    for text in ("Nothing", "", " "):
        with pytest.raises(UserError, match="no movie in .* has this id"):
            find_movie(catalog, text)


def test_a_similar_movie_is_printed_with_its_title(made, capsys):
    run_command(["recommend", str(made), "--similar-to", "film 12 (1", "--top", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "like Film 12 (1982)" and len(lines) == 3 and "Film" in lines[1]


def test_counts_include_all_splits(dataset, tmp_path):
    changed = changed_copy(dataset, tmp_path / "copy", split=np.full(dataset.num_ratings, 2))
    np.testing.assert_array_equal(MovieCatalog(changed).counts, MovieCatalog(dataset).counts)
