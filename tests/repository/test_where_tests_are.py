"""The table in CONTRIBUTING.md leads from every package to its tests."""

from __future__ import annotations

import re

import pytest

from tests.repository.project import ROOT

SECTION = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## Tests\n")[1].split("\n## ")[0]
TABLE = SECTION.split("| Module | Tests |\n|---|---|\n")[1].split("\n\n")[0].splitlines()
ROWS = [tuple(re.findall(r"`([\w./]+)`", cell) for cell in row.strip("| ").split(" | ")) for row in TABLE]


@pytest.mark.parametrize("modules, tests", ROWS, ids=lambda names: " ".join(names))
def test_what_a_row_names_exists(modules, tests):
    first, *others = modules
    for name in others:
        assert (ROOT / name).exists() or (ROOT / first / name).is_dir(), name
    assert (ROOT / first).exists()
    assert len(tests) == 1 and (ROOT / tests[0]).exists()


def test_every_package_and_every_folder_of_tests_is_in_it():
    packages = {f"gnnrec/{path.parent.name}/" for path in (ROOT / "gnnrec").glob("*/__init__.py")}
    assert packages <= {name for modules, _ in ROWS for name in modules}
    folders = {f"tests/{path.name}/" for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py"))}
    nested = {f"tests/{path.parts[-3]}/" for path in (ROOT / "tests").glob("*/*/test_*.py")}
    assert folders | nested <= {name for _, tests in ROWS for name in tests}


def test_tests_have_the_name_of_their_package():
    for modules, tests in ROWS:
        mirrored = ROOT / tests[0].replace("tests", "gnnrec", 1)
        assert not mirrored.is_dir() or tests[0].replace("tests", "gnnrec", 1) in modules
