"""Training a ranking: it learns, it does not read the test split, and validation chooses its settings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.steps import run_epoch
from gnnrec.config.train_config import TrainConfig
from gnnrec.config.training_options import OptimizerOptions
from gnnrec.data.prepared import TEST, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.models.ranking_model import RankingModel
from gnnrec.models.ranking_options import RankingOptions
from gnnrec.training.ranking import closed_form_start
from gnnrec.training.ranking.closed_form_start import L2_GRID, POPULARITY_EXPONENTS, descend
from gnnrec.training.ranking.penalty import TablePenalty
from gnnrec.training.ranking.trainer import RankingTrainer
from gnnrec.training.rating_trainer import RatingTrainer
from gnnrec.training.resolve_config import resolve_config
from gnnrec.training.run import build_trainer
from tests.configs import make_config
from tests.datasets import changed_copy, write_dataset

OPTIMIZER = {"epochs": None, "warmup_steps": None}
LOSSES = ("squared", "softmax", "sampled_softmax", "bpr")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_dataset(
        tmp_path_factory.mktemp("ranking"), 150, 40, 2800, protocol="strong", test=0.2, validation=0.2, relevant=3.5
    )


def ranking_config(optimizer: dict | None = None, refit: bool = False, **ranking) -> TrainConfig:
    return make_config(
        objective="ranking",
        optimizer=OPTIMIZER | (optimizer or {}),
        ranking={"dim": 8, "users_a_step": 30} | ranking,
        refit=refit,
    )


def trained(dataset: PreparedDataset, config: TrainConfig) -> RankingTrainer:
    trainer = build_trainer(config, dataset, World())
    for epoch in range(trainer.config.optimizer.epochs):
        losses = [result.loss.item() for result in run_epoch(trainer, epoch)]
        assert np.isfinite(losses).all() and len(losses) == trainer.steps_an_epoch
        trainer.validate()
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_training_learns_from_a_random_start(dataset, loss):
    config = ranking_config({"lr": 0.05, "epochs": 30}, start="random", loss=loss, dropout=0.3, popularity_exponent=0.0)
    before = build_trainer(config, dataset, World()).evaluate(VALIDATION)
    after = trained(dataset, config).evaluate(VALIDATION)
    assert after.ndcg_at_100 > before.ndcg_at_100 + 0.05


def test_the_closed_form_beats_random_tables_and_training_lowers_its_loss(dataset):
    random = build_trainer(ranking_config(start="random"), dataset, World())
    closed = build_trainer(ranking_config({"lr": 0.005, "epochs": 20}, l2=100.0), dataset, World())
    assert closed.validate().ndcg_at_100 > random.validate().ndcg_at_100 + 0.05
    losses = [sum(result.loss.item() for result in run_epoch(closed, epoch)) for epoch in range(20)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_defaults_depend_on_the_start(dataset):
    for start, lr, epochs, dropout in (("closed_form", 2e-4, 8, 0.5), ("random", 3e-3, 20, 0.7)):
        config = resolve_config(ranking_config(start=start), dataset, World())
        assert (config.optimizer.lr, config.optimizer.epochs, config.optimizer.warmup_steps) == (lr, epochs, 0)
        assert (config.ranking.dropout, config.ranking.relevant) == (dropout, 3.5)
        assert resolve_config(config, dataset, World()) == config
    config = resolve_config(ranking_config({"lr": 0.1, "epochs": 3}, dropout=0.0), dataset, World())
    assert (config.optimizer.lr, config.optimizer.epochs, config.ranking.dropout) == (0.1, 3, 0.0)
    assert make_config(optimizer=OPTIMIZER).optimizer == OptimizerOptions(lr=0.01, warmup_steps=50, epochs=20)


def test_many_movies_start_at_random_with_a_message(dataset, capsys):
    trainer = build_trainer(ranking_config(closed_form_movies=39), dataset, World())
    assert (trainer.options.start, trainer.options.dropout, trainer.config.optimizer.lr) == ("random", 0.7, 3e-3)
    assert "40 movies are more than --ranking.closed-form-movies 39" in capsys.readouterr().out


@pytest.mark.parametrize("protocol", ["strong", "leave-last"])
def test_rating_prediction_on_data_prepared_for_ranking_is_refused(tmp_path, protocol):
    dataset = write_dataset(tmp_path, protocol=protocol, least_relevant=2)
    with pytest.raises(UserError, match=f"--protocol {protocol}.*--protocol random"):
        resolve_config(make_config(), dataset, World())


@pytest.mark.parametrize("protocol", ["random", "temporal", "leave-last"])
def test_ranking_works_on_every_protocol(tmp_path, protocol):
    dataset = write_dataset(tmp_path, 60, 30, 900, protocol=protocol)
    trainer = trained(dataset, ranking_config({"epochs": 2}))
    assert trainer.evaluate(TEST).count > 20 and trainer.evaluate(VALIDATION).ndcg_at_100 > 0


@pytest.mark.parametrize("refit", [False, True])
def test_test_ratings_change_nothing_before_they_are_scored(dataset, tmp_path, refit):
    config = ranking_config({"epochs": 3}, refit=refit, loss="squared")
    held_out = np.asarray(dataset.split) == TEST
    movie, rating = np.where(held_out, 3, dataset.movie), np.where(held_out, 0.5, dataset.rating)
    other = changed_copy(dataset, tmp_path / "other", movie=movie, rating=rating)
    first, second = trained(dataset, config), trained(other, config)
    for (name, value), changed in zip(first.replicated.state_dict().items(), second.replicated.state_dict().values()):
        assert torch.equal(value, changed), name
    assert torch.equal(first.embed().user, second.embed().user)
    assert first.evaluate(TEST) != second.evaluate(TEST)


def test_refitting_trains_on_validation_with_settings_chosen_without_it(dataset):
    fitted, refitted = (build_trainer(ranking_config(refit=refit), dataset, World()) for refit in (False, True))
    counts = dataset.manifest.split["counts"]
    assert fitted.num_edges == counts["train"]
    assert refitted.num_edges == counts["train"] + counts["validation"] + counts["validation_input"]
    assert refitted.l2 == fitted.l2
    assert refitted.replicated.popularity_exponent == fitted.replicated.popularity_exponent


def test_fixed_settings_are_kept(dataset):
    trainer = trained(dataset, ranking_config({"epochs": 1}, l2=77.0, popularity_exponent=0.35))
    assert trainer.l2 == 77.0 and trainer.replicated.popularity_exponent.item() == pytest.approx(0.35)


def test_settings_of_other_protocols_are_no_worse_than_their_neighbors_on_validation(tmp_path):
    dataset = write_dataset(tmp_path, 150, 40, 2800, protocol="random", validation=0.2)
    trainer = build_trainer(ranking_config(num_factors=8), dataset, World())
    chosen = trainer.validate()
    assert trainer.l2 in L2_GRID
    assert min(abs(trainer.replicated.popularity_exponent.item() - value) for value in POPULARITY_EXPONENTS) < 1e-6
    index = L2_GRID.index(trainer.l2)
    for l2 in L2_GRID[max(index - 1, 0) : index + 2]:
        config = ranking_config(l2=l2, num_factors=8, weak_weight=trainer.chosen()["weak_weight"])
        other = build_trainer(config, dataset, World()).validate()
        assert other.ndcg_at_100 <= chosen.ndcg_at_100 + 1e-12


@pytest.mark.parametrize(("noise", "num_factors"), [(-1e9, 4), (1e9, 8)])
def test_fewer_factors_must_gain_more_than_noise(dataset, monkeypatch, noise, num_factors):
    monkeypatch.setattr(closed_form_start, "NOISE", noise)
    monkeypatch.setattr(closed_form_start, "factor_grid", lambda dim: [4])
    trainer = build_trainer(ranking_config(), dataset, World())
    assert trainer.chosen()["num_factors"] == num_factors
    assert (trainer.replicated.message_embedding.detach().norm(dim=0) > 0).sum() == num_factors


def test_columns_beyond_the_factors_stay_zero(dataset):
    trainer = trained(dataset, ranking_config({"epochs": 2, "lr": 0.01}, num_factors=3))
    for table in (trainer.replicated.message_embedding, trainer.replicated.target):
        assert (table[:, :3].norm(dim=0) > 0).all() and not table[:, 3:].any()


def test_the_numbers_of_factors_that_are_tried():
    assert closed_form_start.factor_grid(256) == [6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]
    assert closed_form_start.factor_grid(3) == [1, 2, 3]


def test_descend_walks_to_the_bottom_of_the_valley():
    values = (0.0, 1.0, 2.0, 3.0, 5.0)
    for start in (-9.0, 0.9, 2.6, 40.0):
        asked = []

        def loss(value: float, asked: list[float] = asked) -> float:
            asked.append(value)
            return (value - 2.2) ** 2

        assert descend(values, start, loss) == 2.0
        assert len(asked) == len(set(asked))
    assert descend(values, 1.0, lambda x: 7.0) == 1.0


def test_the_penalty_is_l2_on_the_rows_of_the_item_model():
    torch.manual_seed(0)
    model = RankingModel(RankingOptions(dim=4), torch.ones(9), seed=0)
    weight = torch.rand(9)
    value = weight @ (model.message_embedding @ model.target.T).square().sum(1)
    value = value + 0.7 / 9 * (model.message_embedding.square().sum() + model.target.square().sum())
    expected = torch.autograd.grad(value, [model.message_embedding, model.target])
    model.message_embedding.grad, model.target.grad = torch.ones(9, 4), torch.ones(9, 4)
    TablePenalty(model, weight, 0.7).add_to_gradients()
    for table, gradient in zip((model.message_embedding, model.target), expected):
        torch.testing.assert_close(table.grad, 1 + gradient)


def test_users_without_known_ratings_have_zero_vectors(tmp_path):
    dataset = write_dataset(tmp_path, 60, 30, 300, protocol="random")
    trainer = build_trainer(ranking_config(), dataset, World())
    embeddings = trainer.embed()
    liked = (np.asarray(dataset.rating) >= 4) & (np.asarray(dataset.split) != TEST)
    owner = np.repeat(np.arange(60), np.diff(dataset.user_ptr))
    without = np.bincount(owner[liked], minlength=60) == 0
    assert 0 < without.sum() < 60
    assert ((embeddings.user.norm(dim=1) == 0).numpy() == without).all()


def test_the_objective_chooses_the_trainer(tmp_path):
    dataset = write_dataset(tmp_path)
    assert isinstance(build_trainer(make_config(), dataset, World()), RatingTrainer)
    assert isinstance(build_trainer(ranking_config(), dataset, World()), RankingTrainer)
    assert dataclasses.asdict(ranking_config())["objective"] == "ranking"
