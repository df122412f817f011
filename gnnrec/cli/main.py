"""``gnnrec COMMAND`` in one process; ``torchrun -m gnnrec COMMAND`` runs a command on many ranks.

The modules of a command are imported when it is called: all of them take four seconds, those of ``prepare`` less than
two.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from gnnrec._version import __version__
from gnnrec.cli import store
from gnnrec.config.parser import Parser
from gnnrec.distributed.exit import exit_on_user_error
from gnnrec.errors import UserError
from gnnrec.utils.log import log_to_console

Runner = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        help: One line, which begins with a verb.
        place: Name and help of the positional path, or None.
        load: Imports the command; returns its options' dataclass and a function of the path, if any, and the options.
        modes: Option -> the command that it turns this one into; if it is one of that command's options, it stays.
        several: The command takes one path or more, and its function a list.
        config: Options may also be in a YAML file.
        options: Options that turn another command into this one and have values.
    """

    help: str
    place: tuple[str, str] | None
    load: Callable[[], tuple[type, Runner]]
    modes: dict[str, Command] = dataclasses.field(default_factory=dict)
    several: bool = False
    config: bool = False
    options: tuple[str, ...] = ()


_OUT = ("out", "directory to make")
_DATA = ("data", "prepared dataset")
_RUN = ("run", "run directory")
_SOURCE = ("path", "run directory or export")
_SERVED = ("path", "export, or directory of generations")


def _prepare() -> tuple[type, Runner]:
    from gnnrec.data.prepare import PrepareOptions, prepare

    return PrepareOptions, prepare


def _synth() -> tuple[type, Runner]:
    from gnnrec.data.synth import SynthOptions, synth

    return SynthOptions, synth


def _train() -> tuple[type, Runner]:
    from gnnrec.config.train_config import TrainConfig
    from gnnrec.training.run import train

    start = _on_ranks(train)

    def call(config: TrainConfig) -> None:
        config.check()
        start(config)

    return TrainConfig, call


def _tune() -> tuple[type, Runner]:
    from gnnrec.tools.tuning.tune import TuneOptions, tune

    return TuneOptions, _on_ranks(tune)


def _compare() -> tuple[type, Runner]:
    from gnnrec.distributed import process_group
    from gnnrec.tools.comparison.compare import CompareOptions, compare

    def call(data: Path, options: CompareOptions) -> None:
        # Every fit runs in processes of its own, and these ranks only wait for them.
        with process_group.process_group("cpu") as world:
            compare(data, options, world)

    return CompareOptions, call


def _evaluate() -> tuple[type, Runner]:
    from gnnrec.inference.evaluate import EvaluateOptions, evaluate

    return EvaluateOptions, _on_ranks(evaluate)


def _export() -> tuple[type, Runner]:
    from gnnrec.inference.export import ExportOptions, export

    return ExportOptions, _on_ranks(export)


def _verify_data() -> tuple[type, Runner]:
    from gnnrec.data.verify import VerifyDataOptions, verify_data

    return VerifyDataOptions, verify_data


def _append() -> tuple[type, Runner]:
    from gnnrec.data.growth.append import append
    from gnnrec.data.growth.append_options import AppendOptions

    return AppendOptions, append


def _compact() -> tuple[type, Runner]:
    from gnnrec.data.growth.compact import CompactOptions, compact

    return CompactOptions, compact


def _forget_user() -> tuple[type, Runner]:
    from gnnrec.data.growth.forget import ForgetOptions, forget_users

    return ForgetOptions, forget_users


def _verify() -> tuple[type, Runner]:
    from gnnrec.inference.export_verify import VerifyOptions, verify

    return VerifyOptions, verify


def _update() -> tuple[type, Runner]:
    from gnnrec.tools.updating.options import UpdateOptions
    from gnnrec.tools.updating.update import update

    return UpdateOptions, _on_ranks(update)


def _publish() -> tuple[type, Runner]:
    from gnnrec.tools.publishing.publish import PublishOptions, publish

    return PublishOptions, publish


def _recommend() -> tuple[type, Runner]:
    from gnnrec.inference.recommend import RecommendOptions, run_recommend

    return RecommendOptions, run_recommend


def _serve() -> tuple[type, Runner]:
    from gnnrec.serving.serve import ServeOptions, serve

    return ServeOptions, serve


def _predict() -> tuple[type, Runner]:
    from gnnrec.inference.predict import run_predict
    from gnnrec.inference.predict_options import PredictOptions

    return PredictOptions, run_predict


def _report() -> tuple[type, Runner]:
    from gnnrec.reporting.report import ReportOptions, run_report

    return ReportOptions, run_report


def _plan() -> tuple[type, Runner]:
    from gnnrec.tools.planning.options import PlanOptions
    from gnnrec.tools.planning.plan import plan

    return PlanOptions, plan


def _on_ranks(function: Callable[..., Any]) -> Runner:
    """Adds starting and stopping the ranks to a function of a path, if any, options and world."""

    def call(*arguments: Any) -> None:
        from gnnrec.distributed import process_group

        process_group.share_cores()
        with process_group.process_group(arguments[-1].device) as world:
            function(*arguments, world)

    return call


COMMANDS = {
    "prepare": Command(
        "read, check and split ratings into a prepared dataset",
        _OUT,
        _prepare,
        {
            "--verify": Command("check all files of a prepared dataset", _DATA, _verify_data),
            "--append": Command("add ratings to a prepared dataset", _DATA, _append, options=("--append",)),
            "--compact": Command("order the rows of a dataset that has grown anew", _DATA, _compact),
            "--forget-user": Command(
                "remove users and their ratings from a prepared dataset",
                _DATA,
                _forget_user,
                options=("--forget-user",),
            ),
        },
    ),
    "synth": Command("write a synthetic dataset shaped like MovieLens", _OUT, _synth),
    "plan": Command("estimate memory, traffic and time of a training run", None, _plan),
    "train": Command("train a model; start it with torchrun to use many ranks", None, _train, config=True),
    "tune": Command("search training options on validation ratings", _DATA, _tune),
    "compare": Command("train several models with several seeds, and print one table", _DATA, _compare),
    "evaluate": Command("score a run on its held-out ratings", _RUN, _evaluate),
    "export": Command(
        "write embeddings for all users and movies",
        _RUN,
        _export,
        {"--verify": Command("check counts, checksums and ids of an export", ("directory", "the export"), _verify)},
    ),
    "update": Command(
        "append new ratings, go on training, and export what changed",
        ("path", "directory of generations, or a finished run to begin with"),
        _update,
    ),
    "publish": Command("write a finished run as a folder for the Hugging Face hub", _RUN, _publish),
    "recommend": Command("recommend movies to one user or all users, or list similar movies", _SOURCE, _recommend),
    "serve": Command("answer over HTTP from an export, and from the next one once it is there", _SERVED, _serve),
    "store": Command(
        "load an export or a delta into a vector store",
        ("export", "export or delta"),
        store.load_command,
        {"--query": Command("find the best movies of a user in a vector store", None, store.query_command)},
    ),
    "predict": Command("predict the ratings of given pairs of user and movie", _SOURCE, _predict),
    "report": Command("write an HTML page about one run, or a comparison of several", _RUN, _report, several=True),
}


def command_parser(name: str, command: Command) -> Parser:
    """The command line of a command."""
    modes = [
        f"gnnrec {name} {option}{f' {mode.place[0].upper()}' if mode.place else ''}: {mode.help}."
        for option, mode in command.modes.items()
    ]
    description = command.help[0].upper() + command.help[1:] + "."
    parser = Parser(prog=f"gnnrec {name}", description=description, epilog=" ".join(modes) or None)
    if command.place is not None:
        parser.add_argument(command.place[0], type=Path, help=command.place[1], nargs="+" if command.several else None)
    if command.config:
        parser.add_config_argument()
    parser.add_class_arguments(command.load()[0])
    return parser


def find_command(arguments: list[str]) -> tuple[str, Command, list[str]]:
    """The name of the command that arguments begin with, the command, and its own arguments.

    Raises:
        UserError: No such command.
    """
    name, *remaining = arguments
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"{name} is not a command{meant}: choose one of {', '.join(COMMANDS)}")
    for option, mode in COMMANDS[name].modes.items():
        words: list[str] = []
        for word in remaining:
            words += word.split("=", 1) if word.startswith(f"{option}=") else [word]
        if option in words:
            if option not in mode.options:
                words.remove(option)
            return f"{name} {option}", mode, words
    return name, COMMANDS[name], remaining


def run_command(arguments: list[str]) -> None:
    """Runs ``gnnrec`` with these arguments.

    Raises:
        UserError: Bad input.
    """
    log_to_console()
    usage = "\n".join(f"  {name:10} {command.help}" for name, command in COMMANDS.items())
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: gnnrec COMMAND ...\n\n{usage}\n\ngnnrec COMMAND --help explains its options.")
        return
    if arguments[0] == "--version":
        print(f"gnnrec {__version__}")
        return
    name, command, remaining = find_command(arguments)
    options, run = command.load()
    parser = command_parser(name, command)
    values: Namespace = parser.instantiate(parser.parse_args(remaining))
    fields = [field.name for field in dataclasses.fields(options)]
    place = [] if command.place is None else [values[command.place[0]]]
    run(*place, options(**{field: values[field] for field in fields}))


def main() -> None:
    """The console script."""
    with exit_on_user_error("gnnrec"):
        run_command(sys.argv[1:])
