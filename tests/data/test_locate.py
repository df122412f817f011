"""Ratings files of directories and patterns, and the movies file next to them."""

from __future__ import annotations

import pytest

from gnnrec.data.locate import hive_partition, locate_all_ratings, locate_movies
from gnnrec.errors import UserError


@pytest.mark.parametrize(
    "files, ratings, movies",
    [
        ("ratings.csv movies.csv tags.csv links.csv", "ratings.csv", "movies.csv"),
        ("u.data u1.base u1.test u.item u.user u.genre README", "u.data", "u.item"),
        ("combined_data_2.txt combined_data_1.txt movie_titles.csv qualifying.txt",
         "combined_data_1.txt combined_data_2.txt", "movie_titles.csv"),
        ("mv_0000002.txt mv_0000001.txt movie_titles.txt", "mv_0000001.txt mv_0000002.txt", "movie_titles.txt"),
        ("films.inter films.item films.user", "films.inter", "films.item"),
        ("year=2014/part-0.parquet year=2013/month=1/p.pq _SUCCESS .x.csv year=2014/_x.csv",
         "year=2013/month=1/p.pq year=2014/part-0.parquet", None),
        ("other/a.csv b.csv c.jsonl.gz notes.txt movies.csv", "b.csv c.jsonl.gz", "movies.csv"),
        ("part-1.csv part-0.csv", "part-0.csv part-1.csv", None),
    ],
)  # fmt: skip
def test_files_of_a_directory(tmp_path, files, ratings, movies):
    for name in files.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    located = locate_all_ratings(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in located] == ratings.split()
    assert locate_movies(tmp_path, located) == (movies and tmp_path / movies)


def test_what_lies_in_place_of_a_movies_file_is_named(tmp_path):
    (tmp_path / "ratings.csv").touch()
    (tmp_path / "movies.csv").symlink_to("movies.csv")
    with pytest.raises(UserError, match=r"movies\.csv cannot be read .*: replace it, or name .* with --movies$"):
        locate_movies(tmp_path, [tmp_path / "ratings.csv"])


def test_the_movies_file_next_to_one_of_the_published_splits(tmp_path):
    for name in ("u1.base", "u.item"):
        (tmp_path / name).touch()
    assert locate_movies(tmp_path / "u1.base", [tmp_path / "u1.base"]) == tmp_path / "u.item"


def test_partitions_are_in_the_names_of_directories(tmp_path):
    path = tmp_path / "year=2014" / "rating=4.5" / "x" / "part=0.parquet"
    assert hive_partition(path) == {"year": "2014", "rating": "4.5"}
