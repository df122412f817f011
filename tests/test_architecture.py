"""docs/architecture.md and its picture match the code."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.test_layers import MODULES, PACKAGE, PACKAGES, PROGRAMS

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PICTURE = ROOT / "docs" / "images" / "architecture.svg"


def test_the_table_has_every_package_in_the_order_of_imports():
    assert re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.MULTILINE) == PACKAGES


def test_the_files_that_a_package_starts_at_are_in_it():
    for name, links in re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", DOCUMENT, re.MULTILINE):
        paths = re.findall(r"\]\(\.\./gnnrec/(\w+)/", links)
        assert paths and set(paths) == {name}


def test_the_modules_beside_the_packages_are_in_the_order_of_imports():
    section = DOCUMENT[DOCUMENT.index("| Module |") :]
    links = re.findall(r"^\| \[`(\w+)\.py`\]\(\.\./gnnrec/(\w+)\.py\) \|", section, re.MULTILINE)
    assert links == [(name, name) for name in [*MODULES, *PROGRAMS]]


def test_the_picture_has_the_packages_and_files_and_two_schemes():
    root = ElementTree.parse(PICTURE).getroot()
    space = "{http://www.w3.org/2000/svg}"
    text = " ".join(element.text or "" for element in root.iter(f"{space}text"))
    # Each package is a word of its own: "data" in "dataset" does not count.
    assert set(PACKAGES) - set(re.findall(r"\w+", text)) == set()
    assert [place for place in ("prepared dataset", "run directory", "export") if place not in text] == []
    assert "prefers-color-scheme: dark" in PICTURE.read_text()
    titles = [group.find(f"{space}text").text for group in root.iter(f"{space}g") if group.get("class") == "room"]
    assert {name for title in titles for name in title.split(", ")} <= set(PACKAGES)


def test_one_training_step_names_functions_of_the_loop():
    steps = DOCUMENT[DOCUMENT.index("## One training step") : DOCUMENT.index("## In a container")]
    loop = (PACKAGE / "training" / "loop.py").read_text(encoding="utf-8")
    calls = re.findall(r"`((?:\w+\.)?\w+\([^`]*\))`", steps)
    assert len(calls) >= 8 and [call for call in calls if call not in loop] == []
