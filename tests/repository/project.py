"""The repository's own files, for tests about it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]


def requirements() -> list[Requirement]:
    """Requirements of the build, of the package and of all extras."""
    lists = [PYPROJECT["build-system"]["requires"], PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [Requirement(text) for each in lists for text in each]


def constraints() -> dict[str, str]:
    """Canonical package name -> its exact version in launch/constraints.txt."""
    text = (ROOT / "launch" / "constraints.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==([\w.+]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}
