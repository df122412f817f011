"""``gnnrec COMMAND``: everything but training. ``torchrun -m gnnrec COMMAND`` runs a command on many ranks."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from gnnrec import distributed
from gnnrec.comparison.compare import CompareOptions, compare
from gnnrec.config import Parser
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.synth import SynthOptions, synth
from gnnrec.errors import UserError
from gnnrec.inference.evaluate import EvaluateOptions, evaluate
from gnnrec.inference.export import ExportOptions, export
from gnnrec.inference.recommend import RecommendOptions, print_recommendations, recommend
from gnnrec.tuning.tune import TuneOptions, tune


@dataclasses.dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        help: One line.
        place: Name and help of the positional path.
        options: Its options' dataclass.
        run: Called with the path and the options.
    """

    help: str
    place: tuple[str, str]
    options: type
    run: Callable[[Path, Any], Any]


#: Seconds that torchrun needs at most to end the other ranks when rank 0 has exited.
_WAIT_FOR_RANK_0 = 3.0

_OUT = ("out", "directory to make")
_DATA = ("data", "prepared dataset")
_RUN = ("run", "run directory of train_dist.py")


def _recommend(run: Path, options: RecommendOptions) -> None:
    print_recommendations(options.user, recommend(run, options))


def _on_ranks(function: Callable[[Path, Any, distributed.World], Any]) -> Callable[[Path, Any], None]:
    def call(path: Path, options: Any) -> None:
        distributed.share_cores()
        world = distributed.start(options.device)
        try:
            function(path, options, world)
        finally:
            distributed.stop()

    return call


def _compare(data: Path, options: CompareOptions) -> None:
    # Every fit runs in processes of its own, and these ranks only wait for them.
    world = distributed.start("cpu")
    try:
        compare(data, options, world)
    finally:
        distributed.stop()


COMMANDS = {
    "prepare": Command("from a ratings file to a prepared dataset", _OUT, PrepareOptions, prepare),
    "synth": Command("write a MovieLens-shaped synthetic dataset", _OUT, SynthOptions, synth),
    "tune": Command("search options of training on validation ratings", _DATA, TuneOptions, _on_ranks(tune)),
    "compare": Command("train several models, several seeds, and print one table", _DATA, CompareOptions, _compare),
    "evaluate": Command("score a run on its held-out ratings", _RUN, EvaluateOptions, _on_ranks(evaluate)),
    "export": Command("write embeddings of all users and movies", _RUN, ExportOptions, _on_ranks(export)),
    "recommend": Command("print movies for a user", _RUN, RecommendOptions, _recommend),
}


def _parser(name: str, command: Command) -> Parser:
    parser = Parser(prog=f"gnnrec {name}", description=command.help[0].upper() + command.help[1:] + ".")
    parser.add_argument(command.place[0], type=Path, help=command.place[1])
    parser.add_class_arguments(command.options)
    return parser


def run_command(arguments: list[str]) -> None:
    """Runs ``gnnrec`` with these arguments.

    Raises:
        UserError: Bad input.
    """
    usage = "\n".join(f"  {name:10} {command.help}" for name, command in COMMANDS.items())
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: gnnrec COMMAND ...\n\n{usage}\n\ngnnrec COMMAND --help explains its options.")
        return
    name, *rest = arguments
    if name not in COMMANDS:
        raise UserError(f"{name} is not a command: choose one of {', '.join(COMMANDS)}")
    command = COMMANDS[name]
    parser = _parser(name, command)
    values: Namespace = parser.instantiate(parser.parse_args(rest))
    fields = [field.name for field in dataclasses.fields(command.options)]
    command.run(values[command.place[0]], command.options(**{field: values[field] for field in fields}))


@contextlib.contextmanager
def exit_on_user_error(program: str) -> Iterator[None]:
    """Turns a :class:`UserError` into one line and exit code 2.

    Usually all ranks of a job have the same to say. Rank 0 says it at once; the others wait, and torchrun ends them
    meanwhile. A rank that alone is in trouble is heard after the wait.
    """
    try:
        yield
        sys.stdout.flush()
    except UserError as error:
        rank = int(os.environ.get("RANK", "0"))
        if rank > 0:
            time.sleep(_WAIT_FOR_RANK_0)
            program = f"{program}: rank {rank}"
        print(f"{program}: error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output, such as head, has enough. What Python still holds must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def main() -> None:
    """The console script."""
    with exit_on_user_error("gnnrec"):
        run_command(sys.argv[1:])
