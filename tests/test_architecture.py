"""docs/architecture.md and its picture say what the code is."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.test_layers import PACKAGE, PACKAGES

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PICTURE = ROOT / "docs" / "images" / "architecture.svg"


def test_the_table_has_every_package_in_the_order_of_imports():
    assert re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.MULTILINE) == PACKAGES


def test_what_each_package_starts_at_is_in_it():
    for name, links in re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", DOCUMENT, re.MULTILINE):
        paths = re.findall(r"\]\(\.\./gnnrec/(\w+)/", links)
        assert paths and set(paths) == {name}


def test_the_picture_has_the_packages_and_files_and_two_schemes():
    root = ElementTree.parse(PICTURE).getroot()
    space = "{http://www.w3.org/2000/svg}"
    words = " ".join(text.text or "" for text in root.iter(f"{space}text"))
    # Baselines are part of what evaluation is shown as.
    assert [room for room in PACKAGES if room not in words] == []
    assert [place for place in ("prepared dataset", "run directory", "export") if place not in words] == []
    assert "prefers-color-scheme: dark" in PICTURE.read_text()
    blue = [group.find(f"{space}text").text for group in root.iter(f"{space}g") if group.get("class") == "room"]
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {"reporting"}
    assert {name for title in blue for name in title.split(", ")} <= packages
