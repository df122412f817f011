"""Exit codes and last lines of programs, on one rank or many."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from gnnrec.distributed.health.monitor import abort
from gnnrec.errors import STOPPED_EXIT_CODE, USER_ERROR_EXIT_CODE, RanksLost, Stopped, UserError
from gnnrec.utils.resource_errors import describe_resource_error

#: Seconds that torchrun needs at most to end the other ranks when rank 0 has exited.
_WAIT_FOR_RANK_0 = 3.0


@contextlib.contextmanager
def exit_on_user_error(program: str) -> Iterator[None]:
    """Turns a :class:`UserError` into one line and exit code 2, and :class:`Stopped` into one line and exit code 75.

    :class:`RanksLost` becomes one line of every rank and exit code 76.

    Usually all ranks of a job have the same to say. Rank 0 says it at once; the others wait, and torchrun ends them
    meanwhile. A rank that alone is in trouble is heard after the wait.
    """
    try:
        yield
        sys.stdout.flush()
    except UserError as error:
        _exit_with(program, str(error))
    except Stopped as stopped:
        if os.environ.get("RANK", "0") == "0":
            print(f"{program}: stopped {stopped}", file=sys.stderr, flush=True)
        if os.environ.get("LOCAL_RANK", "0") == "0":
            _tell_launcher(f"{program}: stopped {stopped}")  # every node has a launcher of its own
        sys.exit(STOPPED_EXIT_CODE)
    except RanksLost as problem:
        abort(program, int(os.environ.get("RANK", "0")), str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output, such as head, has enough. What Python still holds must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        short_of = describe_resource_error(error)
        if short_of is None:
            raise
        _exit_with(program, short_of)


def _exit_with(program: str, problem: str) -> NoReturn:
    rank = int(os.environ.get("RANK", "0"))
    if rank > 0:
        time.sleep(_WAIT_FOR_RANK_0)
        program = f"{program}: rank {rank}"
    print(f"{program}: error: {problem}", file=sys.stderr, flush=True)
    sys.exit(USER_ERROR_EXIT_CODE)


def _tell_launcher(line: str) -> None:
    """Leaves a line in the file that a launch script named: torchrun does not pass exit codes on."""
    path = os.environ.get("GNNREC_STOPPED_FILE")
    if path:
        Path(path).write_text(line + "\n", encoding="utf-8")
