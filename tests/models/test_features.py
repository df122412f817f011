"""Features in the rating model: against dense tables and edited messages, and on nodes that training has not seen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gnnrec.data.prepared import TRAIN
from gnnrec.distributed.world import World
from gnnrec.graph.batch import Messages, whole_graph
from gnnrec.graph.rank_graph import build_rank_graph
from gnnrec.graph.statistics import message_statistics
from gnnrec.kernels.lists import CSRLists
from gnnrec.models.build import build_model
from gnnrec.models.cold_movies import ColdMovies
from gnnrec.models.layerwise import embed_all
from gnnrec.models.options import ModelOptions
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import SAMPLED, make_config
from tests.datasets import changed_copy, with_random_features, write_dataset
from tests.steps import batches_of

FIELDS = ("user", "movie", "user_bias", "movie_bias", "offset")


@pytest.fixture(scope="module", autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A dataset in which user 4 and movie 6 have no training ratings."""
    directory = tmp_path_factory.mktemp("features")
    dataset = write_dataset(directory)
    split = np.array(dataset.split)
    split[dataset.user_ptr[4] : dataset.user_ptr[5]] = 2
    split[np.array(dataset.movie) == 6] = 2
    return changed_copy(dataset, directory / "cold", split=split)


@pytest.fixture(scope="module")
def dataset(plain):
    return with_random_features(plain)


def perturbed(dataset, **options):
    """Graph, model and user rows with noise on all parameters."""
    graph = build_rank_graph(dataset, World(), dtype=torch.float64)
    model, users = build_model(ModelOptions(**{"dim": 6, "init_std": 0.3} | options), graph, dataset, 0)
    torch.manual_seed(0)
    for node, features in (("user", model.user_features), ("movie", model.movie_features)):
        x, degree = torch.tensor(dataset.features(node).x).double(), getattr(graph, f"{node}_degree")
        scaled = x[degree > 0] * features.scale
        schema = dataset.features(node).schema
        parts = [scaled[:, group.slice].square().sum(1).mean().item() for group in schema]
        shares = [0.1 if group.kind in ("text", "vector") else 1 for group in schema]
        assert parts == pytest.approx([share / sum(shares) for share in shares])
    with torch.no_grad():
        for parameter in (*model.parameters(), *users.parameters()):
            if parameter.requires_grad:
                parameter.add_(torch.rand_like(parameter) - 0.5)
    return graph, model, users


def without_features(plain, model, users, kept: dict[str, torch.Tensor], x: dict[str, torch.Tensor]):
    """A model without features whose tables are ``kept * rows + x @ weights``."""
    options = dataclasses.replace(model.options, features=False)
    graph = build_rank_graph(plain, World(), dtype=torch.float64)
    other, other_users = build_model(options, graph, plain, 0)
    removed = ("_features.", "cold_movies.")
    state = {name: value for name, value in model.state_dict().items() if not any(part in name for part in removed)}
    other.load_state_dict(state)
    with torch.no_grad():
        for node, mine, dense, features in (
            ("user", users, other_users, model.user_features),
            ("movie", model.movies, other.movies, model.movie_features),
        ):
            for name, table in dense.tables().items():
                rows = mine.tables()[name]
                own = rows * kept[node] if rows.dim() == 1 else rows * kept[node][:, None]
                table.copy_(own + x[node] @ features.tables[name])
    return graph, other, other_users


def arrays_of(dataset, model) -> dict[str, torch.Tensor]:
    """Features of users and movies times the scale of the model."""
    features = {"user": model.user_features, "movie": model.movie_features}
    return {node: torch.tensor(dataset.features(node).x).double() * features[node].scale for node in features}


def assert_same(actual, expected) -> None:
    for name in FIELDS:
        torch.testing.assert_close(getattr(actual, name), getattr(expected, name), rtol=1e-11, atol=1e-11)


def unlisted(messages: Messages, rated: torch.Tensor) -> Messages:
    """The messages without those to receivers that are not ``rated``, entry by entry."""
    lists = messages.lists
    owner = torch.repeat_interleave(torch.arange(lists.rows), lists.pointer.diff())
    stays = rated.bool()[owner if messages.to_users else lists.entry.long()]
    counts = torch.bincount(owner[stays], minlength=lists.rows)
    pointer = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    kept = CSRLists(pointer, lists.entry[stays], lists.columns, lists.factor[stays], lists.weight)
    degree = messages.degree * rated
    return dataclasses.replace(messages, lists=kept, level=messages.level[stays], degree=degree, total=degree)


CASES = [
    {"architecture": "gcn", "layers": 2, "self_loops": True},
    {"architecture": "sage", "layers": 2},
    {"architecture": "sage", "layers": 1, "restore_degree": False, "user_ids": False},
    {"architecture": "gat", "layers": 2},
    {"layers": 0},
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_features_equal_dense_tables_and_hidden_nodes_equal_removed_messages(plain, dataset, options):
    graph, model, users = perturbed(dataset, row_dropout=0.2, **options)
    x, ones = arrays_of(dataset, model), {"user": torch.ones(plain.num_users), "movie": torch.ones(plain.num_movies)}
    other_graph, other, other_users = without_features(plain, model, users, ones, x)
    assert_same(embed_all(model, users, graph, 5), embed_all(other, other_users, other_graph))

    batch, key = whole_graph(graph, message_statistics(graph)), 7
    hidden = model.hidden(batch, key)
    assert 0 < (hidden.kept == 0).sum() < hidden.kept.numel() / 2
    assert 0 < (hidden.rated == 0).sum() < (hidden.kept == 0).sum() and not (hidden.kept > hidden.rated).any()
    kept = {"user": hidden.kept, "movie": ones["movie"]}
    _, other, other_users = without_features(plain, model, users, kept, x)
    edited = dataclasses.replace(
        batch,
        to_users=unlisted(batch.to_users, hidden.rated),
        user_bias=batch.user_bias * hidden.rated,
    )
    with torch.no_grad():
        assert_same(model.embed(batch, users.rows(), pass_key=key), other.embed(edited, other_users.rows()))


def test_nodes_without_training_ratings_have_features_alone(dataset):
    trainer = RatingTrainer(make_config(model={"row_dropout": 0.3}, loader=SAMPLED), dataset, World())
    for step, batch in batches_of(trainer, 0):
        trainer.forward_backward(step, batch)
        trainer.update(0.02)
    model = trainer.replicated
    x = arrays_of(dataset, model)
    assert (trainer.graph.user_degree == 0).sum() and (trainer.graph.movie_degree == 0).sum()
    trainer.validate()
    model.cold_movies.share.fill_(0.25)
    embeddings = trainer.embed()
    sides = (
        (trainer.users, model.user_features, trainer.graph.user_degree),
        (model.movies, model.movie_features, trainer.graph.movie_degree),
    )
    for tables, features, degree in sides:
        for name, table in tables.tables().items():
            assert not table[degree == 0].any() and table[degree > 0].any(), name
        assert all(weight.abs().max() > 1e-3 for weight in features.tables.values())
    cold = trainer.graph.user_degree == 0
    layer = model.encoder.layers[0]
    expected = x["user"][cold] @ model.user_features.tables["id_embedding"]
    expected = expected + torch.tanh(layer.to_users.bias) @ layer.user_out.weight.T
    torch.testing.assert_close(embeddings.user[cold], expected)
    cold = trainer.graph.movie_degree == 0
    rows = model.cold_movies(torch.tensor(dataset.features("movie").x).double()[cold])
    assert rows.abs().max() > 1e-3
    added = [own @ weights for own, weights in _added(model, x["movie"], "id_embedding")]
    expected = sum(added)[cold] + torch.tanh(layer.to_movies.bias) @ layer.movie_out.weight.T
    torch.testing.assert_close(embeddings.movie[cold], 0.75 * expected + 0.25 * rows[:, :-1])
    expected = sum(own @ weights for own, weights in _added(model, x["movie"], "bias"))[cold]
    torch.testing.assert_close(embeddings.movie_bias[cold], 0.75 * expected + 0.25 * rows[:, -1])


def _added(model, x: torch.Tensor, table: str):
    """Features and weights that are added to the rows of a table of movies."""
    return (x, model.movie_features.tables[table]), (model.genres.x, model.genres.tables[table])


def test_the_share_of_fitted_rows_is_the_best_on_validation():
    cold, random = ColdMovies(2, (), 5, 3), np.random.default_rng(1)
    first, step = random.normal(size=50), random.normal(size=50)

    def chosen(rating) -> float:
        cold.choose_share(lambda: torch.from_numpy(first) + cold.share * torch.from_numpy(step), rating, World())
        return cold.share.item()

    def error(share: float) -> float:
        return ((first + share * step - rating) ** 2).sum()

    rating = first + 0.3 * step + 0.5 * random.normal(size=50)
    best = chosen(torch.from_numpy(rating))
    assert 0.1 < best < 0.5 and error(best) < min(error(best - 1e-3), error(best + 1e-3))
    assert chosen(torch.from_numpy(first - step)) == 0 and chosen(torch.from_numpy(first + 2 * step)) == 1


def test_features_and_their_dropout_are_off_without_the_option(plain, dataset):
    assert np.array_equal(plain.split, dataset.split) and TRAIN in plain.split
    config = make_config(model={"features": False})
    losses = []
    for data in (plain, dataset):
        trainer = RatingTrainer(config, data, World())
        step, batch = trainer.make_batch(0, 0)
        losses.append(trainer.forward_backward(step, batch))
        assert trainer.replicated.user_features is trainer.replicated.movie_features is trainer.users.x is None
    assert torch.equal(*losses)
