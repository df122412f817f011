"""Every option of training: a YAML file, overridden from the command line.

Each part owns its options; this file puts them together.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ActionConfigFile

from gnnrec.config.parser import Parser, choose, yaml_text
from gnnrec.config.training_options import (
    RATING_DEFAULTS,
    CheckpointOptions,
    OptimizerOptions,
    RegularizationOptions,
    WandbOptions,
)
from gnnrec.errors import UserError
from gnnrec.graph.options import LoaderOptions
from gnnrec.models.layers import architectures
from gnnrec.models.options import ModelOptions
from gnnrec.models.ranking_options import RankingOptions


@dataclasses.dataclass
class TrainConfig:
    """One training run.

    Args:
        data: Prepared dataset (a directory made by gnnrec prepare).
        run_dir: Run directory to make: configuration, metrics, checkpoints, summary.
        objective: What is learned: rating (predict ratings) or ranking (find the movies that users like).
        model: The rating model.
        loader: How an epoch of the rating model is cut into steps.
        ranking: The ranking model, its start and its loss.
        optimizer: The optimizer.
        regularization: Coupled L2 of the rating model.
        checkpoint: When the run is saved.
        wandb: Weights & Biases.
        tensorboard: Write event files for TensorBoard into the run directory.
        seed: Seed of initial values, folds, shuffles, draws and dropout.
        device: auto (CUDA where there is any), cpu or cuda.
        user_rows: Where user rows of the rating model and what the optimizer remembers of them are kept: device, host
            (memory of the host; rows are fetched for each step) or file (mapped files in the run directory, which the
            system can page out). StaleLayer device, steps of some users update the rows of their batch alone.
        bf16: Autocast matrix products of the rating model to bfloat16 on GPUs.
        refit: Train on train and validation together, once choices are made; nothing is then validated.
        validate_every: Epochs between validations; 0 validates after the last epoch only.
        baselines: Fit simple models on the same split for the summary: global mean, biases and biased MF for ratings,
            popularity and EASE for rankings.
        log_every: Steps between records of the training loss.
        max_steps: End the run after this many steps; 0 for no limit.
        max_minutes: Save and stop after this many minutes, to be resumed; 0 for no limit.
        resume: never (a run directory that holds a run is refused), auto (go on from the newest sound checkpoint, or
            start where there is none), or a checkpoint of the run such as step-0000000120.
        profile: Steps to profile, after the first three: a Chrome trace and a table of each rank in the run directory.
        overwrite: Replace a run directory that is there already.
    """

    data: Path
    run_dir: Path
    objective: Literal["rating", "ranking"] = "rating"
    model: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    loader: LoaderOptions = dataclasses.field(default_factory=LoaderOptions)
    optimizer: OptimizerOptions = dataclasses.field(default_factory=OptimizerOptions)
    regularization: RegularizationOptions = dataclasses.field(default_factory=RegularizationOptions)
    ranking: RankingOptions = dataclasses.field(default_factory=RankingOptions)
    checkpoint: CheckpointOptions = dataclasses.field(default_factory=CheckpointOptions)
    wandb: WandbOptions = dataclasses.field(default_factory=WandbOptions)
    tensorboard: bool = False
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    user_rows: Literal["device", "host", "file"] = "device"
    bf16: bool = True
    refit: bool = False
    validate_every: int = 1
    baselines: bool = True
    log_every: int = 10
    max_steps: int = 0
    max_minutes: float = 0.0
    resume: str = "never"
    profile: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.objective == "rating":
            self.optimizer = self.optimizer.filled(RATING_DEFAULTS)

    def check(self) -> None:
        """Refuses values that cannot work.

        Raises:
            UserError: Names the option and what it may be.
        """
        bounds = [
            ("model.dim", self.model.dim >= 1, "at least 1"),
            ("model.layers", self.model.layers >= 0, "0 or more"),
            ("model.heads", self.model.heads >= 1, "at least 1"),
            ("model.dropout", 0 <= self.model.dropout < 1, "from 0 to below 1"),
            ("model.message_dropout", 0 <= self.model.message_dropout <= 0.9, "from 0 to 0.9"),
            ("loader.folds", 2 <= self.loader.folds <= 256, "2 to 256"),
            ("loader.seed_users", self.loader.seed_users >= 0, "0 (all) or more"),
            ("loader.movies_per_user", self.loader.movies_per_user >= -1, "-1 (all) or more"),
            ("loader.raters_per_movie", self.loader.raters_per_movie >= -1, "-1 (all) or more"),
            ("model.head_dim", self.model.head_dim >= 1, "at least 1"),
            ("model.init_std", self.model.init_std >= 0, "0 or more"),
            ("model.movie_id_init_std", self.model.movie_id_init_std >= 0, "0 or more"),
            ("optimizer.lr", self.optimizer.lr is None or self.optimizer.lr > 0, "above 0"),
            ("optimizer.beta1", 0 <= self.optimizer.beta1 < 1, "from 0 to below 1"),
            ("optimizer.beta2", 0 <= self.optimizer.beta2 < 1, "from 0 to below 1"),
            ("optimizer.eps", self.optimizer.eps >= 0, "0 (chosen by rule) or more"),
            ("optimizer.message_lr_degree", self.optimizer.message_lr_degree >= 0, "0 (never slower) or more"),
            (
                "optimizer.upper_layer_lr_scale",
                self.optimizer.upper_layer_lr_scale >= 0,
                "0 (deeper layers never learn) or more",
            ),
            ("optimizer.warmup_steps", (self.optimizer.warmup_steps or 0) >= 0, "0 or more"),
            ("optimizer.epochs", self.optimizer.epochs is None or self.optimizer.epochs >= 1, "at least 1"),
            ("regularization.ids", self.regularization.ids >= 0, "0 or more"),
            ("regularization.messages", self.regularization.messages >= 0, "0 or more"),
            ("regularization.biases", self.regularization.biases >= 0, "0 or more"),
            ("ranking.dim", self.ranking.dim >= 1, "at least 1"),
            ("ranking.closed_form_movies", self.ranking.closed_form_movies >= 0, "0 or more"),
            ("ranking.l2", self.ranking.l2 >= 0, "0 (chosen on validation) or more"),
            (
                "ranking.num_factors",
                0 <= self.ranking.num_factors <= self.ranking.dim,
                "0 (chosen on validation) to --ranking.dim",
            ),
            ("ranking.negatives", self.ranking.negatives >= 1, "at least 1"),
            ("ranking.table_l2", self.ranking.table_l2 >= 0, "0 or more"),
            ("ranking.dropout", 0 <= (self.ranking.dropout or 0) < 1, "from 0 to below 1"),
            ("ranking.users_a_step", self.ranking.users_a_step >= 0, "0 (all) or more"),
            ("validate_every", self.validate_every >= 0, "0 (after the last epoch) or more"),
            ("log_every", self.log_every >= 1, "at least 1"),
            ("max_steps", self.max_steps >= 0, "0 (no limit) or more"),
            ("max_minutes", self.max_minutes >= 0, "0 (no limit) or more"),
            ("checkpoint.every_steps", self.checkpoint.every_steps >= 0, "0 (left to the clock) or more"),
            ("checkpoint.every_minutes", self.checkpoint.every_minutes >= 0, "0 (left to the steps) or more"),
            ("checkpoint.keep", self.checkpoint.keep >= 1, "at least 1"),
            ("profile", self.profile >= 0, "0 (none) or more"),
        ]
        for name, fine, allowed in bounds:
            if not fine:
                raise UserError(f"--{name} {self.value(name)}: must be {allowed}")
        known = architectures()
        if self.model.architecture not in known:
            raise UserError(f"--model.architecture {self.model.architecture}: {choose(known, self.model.architecture)}")
        if self.overwrite and self.resume != "never":
            raise UserError(f"--overwrite begins anew and --resume {self.resume} goes on: give one of them")
        if self.model.architecture == "gat" and self.model.concat and self.model.dim % self.model.heads:
            raise UserError(
                f"--model.dim {self.model.dim} cannot be divided among --model.heads {self.model.heads}: "
                "choose a multiple, or --model.concat false"
            )

    def value(self, name: str) -> Any:
        """The value of a dotted option name."""
        found: Any = self
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def as_dict(self) -> dict:
        """Nested dictionary of plain values."""
        return {
            name: str(value) if isinstance(value, Path) else value for name, value in dataclasses.asdict(self).items()
        }

    def yaml(self) -> str:
        """The resolved configuration as YAML; :func:`read_train_config` reads it back."""
        return yaml_text(self.as_dict())


def train_parser() -> Parser:
    """The command line of ``train_dist.py``."""
    parser = Parser(prog="train_dist.py", description="Trains a GNN recommender; start it with torchrun.")
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with any of the options below.")
    parser.add_class_arguments(TrainConfig)
    return parser


def parse_train_config(args: list[str]) -> TrainConfig:
    """Configuration from command-line arguments, checked.

    Raises:
        UserError: An unknown option or a value that cannot be.
    """
    parser = train_parser()
    values = parser.instantiate(parser.parse_args(args))
    config = TrainConfig(**{field.name: values[field.name] for field in dataclasses.fields(TrainConfig)})
    config.check()
    return config


def assigned_train_config(config: Path | None, assignments: list[str], **options: Path | str | int) -> TrainConfig:
    """Configuration from a file, ``name=value`` assignments over it, and options over both.

    Raises:
        UserError: An assignment without ``=``, an unknown option or a value that cannot be.
    """
    for assignment in assignments:
        if not re.fullmatch(r"[\w.-]+=.*", assignment):
            raise UserError(f"--set {assignment}: write OPTION=VALUE, such as model.layers=2")
    arguments = [] if config is None else [f"--config={config}"]
    arguments += [f"--{assignment}" for assignment in assignments]
    return parse_train_config(arguments + [f"--{name}={value}" for name, value in options.items()])


def read_train_config(path: Path) -> TrainConfig:
    """The configuration of a run, from its ``config.yaml``."""
    if not path.exists():
        raise UserError(f"{path} is missing: {path.parent} is not a run directory of train_dist.py")
    return parse_train_config([f"--config={path}"])
