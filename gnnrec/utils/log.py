"""Progress lines and warnings: the logger ``gnnrec``, and the handler that programs print it with.

Library code logs (:data:`logger`): progress as info, on rank 0 alone, and warnings. Output that is the result of a
command is printed. ``logging.getLogger("gnnrec").setLevel("ERROR")`` silences a notebook.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TextIO

logger = logging.getLogger("gnnrec")

#: Control characters but the tab, which a terminal obeys; separators of lines; marks that turn the direction of the
#: text after them, so that it reads as something else; and halves of characters, which cannot be printed.
_HARMFUL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Returns text of users, such as a title, as one line that no terminal obeys: ESC becomes ``\\x1b``."""
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def print_line(text: str, stream: TextIO | None = None) -> None:
    """Prints lines at once, or loses them: output on a full disk must not end the work that it reports.

    Args:
        text: The lines; what a terminal would obey in them is printed as an escape.
        stream: By default the standard output.

    Raises:
        BrokenPipeError: The reader has closed the pipe.
    """
    try:
        print("\n".join(map(printable, text.split("\n"))), file=stream or sys.stdout, flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        pass


class ConsoleHandler(logging.Handler):
    """Prints plain messages to the standard output, and warnings to the standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record.

        Raises:
            BrokenPipeError: The reader has closed the pipe.
        """
        if record.levelno >= logging.WARNING:
            print_line(f"warning: {self.format(record)}", sys.stderr)
        else:
            print_line(self.format(record))


def log_to_console(unless_configured: bool = False) -> None:
    """Prints the messages of the library from now on, at the level of the logger if one is set, else from info on.

    Args:
        unless_configured: Leave a logger that has handlers as it is.
    """
    installed = any(isinstance(handler, ConsoleHandler) for handler in logger.handlers)
    if installed or (unless_configured and logger.handlers):
        return
    logger.addHandler(ConsoleHandler())
    logger.propagate = False
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
