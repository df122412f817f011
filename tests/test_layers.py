"""Data flows one way: a lower room never imports a higher one, and the packages that only some need come late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gnnrec"
#: From the lowest to the highest. Training measures itself with evaluation; inference reads what training saved,
#: and a report reads everything.
ROOMS = [
    "kernels", "data", "graph", "models", "evaluation", "baselines", "training", "planning", "tuning", "comparison",
    "inference", "report", "api",
]  # fmt: skip


def imported_modules(path: Path) -> set[str]:
    """Full names, also of what may be a module or something in one."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def imported_rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported_modules(path) if name.startswith("gnnrec.")} & set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_itself_and_lower_ones(room):
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert len(files) > 1
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    for path in files:
        assert imported_rooms(path) <= allowed, path.name


def test_kernels_know_of_nothing_but_counters():
    """They work on arrays: no users of the program, no ranks, no options."""
    for path in (PACKAGE / "kernels").glob("*.py"):
        modules = {".".join(name.split(".")[:2]) for name in imported_modules(path) if name.startswith("gnnrec.")}
        assert modules <= {"gnnrec.kernels", "gnnrec.rng"}, path.name


def test_every_room_is_named_here():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ROOMS)


def test_optional_packages_are_not_imported_with_the_program():
    code = (
        "import sys, gnnrec.cli.main, gnnrec.training.run, gnnrec.baselines.ranking; "
        "[command.load() for command in gnnrec.cli.main.COMMANDS.values()]; "
        "print([m for m in sys.argv[1:] if m in sys.modules])"
    )
    optional = ["wandb", "pymetis", "implicit", "optuna", "faiss", "tensorboard", "altair", "vl_convert"]
    found = subprocess.run([sys.executable, "-c", code, *optional], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
