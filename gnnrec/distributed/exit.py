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
from gnnrec.utils.log import log_to_console, printable
from gnnrec.utils.resource_errors import check_memory_limit, describe_resource_error, is_out_of_memory

#: Seconds that torchrun needs at most to end the other ranks when rank 0 has exited.
_WAIT_FOR_RANK_0 = 3.0


@contextlib.contextmanager
def exit_on_user_error(program: str) -> Iterator[None]:
    """Turns a :class:`UserError` into one line and exit code 2, and :class:`Stopped` into one line and exit code 75.

    :class:`RanksLost` becomes one line of every rank and exit code 76.

    Usually all ranks of a job fail with the same error. Rank 0 prints it at once; the others wait, and torchrun ends
    them meanwhile. A rank that fails alone prints its error after the wait.
    """
    log_to_console()
    try:
        check_memory_limit()
        yield
        sys.stdout.flush()
    except UserError as error:
        _exit_with(program, str(error))
    except Stopped as stopped:
        if os.environ.get("RANK", "0") == "0":
            print(f"{program}: stopped {stopped}", file=sys.stderr, flush=True)
        if os.environ.get("LOCAL_RANK", "0") == "0":
            _write_stopped_file(f"{program}: stopped {stopped}")  # every node has its own launcher
        sys.exit(STOPPED_EXIT_CODE)
    except RanksLost as problem:
        abort(program, int(os.environ.get("RANK", "0")), str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of the output, such as head, has ended. Flushing Python's buffers must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        problem_text = describe_resource_error(error)
        if problem_text is None:
            raise
        _exit_with(program, problem_text, at_once=is_out_of_memory(error))


def _exit_with(program: str, problem: str, at_once: bool = False) -> NoReturn:
    """Prints an error and ends; ``at_once`` without the exit handlers of libraries, which would need memory."""
    rank = int(os.environ.get("RANK", "0"))
    if rank > 0:
        time.sleep(_WAIT_FOR_RANK_0)
        program = f"{program}: rank {rank}"
    print(f"{program}: error: {printable(' '.join(problem.splitlines()))}", file=sys.stderr, flush=True)
    if at_once:
        with contextlib.suppress(OSError, MemoryError):
            sys.stdout.flush()
        os._exit(USER_ERROR_EXIT_CODE)
    sys.exit(USER_ERROR_EXIT_CODE)


def _write_stopped_file(line: str) -> None:
    """Writes a line into the file that a launch script named: torchrun does not pass exit codes on."""
    path = os.environ.get("GNNREC_STOPPED_FILE")
    if path:
        Path(path).write_text(line + "\n", encoding="utf-8")
