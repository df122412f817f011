"""Coupled L2 against the gradient of the written-out penalty by autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.config.training_options import RegularizationOptions
from gnnrec.data.prepared import TRAIN
from gnnrec.distributed.world import World
from gnnrec.graph.rank_graph import build_rank_graph
from gnnrec.models.build import build_model
from gnnrec.models.options import ModelOptions
from gnnrec.training.regularization import CoupledL2
from tests.datasets import with_features, write_dataset

STRENGTHS = {"ids": 300.0, "messages": 120.0, "biases": 10.0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("regularization")
    plain, generator = write_dataset(directory), np.random.default_rng(0)
    rows = {"user": plain.num_users, "movie": plain.num_movies}
    x = {node: generator.normal(size=(count, 3)) * generator.integers(0, 2, (count, 3)) for node, count in rows.items()}
    return with_features(plain, directory / "with features", **x)


@pytest.fixture(scope="module", autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def parts(dataset, **options):
    """Graph, model and user rows, with noise on all parameters."""
    graph = build_rank_graph(dataset, World(), dtype=torch.float64)
    model, users = build_model(ModelOptions(dim=4, **options), graph, dataset, 0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in [*model.parameters(), *users.parameters()]:
            parameter.add_(torch.randn_like(parameter))
    return graph, model, users


def expected_penalty(dataset, model, users, options: RegularizationOptions) -> torch.Tensor:
    """``sum over rows of strength * degree ** power / ratings * |row|^2``, from the prepared arrays."""
    train = torch.tensor(dataset.split == TRAIN)
    movie, rating = torch.tensor(dataset.movie.astype("int64"))[train], torch.tensor(dataset.rating.astype("float64"))
    rating, user_ptr = rating[train], dataset.user_ptr.tolist()
    user_degree = torch.stack([train[a:b].sum() for a, b in zip(user_ptr[:-1], user_ptr[1:])])
    movie_degree = torch.bincount(movie, minlength=dataset.num_movies)
    levels = torch.tensor(dataset.manifest.rating["levels"])
    level_degree = (rating[:, None] == levels).sum(0)
    genres = [text.split("|") for text in dataset.movies["genres"]]
    names = sorted({name for movie_genres in genres for name in movie_genres if name})
    genre_degree = torch.stack(
        [sum(d for d, movie_genres in zip(movie_degree, genres) if name in movie_genres) for name in names]
    )

    rated = int((user_degree > 0).sum() + (movie_degree > 0).sum())
    more = min(max(options.sparse_degree * rated / (2 * len(rating)), 1), 3)
    kinds = {"id_embedding": more * options.ids, "bias": options.biases}
    messages = more * options.messages

    def sent(degree: torch.Tensor) -> torch.Tensor:
        """Squared weight of what a node sends; GCN divides by the root of its degree over the mean degree."""
        if model.options.architecture != "gcn":
            return torch.ones_like(degree, dtype=torch.float64)
        divisor = degree + model.options.self_loops
        return torch.where(divisor > 0, len(rating) / len(degree) / divisor.clamp(min=1), 0.0)

    def term(parameter: torch.Tensor, strength: float | torch.Tensor, degree: torch.Tensor) -> torch.Tensor:
        rows = strength / len(rating) * degree.clamp(min=1).double() ** options.degree_power
        squares = parameter.square()
        return (rows * (squares if parameter.dim() == 1 else squares.sum(1))).sum()

    total = torch.zeros(())
    sides = [
        (users.named_parameters(), user_degree, sent(user_degree)),
        (model.movies.named_parameters(), movie_degree, sent(movie_degree)),
    ]
    if model.genres is not None:
        # A genre is sent by its movies: the mean of their weights over its ratings.
        of_genres = [
            sum(d * w for d, w, movie_genres in zip(movie_degree, sent(movie_degree), genres) if name in movie_genres)
            for name in names
        ]
        sides.append((model.genres.tables.items(), genre_degree, torch.stack(of_genres) / genre_degree.clamp(min=1)))
    for node, features, degree in (
        ("user", model.user_features, user_degree),
        ("movie", model.movie_features, movie_degree),
    ):
        if features is not None:
            # A column is sent by the nodes where it is not zero: the mean of their weights over their ratings.
            columns = torch.tensor(dataset.features(node).x).T != 0
            of_columns = torch.stack([degree[column].sum() for column in columns])
            weights = torch.stack([(degree * sent(degree))[column].sum() for column in columns])
            sides.append((features.tables.items(), of_columns, weights / of_columns))
    for tables, degree, weight in sides:
        for name, parameter in tables:
            total = total + term(parameter, kinds[name] if name in kinds else messages * weight, degree)
    for layer in model.encoder.layers:
        total = total + term(layer.to_users.rating, messages, level_degree)
        total = total + term(layer.to_movies.rating, messages, level_degree)
    return total


@pytest.mark.parametrize(
    "model_options",
    [
        {"layers": 2},
        {"layers": 1, "genres": False, "features": False},
        {"layers": 1, "architecture": "gat"},
        {"layers": 1, "architecture": "gcn"},
        {"layers": 2, "architecture": "gcn", "self_loops": True},
        {"layers": 1, "user_ids": False},
        {"layers": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize(("degree_power", "sparse_degree"), [(-0.25, 0.0), (-0.25, 16.0), (0.0, 25.0), (1.0, 100.0)])
def test_the_gradient_of_the_penalty_is_added(dataset, model_options, degree_power, sparse_degree):
    graph, model, users = parts(dataset, **model_options)
    options = RegularizationOptions(**STRENGTHS, degree_power=degree_power, sparse_degree=sparse_degree)
    regularization = CoupledL2(options, graph, model, users)
    trained = [(name, leaf) for part in (model, users) for name, leaf in part.named_parameters() if leaf.requires_grad]
    names, leaves = zip(*trained)
    before = [torch.randn_like(leaf) for leaf in leaves]
    for leaf, gradient in zip(leaves, before):
        leaf.grad = gradient.clone()
    regularization.add_to_gradients()
    penalty = expected_penalty(dataset, model, users, options)
    expected = torch.autograd.grad(penalty, leaves, allow_unused=True)
    assert sum(gradient is not None for gradient in expected) == len(regularization.terms)
    for name, leaf, old, gradient in zip(names, leaves, before, expected):
        gradient = torch.zeros_like(leaf) if gradient is None else gradient
        torch.testing.assert_close(leaf.grad - old, gradient, rtol=1e-10, atol=1e-13, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("zero", list(STRENGTHS))
def test_a_strength_of_zero_adds_nothing_to_its_rows(dataset, zero):
    graph, model, users = parts(dataset, layers=1)
    options = RegularizationOptions(**STRENGTHS | {zero: 0.0})
    regularization = CoupledL2(options, graph, model, users)
    leaves = dict(users.named_parameters()) | {"rating": model.encoder.layers[0].to_users.rating}
    for leaf in [*model.parameters(), *users.parameters()]:
        leaf.grad = torch.zeros_like(leaf)
    regularization.add_to_gradients()
    rows_of = {
        "id_embedding": "ids",
        "bias": "biases",
        "message_embedding": "messages",
        "residual_embedding": "messages",
        "rating": "messages",
    }
    assert set(leaves) == set(rows_of)
    for name, leaf in leaves.items():
        assert bool((leaf.grad == 0).all()) == (rows_of[name] == zero), name
