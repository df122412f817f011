"""Help of options in plain words: what they take, within which bounds, and their defaults."""

from __future__ import annotations

import types
from argparse import Action
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ActionConfigFile, DefaultHelpFormatter

from gnnrec.utils.bounds import Bound

_WORDS = {int: "whole number", float: "number", bool: "true|false", str: "text", Path: "path"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "words", Path: "paths"}
_METAVARS = {int: "N", float: "NUMBER", bool: "true|false", str: "TEXT", Path: "PATH"}


def alternatives(kind: Any) -> list[Any]:
    """The types of an option, without None."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return [kind for kind in kinds if kind is not type(None)]


def type_words(kind: Any) -> str:
    """Type of an option in words, such as "whole number" or "list of words"; empty where its choices are listed."""
    kinds = alternatives(kind)
    if any(get_origin(kind) is tuple for kind in kinds):  # a pair may also be typed as text
        kinds = [kind for kind in kinds if get_origin(kind) is tuple]
    words = []
    for kind in kinds:
        if get_origin(kind) is list:
            words.append(f"list of {_PLURALS[get_args(kind)[0]]}")
        elif get_origin(kind) is tuple:
            words.append(f"{len(get_args(kind))} {_PLURALS[get_args(kind)[0]]}")
        elif get_origin(kind) is not Literal:
            words.append(_WORDS[kind])
        elif len(kinds) > 1:  # a word that may stand instead of another value
            words.append("|".join(map(str, get_args(kind))))
    return "|".join(words) if bool in kinds else " or ".join(words)


def metavar(kind: Any) -> str | None:
    """The value of an option in the list of options: ``{cosine,constant}``, ``N``, ``PATH``."""
    first, *others = alternatives(kind)
    if first is bool and others:
        return "|".join([_METAVARS[bool], *(str(word) for other in others for word in get_args(other))])
    if get_origin(first) is Literal:
        return "{" + ",".join(map(str, get_args(first))) + "}"
    if get_origin(first) is list:
        return "N ..." if get_args(first) == (int,) else "WORD ..."
    return '"MIN MAX"' if get_origin(first) is tuple else _METAVARS[first]


class HelpFormatter(DefaultHelpFormatter):
    """Formats options as in ``Channels of embeddings. (whole number, at least 1, default: 64)``.

    The parser leaves short names and the bound of an option in its ``aliases`` and ``bound``.
    """

    def add_usage(self, usage: str | None, actions: Iterable[Action], *args: Any, **kwargs: Any) -> None:
        """Shows positional arguments and required options alone: there are up to eighty others."""
        words = [f"{self._prog}"]
        for action in actions:
            if action.option_strings and action.required:
                words.append(f"{action.option_strings[-1]} {action.metavar}")
            elif not action.option_strings:
                words.append(f"{action.dest.upper()}{' ...' if action.nargs == '+' else ''}")
        super().add_usage(usage or " ".join([*words, "[options]"]).replace("%", "%%"), actions, *args, **kwargs)

    def _format_action_invocation(self, action: Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        names = [name for name in action.option_strings if not name.endswith("+")]  # lists are given word by word
        value = "" if action.nargs == 0 else f" {action.metavar}"
        return ", ".join([*names, *getattr(action, "aliases", [])]) + value

    def start_section(self, heading: str | None) -> None:
        super().start_section(None if heading is None else heading.replace("`", ""))

    def _expand_help(self, action: Action) -> str:
        if isinstance(action, ActionConfigFile) or not hasattr(action, "_typehint"):
            if action.help == "Path to a configuration file.":
                return "YAML file with the options of this section."
            if action.option_strings and action.option_strings[0] == "-h":
                return "Show this help and exit."
            if "print_config" in action.dest:
                return "Print the configuration as YAML and exit."
            return super()._expand_help(action) if action.option_strings else action.help
        bound: Bound | None = getattr(action, "bound", None)
        facts = [type_words(action._typehint), "" if bound is None else str(bound)]
        if action.required:
            facts.append("required")
        elif "by default" not in " ".join(action.help.split()):
            facts.append(f"default: {_shown(action.default)}")
        facts = [fact for fact in facts if fact]
        return (action.help or "") + (f" ({', '.join(facts)})" if facts else "")


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (list, tuple)):
        default = " ".join(map(str, default))
    if isinstance(default, float):
        return f"{default:g}"
    return "none" if default is None or default == "" else str(default)
