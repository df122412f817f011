"""Packages form layers: none imports a higher one, modules have no import cycles, and extras are imported late."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gnnrec"
#: From the lowest to the highest. The modules below all packages come first.
MODULES = ["errors", "_version", "random_bits", "rng"]
PACKAGES = [
    "utils", "kernels", "distributed", "data", "graph", "models", "config", "evaluation", "baselines", "training",
    "inference", "stores", "reporting", "tools", "serving", "api", "cli",
]  # fmt: skip
LAYERS = [*MODULES, *PACKAGES]
#: Modules at the top: the package itself, and the programs.
PROGRAMS = ["__init__", "__main__", "export"]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported_modules(path: Path) -> set[str]:
    """Returns the modules of gnnrec that a file imports: at its top, in functions, and for annotations."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gnnrec":
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in FILES else node.module for name in full}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "gnnrec"}
    return names - {module_name(path)}


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_itself_and_lower_layers(layer):
    files = {name: path for name, path in FILES.items() if layer_of(name) == layer}
    assert files
    allowed = set(LAYERS[: LAYERS.index(layer) + 1])
    for name, path in files.items():
        assert {layer_of(module) for module in imported_modules(path)} <= allowed, name


def test_imports_have_no_cycles():
    """Imports in functions and imports for annotations count too."""
    graph = {name: imported_modules(path) & FILES.keys() for name, path in FILES.items()}
    assert sum(map(len, graph.values())) > 500
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_kernels_import_only_rng():
    """Kernels process arrays: they depend on no ranks, options or data sets."""
    for path in (PACKAGE / "kernels").glob("*.py"):
        assert {layer_of(name) for name in imported_modules(path)} <= {"kernels", "rng"}, path.name


def test_every_module_belongs_to_a_layer():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(PACKAGES)
    assert {path.stem for path in PACKAGE.glob("*.py")} == {*MODULES, *PROGRAMS}
    assert len([*MODULES, *PROGRAMS]) <= 8


def test_preparing_files_in_memory_needs_no_torch():
    """Its import takes longer than preparing most files."""
    code = "import sys, gnnrec.cli.main, gnnrec.data.prepare; print('torch' in sys.modules)"
    actual = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert actual.stdout.strip() == "False"


def test_class_names_are_unique():
    names = Counter(
        node.name
        for path in FILES.values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert len(names) > 150 and [name for name, count in names.items() if count > 1] == []


@pytest.mark.slow
def test_optional_packages_are_not_imported_with_the_program():
    code = (
        "import sys, gnnrec.cli.main, gnnrec.training.run, gnnrec.baselines.ranking; "
        "[command.load() for command in gnnrec.cli.main.COMMANDS.values()]; "
        "print([m for m in sys.argv[1:] if m in sys.modules])"
    )
    optional = ["wandb", "mlflow", "pymetis", "implicit", "optuna", "faiss", "tensorboard", "altair", "vl_convert"]
    optional += ["psycopg", "qdrant_client", "qdrant_edge", "lancedb", "pymilvus", "duckdb"]
    actual = subprocess.run([sys.executable, "-c", code, *optional], capture_output=True, text=True, check=True)
    assert actual.stdout.strip() == "[]"
