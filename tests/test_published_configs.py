"""Every file in configs/ is read and takes two steps."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from benchmarks.steps import run_epoch
from gnnrec.cli.main import command_parser, find_command
from gnnrec.config.parser import normalize
from gnnrec.config.serialize import flat
from gnnrec.config.train_config import TrainConfig, parse_train_config
from gnnrec.data.prepared import TEST
from gnnrec.distributed.world import World
from gnnrec.training.run import build_trainer
from tests.datasets import write_dataset

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
CONFIGS = [path for path in CONFIGS if path.name != "sweep.yaml"]  # for wandb sweep: tests/end_to_end/test_sweep.py
REQUIRED = {"ml20m_gcn", "ml20m_sage", "ml20m_gat", "ml20m_full", "original_report", "rating", "ranking"}
REQUIRED |= {"ml20m_ranking", "custom"}


def test_the_promised_configs_are_there():
    assert {path.stem for path in CONFIGS} >= REQUIRED


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("configs"), users=120, movies=60, ratings=2000)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_takes_steps(path, dataset):
    config = parse_train_config(
        ["--config", str(path), "--data", str(dataset.directory), "--run-dir", "unused", "--max-steps", "6"]
    )
    trainer = build_trainer(config, dataset, World())
    results = [result for epoch in range(6) for result in run_epoch(trainer, epoch)]
    assert [result.update.number for result in results] == [1, 2, 3, 4, 5, 6]
    # Better than nothing known at all: the ratings themselves have a mean square of over 10.
    assert all(0 < result.loss / max(result.step.num_targets, 1) < 10 for result in results)
    test = trainer.evaluate(TEST)
    assert test.ndcg_at_100 > 0.1 if config.objective == "ranking" else test.rmse < 1.5


@pytest.mark.parametrize("architecture", ["gcn", "sage", "gat"])
def test_the_mini_batch_configs_name_their_architecture_and_sample(architecture):
    path = next(path for path in CONFIGS if path.stem == f"ml20m_{architecture}")
    config = parse_train_config(["--config", str(path), "--data", "unused", "--run-dir", "unused"])
    assert config.model.architecture == architecture
    assert config.loader.samples and config.loader.seed_users > 0 and config.loader.raters_per_movie > 0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_commands_in_comments_are_accepted(path):
    for line in re.findall(r"^#   (gnnrec .*)$", path.read_text(), re.MULTILINE):
        name, command, arguments = find_command(line.split()[1:])
        parser = command_parser(name, command)
        parser.parse_args(normalize(parser, arguments))


def test_the_original_report_says_how_its_data_were_split():
    text = next(path for path in CONFIGS if path.stem == "original_report").read_text()
    assert "gnnrec prepare" in text and "--test 0.2" in text
    assert yaml.safe_load(text)["optimizer"]["lr"] == 0.01


@pytest.mark.parametrize("name", ["rating", "custom"])
def test_the_files_for_your_own_ratings_are_the_defaults_of_gnnrec_train(name: str):
    """Both files give every option the value that it has for ratings without a file."""
    path = next(path for path in CONFIGS if path.stem == name)
    needed = ["--data", "unused", "--run-dir", "unused"]
    defaults = trained_with(*needed, "--objective", "rating")
    assert trained_with(*needed, "--config", str(path)) == defaults
    # Values in the file equal those that training resolves, also where the parser leaves one to the objective.
    written = flat(yaml.safe_load(path.read_text()))
    assert {option: defaults.value(option) for option in written} == written


def trained_with(*arguments: str) -> TrainConfig:
    """The configuration that ``gnnrec train`` hands to training."""
    name, command, rest = find_command(["train", *arguments])
    parser = command_parser(name, command)
    values = parser.instantiate(parser.parse_args(normalize(parser, rest)))
    return TrainConfig(**{field.name: values[field.name] for field in dataclasses.fields(TrainConfig)})


def test_the_file_for_custom_data_explains_every_section():
    """Every line has a comment, or its section has."""
    path = next(path for path in CONFIGS if path.stem == "custom")
    content = yaml.safe_load(path.read_text())
    sections = {
        field.name for field in dataclasses.fields(TrainConfig) if dataclasses.is_dataclass(field.default_factory)
    }
    assert sections <= set(content)
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\w+:$", line):
            assert lines[number - 1].startswith("#"), line
