"""Movies for one user from an export, against all scores of the exported files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.cli.main import run_command
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference import list_order
from gnnrec.inference.export import ExportOptions, export
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.training.run import train
from tests.configs import make_config
from tests.inference.made_export import (
    KINDS,
    NEARLY,
    SATED,
    all_scores,
    expected,
    interest_product,
    make_dataset,
    make_export,
)
from tests.inference.recommended import recommend


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_user_gets_the_best_unrated_movies(dataset, tmp_path, kind):
    out = make_export(dataset, tmp_path / "export", **KINDS[kind])
    wanted = expected(dataset, out, top=6)
    for user in dataset.users["user"]:
        found = recommend(out, RecommendOptions(str(user), top=6))
        mine = wanted[wanted["user"] == user]
        assert found["movie"].tolist() == mine["movie"].tolist()
        assert found.iloc[:, 3].tolist() == mine["score"].tolist()
        has_ratings = "interest" in kind
        assert found.columns[3] == ("score" if kind == "ranking" or has_ratings else "rating")
        assert not has_ratings or found["rating"].tolist() == mine["rating"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("order_by", ["rating", "interest", "both"])
@pytest.mark.parametrize("kind", ["interest", "interest, mlp"])
def test_lists_have_the_requested_order(dataset, tmp_path, kind, order_by):
    out = make_export(dataset, tmp_path / "export", **KINDS[kind])
    wanted = expected(dataset, out, 6, order_by=order_by)
    for user in dataset.users["user"]:
        found = recommend(out, RecommendOptions(str(user), top=6, order_by=order_by))
        mine = wanted[wanted["user"] == user]
        assert found["movie"].tolist() == mine["movie"].tolist()
        assert found.iloc[:, 3].tolist() == mine["score"].tolist()
        assert found.columns[3] == ("score" if order_by == "both" else order_by)
        assert found["rating"].tolist() == mine["score" if order_by == "rating" else "rating"].tolist()


def test_an_mlp_head_ranks_the_movies_with_the_highest_interest(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(list_order, "PROPOSALS", 4)
    out = make_export(dataset, tmp_path / "export", **KINDS["interest, mlp"])
    product, scores = interest_product(out), all_scores(out)
    for row, user in enumerate(dataset.users["user"]):
        found = recommend(out, RecommendOptions(str(user), top=2))
        unrated = np.setdiff1d(
            np.arange(dataset.num_movies), dataset.movie[dataset.user_ptr[row] : dataset.user_ptr[row + 1]]
        )
        proposed = unrated[np.argsort(-product[row, unrated], kind="stable")[:4]]
        order = proposed[np.lexsort((proposed, -(scores + product)[row, proposed]))[:2]]
        assert found["movie"].tolist() == dataset.movies["movie"].to_numpy()[order].tolist()


def test_orders_that_the_vectors_do_not_have_are_refused(dataset, made, tmp_path):
    for order_by in ("interest", "both"):
        assert refused(made, order_by=order_by).startswith(f"--order-by {order_by}: there is no interest here")
    ranking = make_export(dataset, tmp_path / "ranking", scale=None)
    assert "predicts no ratings" in refused(ranking, order_by="rating")
    assert "leave it out with --similar-to" in refused(made, user=None, similar_to="Film 2", order_by="rating")


def test_users_who_rated_nearly_everything_get_what_is_left(made):
    assert recommend(made, RecommendOptions(str(SATED))).empty
    assert set(recommend(made, RecommendOptions(str(NEARLY)))["movie"]) == {3 * 5 + 2, 17 * 5 + 2}


def test_ids_may_be_strings(tmp_path):
    dataset = make_dataset(tmp_path, "strings")
    out = make_export(dataset, tmp_path / "export")
    wanted = expected(dataset, out, top=4)
    for user in dataset.users["user"][::9]:
        assert recommend(out, RecommendOptions(user, top=4))["movie"].tolist() == (
            wanted.loc[wanted["user"] == user, "movie"].tolist()
        )
    with pytest.raises(UserError, match="--user 7: no user in .* has this id"):
        recommend(out, RecommendOptions("7"))


@pytest.mark.slow
def test_neither_torch_nor_pandas_is_imported(made):
    code = (
        "import sys; from gnnrec.cli.main import run_command; run_command(sys.argv[1:]); "
        "print([m for m in ('torch', 'pandas', 'numba', 'scipy', 'sklearn', 'pyarrow.dataset') if m in sys.modules])"
    )
    for question in (["--user", "7"], ["--similar-to", "Film 2 (1980)"], ["--user", "7", "--genre", "Drama"]):
        words = [sys.executable, "-c", code, "recommend", str(made), *question]
        found = subprocess.run(words, capture_output=True, text=True, check=True)
        assert found.stdout.splitlines()[-1] == "[]"


def test_other_parts_are_not_read(dataset, tmp_path):
    out = make_export(dataset, tmp_path / "export")
    user = str(dataset.users["user"][8])
    before = recommend(out, RecommendOptions(user))
    for part in sorted((out / "users").iterdir())[2:]:
        part.write_bytes(b"x" * part.stat().st_size)
    pd.testing.assert_frame_equal(recommend(out, RecommendOptions(user)), before)


def test_the_printed_lines(dataset, made, capsys):
    user = dataset.users["user"][4]
    run_command(["recommend", str(made), "--user", str(user), "--top", "2"])
    lines = capsys.readouterr().out.splitlines()
    found = recommend(made, RecommendOptions(str(user), top=2))
    assert lines[0] == f"for user {user}"
    own = slice(dataset.user_ptr[4], dataset.user_ptr[5])
    titles, ratings = dataset.movies["title"][dataset.movie[own]].tolist(), dataset.rating[own]
    best = sorted(zip(-ratings, dataset.movie[own], titles))[:3]
    assert lines[1] == "who rated highest: " + "; ".join(f"{title} ({-rating:g})" for rating, _, title in best)
    assert [line.split(maxsplit=2) for line in lines[2:]] == [
        [str(row.rank), f"{row.rating:.2f}", row.title] for row in found.itertuples()
    ]


@pytest.fixture(scope="module", params=["dot", "mlp"])
def run(request, dataset, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("run") / request.param
    train(make_config(dataset.directory, place, model={"head": request.param}, optimizer={"lr": 0.05}), World())
    return place


@pytest.mark.slow
def test_a_run_and_its_export_agree(dataset, run, tmp_path):
    export(run, ExportOptions(tmp_path / "export", part_rows=11), World())
    for question in ({"user": "7"}, {"user": str(NEARLY)}, {"similar_to": "Film 12 ("}):
        ours, theirs = (recommend(place, RecommendOptions(top=5, **question)) for place in (run, tmp_path / "export"))
        assert ours["movie"].tolist() == theirs["movie"].tolist()
        np.testing.assert_allclose(ours.iloc[:, 3], theirs.iloc[:, 3], rtol=1e-5)


@pytest.mark.slow
def test_users_of_a_file(dataset, run, tmp_path):
    """For a new user, and a known user with a new rating, all rated movies are left out."""
    known = dataset.users["user"][0]
    rated = set(dataset.movies["movie"][dataset.movie[: dataset.user_ptr[1]]])
    more = next(movie for movie in dataset.movies["movie"] if movie not in rated)
    rows = [(777777, 2, 4.0), (777777, 7, 1.5), (known, more, 5.0)]
    pd.DataFrame(rows, columns=["userId", "movieId", "rating"]).to_csv(tmp_path / "new.csv", index=False)
    export(run, ExportOptions(tmp_path / "export", ratings=tmp_path / "new.csv"), World())
    for place in (run, tmp_path / "export"):
        for user, without in ((777777, {2, 7}), (known, rated | {more})):
            found = recommend(place, RecommendOptions(str(user), top=100, ratings=tmp_path / "new.csv"))
            assert set(found["movie"]) == set(dataset.movies["movie"]) - without
    with pytest.raises(UserError, match="new.csv: pass that file with --ratings"):
        recommend(tmp_path / "export", RecommendOptions("777777"))
    (tmp_path / "other.csv").write_text("userId,movieId,rating\n777777,2,3.5\n")
    with pytest.raises(UserError, match="other.csv is not the file"):
        recommend(tmp_path / "export", RecommendOptions("777777", ratings=tmp_path / "other.csv"))


def change(path: Path, **values) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | values))


def refused(path: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        recommend(path, RecommendOptions(**{"user": "7"} | options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_moved_dataset_is_found_by_option(dataset, tmp_path):
    out = make_export(dataset, tmp_path / "export")
    before = recommend(out, RecommendOptions("7"))
    change(out, data=str(tmp_path / "gone"))
    assert "--data" in refused(out) and "gone" in refused(out)
    pd.testing.assert_frame_equal(recommend(out, RecommendOptions("7", data=dataset.directory)), before)
    other = make_dataset(tmp_path / "other", "strings")
    assert "is not the dataset of" in refused(out, data=other.directory)


def test_unfinished_damaged_and_other_directories(dataset, tmp_path):
    out = make_export(dataset, tmp_path / "export")
    part = sorted((out / "users").iterdir())[0]
    content = part.read_bytes()
    part.write_bytes(content[:-5])
    assert f"{part} has {len(content) - 5} bytes, not {len(content)}" in refused(out)
    part.write_bytes(bytes(len(content)))
    assert f"{part} is damaged" in refused(out)
    part.unlink()
    assert f"{part} is missing: export again" in refused(out)
    (out / "manifest.json").unlink()
    assert "no manifest.json: run the same gnnrec export again to finish it" in refused(out)
    assert "not a run directory" in refused(tmp_path) and "nowhere does not exist" in refused(tmp_path / "nowhere")
    assert "does not describe an export" in refused(dataset.directory)


def test_the_error_about_an_unknown_user_shows_the_lowest_ids(dataset, tmp_path):
    lowest = sorted(dataset.users["user"])[:3]
    assert lowest != sorted(dataset.users["user"], key=str)[:3]
    message = refused(make_export(dataset, tmp_path / "export", part_rows=1000), user="8")
    assert message.endswith(f"(ids look like {', '.join(map(str, lowest))})")


def test_other_versions_and_values_that_are_not_numbers(dataset, tmp_path):
    out = make_export(dataset, tmp_path / "export")
    change(out, format_version=99)
    assert "format version 99" in refused(out)
    (out / "manifest.json").write_text("{")
    assert "manifest.json is damaged" in refused(out)
    made = make_export(dataset, tmp_path / "mad", first_bias=np.nan)
    assert "has NaN or infinite values" in refused(made)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"user": "8"}, "--user 8: no user in "),
        ({"user": "99999999999999999999"}, "has this id"),
        ({"top": 0}, "--top 0"),
        ({"similar_to": "2"}, "one of --user ID, --similar-to MOVIE and --all"),
        ({"user": None}, "one of --user"),
        ({"out": Path("x")}, "--out is for --all"),
        ({"min_ratings": -1}, "--min-ratings -1"),
        ({"ratings": Path("new.csv")}, "leave --ratings out"),
    ],
)
def test_invalid_options_are_refused(made, options, says):
    assert says in refused(made, **options)
