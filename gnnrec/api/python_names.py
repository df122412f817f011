"""Rewrites error messages of the commands for Python: ``--top 0: must be ...`` becomes ``top=0: must be ...``."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from gnnrec.errors import UserError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

#: Options without a value on the command line.
_FLAGS = ("overwrite", "refit", "wandb", "implicit", "again")
_OPTION = re.compile(r"(?<![\w-])--([a-z][\w.-]*\w)(?: (auto|all|text|[a-z-]+(?:,[a-z-]+)+|[A-Z]{2,}\b|-?\d[\d.]*\b))?")
#: An option with its value at the beginning of a message. Other words may follow the option instead of a value.
_FIRST = re.compile(r"--([a-z][\w.-]*\w) (?!(?:and|or|is|are|has|needs|must|goes|cannot)\b)")


def python_errors(**names: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Decorates a function so that its :class:`UserError` names Python arguments instead of command-line options.

    Args:
        **names: Option -> name of the argument, if they differ.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            try:
                return function(*args, **kwargs)
            except UserError as error:
                raise UserError(python_text(str(error), names)) from None

        return call

    return decorate


def python_text(text: str, names: dict[str, str]) -> str:
    """Rewrites the options in a message as Python arguments.

    Args:
        text: The message.
        names: Option -> name of the argument, if they differ.
    """

    def argument(option: str) -> str:
        name = option.replace("-", "_")
        return names.get(name, name)

    def rewrite(match: re.Match[str]) -> str:
        name, value = argument(match[1]), match[2]
        if value in ("auto", "all", "text") or (value and "," in value):
            return f'{name}="{value}"'
        if name in _FLAGS or (name == "resume" and value is None):
            return f"{name}=True" + (f" {value}" if value else "")
        return f"{name}={value or '...'}"

    first = _FIRST.match(text)
    if first and argument(first[1]) not in _FLAGS:
        return f"{argument(first[1])}={_OPTION.sub(rewrite, text[first.end() :])}"
    first_option = re.match(r"--([a-z][\w.-]*\w):", text)
    if first_option:
        return f"{argument(first_option[1])}:{_OPTION.sub(rewrite, text[first_option.end() :])}"
    return _OPTION.sub(rewrite, text)
