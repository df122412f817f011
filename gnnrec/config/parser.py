"""The parser behind every program: jsonargparse, with one line that says what is wrong and what would be right."""

from __future__ import annotations

import difflib
import json
import re
import types
from argparse import Action
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter, Namespace

from gnnrec.errors import UserError

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text (in a file, between quotes)"}


class _Help(DefaultHelpFormatter):
    """Help of options, with types as people write them."""

    def _expand_help(self, action: Action) -> str:
        text = super()._expand_help(action)
        if text == "Path to a configuration file.":
            return "YAML file with the options of this section."
        return re.sub(r"<class '(\w+)'>", r"\1", text)


class Parser(ArgumentParser):
    """Complains with a :class:`UserError` of one line, and knows the nearest valid name of a mistyped option."""

    def __init__(self, *args: Any, **kwargs: Any):
        usual: dict[str, Any] = {"allow_abbrev": False, "formatter_class": _Help}
        super().__init__(*args, **usual | kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        line = " ".join(message.split())
        wrong = re.match(r'Parser key "([\w.]+)": .*?(?:Got|Given) value: (.*)$', line)
        action = self.option(wrong[1]) if wrong else None
        if wrong and action is not None:
            raise UserError(f"--{wrong[1]} {wrong[2]}: {_wanted(getattr(action, '_typehint', None), wrong[2])}")
        section = re.match(r'Parser key "([\w.]+)": Unable to load config [\'"](.*?)[\'"]', line)
        if section:
            example = next(name for name in self.names() if name.startswith(f"{section[1]}."))
            raise UserError(f"--{section[1]} {section[2]}: set one of its options, such as --{example}, or name a file")
        lacking = re.match(r"argument (--[\w.]+).*: expected one argument", line)
        if lacking:
            raise UserError(f"{lacking[1]} needs a value")
        raise UserError(line + self._suggestion(line))

    # argparse has overloads for namespaces of the caller, which nobody uses here.
    def parse_args(self, args: Sequence[str] | None = None, **kwargs: Any) -> Namespace:  # type: ignore[override]
        words = normalise(self, list(args)) if args is not None else None
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
        """Dotted names of all options."""
        return [action.dest for action in self._actions if action.option_strings]

    def nearest(self, name: str) -> str:
        """``(did you mean NAME?)`` with the option that is most like a mistyped one; empty where none is like it."""
        known = self.names()
        by_leaf = {dest.rsplit(".", 1)[-1]: dest for dest in reversed(known)}
        near = difflib.get_close_matches(name.replace("-", "_"), [*known, *by_leaf], n=1, cutoff=0.5)
        return f" (did you mean {by_leaf.get(near[0], near[0])}?)" if near else ""

    def _suggestion(self, line: str) -> str:
        wrong = re.search(r"[Oo]ption '([\w.]+)'|unrecognized arguments: --([\w.-]+)", line)
        return self.nearest(wrong[1] or wrong[2]) if wrong else ""

    def _sound_files(self, words: list[str]) -> Iterator[str]:
        """The words without configuration files that say nothing.

        Raises:
            UserError: A file that is not a configuration.
        """
        taken = iter(words)
        for word in taken:
            path = word.removeprefix("--config=") if word.startswith("--config=") else None
            if word == "--config":
                path = next(taken, None)
            if path is None:
                yield word
            elif self._check_file(Path(path)):
                yield f"--config={path}"

    def _check_file(self, path: Path) -> bool:
        """Whether a file has any options; a :class:`UserError` where it is no configuration."""
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
            return False
        if not isinstance(content, dict):
            raise UserError(f"--config {path}: must have lines such as 'seed: 1', not {_short(content)}")
        self._check_section(path, content, "")
        return True

    def _check_section(self, path: Path, content: dict, section: str) -> None:
        known = set(self.names())
        for key, value in content.items():
            name = f"{section}{key}"
            if name not in known:
                raise UserError(f"--config {path}: {name} is not an option{self.nearest(name)}")
            has_options = any(other.startswith(f"{name}.") for other in known)
            if isinstance(value, dict) and has_options:
                self._check_section(path, value, f"{name}.")
            elif has_options:
                raise UserError(f"--config {path}: {name} has options of its own, and cannot be {_short(value)}")


def normalise(parser: ArgumentParser, args: list[str]) -> list[str]:
    """Accepts ``--some-option`` for ``--some_option``, a bare ``--flag`` for ``--flag true``, and words for lists.

    An option that takes a list takes all words up to the next option, and may be repeated: ``--set a=1 b=2 --set c=3``.
    ``--run`` is short for ``--run_dir``. It has the longer name because torchrun, on Python before 3.12, takes
    ``--run`` for its own ``--run-path`` wherever it stands.
    """
    hints = {
        option: getattr(action, "_typehint", None) for action in parser._actions for option in action.option_strings
    }
    result: list[str] = []
    lists: dict[str, list[str]] = {}
    taking: str | None = None
    for position, arg in enumerate(args):
        if not arg.startswith("--"):
            lists[taking].append(arg) if taking else result.append(arg)
            continue
        name, equals, value = arg.partition("=")
        name = "--" + name[2:].replace("-", "_") if name != "--" else name
        name = "--run_dir" if name == "--run" else name
        taking = name if hints.get(name) == list[str] else None
        if taking:
            words = json.loads(value) if value.startswith("[") else [value]
            lists.setdefault(name, []).extend(words if equals else [])
            continue
        following = args[position + 1] if position + 1 < len(args) else "--"
        if hints.get(name) is bool and not equals and following.startswith("-"):
            equals, value = "=", "true"
        result.append(name + equals + value)
    return result + [f"{name}={json.dumps(words)}" for name, words in lists.items()]


def flat(options: dict[str, Any], section: str = "") -> dict[str, Any]:
    """Dotted option name -> value; a dictionary is a section."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        found |= flat(value, f"{section}{name}.") if isinstance(value, dict) else {section + name: value}
    return found


def words_of(options: dict[str, Any]) -> list[str]:
    """Options as they are typed: ``{"model": {"dim": 8}, "refit": True}`` is ``--model.dim=8 --refit=true``.

    Args:
        options: Values by name; a dictionary is a section. None is null.
    """
    words = []
    for name, value in flat(options).items():
        text = str(value) if isinstance(value, (str, Path)) else json.dumps(value)
        words.append(f"--{name}={text}")
    return words


def yaml_text(options: dict[str, Any]) -> str:
    """Options as YAML. Strings are quoted: YAML would read a run named ``1e3`` as a number."""

    def quoted(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: quoted(each) for name, each in value.items()}
        return _Quoted(value) if isinstance(value, str) else value

    return yaml.dump(quoted(options), Dumper=_Dumper, sort_keys=False)


class _Quoted(str):
    """A string that is written between quotes."""


class _Dumper(yaml.SafeDumper):
    """Knows :class:`_Quoted`."""


_Dumper.add_representer(_Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def choose(choices: list[str], value: str) -> str:
    """What an option can be, and which of it is most like what was typed."""
    near = difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
    return f"choose {', '.join(choices[:-1])} or {choices[-1]}" + (f" (did you mean {near[0]}?)" if near else "")


def _wanted(kind: Any, value: str) -> str:
    """What an option takes, in words."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    first = next((each for each in kinds if each is not type(None)), None)
    if get_origin(first) is Literal:
        return choose([str(choice) for choice in get_args(first)], value)
    return f"must be {_KINDS.get(first, getattr(first, '__name__', str(first)))}"


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) < 40 else f"{text[:37]}..."
