"""Options as YAML, as dotted names, and as the words of a command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml


def flat(options: dict[str, Any], section: str = "") -> dict[str, Any]:
    """Dotted option name -> value; a dictionary is a section."""
    values: dict[str, Any] = {}
    for name, value in options.items():
        values |= flat(value, f"{section}{name}.") if isinstance(value, dict) else {section + name: value}
    return values


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
            return {name: quoted(item) for name, item in value.items()}
        return _Quoted(value) if isinstance(value, str) else value

    return yaml.dump(quoted(options), Dumper=_Dumper, sort_keys=False)


class _Quoted(str):
    """A string that is written between quotes."""


class _Dumper(yaml.SafeDumper):
    """Knows :class:`_Quoted`."""


_Dumper.add_representer(_Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
