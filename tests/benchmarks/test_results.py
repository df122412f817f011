"""The table in benchmarks/README.md has every benchmark and every published result."""

from __future__ import annotations

import fnmatch
import json
import re

from tests.end_to_end.commands import ROOT

FOLDER = ROOT / "benchmarks"
#: Command and result of each row; the rows of programs that write none are left out.
ROWS = re.findall(
    r"^\| `python -m (benchmarks\.\w+.*?)` \| (`.*?) \|", (FOLDER / "README.md").read_text(), re.MULTILINE
)
PUBLISHED = {path.name for path in (FOLDER / "results").glob("*.json")}


def test_results_are_published_unless_the_table_denies_it():
    assert len(ROWS) > 20
    for command, cell in ROWS:
        for pattern in re.findall(r"`([\w*.]+)`", cell):
            assert bool(fnmatch.filter(PUBLISHED, pattern)) == ("not published" not in cell), command


def test_every_result_is_in_the_table():
    patterns = [pattern for _, cell in ROWS for pattern in re.findall(r"`([\w*.]+)`", cell)]
    assert {name for name in PUBLISHED if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)} == set()


def test_every_program_that_writes_a_result_is_in_the_table():
    writers = {path.stem for path in FOLDER.glob("*.py") if "record.write(" in path.read_text()}
    assert writers <= {re.match(r"benchmarks\.(\w+)", command)[1] for command, _ in ROWS}


def test_the_command_with_faults_is_the_one_that_was_run():
    (command,) = [command for command, _ in ROWS if command.startswith("benchmarks.chaos ")]
    recorded = json.loads((FOLDER / "results" / "chaos.json").read_text())
    assert recorded["command"].startswith(f"python -m {command}")
    assert f"{recorded['kills']} kills" in (ROOT / "README.md").read_text()
