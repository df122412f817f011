"""What ends a program before its time, in words for its user."""

#: Exit code after bad input.
USER_ERROR_EXIT_CODE = 2
#: Exit code of a program that was told to stop and can go on where it stopped: "requeue me" (EX_TEMPFAIL of sysexits.h).
STOPPED_EXIT_CODE = 75


class UserError(Exception):
    """Bad input, with one line that names the file, row or option and the way out.

    Programs print the line and exit with code 2, without a traceback (:func:`gnnrec.cli.main`).
    """


class Stopped(Exception):
    """The program was told to stop, by a signal or a time limit, and all ranks agreed to; the text says by what.

    Programs leave nothing half done, print one line and exit with code 75.
    """
