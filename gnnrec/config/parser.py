"""The parser behind every program: jsonargparse, with one line that names what is wrong and what would be right."""

from __future__ import annotations

import difflib
import json
import re
from argparse import Action
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

from gnnrec.config.help import HelpFormatter, alternatives, metavar
from gnnrec.config.names import SPELLINGS, aliased, aliases_of, suggestion
from gnnrec.config.serialize import yaml_text
from gnnrec.errors import UserError
from gnnrec.utils.bounds import bounds_of
from gnnrec.utils.option_names import dashed

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text (in a file, between quotes)"}


class UnknownOption(UserError):
    """A configuration file has an option that the program has not.

    Attributes:
        name: The option, dotted.
    """

    def __init__(self, message: str, name: str):
        super().__init__(message)
        self.name = name


class Parser(ArgumentParser):
    """Raises a :class:`UserError` of one line, and suggests a valid name for an unknown option."""

    def __init__(self, *args: Any, **kwargs: Any):
        usual: dict[str, Any] = {"allow_abbrev": False, "formatter_class": HelpFormatter}
        super().__init__(*args, **usual | kwargs)

    def add_class_arguments(self, theclass: type, *args: Any, **kwargs: Any) -> Any:
        """Adds an option for each field of a dataclass, under names with dashes."""
        added = super().add_class_arguments(theclass, *args, **kwargs)
        bounds = dict(bounds_of(theclass))
        for action in self._actions:
            hint = getattr(action, "_typehint", None)
            if isinstance(action, ActionConfigFile) or action.metavar == "CONFIG":
                action.metavar = "FILE"
            elif action.option_strings and hint is not None:
                action.metavar = metavar(hint)
                action.__dict__["bound"] = bounds.get(action.dest, getattr(action, "bound", None))
        self._use_dashes()
        return added

    def add_config_argument(self) -> None:
        """Adds ``--config FILE`` and ``--print-config``."""
        self.add_argument("--config", action=ActionConfigFile, help="YAML file with any of the options below.")

    def _use_dashes(self) -> None:
        """Renames ``--run_dir`` to ``--run-dir``, and notes short names for the help."""
        for action in self._actions:
            for name in action.option_strings:
                self._option_string_actions[name.replace("_", "-")] = self._option_string_actions.pop(name)
            action.option_strings = [name.replace("_", "-") for name in action.option_strings]
        for action in self._actions:
            action.__dict__["aliases"] = [dashed(name) for name in aliases_of(action.dest, self.names())]

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        line = " ".join(message.split())
        wrong = re.match(r'Parser key "([\w.]+)": .*?(?:Got|Given) value: (.*)$', line)
        action = self.option(wrong[1]) if wrong else None
        if wrong and action is not None:
            raise UserError(f"{dashed(wrong[1])} {wrong[2]}: {_wanted(getattr(action, '_typehint', None), wrong[2])}")
        section = re.match(r'Parser key "([\w.]+)": Unable to load config [\'"](.*?)[\'"]', line)
        if section:
            example = dashed(next(name for name in self.names() if name.startswith(f"{section[1]}.")))
            raise UserError(f"--{section[1]} {section[2]}: set one of its options, such as {example}, or name a file")
        lacking = re.match(r"argument (--[\w.-]+).*: expected one argument", line)
        if lacking:
            raise UserError(f"{lacking[1]} needs a value")
        required = re.match(r"the following arguments are required: (.+)$", line)
        if required:
            names = [dashed(name) if name in self.names() else name.upper() for name in required[1].split(", ")]
            raise UserError(f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing: see --help")
        raise UserError(line)

    # argparse has overloads for namespaces of the caller, which no program here passes.
    def parse_args(self, args: Sequence[str] | None = None, **kwargs: Any) -> Namespace:  # type: ignore[override]
        words = normalize(self, list(args)) if args is not None else None
        if words and isinstance(self.option("config"), ActionConfigFile):
            words = list(self._sound_files(words))
        return super().parse_args(words, **kwargs)

    def dump(self, cfg: Namespace, **kwargs: Any) -> str:
        """Options as YAML that is read back as they are."""
        return yaml_text(json.loads(super().dump(cfg, **kwargs | {"format": "json"})))

    def option(self, name: str) -> Action | None:
        """The option of a dotted name, or the positional argument."""
        return next((action for action in self._actions if action.dest == name), None)

    def names(self) -> list[str]:
        """Dotted names of all options, with underscores."""
        return [action.dest for action in self._actions if action.option_strings]

    def _sound_files(self, words: list[str]) -> Iterator[str]:
        """The words without empty configuration files.

        Raises:
            UserError: A file that is not a configuration.
        """
        remaining = iter(words)
        for word in remaining:
            path = word.removeprefix("--config=") if word.startswith("--config=") else None
            if word == "--config":
                path = next(remaining, None)
            if path is None:
                yield word
                continue
            content = self._read_file(Path(path))
            if content:
                yield f"--config={path if content == us_keys(content) else yaml_text(us_keys(content))}"

    def _read_file(self, path: Path) -> dict:
        """The contents of a configuration file, checked; a :class:`UserError` where it is none."""
        if not path.is_file():
            raise UserError(f"--config {path}: there is no such file")
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            mark = getattr(error, "problem_mark", None)
            place = f" line {mark.line + 1}" if mark else ""
            reason = getattr(error, "problem", None) or getattr(error, "strerror", None) or error
            raise UserError(f"--config {path}{place}: is not YAML ({reason}): correct it") from None
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise UserError(f"--config {path}: must have lines such as 'seed: 1', not {_short(content)}")
        if {"method", "parameters"} <= content.keys():  # the keys that every sweep has
            raise UserError(f"--config {path}: is a W&B sweep, not a configuration: start it with wandb sweep {path}")
        self._check_section(path, us_keys(content), "")
        return content

    def _check_section(self, path: Path, content: dict, section: str) -> None:
        known = self.names()
        for key, value in content.items():
            name = f"{section}{key}"
            if name not in known:
                meant = suggestion(name, known, typed=False)
                raise UnknownOption(f"--config {path}: {name} is not an option{meant}", name)
            has_options = any(other.startswith(f"{name}.") for other in known)
            if isinstance(value, dict) and has_options:
                self._check_section(path, value, f"{name}.")
            elif has_options:
                raise UserError(f"--config {path}: {name} has options of its own, and cannot be {_short(value)}")
            elif value is None and not self._may_be_null(name):
                raise UserError(f"--config {path}: {name} has no value: write one, or leave the line out")

    def _may_be_null(self, name: str) -> bool:
        """Whether an option without a value, ``seed: null``, is one; a required one may be on the command line."""
        option = self.option(name)
        return getattr(option, "required", False) or type(None) in get_args(getattr(option, "_typehint", None))


def us_keys(content: Any) -> Any:
    """A configuration with its keys in the spelling of the options: ``regularisation`` is ``regularization``."""
    if not isinstance(content, dict):
        return content
    return {SPELLINGS.get(key, key): us_keys(value) for key, value in content.items()}


def normalize(parser: Parser, args: list[str]) -> list[str]:
    """Converts a command line to the form that argparse accepts.

    Underscores in names become dashes, short names (:mod:`gnnrec.config.names`) the options that they set, a bare
    ``--flag`` becomes ``--flag=true``, and an option that takes a list takes all words up to the next option and may
    be repeated: ``--set a=1 b=2 --set c=3``.

    Raises:
        UserError: An unknown option; it names the one that was probably meant.
    """
    known = parser.names()
    hints = {name: getattr(parser.option(name), "_typehint", None) for name in known}
    result: list[str] = []
    lists: dict[str, list[str]] = {}
    taking: str | None = None
    value_taken = False
    for position, arg in enumerate(args):
        if value_taken:
            value_taken = False
            continue
        if not arg.startswith("--") or arg == "--":
            lists[taking].append(arg) if taking else result.append(arg)
            continue
        typed, equals, value = arg.partition("=")
        options = aliased(typed[2:], known)
        if not options:
            raise UserError(f"{typed} is not an option{suggestion(typed[2:], known)}")
        taking = options[0] if hints[options[0]] in (list[str], list[int]) else None
        if taking:
            words = json.loads(value) if value.startswith("[") else [value]
            lists.setdefault(taking, []).extend(words if equals else [])
            continue
        following = args[position + 1] if position + 1 < len(args) else "--"
        if bool in alternatives(hints[options[0]]) and not equals and following.startswith("-"):
            equals, value = "=", "true"
        if options == ["print_config"]:  # its flags are optional
            equals = "="
        if len(options) > 1 and not equals:
            if following.startswith("--"):
                raise UserError(f"{typed} needs a value")
            equals, value, value_taken = "=", following, True
        result += [dashed(option) + equals + value for option in options]
    for name, words in lists.items():
        values = [_integer(word) for word in words] if hints[name] == list[int] else words
        result.append(f"{dashed(name)}={json.dumps(values)}")
    return result


def _integer(word: str) -> int | str:
    """The number that a word is, or the word."""
    return int(word) if re.fullmatch(r"-?[0-9]+", str(word)) else word


def choose(choices: list[str], value: str) -> str:
    """Lists the choices of an option, and suggests the one most like the value."""
    near = difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
    return f"choose {_either(choices)}" + (f" (did you mean {near[0]}?)" if near else "")


def _either(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _wanted(kind: Any, value: str) -> str:
    """Describes the values that an option takes."""
    first, *others = alternatives(kind)
    if first is bool and others:
        return "must be " + _either(["true", "false", *(str(word) for other in others for word in get_args(other))])
    if get_origin(first) is Literal:
        return choose([str(choice) for choice in get_args(first)], value)
    return f"must be {_KINDS.get(first, getattr(first, '__name__', str(first)))}"


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) < 40 else f"{text[:37]}..."
