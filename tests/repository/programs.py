"""The programs of the repository, called in this process."""

from __future__ import annotations

import contextlib
import importlib
import io
import runpy
import sys
from unittest import mock

from tests.repository.project import PROJECT, ROOT


def help_text(*words: str) -> str:
    """Returns the text that a program prints for ``--help``.

    Args:
        words: ``gnnrec``, alone or with a command; ``train_dist.py``; or ``-m`` and a module.
    """
    printed = io.StringIO()
    with mock.patch.object(sys, "argv", [*words, "--help"]), contextlib.redirect_stdout(printed):
        try:
            if words[0] == "gnnrec":
                module, function = PROJECT["scripts"]["gnnrec"].split(":")
                getattr(importlib.import_module(module), function)()
            elif words[0] == "-m":
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        except SystemExit as end:
            assert not end.code, printed.getvalue()
    return printed.getvalue()
