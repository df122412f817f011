"""Errors that a user can put right."""


class UserError(Exception):
    """Bad input, with one line that names the file, row or option and the way out.

    Programs print the line and exit with code 2, without a traceback (:func:`gnnrec.cli.main`).
    """
