"""Every layout of a ratings file gives the same prepared dataset."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest

from gnnrec.data import formats
from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError


def assert_edges(edges: pd.DataFrame, table: pd.DataFrame) -> None:
    expected = table.sort_values(["userId", "movieId"], ignore_index=True)
    pd.testing.assert_frame_equal(edges[list(expected.columns)], expected, check_dtype=False)


def movies_by_id(data: PreparedDataset) -> dict:
    """Maps raw ids to title and genres."""
    return {movie: (title, genres) for movie, title, genres in data.movies[["movie", "title", "genres"]].values}


def write_double_colons(table: pd.DataFrame, directory, encoding: str) -> None:
    directory.mkdir()
    lines = [f"{u}::{m}::{r:g}::{t}\n" for u, m, r, t in table.itertuples(index=False)]
    (directory / "ratings.dat").write_text("".join(lines))
    movies = "5::Am\u00e9lie: the film (2001)::Comedy|Romance\n16::Heat (1995)::Action\n99999::Unrated::Drama\n"
    (directory / "movies.dat").write_text(movies, encoding=encoding)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_dat_files_of_ml_1m_and_ml_10m(table, tmp_path, prepared, edges, encoding):
    write_double_colons(table, tmp_path / "ml", encoding)
    data = prepared(tmp_path / "ml", tmp_path / "out")
    assert_edges(edges(data), table)
    assert (data.manifest.rating["min"], data.manifest.rating["max"]) == (0.5, 5)
    movies = movies_by_id(data)
    assert movies[5] == ("Am\u00e9lie: the film (2001)", "Comedy|Romance")
    assert movies[16] == ("Heat (1995)", "Action") and movies[27] == ("27", "")


def test_whole_stars_of_ml_1m_are_on_the_scale_1_to_5(table, tmp_path, prepared):
    write_double_colons(table[table["rating"] % 1 == 0], tmp_path / "ml", "latin-1")
    data = prepared(tmp_path / "ml" / "ratings.dat", tmp_path / "out")
    rating = data.manifest.rating
    assert (rating["min"], rating["max"], rating["levels"]) == (1.0, 5.0, [1, 2, 3, 4, 5])


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_grouplens_csv_with_a_movies_file(table, tmp_path, prepared, edges, suffix):
    table.to_csv(tmp_path / f"ratings.{suffix}", index=False)
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n16,"American President, The (1995)",(no genres listed)\n'
        '5,"""Great Performances"" Cats (1998)",Musical\n7,Never rated,Drama\n'
    )
    data = prepared(tmp_path, tmp_path / "out")
    assert_edges(edges(data), table)
    rating = data.manifest.rating
    assert (rating["min"], rating["max"], rating["levels"]) == (0.5, 5.0, [i / 2 for i in range(1, 11)])
    movies = movies_by_id(data)
    assert movies[5] == ('"Great Performances" Cats (1998)', "Musical")
    assert movies[16] == ("American President, The (1995)", "")
    assert data.num_movies == table["movieId"].nunique() and "Never rated" not in set(data.movies["title"])
    assert [entry["name"] for entry in data.manifest.source["files"]] == [f"ratings.{suffix}", "movies.csv"]


def test_kaggle_csv_with_formatted_times(table, tmp_path, prepared, edges):
    kaggle = table.assign(timestamp=pd.to_datetime(table["timestamp"], unit="s").dt.strftime("%Y-%m-%d %H:%M:%S"))
    kaggle.to_csv(tmp_path / "rating.csv", index=False, quoting=2)
    (tmp_path / "movie.csv").write_text('"movieId","title","genres"\n5,"Toy Story (1995)","Animation|Children"\n')
    data = prepared(tmp_path, tmp_path / "out")
    assert_edges(edges(data), table)
    assert movies_by_id(data)[5] == ("Toy Story (1995)", "Animation|Children")


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S.5", "float"])
def test_other_times_are_truncated_to_seconds(table, tmp_path, prepared, edges, form):
    moments = pd.to_datetime(table["timestamp"], unit="s")
    text = table["timestamp"] + 0.25 if form == "float" else moments.dt.strftime(form)
    table.assign(timestamp=text).to_csv(tmp_path / "some.csv", index=False)
    assert_edges(edges(prepared(tmp_path / "some.csv", tmp_path / "out")), table)


def test_parquet_with_a_movies_file(table, tmp_path, prepared, edges):
    moments = pd.to_datetime(table["timestamp"], unit="s")
    table.assign(timestamp=moments).to_parquet(tmp_path / "ratings.parquet")
    pd.DataFrame({"id": [5], "name": ["Five"]}).to_parquet(tmp_path / "movies.parquet")
    data = prepared(tmp_path, tmp_path / "out")
    assert_edges(edges(data), table)
    assert movies_by_id(data)[5] == ("Five", "")


def test_named_columns_with_string_ids_and_no_times(table, tmp_path, prepared, edges):
    own = pd.DataFrame(
        {
            "stars": table["rating"],
            "remark": 'said "x;\ny"',
            "sku": "p" + table["movieId"].astype(str),
            "who": "\u00fc" + table["userId"].astype(str),
        }
    )
    own.to_csv(tmp_path / "own.csv", index=False, sep=";")
    named = {"user_column": "who", "movie_column": "sku", "rating_column": "stars"}
    (tmp_path / "catalog.csv").write_text("code,label\np16,Sixteen\n")
    with pytest.raises(UserError, match=r"catalog.csv line 1: no movie column .*--movie-column"):
        prepared(tmp_path / "own.csv", tmp_path / "out", movies=tmp_path / "catalog.csv", **named)
    (tmp_path / "catalog.csv").write_text("sku,label\np16,Sixteen\n")
    data = prepared(
        tmp_path / "own.csv", tmp_path / "out", movies=tmp_path / "catalog.csv", title_column="label", **named
    )
    expected = pd.DataFrame({"userId": own["who"], "movieId": own["sku"], "rating": own["stars"]})
    assert_edges(edges(data), expected)
    assert data.timestamp is None
    counts = own["sku"].value_counts()
    assert data.movies["movie"].tolist() == sorted(counts.index, key=lambda sku: (-counts[sku], sku))
    assert movies_by_id(data)["p16"] == ("Sixteen", "")


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\x1f\x8b\x08 compressed", b"\xff\xfeu\0s\0e\0r\0", b"%PDF-1.4\n1 0 obj\n\0"],
)
def test_binary_content_is_refused(tmp_path, content):
    (tmp_path / "image.png").write_bytes(content)
    with pytest.raises(UserError, match="image.png is not a CSV or Parquet file"):
        formats.detect_layout(tmp_path / "image.png", formats.RATINGS_ROLES, {})


def test_parquet_under_another_name_is_named(tmp_path):
    pd.DataFrame({"user": [1]}).to_parquet(tmp_path / "ratings.data")
    with pytest.raises(UserError, match="ratings.data is a Parquet file .* rename it to ratings.parquet"):
        formats.detect_layout(tmp_path / "ratings.data", formats.RATINGS_ROLES, {})


def test_a_movies_file_without_titles_and_genres_is_refused(table, tmp_path, prepared):
    table.to_csv(tmp_path / "ratings.csv", index=False)
    with pytest.raises(UserError, match="no title or genres column among userId, .* --title-column or --genres-column"):
        prepared(tmp_path / "ratings.csv", tmp_path / "out", movies=tmp_path / "ratings.csv")
    assert not (tmp_path / "out").exists()
    # A file that was not named by option is only less useful.
    table[["movieId"]].drop_duplicates().to_csv(tmp_path / "movies.csv", index=False)
    assert movies_by_id(prepared(tmp_path, tmp_path / "out"))[5] == ("5", "")


def test_string_ids_in_grouplens_columns(table, tmp_path, prepared, edges):
    with_text = table.assign(userId="u" + table["userId"].astype(str))
    with_text.to_csv(tmp_path / "ratings.csv", index=False)
    data = prepared(tmp_path, tmp_path / "out")
    assert_edges(edges(data), with_text)
    assert data.movies["movie"].dtype == "int64"


def test_gz_is_read_like_plain_text(tmp_path):
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("\ufeffuser_id\titem_id\tscore\n1\t2\t3\n")
    layout = formats.detect_layout(tmp_path / "a.csv.gz", formats.RATINGS_ROLES, {})
    assert (layout.delimiter, layout.grouplens) == ("\t", False)
    assert layout.columns == {"user": "user_id", "movie": "item_id", "rating": "score"}


def test_real_ml_latest_small(ml_latest_small, tmp_path, prepared, edges):
    data = prepared(ml_latest_small, tmp_path / "out")
    assert data.manifest.counts == {"users": 610, "movies": 9724, "ratings": 100836, "duplicates_dropped": 0}
    assert movies_by_id(data)[1] == ("Toy Story (1995)", "Adventure|Animation|Children|Comedy|Fantasy")
    assert_edges(edges(data), pd.read_csv(ml_latest_small / "ratings.csv"))


@pytest.mark.parametrize("offset", [2**31, 2**40])
def test_ids_of_more_than_32_bits_in_grouplens_columns(table, tmp_path, prepared, edges, offset):
    wide = table.assign(userId=table["userId"] + offset, movieId=table["movieId"] - offset)
    wide.to_csv(tmp_path / "ratings.csv", index=False)
    assert_edges(edges(prepared(tmp_path / "ratings.csv", tmp_path / "out")), wide)
