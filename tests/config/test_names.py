"""Short names of options, names of other programs, and both spellings of English."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gnnrec.cli.main import COMMANDS, command_parser
from gnnrec.config.names import ALIASES, SYNONYMS
from gnnrec.config.parser import normalize
from gnnrec.config.train_config import read_train_config, train_parser
from gnnrec.errors import UserError
from tests.config.test_parser import parsers
from tests.config.test_train_config import parse, refusal
from tests.configs import make_config


@pytest.mark.parametrize(
    ("short", "options"),
    [
        (["--epochs", "3"], {"optimizer.epochs": 3}),
        (["--lr=0.5"], {"optimizer.lr": 0.5}),
        (["--batch-users", "7"], {"loader.seed_users": 7}),
        (["--batch_users=7"], {"loader.seed_users": 7}),
        (["--num-neighbors", "5", "--epochs", "2"], {
            "loader.movies_per_user": 5, "loader.raters_per_movie": 5, "optimizer.epochs": 2
        }),
        (["--num_neighbours=-1"], {"loader.movies_per_user": -1, "loader.raters_per_movie": -1}),
        (["--architecture", "gat", "--layers", "2"], {"model.architecture": "gat", "model.layers": 2}),
        (["--regularisation.ids", "5"], {"regularization.ids": 5}),
        (["--optimiser.lr", "0.1"], {"optimizer.lr": 0.1}),
    ],
)  # fmt: skip
def test_a_short_or_british_name_sets_its_options(short: list[str], options: dict[str, object]):
    config = parse(*short)
    assert {name: config.value(name) for name in options} == options


def test_a_short_name_needs_a_value():
    assert refusal("--num-neighbors", "--refit") == "--num-neighbors needs a value"
    assert refusal("--epochs") == "--optimizer.epochs needs a value"


def test_the_later_of_a_short_and_a_full_name_counts():
    assert parse("--lr", "0.1", "--optimizer.lr", "0.2").optimizer.lr == 0.2
    assert parse("--optimizer.lr", "0.2", "--lr", "0.1").optimizer.lr == 0.1


def test_help_shows_short_names():
    text = train_parser().format_help()
    for line in ("--optimizer.lr, --lr NUMBER", "--optimizer.epochs, --epochs N", "--run-dir, --run PATH"):
        assert line in text
    assert all(f"--{name.replace('_', '-')}" in text for name in ALIASES)


def test_every_name_in_the_tables_is_an_option():
    names = {name for parser in parsers().values() for name in parser.names()}
    tables = [options for options in [*ALIASES.values(), *SYNONYMS.values()] if not isinstance(options, str)]
    assert [option for options in tables for option in options if option not in names] == []
    assert not set(SYNONYMS) & set(train_parser().names())


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--optimizer.learning_rate", "--optimizer.lr"),
        ("--learning-rate", "--optimizer.lr"),
        ("--lerning_rate", "--optimizer.lr"),
        ("--batch_size", "--loader.seed-users"),
        ("--fanout", "--loader.movies-per-user or --loader.raters-per-movie"),
        ("--hidden_dim", "--model.dim"),
        ("--weight_decay", "--regularization.ids or --ranking.table-l2"),
        ("--n_epochs", "--optimizer.epochs"),
        ("--optimizer.dim", "--model.dim"),
        ("--output-dir", "--run-dir"),
    ],
)
def test_names_of_other_programs_are_suggested(typed: str, meant: str):
    assert refusal(typed, "3") == f"{typed} is not an option (did you mean {meant}?)"


def test_the_number_of_gpus_is_an_option_of_torchrun():
    assert "torchrun --nproc-per-node" in refusal("--gpus", "8")
    plan = command_parser("plan", COMMANDS["plan"])
    assert plan.parse_args(["--gpus", "8"]).gpus == 8


def test_aliases_follow_the_options_of_a_program():
    plan = parsers()["plan"]
    words = normalize(plan, ["--batch-users", "9", "--num-neighbors", "4", "--architecture", "gat"])
    assert words == ["--seed-users", "9", "--movies-per-user=4", "--raters-per-movie=4", "--architecture", "gat"]
    with pytest.raises(UserError, match="--epochs is not an option"):
        normalize(plan, ["--epochs", "3"])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("optimizer: {learning_rate: 0.1}", "optimizer.lr"),
        ("batch_size: 3", "loader.seed_users"),
        ("epochs: 3", "optimizer.epochs"),
        ("run-dir: x", "run_dir"),
        ("regularisation: {idz: 1}", "regularization.ids"),
    ],
)
def test_files_take_full_names_and_others_are_suggested(tmp_path: Path, text: str, meant: str):
    (tmp_path / "c.yaml").write_text(text)
    said = refusal("--config", str(tmp_path / "c.yaml"))
    assert re.search(rf"c\.yaml: \S+ is not an option \(did you mean {re.escape(meant)}\?\)$", said)


def test_files_may_use_british_spelling(tmp_path: Path):
    (tmp_path / "c.yaml").write_text("regularisation: {ids: 7}\nwandb: {name: '1e3'}\n")
    config = parse("--config", str(tmp_path / "c.yaml"), "--regularization.messages", "8")
    assert (config.regularization.ids, config.regularization.messages, config.wandb.name) == (7, 8, "1e3")
    assert "regularisation" not in config.yaml()


@pytest.mark.parametrize(("key", "name"), [("sample_rate: 0.5\n", "sample_rate"), ("  spread: 0.1\n", "model.spread")])
def test_a_run_of_another_version_is_named(tmp_path: Path, key: str, name: str):
    text = make_config(data=Path("x"), run_dir=Path("y")).yaml()
    text = text.replace("model:\n", f"model:\n{key}", 1) if name.startswith("model") else key + text
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        read_train_config(tmp_path / "config.yaml")
    said = str(caught.value)
    assert "\n" not in said and str(tmp_path) in said and f"has no option {name}" in said
    assert "another version of gnnrec" in said and "train it again" in said


@pytest.mark.parametrize("program", parsers())
def test_dashes_and_underscores_are_accepted_everywhere(program: str):
    parser = parsers()[program]
    for option in parser.names():
        dashed = f"--{option.replace('_', '-')}=1"
        assert normalize(parser, [f"--{option}=1"]) == normalize(parser, [dashed])
