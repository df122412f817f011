"""Configuration: YAML, the command line, and one clear line for every mistake."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gnnrec.config.parser import Parser
from gnnrec.config.train_config import TrainConfig, parse_train_config, read_train_config, train_parser
from gnnrec.errors import UserError
from gnnrec.tools.comparison.compare import CompareOptions
from tests.configs import make_config

NEEDED = ("--data", "prepared", "--run-dir", "runs/a")


def parse(*arguments: str) -> TrainConfig:
    return parse_train_config([*NEEDED, *arguments])


def refusal(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        parse(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def yaml_file(directory: Path, text: str) -> str:
    path = directory / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def leaves(value, prefix: str = "") -> list[str]:
    """Dotted names of all options."""
    found = []
    for field in dataclasses.fields(value):
        child = getattr(value, field.name)
        found += leaves(child, f"{prefix}{field.name}.") if dataclasses.is_dataclass(child) else [prefix + field.name]
    return found


def test_defaults_are_those_of_the_dataclasses():
    assert parse() == TrainConfig(Path("prepared"), Path("runs/a"))


def test_every_option_is_on_the_command_line():
    options = {option for action in train_parser()._actions for option in action.option_strings}
    names = leaves(parse())
    assert len(names) > 40
    assert not [name for name in names if f"--{name.replace('_', '-')}" not in options]


@pytest.mark.parametrize("missing", [0, 2])
def test_paths_are_required(missing):
    arguments = list(NEEDED[:missing] + NEEDED[missing + 2 :])
    with pytest.raises(UserError, match="^--run-dir is missing" if missing else "^--data is missing"):
        parse_train_config(arguments)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--model.dims", "model.dim"),
        ("--modle.dim", "model.dim"),
        ("--dim", "model.dim"),
        ("--lodaer.folds", "loader.folds"),
        ("--loader.rater-per-movie", "loader.raters_per_movie"),
        ("--regularization.id", "regularization.ids"),
        ("--epoch", "optimizer.epochs"),
        ("--ovrwrite", "overwrite"),
    ],
)
def test_unknown_options_are_refused_with_the_nearest_one(typed, meant):
    said = refusal(typed, "3")
    assert said == f"{typed} is not an option (did you mean --{meant.replace('_', '-')}?)"


def test_nothing_is_suggested_where_nothing_is_near():
    assert "did you mean" not in refusal("--xyzzy", "3")


@pytest.mark.parametrize(
    ("text", "wrong", "meant"),
    [
        ("model: {dimm: 3}", "dimm", "model.dim"),
        ("models: {dim: 3}", "models", "model"),
        ("optimizer:\n  epoch: 3", "epoch", "optimizer.epochs"),
        ("refits: true", "refits", "refit"),
        ("wandb: {projekt: x}", "projekt", "wandb.project"),
    ],
)
def test_unknown_keys_of_a_file_are_refused_with_the_nearest_one(tmp_path, text, wrong, meant):
    said = refusal("--config", yaml_file(tmp_path, text))
    assert wrong in said and said.endswith(f"(did you mean {meant}?)")


@pytest.mark.parametrize("text", ["model: [1", "- 1\n- 2", "just words"])
def test_files_that_are_not_a_configuration(tmp_path, text):
    refusal("--config", yaml_file(tmp_path, text))


def test_a_file_that_is_not_there():
    assert "nowhere.yaml" in refusal("--config", "nowhere.yaml")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("--model.dim", "wide"), "model.dim"),
        (("--model.dim", "1.5"), "model.dim"),
        (("--optimizer.lr", "fast"), "optimizer.lr"),
        (("--optimizer.lr", "nan"), "optimizer.lr"),
        (("--optimizer.lr", "inf"), "optimizer.lr"),
        (("--ranking.user-power", "nan"), "ranking.user-power"),
        (("--ranking.relevant", "nan"), "ranking.relevant"),
        (("--refit", "maybe"), "refit"),
        (("--model.architecture", "gin"), "model.architecture"),
        (("--optimizer.schedule", "linear"), "optimizer.schedule"),
        (("--wandb.mode", "of"), "wandb.mode"),
        (("--device", "tpu"), "device"),
        (("--seed", "1.5"), "seed"),
        (("--model.dim",), "model.dim"),
    ],
)
def test_values_of_a_wrong_type_name_the_option(arguments, option):
    said = refusal(*arguments)
    assert option.replace("_", "-") in said
    assert all(value in said for value in arguments[1:])


def test_values_of_a_wrong_type_in_a_file_name_the_option(tmp_path):
    said = refusal("--config", yaml_file(tmp_path, "model: {dim: wide}"))
    assert "model.dim" in said and "wide" in said


BOUNDS = [
    ("model.dim", "0", "1"),
    ("model.layers", "-1", "0"),
    ("model.heads", "0", "1"),
    ("model.dropout", "1", "0.99"),
    ("model.dropout", "-0.1", "0"),
    ("loader.folds", "1", "2"),
    ("loader.folds", "257", "256"),
    ("loader.seed_users", "-1", "0"),
    ("loader.movies_per_user", "-2", "-1"),
    ("loader.raters_per_movie", "-2", "-1"),
    ("optimizer.lr", "0", "1e-9"),
    ("optimizer.epochs", "0", "1"),
    ("optimizer.beta1", "1.5", "0.5"),
    ("optimizer.beta2", "-0.1", "0"),
    ("optimizer.eps", "-1e-8", "0"),
    ("optimizer.message_lr_degree", "-1", "0"),
    ("optimizer.warmup_steps", "-5", "0"),
    ("model.head_dim", "0", "1"),
    ("model.init_std", "-0.1", "0"),
    ("model.movie_id_init_std", "-0.1", "0"),
    ("regularization.ids", "-1", "0"),
    ("regularization.messages", "-1", "0"),
    ("regularization.biases", "-1", "0"),
    ("validate_every", "-1", "0"),
    ("log_every", "0", "1"),
    ("max_steps", "-1", "0"),
]


@pytest.mark.parametrize(("option", "outside", "inside"), BOUNDS)
def test_bounds_name_the_option_and_the_value(option, outside, inside):
    said = refusal(f"--{option}={outside}")
    value = parse(f"--{option}={inside}").value(option)
    assert said.startswith(f"--{option.replace('_', '-')} {type(value)(outside)}: must be")
    assert value == float(inside)


def test_heads_must_divide_channels_only_where_they_are_concatenated():
    said = refusal("--model.architecture", "gat", "--model.dim", "8", "--model.heads", "3")
    assert "--model.dim 8" in said and "--model.heads 3" in said
    fine = ("--model.dim", "8", "--model.heads", "3")
    parse("--model.architecture", "gat", *fine, "--model.concat", "false")
    parse("--model.architecture", "sage", *fine)


def test_message_tables_in_bfloat16_are_not_for_attention():
    said = refusal("--model.architecture", "gat", "--model.message-tables", "bf16")
    assert "--model.message-tables bf16" in said and "gcn or sage" in said and len(said.splitlines()) == 1
    assert parse("--model.architecture", "gcn", "--model.message-tables", "bf16").model.message_tables == "bf16"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--refit", "--model.dim", "4"),
        ("--model.dim", "4", "--refit"),
        ("--refit=true", "--model.dim=4"),
        ("--refit", "true", "--model.dim", "4"),
        ("--refit", "all", "--model.dim", "4"),
    ],
)
def test_flags_may_stand_bare(arguments):
    config = parse(*arguments)
    assert config.refit and config.model.dim == 4


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("all", "all"), ('"all"', "all")])
def test_refit_is_a_switch_or_all(tmp_path, text, value):
    config = parse("--config", yaml_file(tmp_path, f"refit: {text}"))
    assert config.refit == value and type(config.refit) is type(value)
    (tmp_path / "again.yaml").write_text(config.yaml())
    assert parse("--config", str(tmp_path / "again.yaml")).refit == value
    assert parse("--refit", text.strip('"')).refit == value
    assert refusal("--refit", "maybe") == "--refit maybe: must be true, false or all"


def test_flags_can_be_switched_off():
    config = parse("--bf16", "false", "--baselines=false", "--model.user-ids", "false")
    assert (config.bf16, config.baselines, config.model.user_ids) == (False, False, False)


def test_dashes_stand_for_underscores_in_names_but_not_in_values():
    config = parse("--loader.raters-per-movie", "7", "--max-steps=5", "--wandb.name", "my-run", "--log-every", "2")
    assert (config.loader.raters_per_movie, config.max_steps, config.log_every) == (7, 5, 2)
    assert config.wandb.name == "my-run"
    assert parse_train_config(["--data=a-b/c-d", "--run-dir=e-f"]).data == Path("a-b/c-d")


@pytest.mark.parametrize("arguments", [("--loader.movies-per-user", "-1"), ("--loader.movies-per-user=-1",)])
def test_values_may_be_negative(arguments):
    assert parse("--loader.movies-per-user", "3", *arguments).loader.movies_per_user == -1


@pytest.mark.parametrize("arguments", [("--run", "runs/b"), ("--run=runs/b",), ("--run_dir=runs/b",)])
def test_run_is_short_for_run_dir(arguments):
    assert parse_train_config(["--data", "prepared", *arguments]).run_dir == Path("runs/b")


def test_the_later_of_file_and_option_counts(tmp_path):
    path = yaml_file(tmp_path, "model: {dim: 16, layers: 2}\ndata: elsewhere\nbf16: false")
    config = parse("--config", path, "--model.dim", "5")
    assert (config.model.dim, config.model.layers, config.data, config.bf16) == (5, 2, Path("elsewhere"), False)
    assert parse("--model.dim", "5", "--config", path).model.dim == 16


@pytest.mark.parametrize("lr", ["1e-3", "1.0e-3", "0.001", ".001"])
def test_small_numbers_in_any_notation(tmp_path, lr):
    assert parse("--optimizer.lr", lr).optimizer.lr == 0.001
    assert parse("--config", yaml_file(tmp_path, f"optimizer: {{lr: {lr}}}")).optimizer.lr == 0.001


def test_yaml_brings_every_option_back(tmp_path):
    config = make_config(
        data=tmp_path / "a: b",
        run_dir="runs/#1",
        model={"architecture": "gat", "concat": False, "head": "mlp", "dropout": 0.0, "user_ids": False},
        loader={"seed_users": 11, "movies_per_user": 4, "raters_per_movie": -1, "sampler": "pyg"},
        optimizer={"name": "sgd", "lr": 1.2345678901234567e-7, "eps": 1e-300, "schedule": "constant"},
        regularization={"ids": 1e22, "messages": 0.1, "biases": 0.0, "degree_power": -0.5},
        seed=-(2**62),
        device="cpu",
        bf16=False,
        refit=True,
        validate_every=0,
        max_steps=3,
        overwrite=True,
    )
    usual = parse()
    changed = [name for name in leaves(config) if config.value(name) != usual.value(name)]
    assert len(changed) > 25
    path = tmp_path / "config.yaml"
    path.write_text(config.yaml())
    assert read_train_config(path) == config


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["", "12", "true", "null", "a: b", "[x]", "# c", "größe", "0x1f", "2020-01-01", "'q'", "1e3", "12e4567", '"'],
)
def test_yaml_brings_strings_back_as_strings(tmp_path, name):
    config = make_config(data=Path(name), run_dir=Path(name))
    config.wandb.name = name
    path = tmp_path / "config.yaml"
    path.write_text(config.yaml(), encoding="utf-8")
    assert read_train_config(path) == config


def test_the_command_line_and_its_yaml_are_the_same(tmp_path):
    config = parse("--model.dim", "6", "--refit", "--optimizer.lr", "3e-4", "--loader.folds=7")
    path = tmp_path / "config.yaml"
    path.write_text(config.yaml())
    assert read_train_config(path) == config


def test_a_run_directory_without_configuration_is_named(tmp_path):
    with pytest.raises(UserError, match="config.yaml is missing: .* is not a run directory"):
        read_train_config(tmp_path / "config.yaml")


def test_a_configuration_is_checked_when_it_is_read(tmp_path):
    config = make_config()
    config.model.dim = 0
    path = tmp_path / "config.yaml"
    path.write_text(config.yaml())
    with pytest.raises(UserError, match="--model.dim 0"):
        read_train_config(path)


@pytest.mark.parametrize(
    "typed",
    [
        ["--set", "a=1", "b c=2", "--set", "d", "--resume"],
        ["--set=a=1", "--resume", "--set", "b c=2", "d"],
        ['--set=["a=1", "b c=2", "d"]', "--resume", "true"],
    ],
)
def test_words_after_a_list_option_are_its_items(typed):
    parser = Parser()
    parser.add_argument("data")
    parser.add_class_arguments(CompareOptions)
    values = parser.parse_args(["x", "--out", "y", *typed])
    assert (values.data, values.set, values.resume, values.models) == ("x", ["a=1", "b c=2", "d"], True, [])
