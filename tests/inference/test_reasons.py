"""The parts of a score add up to the score that the model itself computes, for all kinds of models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gnnrec
from gnnrec.cli.main import run_command
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference import run_vectors
from gnnrec.inference.export import ExportOptions, export
from gnnrec.inference.export_vectors import ExportVectors
from gnnrec.inference.list_order import list_order
from gnnrec.inference.ratings_file import RatingsFile
from gnnrec.inference.reasons.explain import Reasons, explain
from gnnrec.inference.run_vectors import RunVectors
from gnnrec.training.run import train
from tests.configs import make_config
from tests.inference.encoder_models import MLP, MODELS, MOVIES, make_runs, opened, ratings_of

pytestmark = pytest.mark.slow

EVERY = np.arange(MOVIES)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    return make_runs(tmp_path_factory.mktemp("reasons"), list(MODELS))


@pytest.fixture
def changed(runs, monkeypatch):
    """Returns a run whose weights were changed at random, and which everything that opens it then gets."""

    def open_changed(name: str):
        loaded = opened(runs[name])
        monkeypatch.setattr(run_vectors, "load_run", lambda *arguments: loaded)
        monkeypatch.setattr("gnnrec.inference.export.load_run", lambda *arguments: loaded)
        return loaded

    return open_changed


def reasons_of(source, row: int, order_by: str | None = None) -> list[Reasons]:
    order = list_order(source.scoring, order_by)
    return explain(order, source.block(range(row, row + 1)), source.user_parts(row), EVERY)


def model_scores(loaded, users, rows: range) -> np.ndarray:
    """Scores by the heads of the model in torch: of the rating model in the unit of the dataset, with interest."""
    encoder = loaded.encoder(5)
    encoded = (encoder if users is None else encoder.for_new_users(users)).users(rows)
    movies = loaded.exported_movies(encoder.movies.vector).double()
    scores = encoded.vector.double() @ movies.T + encoded.bias[:, None] + encoder.movies.bias + encoder.offset
    return scores.numpy()


def ratings_file(loaded, path: Path) -> RatingsFile:
    """Writes the ratings of some users of the dataset as those of new users, and of one who is known."""
    dataset, rows = loaded.dataset, []
    for row in range(4):
        ids = dataset.users["user"].iloc[row] if row == 0 else 900 + row
        rows += [(ids, *entry) for entry in zip(*ratings_of(dataset, row, loaded.known_splits))]
    table = pd.DataFrame(rows, columns=["userId", "movie", "rating", "timestamp"])
    table.insert(1, "movieId", dataset.movies["movie"].to_numpy()[table.pop("movie")])
    table.to_csv(path, index=False)
    return RatingsFile(path, {})


@pytest.mark.parametrize("name", MODELS)
def test_parts_of_known_and_new_users_add_up_to_the_score(changed, name, tmp_path):
    loaded = changed(name)
    file = ratings_file(loaded, tmp_path / "new.csv")
    for users in (None, file):
        source = RunVectors(tmp_path, World(), "best", None, 5, users)
        read = None if users is None else users.read(loaded.dataset, loaded.known_splits)
        expected = model_scores(loaded, read, range(4))
        assert np.abs(expected).max() > 0.1
        for row in range(4):
            found = reasons_of(source, row)
            parts = [each.score - each.clipping for each in found]
            np.testing.assert_allclose(parts, expected[row], rtol=1e-5, atol=1e-5)
            scale = list_order(source.scoring, None).first.scale or (-np.inf, np.inf)
            np.testing.assert_allclose([each.score for each in found], expected[row].clip(*scale), rtol=1e-5, atol=1e-5)
            assert max(abs(each.rest) for each in found) < 1e-5
            assert max(np.abs(each.ratings).max() for each in found) > 1e-3 or name == "no layers"


@pytest.mark.parametrize("name", ["gcn", "sage, interest", "gat, features", "ranking in order", "gat, no ids"])
def test_parts_in_an_export_are_those_of_the_run(changed, name, tmp_path):
    """The own row of a user is found in the stored vector, or stored with --own-rows."""
    loaded = changed(name)
    export(tmp_path, ExportOptions(tmp_path / "out", own_rows=name == "gat, features"), World())
    file = ratings_file(loaded, tmp_path / "new.csv")
    export(tmp_path, ExportOptions(tmp_path / "some", ratings=file.path, own_rows=name == "gat, features"), World())
    for place, users in (("out", None), ("some", file)):
        run, stored = RunVectors(tmp_path, World(), "best", None, 5, users), ExportVectors(tmp_path / place, file=users)
        for row in (0, 3):
            for found, expected in zip(reasons_of(stored, row), reasons_of(run, row)):
                for part in ("offset", "user_bias", "movie_bias", "own_row", "features", "constant", "rest"):
                    assert getattr(found, part) == pytest.approx(getattr(expected, part), abs=1e-5), part
                np.testing.assert_allclose(found.messages, expected.messages, atol=1e-5)
                np.testing.assert_allclose(found.interest, expected.interest, atol=1e-5)


def test_an_export_without_own_rows_says_so_where_messages_depend_on_them(changed, tmp_path):
    changed("gat, features")
    export(tmp_path, ExportOptions(tmp_path / "out"), World())
    with pytest.raises(UserError, match="messages to a known user .* pass the run, or export with --own-rows"):
        ExportVectors(tmp_path / "out").user_parts(0)


def test_parts_of_every_order_add_up_to_what_is_shown(changed, tmp_path):
    """Predicted ratings are clipped; interest alone has neither biases nor messages."""
    changed("sage, 3 layers, features, interest")
    source = RunVectors(tmp_path, World(), "best", None, 5)
    for order_by in ("both", "rating", "interest"):
        order = list_order(source.scoring, order_by)
        for row in range(3):
            user, found = source.block(range(row, row + 1)), reasons_of(source, row, order_by)
            shown = order.first.complete(
                order.first.scores(user.vectors[0, order.columns]), user.bias[0] if order.adds_bias else 0.0
            )
            np.testing.assert_allclose([each.score for each in found], shown, rtol=1e-5, atol=1e-5)
            of_interest = np.abs([each.interest.sum() for each in found]).max()
            assert (of_interest > 0.1) == (order_by != "rating")
            if order_by == "interest":
                assert all(each.user_bias == each.movie_bias == each.offset == each.own_row == 0 for each in found)
                assert not any(each.messages.any() for each in found)


def test_a_like_of_a_ranking_adds_what_a_history_without_it_lacks(changed, tmp_path):
    """The ranking model is linear, so leaving one rating out is a second way to find its part."""
    loaded = changed("ranking")
    whole = RunVectors(tmp_path, World(), "best", None, 5, ratings_file(loaded, tmp_path / "new.csv"))
    before = reasons_of(whole, 3)
    table = pd.read_csv(tmp_path / "new.csv")
    left_out = table[(table["userId"] == 903) & (table["rating"] >= 4)].iloc[-1]
    gone = (table["userId"] == 903) & (table["movieId"] == left_out["movieId"])
    table[~gone].to_csv(tmp_path / "fewer.csv", index=False)
    fewer = RunVectors(tmp_path, World(), "best", None, 5, RatingsFile(tmp_path / "fewer.csv", {}))
    row = int(np.flatnonzero(loaded.dataset.movies["movie"] == left_out["movieId"])[0])
    for full, less in zip(before, reasons_of(fewer, 3)):
        part = full.ratings[full.rated.movie == row]
        assert part == pytest.approx(full.score - less.score, abs=1e-6) and abs(part) > 1e-6


@pytest.mark.parametrize("name", ["gcn", "sage, means, bfloat16", "gat, no ids", "gat, 2 layers, averaged heads"])
def test_a_message_adds_what_is_lost_without_it_where_the_model_is_linear(runs, name):
    """With small messages tanh is linear, and degrees and attention stay while one message is set to zero."""
    loaded = opened(runs[name])
    loaded.model.requires_grad_(False)
    for layer in loaded.model.encoder.layers:
        conv = layer.to_users
        conv.rating.zero_()
    encoder = run_vectors.run_encoder(loaded, loaded.encoder(5))
    layers = [
        type(layer)(**{**vars(layer), "messages": layer.messages * 1e-4, "bias": layer.bias * 1e-4})
        for layer in encoder.ratings.layers[:1]
    ]
    movie, rating = np.array([2, 7, 11]), np.array([1.0, 4.0, 5.0])

    def parts(messages: np.ndarray):
        first = type(layers[0])(**{**vars(layers[0]), "messages": messages})
        model = type(encoder.ratings)(**{**vars(encoder.ratings), "layers": (first,)})
        encoder.ratings = model
        return encoder.explained(movie, rating)

    whole = parts(layers[0].messages)
    for place, row in enumerate(movie):
        without = layers[0].messages.copy()
        without[row] = 0
        lost = whole.vector - parts(without).vector
        np.testing.assert_allclose(whole.ratings[place], lost, rtol=1e-3, atol=1e-9)
        assert np.abs(lost).max() > 1e-6


def test_an_export_that_keeps_old_vectors_names_the_difference(runs, tmp_path):
    """With a huge tolerance all vectors stay those of another model: the parts and the rest still add up."""
    options = {"own_rows": True}
    export(runs["gcn"], ExportOptions(tmp_path / "parent", **options), World())
    run = runs["sage, means, bfloat16"]
    export(run, ExportOptions(tmp_path / "out", parent=tmp_path / "parent", tolerance=9.0, **options), World())
    source = ExportVectors(tmp_path / "out")
    stored = source.block(range(1)).vectors[0].astype(np.float64)
    found = reasons_of(source, 0, "rating")
    assert max(abs(each.rest) for each in found) > 1e-3
    expected = source.scoring.movies @ stored + source.scoring.bias + source.block(range(1)).bias[0]
    expected = (expected + source.scoring.offset).clip(*source.scoring.scale)
    np.testing.assert_allclose([each.score for each in found], expected, rtol=1e-5, atol=1e-5)


def test_the_command_prints_parts_below_each_movie(runs, tmp_path, capsys):
    run = runs["sage, interest"]
    run_command(["recommend", str(run), "--user", "10", "--top", "2", "--why", "2"])
    lines = capsys.readouterr().out.splitlines()
    first = [number for number, line in enumerate(lines) if line.startswith(("   1  ", "   2  "))]
    score, sums, *ratings = lines[first[0] : first[1]]
    numbers = [float(word) for word in sums.split() if word.startswith(("+", "-"))]
    assert sum(numbers) == pytest.approx(float(score.split()[1]), abs=0.004)
    assert len(ratings) == 3 and "rated" in ratings[0] and ratings[2].endswith(" other ratings")


def test_python_returns_the_parts_of_each_score(runs, tmp_path):
    run = runs["sage, interest"]
    out = gnnrec.export(run, tmp_path / "out")
    for source in (run, out):
        table = gnnrec.recommend(source, [10, 13], top=3, why=2)
        assert table.groupby("user").size().tolist() == [3, 3]
        for score, why in zip(table["score"], json.loads(json.dumps(table["why"].tolist()))):
            constants = sum(value for name, value in why.items() if name not in ("ratings", "other_ratings", "sum"))
            others, ratings = why["other_ratings"], why["ratings"]
            assert len(ratings) == 2 and others["count"] > 0 and ratings[0]["title"].startswith("Film ")
            for entry in (*ratings, others):
                assert entry["part"] == pytest.approx(entry["message"] + entry["interest"])
            whole = constants + sum(entry["part"] for entry in (*ratings, others))
            assert whole == pytest.approx(score, abs=1e-5)
            assert why["sum"] == pytest.approx(score, abs=1e-5)
    assert "why" not in gnnrec.recommend(out, 10)
    with pytest.raises(UserError, match="why=2 is for given users: pass user"):
        gnnrec.recommend(out, why=2)


def test_an_export_gives_reasons_without_torch_and_pandas(runs, tmp_path):
    export(runs["gcn"], ExportOptions(tmp_path / "out"), World())
    code = (
        "import sys; from gnnrec.cli.main import run_command; run_command(sys.argv[1:]);"
        "assert not {'torch', 'numba', 'pandas'} & set(sys.modules), 'too many imports'"
    )
    words = ["recommend", tmp_path / "out", "--user", "10", "--why", "1"]
    said = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert " movie bias" in said.stdout and " other ratings" in said.stdout


def test_an_mlp_head_has_reasons_for_interest_alone(runs, tmp_path):
    data = opened(runs["gcn"]).dataset.directory
    train(make_config(data, tmp_path / "mlp", max_steps=1, **MLP), World())
    with pytest.raises(UserError, match="why: the scores of an MLP head .* train with the dot head"):
        gnnrec.recommend(tmp_path / "mlp", 10, why=1)
    table = gnnrec.recommend(tmp_path / "mlp", 10, top=2, why=1, order_by="interest")
    assert [why["sum"] for why in table["why"]] == pytest.approx(table["score"].tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--all", "--out", "lists", "--why", "2"], "--why 2 is for one user: pass --user, or leave it out"),
        (["--similar-to", "7", "--why", "2"], "--why 2 is for one user: pass --user, or leave it out"),
        (["--user", "10", "--why", "-1"], "--why -1: must be 0 or more"),
    ],
)
def test_why_needs_a_user(runs, words, said):
    with pytest.raises(UserError, match=f"^{said}$"):
        run_command(["recommend", str(runs["gcn"]), *words])


LAYER = """
from gnnrec.models.layers.sage import BipartiteSAGEConv

class Halved(BipartiteSAGEConv):
    def finish(self, partial, receiver, messages):
        return super().finish(partial, receiver, messages) / 2

    @staticmethod
    def build(options, spec):
        return Halved(None if spec.first else options.dim, options.dim, spec.num_levels)
"""


def test_a_layer_of_ones_own_is_said_to_have_no_reasons(runs, tmp_path):
    """A class that is derived from a built-in one may compute something else, so its files are left out."""
    (tmp_path / "mine.py").write_text(LAYER)
    model = {"architecture": f"{tmp_path / 'mine.py'}:Halved"}
    run, out = tmp_path / "run", tmp_path / "out"
    train(make_config(opened(runs["gcn"]).dataset.directory, run, model=model, max_steps=1), World())
    manifest = export(run, ExportOptions(out, own_rows=True), World())
    assert "encoder" not in manifest and not (out / "encoder").exists()
    with pytest.raises(UserError, match="^why: the layer .*mine.py:Halved of this run has no code in NumPy"):
        gnnrec.recommend(run, 10, why=1)
    with pytest.raises(UserError, match=f"^{out} has no files to encode users with, .*: export again, or pass the run"):
        gnnrec.recommend(out, 10, why=1)
    (tmp_path / "new.csv").write_text("userId,movieId,rating\n901,7,3.5\n")
    with pytest.raises(UserError, match="has the users of the dataset; leave ratings=... out, or pass the run"):
        gnnrec.recommend(out, 901, ratings=tmp_path / "new.csv")
