"""The scripts about other packages follow their README. They are never run here: each one installs packages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from tests.repository.project import ROOT

FOLDER = ROOT / "findings"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
TEMPLATE = re.search(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)[1]
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.py"))} | {
    "README.md": TEMPLATE
}
SHELL_SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.sh"))}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_was_seen_and_uses_the_package_alone(name):
    tree = ast.parse(SCRIPTS[name])
    assert re.search(
        r"Package: .+ \d.*Seen on \d{4}-\d\d-\d\d.*Behavior: .*Output: ", ast.get_docstring(tree), re.DOTALL
    )
    imported = {
        alias.name.split(".")[0] for each in ast.walk(tree) if isinstance(each, ast.Import) for alias in each.names
    }
    imported |= {
        each.module.split(".")[0] for each in ast.walk(tree) if isinstance(each, ast.ImportFrom) and each.module
    }
    assert imported <= sys.stdlib_module_names and not re.search(r"(?:import|from) gnnrec", SCRIPTS[name])
    packages = re.search(r"^PACKAGES = \[(.*?)\]", SCRIPTS[name], re.DOTALL | re.MULTILINE)
    assert packages is not None and all("==" in word for word in re.findall(r'"(.*?)"', packages[1]))


@pytest.mark.parametrize("name", SHELL_SCRIPTS)
def test_a_shell_script_does_too(name):
    text = SHELL_SCRIPTS[name]
    top = re.sub(r"^# ?", "", text.split("set -euo pipefail")[0], flags=re.MULTILINE)
    assert re.search(r"Package: .+ \d.*Seen on \d{4}-\d\d-\d\d.*Behavior: .*Output: ", top, re.DOTALL)
    assert "mktemp -d" in text and "trap 'rm -rf" in text
    installed = re.findall(r"pip\"? install ((?:--\S+ )*)(.+)", text)
    assert installed and all("==" in word for _, words in installed for word in words.split())
    assert not re.search(r"(?:import|from) gnnrec|-m gnnrec", text)
    assert subprocess.run(["bash", "-n", FOLDER / name]).returncode == 0


def test_the_table_lists_every_script():
    listed = re.findall(r"^\| \[?`(\w+\.(?:py|sh))`", README, re.MULTILINE)
    assert sorted(listed) == sorted({*SCRIPTS, *SHELL_SCRIPTS} - {"README.md"})


def test_continuous_integration_runs_none():
    files = [ROOT / ".ci" / "run", ROOT / "launch" / "test.sh", *(ROOT / ".github" / "workflows").iterdir()]
    assert not any("findings" in path.read_text() for path in files)


def test_the_template_is_formatted_like_all_else(tmp_path):
    (tmp_path / "template.py").write_text(TEMPLATE)
    for command in ("check", "format --check"):
        words = [sys.executable, "-m", "ruff", *command.split(), "--config", ROOT / "pyproject.toml", tmp_path]
        result = subprocess.run(words, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout
