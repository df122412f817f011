"""Every option of training: a YAML file, overridden from the command line.

Each part owns its options; this file puts them together.
"""

from __future__ import annotations

import dataclasses
import re
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from gnnrec._version import __version__
from gnnrec.config.parser import Parser, UnknownOption, choose
from gnnrec.config.serialize import yaml_text
from gnnrec.config.training_options import (
    CONTINUED_DEFAULTS,
    RATING_DEFAULTS,
    CheckpointOptions,
    MlflowOptions,
    OptimizerOptions,
    RegularizationOptions,
    WandbOptions,
)
from gnnrec.data.prepared import Refit
from gnnrec.errors import UserError
from gnnrec.graph.options import LoaderOptions
from gnnrec.models.interest_options import InterestOptions
from gnnrec.models.layer_file import check_form, is_layer_file
from gnnrec.models.layers import architectures
from gnnrec.models.options import ModelOptions
from gnnrec.models.order_options import OrderOptions
from gnnrec.models.ranking_options import RankingOptions
from gnnrec.utils.bounds import bounded, check_bounds


@dataclasses.dataclass
class TrainConfig:
    """One training run.

    Args:
        data: Prepared dataset, a directory made by gnnrec prepare.
        run_dir: Run directory to make, for configuration, metrics, checkpoints and summary.
        objective: Task: rating (predict ratings), ranking (find the movies that users like), or auto: ranking for logs
            without ratings, for equal ratings and for data prepared for ranking, else rating.
        model: The rating model.
        loader: Division of an epoch of the rating model into steps.
        interest: Lists of the rating model: interest is fitted after training.
        order: Order of likes in rankings, fitted after training.
        ranking: The ranking model, its start and its loss.
        optimizer: The optimizer and its schedule.
        regularization: L2 of the rating model.
        checkpoint: Times at which the run is saved.
        wandb: Weights & Biases.
        mlflow: MLflow.
        tensorboard: Write event files for TensorBoard into the run directory.
        seed: Seed of initial values, folds, shuffles, samples and dropout.
        device: Device of every rank; auto is CUDA if available, else the CPU.
        user_rows: Place of the user rows of the rating model and their optimizer state: device, host (memory of the
            host; rows are fetched for each step) or file (memory-mapped files in the run directory, which the system
            can page out). With host and file, steps over some of the users update only the rows in their batch.
        bf16: Autocast matrix products of the rating model to bfloat16 on GPUs.
        wire: Type in which ranks exchange sums of messages and gradients: float32, or bf16 for half the bytes
            (rounded to 8 bits, as are sums over years; closed-form biases are not).
        refit: Train on more than the training ratings, once all choices are made: true adds the validation ratings, and
            nothing is validated; all takes every rating, test included, so the run has no test metrics.
        validate_every: Epochs between validations.
        baselines: Fit simple models on the same split for the summary: global mean, biases and biased MF for ratings,
            popularity, item-kNN and EASE for rankings and lists.
        log_every: Steps between records of the training loss.
        max_steps: Steps after which the run ends.
        max_minutes: Minutes after which the run is saved and stops, to be resumed.
        resume: Start from a checkpoint of the run directory: never (a directory with a run is refused), auto (resume
            from the newest intact checkpoint, or start if there is none), or a name such as step-0000000120.
        init_from: Run directory of a rating run, or a folder of gnnrec publish, to continue from, whose dataset may
            have been smaller: its weights and optimizer state by raw id, with a short schedule.
        profile: Steps to profile after the first three, into a Chrome trace and a table for each rank in the run
            directory.
        overwrite: Replace the run directory if it exists.
    """

    data: Path
    run_dir: Path
    objective: Literal["auto", "rating", "ranking"] = "auto"
    model: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    loader: LoaderOptions = dataclasses.field(default_factory=LoaderOptions)
    optimizer: OptimizerOptions = dataclasses.field(default_factory=OptimizerOptions)
    regularization: RegularizationOptions = dataclasses.field(default_factory=RegularizationOptions)
    ranking: RankingOptions = dataclasses.field(default_factory=RankingOptions)
    interest: InterestOptions = dataclasses.field(default_factory=InterestOptions)
    order: OrderOptions = dataclasses.field(default_factory=OrderOptions)
    checkpoint: CheckpointOptions = dataclasses.field(default_factory=CheckpointOptions)
    wandb: WandbOptions = dataclasses.field(default_factory=WandbOptions)
    mlflow: MlflowOptions = dataclasses.field(default_factory=MlflowOptions)
    tensorboard: bool = False
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    user_rows: Literal["device", "host", "file"] = "device"
    bf16: bool = True
    wire: Literal["float32", "bf16"] = "float32"
    refit: Refit = False
    validate_every: int = bounded(1, least=0, meaning="after the last epoch only")
    baselines: bool = True
    log_every: int = bounded(10, least=1)
    max_steps: int = bounded(0, least=0, meaning="no limit")
    max_minutes: float = bounded(0.0, least=0, meaning="no limit")
    resume: str = "never"
    init_from: Path | None = None
    profile: int = bounded(0, least=0, meaning="none")
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.objective == "rating":
            self.optimizer = self.optimizer.filled(CONTINUED_DEFAULTS if self.init_from else RATING_DEFAULTS)

    def check(self) -> None:
        """Refuses values that cannot work.

        Raises:
            UserError: Names the option and what it may be.
        """
        check_bounds(self)
        if self.ranking.num_factors > self.ranking.dim:
            raise UserError(
                f"--ranking.num-factors {self.ranking.num_factors}: must be 0 (chosen on validation) to --ranking.dim "
                f"{self.ranking.dim}"
            )
        known = architectures()
        if is_layer_file(self.model.architecture):
            check_form(self.model.architecture)
        elif self.model.architecture not in known:
            raise UserError(
                f"--model.architecture {self.model.architecture}: {choose(known, self.model.architecture)}, or write "
                "FILE.py:NAME for a layer of your own"
            )
        if self.optimizer.patience and (self.refit or not self.validate_every):
            cause = f"--refit {str(self.refit).lower()}" if self.refit else "--validate-every 0"
            raise UserError(
                f"--optimizer.patience {self.optimizer.patience} counts validations, and {cause} has none to count: "
                "leave one of them out"
            )
        if self.overwrite and self.resume != "never":
            raise UserError(f"--overwrite starts again and --resume {self.resume} continues: give one of them")
        if self.model.architecture == "gat" and self.model.concat and self.model.dim % self.model.heads:
            raise UserError(
                f"--model.dim {self.model.dim} cannot be divided among --model.heads {self.model.heads}: "
                "choose a multiple, or --model.concat false"
            )

        if self.model.architecture == "gat" and self.model.message_tables == "bf16":
            raise UserError(
                "--model.message-tables bf16 is for sums with fixed weights, which --model.architecture gat does "
                "not have: choose gcn or sage, or leave it out"
            )

    def value(self, name: str) -> Any:
        """The value of a dotted option name."""
        return attrgetter(name)(self)

    def as_dict(self) -> dict:
        """Nested dictionary of plain values."""
        return {
            name: str(value) if isinstance(value, Path) else value for name, value in dataclasses.asdict(self).items()
        }

    def yaml(self) -> str:
        """The resolved configuration as YAML; :func:`read_train_config` reads it back."""
        return yaml_text(self.as_dict())


def train_parser() -> Parser:
    """The command line of ``train_dist.py``, which has the options of ``gnnrec train``."""
    parser = Parser(prog="train_dist.py", description="Train a GNN recommender; start it with torchrun.")
    parser.add_config_argument()
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
        raise UserError(f"{path} is missing: {path.parent} is not a run directory")
    try:
        return parse_train_config([f"--config={path}"])
    except UnknownOption as error:
        raise UserError(
            f"{path} was written by another version of gnnrec: this one ({__version__}) has no option {error.name}; "
            "use that version for the run, or train it again"
        ) from None
