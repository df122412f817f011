"""Help of every option of every program, and the line for a wrong value or name."""

from __future__ import annotations

import functools
import re
from argparse import Action
from pathlib import Path
from typing import get_args

import pytest

from gnnrec.cli.main import COMMANDS, command_parser, run_command
from gnnrec.config.parser import Parser
from gnnrec.config.serialize import words_of
from gnnrec.config.train_config import parse_train_config, train_parser
from gnnrec.errors import UserError

NEEDED = ["--data", "prepared", "--run-dir", "runs/a"]


@functools.cache
def parsers() -> dict[str, Parser]:
    """Every program and command by name."""
    programs = {"train_dist.py": train_parser()}
    for name, command in COMMANDS.items():
        programs[name] = command_parser(name, command)
        programs |= {f"{name} {mode}": command_parser(f"{name} {mode}", each) for mode, each in command.modes.items()}
    return programs


def help_of(parser: Parser, action: Action) -> str:
    return " ".join(parser._get_formatter()._expand_help(action).split()) if action.help else ""


def takes_number(action: Action) -> bool:
    hint = getattr(action, "_typehint", None)
    return bool({int, float} & {hint, *get_args(hint)})


OPTIONS = [
    pytest.param(parser, action, id=f"{name} {action.dest}")
    for name, parser in parsers().items()
    for action in parser._actions
]


def test_every_command_is_walked_through():
    assert len(OPTIONS) > 120
    assert {"train_dist.py", "prepare", "export --verify", "recommend"} <= set(parsers())


@pytest.mark.parametrize(("parser", "action"), OPTIONS)
def test_every_option_is_explained(parser: Parser, action: Action):
    """A noun phrase or a verb, the type in plain words or the choices, the bound, and the default."""
    text = help_of(parser, action)
    if action.dest in ("help", "print_config"):
        return
    words = r"whole number|number|true\|false|text|path|list of (?:words|whole numbers)|2 numbers|default|required"
    explained, facts = re.match(rf"(.*?)(?: \(((?:{words})\b.*)\))?$", text).groups()
    assert len(explained) > len("Project"), f"--{action.dest} has no help"
    assert not re.search(
        r"<class|Union|Optional|Literal|null|NoneType|\b(int|float|bool|str|Path)\b|list\[|tuple\[", text
    )
    assert not re.match(r"(What|Whether|Where|Which|How|Who|Of|If|When|None|best or|auto[, ])\b", explained), text
    bound = getattr(action, "bound", None)
    assert bound is None or str(bound) in text
    if hasattr(action, "_typehint"):
        assert re.search(r"default: \S|by default |required", text), f"--{action.dest} does not show its default"
        is_choice = action.metavar is not None and "{" in action.metavar
        assert is_choice or re.match(words.removesuffix("|default|required"), facts)
        assert "default: none" not in text or not takes_number(action), text


@pytest.mark.parametrize("name", parsers())
def test_help_has_every_option(name: str):
    parser = parsers()[name]
    text = parser.format_help()
    options = [option for option in parser.names() if option != "help"]
    assert all(f"--{option.replace('_', '-')}" in text for option in options)
    assert not [option for option in options if "_" in option and f"--{option}" in text]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["prepare", "x", "--protocol", "strng"], "--protocol strng: choose random, .* (did you mean strong?)"),
        (["prepare", "x", "--test", "ten"], "--test ten: must be a number"),
        (["prepare", "x", "--shards", "1.5"], "--shards 1.5: must be a whole number"),
        (["synth", "x", "--users", "many"], "--users many: must be a whole number"),
        (["synth", "x", "--users"], "--users needs a value"),
        (["tune", "d", "--out", "x", "--wandb.mode", "of"], "--wandb.mode of: choose offline, online or disabled"),
        (["tune", "d", "--out", "x", "--wandb.projct", "p"], "did you mean --wandb.project?"),
        (["compare", "d", "--out", "x", "--seeds", "few"], "--seeds few: must be a whole number"),
        (["evaluate", "r", "--checkpoint", "bst"], "--checkpoint bst: choose best or last (did you mean best?)"),
        (
            ["export", "r", "--out", "x", "--dtype", "float61"],
            "choose float32, float16, int8 or binary (did you mean float16?)",
        ),
        (["export", "--verify", "r", "--dta", "x"], "did you mean --data?"),
        (["recommend", "r", "--top", "all"], "--top all: must be a whole number"),
        (["recommend", "r", "--all", "perhaps"], "--all perhaps: must be true or false"),
    ],
)
def test_wrong_values_and_names_of_commands(arguments: list[str], says: str):
    with pytest.raises(UserError) as caught:
        run_command(arguments)
    assert re.search(re.escape(says).replace(r"\.\*", ".*"), str(caught.value)), caught.value


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["--model.architecture", "sagee"], "choose gat, gcn or sage (did you mean sage?)"),
        (["--model", "gcn"], "--model gcn: set one of its options, such as --model.architecture"),
        (["--optimizer.lr", "fast"], "--optimizer.lr fast: must be a number"),
        (["--optimizer.epochs", "1.5"], "--optimizer.epochs 1.5: must be a whole number"),
    ],
)
def test_wrong_values_of_training(typed: list[str], says: str):
    with pytest.raises(UserError, match=re.escape(says)):
        parse_train_config(NEEDED + typed)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: {dimm: 3}", "c.yaml: model.dimm is not an option (did you mean model.dim?)"),
        ("model: {architecture: sagee}", "(did you mean sage?)"),
        ("model: {dim: wide}", "--model.dim wide: must be a whole number"),
        ("optimizer: 3", "c.yaml: optimizer has options of its own, and cannot be 3"),
        ("seed: null", "c.yaml: seed has no value: write one, or leave the line out"),
        ("model: {dim: }", "c.yaml: model.dim has no value: write one, or leave the line out"),
        ("wandb: {name: 3}", "--wandb.name 3: must be text (in a file, between quotes)"),
        ("model:\n  dim: [1", "c.yaml line 3: is not YAML"),
        ("method: grid\nparameters: {model.dim: {values: [8]}}", "c.yaml: is a W&B sweep, not a configuration"),
        ("- model", "c.yaml: must have lines such as 'seed: 1', not [\"model\"]"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, text: str, says: str):
    (tmp_path / "c.yaml").write_text(text + "\n")
    for config in (["--config", str(tmp_path / "c.yaml")], [f"--config={tmp_path / 'c.yaml'}"]):
        with pytest.raises(UserError, match=re.escape(says)):
            parse_train_config(NEEDED + config)


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n"])
def test_an_empty_file_changes_nothing(tmp_path: Path, text: str):
    (tmp_path / "c.yaml").write_text(text)
    assert parse_train_config([*NEEDED, "--config", str(tmp_path / "c.yaml")]) == parse_train_config(NEEDED)


@pytest.mark.parametrize(
    "typed",
    [
        [],
        ["--config", "configs/ml20m_gat.yaml"],
        ["--config", "configs/ml20m_ranking.yaml", "--wandb.name", "1e3"],
        ["--model.dim", "8", "--optimizer.lr", "3e-4", "--refit", "--wandb.name", "null"],
    ],
)
def test_a_printed_configuration_is_the_same_configuration(tmp_path: Path, capsys, typed: list[str]):
    wanted = parse_train_config([*NEEDED, *typed])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        parse_train_config([*NEEDED, *typed, "--print-config"])
    assert end.value.code == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    assert parse_train_config(["--config", str(tmp_path / "printed.yaml")]) == wanted


def test_a_configuration_is_printed_without_data_too(tmp_path: Path, capsys):
    with pytest.raises(SystemExit):
        parse_train_config(["--model.dim", "8", "--print_config"])
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    assert parse_train_config(["--config", str(tmp_path / "printed.yaml"), *NEEDED]).model.dim == 8


def test_dictionaries_are_typed_as_options():
    options = {"model": {"dim": 8, "concat": False}, "genre": ["A B", "c"], "lr": None, "out": Path("a b"), "name": "1"}
    assert words_of(options) == [
        "--model.dim=8", "--model.concat=false", '--genre=["A B", "c"]', "--lr=null", "--out=a b", "--name=1",
    ]  # fmt: skip
