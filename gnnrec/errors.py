"""What ends a program before its time, in words for its user."""

#: Exit code after bad input.
USER_ERROR_EXIT_CODE = 2
#: Exit code of a program that was told to stop and can go on from there: "requeue me" (EX_TEMPFAIL of sysexits.h).
STOPPED_EXIT_CODE = 75

#: Exit code of a rank that stops because another one died or stalls (EX_PROTOCOL of sysexits.h).
RANKS_LOST_EXIT_CODE = 76


class UserError(Exception):
    """Bad input, with one line that names the file, row or option and the way out.

    Programs print the line and exit with code 2, without a traceback (:func:`gnnrec.cli.main`).
    """


class Stopped(Exception):
    """The program was told to stop, by a signal or a time limit, and all ranks agreed to; the text says by what.

    Programs leave nothing half done, print one line and exit with code 75.
    """


class RanksLost(Exception):
    """Other ranks died, stall or never came; the text names them.

    Programs print it and exit at once with code 76: what is left of the process group cannot be taken down in order.
    """
