"""``gnnrec COMMAND``: everything but training. ``torchrun -m gnnrec COMMAND`` runs a command on many ranks.

A command's modules are imported when it is called: all of them take four seconds, those of ``prepare`` less than two.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from gnnrec.config.parser import Parser
from gnnrec.distributed.exit import exit_on_user_error
from gnnrec.errors import UserError

Runner = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        help: One line.
        place: Name and help of the positional path; None where there is none.
        load: Imports it, and returns its options' dataclass and a function of the path, if any, and the options.
        modes: Option -> what the command is with it instead.
        several: Takes one path or more: the function is given a list.
    """

    help: str
    place: tuple[str, str] | None
    load: Callable[[], tuple[type, Runner]]
    modes: dict[str, Command] = dataclasses.field(default_factory=dict)
    several: bool = False


_OUT = ("out", "directory to make")
_DATA = ("data", "prepared dataset")
_RUN = ("run", "run directory of train_dist.py")
_SOURCE = ("path", "run directory of train_dist.py, or export")


def _prepare() -> tuple[type, Runner]:
    from gnnrec.data.prepare import PrepareOptions, prepare

    return PrepareOptions, prepare


def _synth() -> tuple[type, Runner]:
    from gnnrec.data.synth import SynthOptions, synth

    return SynthOptions, synth


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


def _verify() -> tuple[type, Runner]:
    from gnnrec.inference.export_verify import VerifyOptions, verify

    return VerifyOptions, verify


def _recommend() -> tuple[type, Runner]:
    from gnnrec.inference.recommend import RecommendOptions, run_recommend

    return RecommendOptions, run_recommend


def _report() -> tuple[type, Runner]:
    from gnnrec.reporting.report import ReportOptions, run_report

    return ReportOptions, run_report


def _plan() -> tuple[type, Runner]:
    from gnnrec.tools.planning.options import PlanOptions
    from gnnrec.tools.planning.plan import plan

    return PlanOptions, plan


def _on_ranks(function: Callable[..., Any]) -> Runner:
    """From a function of path, options and world to one that starts and stops the ranks."""

    def call(path: Path, options: Any) -> None:
        from gnnrec.distributed import process_group

        process_group.share_cores()
        with process_group.process_group(options.device) as world:
            function(path, options, world)

    return call


COMMANDS = {
    "prepare": Command("from a ratings file to a prepared dataset", _OUT, _prepare),
    "synth": Command("write a MovieLens-shaped synthetic dataset", _OUT, _synth),
    "tune": Command("search options of training on validation ratings", _DATA, _tune),
    "compare": Command("train several models, several seeds, and print one table", _DATA, _compare),
    "evaluate": Command("score a run on its held-out ratings", _RUN, _evaluate),
    "export": Command(
        "write embeddings of all users and movies",
        _RUN,
        _export,
        {"--verify": Command("check counts, checksums and ids of an export", ("directory", "the export"), _verify)},
    ),
    "recommend": Command("movies for one user or all of them, or like another movie", _SOURCE, _recommend),
    "plan": Command("memory, traffic and time of a training run, before there is one", None, _plan),
    "report": Command("an HTML page about one run, or a comparison of several", _RUN, _report, several=True),
}


def _parser(name: str, command: Command) -> Parser:
    modes = [
        f"gnnrec {name} {mode}{f' {each.place[0].upper()}' if each.place else ''}: {each.help}."
        for mode, each in command.modes.items()
    ]
    description = command.help[0].upper() + command.help[1:] + "."
    parser = Parser(prog=f"gnnrec {name}", description=description, epilog=" ".join(modes) or None)
    if command.place is not None:
        parser.add_argument(command.place[0], type=Path, help=command.place[1], nargs="+" if command.several else None)
    parser.add_class_arguments(command.load()[0])
    return parser


def find_command(arguments: list[str]) -> tuple[str, Command, list[str]]:
    """The command that arguments begin with, its name, and its own arguments.

    Raises:
        UserError: No such command.
    """
    name, *rest = arguments
    if name not in COMMANDS:
        raise UserError(f"{name} is not a command: choose one of {', '.join(COMMANDS)}")
    for option, mode in COMMANDS[name].modes.items():
        words = [word for each in rest for word in (each.split("=", 1) if each.startswith(f"{option}=") else [each])]
        if option in words:
            words.remove(option)
            return f"{name} {option}", mode, words
    return name, COMMANDS[name], rest


def run_command(arguments: list[str]) -> None:
    """Runs ``gnnrec`` with these arguments.

    Raises:
        UserError: Bad input.
    """
    usage = "\n".join(f"  {name:10} {command.help}" for name, command in COMMANDS.items())
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: gnnrec COMMAND ...\n\n{usage}\n\ngnnrec COMMAND --help explains its options.")
        return
    name, command, rest = find_command(arguments)
    options, run = command.load()
    parser = _parser(name, command)
    values: Namespace = parser.instantiate(parser.parse_args(rest))
    fields = [field.name for field in dataclasses.fields(options)]
    place = [] if command.place is None else [values[command.place[0]]]
    run(*place, options(**{field: values[field] for field in fields}))


def main() -> None:
    """The console script."""
    with exit_on_user_error("gnnrec"):
        run_command(sys.argv[1:])
