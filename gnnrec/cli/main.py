"""``gnnrec COMMAND`` in one process; ``torchrun -m gnnrec COMMAND`` runs a command on many ranks."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from jsonargparse import Namespace

from gnnrec._version import __version__
from gnnrec.cli import imports
from gnnrec.config.parser import Parser
from gnnrec.distributed.exit import exit_on_user_error
from gnnrec.errors import UserError
from gnnrec.utils.log import log_to_console


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
    load: Callable[[], tuple[type, imports.Runner]]
    modes: dict[str, Command] = dataclasses.field(default_factory=dict)
    several: bool = False
    config: bool = False
    options: tuple[str, ...] = ()


_OUT = ("out", "directory to make")
_DATA = ("data", "prepared dataset")
_RUN = ("run", "run directory")
_SOURCE = ("path", "run directory or export")
_EXPORT = ("directory", "the export")
_SERVED = ("path", "export, or directory of generations")


COMMANDS = {
    "prepare": Command(
        "read, check and split ratings into a prepared dataset",
        _OUT,
        imports.prepare,
        {
            "--verify": Command("check all files of a prepared dataset", _DATA, imports.verify_data),
            "--append": Command("add ratings to a prepared dataset", _DATA, imports.append, options=("--append",)),
            "--compact": Command("order the rows of a dataset that has grown anew", _DATA, imports.compact),
            "--forget-user": Command(
                "remove users and their ratings from a prepared dataset",
                _DATA,
                imports.forget_user,
                options=("--forget-user",),
            ),
        },
    ),
    "synth": Command("write a synthetic dataset shaped like MovieLens", _OUT, imports.synth),
    "plan": Command("estimate memory, traffic and time of a training run", None, imports.plan),
    "train": Command("train a model; start it with torchrun to use many ranks", None, imports.train, config=True),
    "tune": Command("search training options on validation ratings", _DATA, imports.tune),
    "compare": Command("train several models with several seeds, and print one table", _DATA, imports.compare),
    "evaluate": Command("score a run on its held-out ratings", _RUN, imports.evaluate),
    "export": Command(
        "write embeddings for all users and movies",
        _RUN,
        imports.export,
        {
            "--verify": Command(
                "check counts, checksums and ids of an export", ("directory", "the export"), imports.verify
            )
        },
    ),
    "update": Command(
        "append new ratings, go on training, and export what changed",
        ("path", "directory of generations, or a finished run to begin with"),
        imports.update,
    ),
    "publish": Command("write a finished run as a folder for the Hugging Face hub", _RUN, imports.publish),
    "recommend": Command(
        "recommend movies to one user or all users, or list similar movies", _SOURCE, imports.recommend
    ),
    "serve": Command("answer over HTTP from an export, and from the next one once it is there", _SERVED, imports.serve),
    "store": Command(
        "load an export or a delta into a vector store",
        ("export", "export or delta"),
        imports.store,
        {"--query": Command("find the best movies of a user in a vector store", None, imports.store_query)},
    ),
    "predict": Command("predict the ratings of given pairs of user and movie", _SOURCE, imports.predict),
    "report": Command(
        "write an HTML page about one run, or a comparison of several", _RUN, imports.report, several=True
    ),
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
