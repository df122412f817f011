"""Another run starts from a published model and from its run with the same bits, and the hub takes its card."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from gnnrec.config.train_config import parse_train_config
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.tools.publishing.options import PublishOptions
from gnnrec.tools.publishing.publish import publish
from gnnrec.training.continue_from import continue_from
from gnnrec.training.kept_interest import kept_interest
from gnnrec.training.run import build_trainer, train
from gnnrec.training.trainer import Trainer
from gnnrec.utils.stored import read_json
from tests.configs import make_config
from tests.datasets import ratings_table, write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.models.test_layer_file import LAYER


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run with interest, on data of integer ids."""
    place = tmp_path_factory.mktemp("published")
    dataset = write_dataset(place / "data")
    interest = {"movies": 100}
    train(make_config(dataset.directory, place / "run", optimizer={"lr": 0.05}, interest=interest), World())
    return place / "run"


@pytest.fixture(scope="module")
def data(run) -> PreparedDataset:
    """Other ratings, with some of the same users and movies, in another order."""
    table = ratings_table(30, 20, 250, seed=1)
    table.to_csv(run.parent / "other.csv", index=False)
    prepare(run.parent / "other", PrepareOptions(ratings=run.parent / "other.csv", shards=3))
    return PreparedDataset(run.parent / "other")


def trainer_of(data: PreparedDataset, source: Path | None = None, world: World | None = None) -> Trainer:
    trainer = build_trainer(make_config(data.directory, seed=7), data, world or World())
    if source is not None:
        continue_from(trainer, source)
    return trainer


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return dict(trainer.replicated.named_parameters())


def moments(trainer: Trainer) -> dict[str, torch.Tensor]:
    found = {}
    for module, optimizer in zip((trainer.replicated, trainer.users), trainer.optimizers):
        for name, parameter in module.named_parameters():
            for key, value in optimizer.state[parameter].items():
                found[f"{name}/{key}"] = value
    return found


def assert_equal(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert actual.keys() == expected.keys() and actual
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


def test_a_run_starts_from_the_folder_as_from_the_run(run, data, tmp_path):
    publish(run, PublishOptions(tmp_path / "model", with_users=True))
    fresh, from_run, from_folder = (trainer_of(data, path) for path in (None, run, tmp_path / "model"))
    assert_equal(weights(from_folder), weights(from_run))
    assert_equal(from_folder.users.tables(), from_run.users.tables())
    assert_equal(moments(from_folder), moments(from_run))
    assert not torch.equal(from_run.users.tables()["id_embedding"], fresh.users.tables()["id_embedding"])
    kept = [kept_interest(path, data, World()) for path in (tmp_path / "model", run)]
    assert torch.equal(kept[0].target, kept[1].target) and kept[0].l2 == kept[1].l2


def test_without_users_their_rows_are_new_and_the_folder_has_none_of_their_ids(run, data, tmp_path):
    publish(run, PublishOptions(tmp_path / "model"))
    from_run, from_folder = (trainer_of(data, path) for path in (run, tmp_path / "model"))
    assert_equal(weights(from_folder), weights(from_run))
    assert from_run.users.tables()["id_embedding"].any()
    assert not any(table.any() for table in from_folder.users.tables().values())
    assert not list((tmp_path / "model").glob("users*")) and read_json(tmp_path / "model" / "config.json", "")
    with_users = publish(run, PublishOptions(tmp_path / "with", with_users=True))
    sizes = [(path / "dataset" / "users.parquet").stat().st_size for path in (tmp_path / "model", with_users)]
    assert sizes[0] < sizes[1]


def test_without_the_state_of_the_optimizer_weights_are_the_same(run, data, tmp_path):
    publish(run, PublishOptions(tmp_path / "model", optimizer=False))
    assert_equal(weights(trainer_of(data, tmp_path / "model")), weights(trainer_of(data, run)))
    assert not list((tmp_path / "model").glob("*optimizer*"))


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    for place in ("one", "two"):
        publish(run, PublishOptions(tmp_path / place / "model", with_users=True, license="mit"))
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 11
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path


def test_the_card_is_one_of_the_hub(run, tmp_path):
    publish(run, PublishOptions(tmp_path / "model", license="cc-by-nc-4.0"))
    card = ModelCard.load(tmp_path / "model" / "README.md")
    summary = json.loads((run / "summary.json").read_text())
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    for metric in ("rmse", "rmse_without_time", "mae"):
        assert results[metric] == pytest.approx(summary[f"test_{metric}"], rel=1e-12)
    assert results["recall@20"] == pytest.approx(summary["lists"]["test_recall@20"], rel=1e-12)
    assert (card.data.license, card.data.library_name, card.data.model_name) == ("cc-by-nc-4.0", "gnnrec", "model")
    assert f"{summary['test_rmse']:.4f}" in card.text and "`random`, seed 0" in card.text


def test_no_text_has_a_path_of_the_machine(run, tmp_path):
    publish(run, PublishOptions(tmp_path / "model"))
    for path in (tmp_path / "model").rglob("*"):
        if path.suffix in (".md", ".json", ".yaml"):
            assert str(run.parent) not in path.read_text(), path


@pytest.mark.slow
@pytest.mark.processes
def test_two_ranks_start_as_one(run, data, tmp_path):
    publish(run, PublishOptions(tmp_path / "model", with_users=True))
    found = run_on_ranks(2, rows_on_rank, str(data.directory), str(tmp_path / "model"))
    expected = trainer_of(data, tmp_path / "model").users.tables()["id_embedding"]
    assert torch.equal(torch.cat(found), expected.detach())


def rows_on_rank(world: World, data: str, model: str) -> torch.Tensor:
    return trainer_of(PreparedDataset(Path(data)), Path(model), world).users.tables()["id_embedding"].detach().clone()


def test_the_command_of_the_card_continues_with_a_short_schedule(run, data, tmp_path):
    publish(run, PublishOptions(tmp_path / "model"))
    words = ["--config", str(tmp_path / "model" / "config.yaml"), "--data", str(data.directory)]
    config = parse_train_config([*words, "--run-dir", str(tmp_path / "run"), "--init-from", str(tmp_path / "model")])
    assert (config.optimizer.epochs, config.optimizer.lr, config.model.dim) == (2, 0.006, 8)
    assert train(config, World())["test_rmse"] > 0


def test_damage_is_found(run, data, tmp_path):
    publish(run, PublishOptions(tmp_path / "model"))
    path = tmp_path / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(UserError, match="model.safetensors does not match its checksum: download it again"):
        trainer_of(data, tmp_path / "model")


def test_what_does_not_fit_is_refused(run, data, tmp_path):
    with pytest.raises(UserError, match="is not the dataset that .* was trained on: pass the right one with --data"):
        publish(run, PublishOptions(tmp_path / "model", data=data.directory))
    with pytest.raises(UserError, match="--license My own: write the id"):
        publish(run, PublishOptions(tmp_path / "model", license="My own"))
    with pytest.raises(UserError, match="not a run directory"):
        publish(data.directory, PublishOptions(tmp_path / "model"))
    assert not (tmp_path / "model").exists()
    publish(run, PublishOptions(tmp_path / "model"))
    with pytest.raises(UserError, match="exists already"):
        publish(run, PublishOptions(tmp_path / "model"))
    publish(run, PublishOptions(tmp_path / "model", overwrite=True))
    (tmp_path / "model" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="holds a model of another program"):
        publish(run, PublishOptions(tmp_path / "model", overwrite=True))
    with pytest.raises(UserError, match="holds a model of another program"):
        trainer_of(data, tmp_path / "model")


def test_ranking_and_unfinished_runs_are_refused(run, tmp_path):
    for name in ("config.yaml", "dataset/rows.json"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_bytes((run / name).read_bytes())
    with pytest.raises(UserError, match="has not finished: resume it"):
        publish(tmp_path / "run", PublishOptions(tmp_path / "model"))
    text = (run / "config.yaml").read_text().replace('objective: "rating"', 'objective: "ranking"')
    (tmp_path / "run" / "config.yaml").write_text(text)
    with pytest.raises(UserError, match="is a ranking run, which no other run can start from"):
        publish(tmp_path / "run", PublishOptions(tmp_path / "model"))


@pytest.mark.slow
def test_a_layer_of_ones_own_is_in_the_folder_and_may_lie_elsewhere(run, data, tmp_path):
    """The layer of CONTRIBUTING.md, whose file is gone from where the run had it."""
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "own.py").write_text(LAYER)
    before, name = PreparedDataset(run.parent / "data" / "prepared"), re.search(r"^class (\w+)", LAYER, re.MULTILINE)[1]
    model = {"architecture": f"{tmp_path / 'first' / 'own.py'}:{name}"}
    train(make_config(before.directory, tmp_path / "run", model=model), World())
    publish(tmp_path / "run", PublishOptions(tmp_path / "model", with_users=True))
    assert (tmp_path / "model" / "layer.py").read_text() == LAYER
    assert (
        "first"
        not in (tmp_path / "model" / "config.yaml").read_text() + (tmp_path / "model" / "config.json").read_text()
    )
    (tmp_path / "first" / "own.py").rename(tmp_path / "moved.py")
    config = make_config(data.directory, seed=7, model={"architecture": f"{tmp_path / 'moved.py'}:{name}"})
    trainers = [build_trainer(config, data, World()) for _ in range(2)]
    for trainer, source in zip(trainers, (tmp_path / "model", tmp_path / "run")):
        continue_from(trainer, source)
    assert_equal(weights(trainers[0]), weights(trainers[1]))
    other = build_trainer(make_config(data.directory), data, World())
    with pytest.raises(UserError, match=r"--model.architecture sage: .* was trained with layer.py:"):
        continue_from(other, tmp_path / "model")
