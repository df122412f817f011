"""Exceptions that end a program with a message for its user, and the exit codes they lead to."""

#: Exit code after bad input.
USER_ERROR_EXIT_CODE = 2
#: Exit code of a program that stopped on request and can be resumed: "requeue me" (EX_TEMPFAIL of sysexits.h).
STOPPED_EXIT_CODE = 75

#: Exit code of a rank that stops because another one died or stalls (EX_PROTOCOL of sysexits.h).
RANKS_LOST_EXIT_CODE = 76


class UserError(Exception):
    """Bad input, with one line that names the file, row or option and the way out.

    Programs print the line and exit with code 2, without a traceback (:func:`gnnrec.cli.main`).
    """


class Stopped(Exception):
    """All ranks agreed to stop after a signal or at a time limit; the text names the cause.

    Programs leave no partial output, print one line and exit with code 75.
    """


class RanksLost(Exception):
    """Other ranks died, stalled or never joined; the text names them.

    Programs print it and exit at once with code 76: the remaining process group cannot be destroyed cleanly.
    """
