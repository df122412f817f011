"""Runs the fast tests under several releases of Python and torch, each in an environment of its own.

The environments are made with uv (``pip install uv``), which shares files among them, and are kept: another run of the
same command tests again without installing. Pairs may be tested in several runs. Every other package has the newest
release that its range allows there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from benchmarks import record

ROOT = Path(__file__).parents[1]
#: The fast tests: those of the package that take less than half a second and start no processes.
MARKS = "not slow and not processes and not timing and not browser and not slurm"
FOLDERS = [
    *("tests/baselines", "tests/config", "tests/data", "tests/evaluation", "tests/graph", "tests/inference"),
    *("tests/kernels", "tests/models", "tests/reporting", "tests/serving", "tests/stores", "tests/tools"),
    *("tests/training", "tests/utils"),
    *("tests/test_layers.py", "tests/test_rng.py"),
]
#: Prints the releases of packages in JSON; its warnings are those that users see.
VERSIONS = """
import json, platform, sys
import gnnrec.training.run
from importlib.metadata import version
packages = {name: version(name) for name in sys.argv[1:]}
print(json.dumps({"python": platform.python_version()} | packages))
"""
PACKAGES = ["torch", "torch_geometric", "numpy", "pandas", "pyarrow", "numba", "scipy", "scikit-learn"]


def environment(place: Path, python: str, torch: str) -> Path:
    """Makes an environment, unless it is there, and returns its interpreter.

    Args:
        place: Directory of all environments.
        python: Release of Python, or the path of an interpreter.
        torch: Release of torch.
    """
    name = python if "/" not in python else subprocess.check_output([python, "-V"], text=True).split()[-1]
    directory = place / f"python{name}-torch{torch}"
    interpreter = directory / "bin" / "python"
    finished = directory / "installed"  # an interpreter is there before the packages are
    if not finished.exists():
        uv = shutil.which("uv")
        assert uv is not None, "uv is not installed: pip install uv"
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run([uv, "venv", "--quiet", "--python", python, str(directory)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(interpreter)]
        subprocess.run([*install, f"torch=={torch}", f"gnnrec[test] @ {ROOT.as_uri()}"], check=True)
        # The package itself is that of the working tree.
        subprocess.run([uv, "pip", "uninstall", "--quiet", "--python", str(interpreter), "gnnrec"], check=True)
        finished.touch()
    return interpreter


def run_tests(interpreter: Path | str, paths: list[str], marks: str = MARKS) -> dict:
    """Runs tests with an interpreter.

    Args:
        interpreter: The interpreter.
        paths: Files and folders of tests.
        marks: Expression of marks that selects tests.

    Returns:
        ``versions``, ``printed_at_import`` (lines on stderr), ``passed``, ``failed``, ``skipped``, ``failures``
        (names), ``seconds``, and the ``exit_status`` of pytest.
    """
    variables = record.environment_with(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    command = [str(interpreter), "-c", VERSIONS, *PACKAGES]
    found = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        words = [
            "-m",
            "pytest",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            "-m",
            marks,
            f"--junit-xml={report}",
            *paths,
        ]
        status = subprocess.run([str(interpreter), *words], env=variables, cwd=ROOT, stdout=sys.stderr).returncode
        tested = read_report(report) | {"exit_status": status}
    return {"versions": json.loads(found.stdout), "printed_at_import": found.stderr.splitlines()} | tested


def is_green(run: dict) -> bool:
    """Returns whether tests passed and none failed; runs of earlier reports have no exit status."""
    return bool(run["passed"]) and not run["failed"] and run.get("exit_status", 0) == 0


def read_report(report: Path) -> dict:
    """Counts the results in a JUnit report of pytest; returns those of :func:`run_tests` after the first two."""
    suite = ElementTree.parse(report).getroot().find("testsuite")
    cases = list(suite.iter("testcase"))
    failures = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return {
        "passed": len(cases) - len(failures) - skipped,
        "failed": len(failures),
        "skipped": skipped,
        "failures": failures,
        "seconds": round(float(suite.get("time")), 1),
    }


def _pair(run: dict) -> tuple[str, str]:
    return run["versions"]["torch"], run["versions"]["python"]


def main() -> None:
    """Tests every pair, or without one this interpreter; keeps what ``versions.json`` has of other pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", nargs="*", default=[], help="releases of Python, or paths of interpreters")
    parser.add_argument("--torch", nargs="*", default=[], help="releases of torch")
    parser.add_argument("--environments", type=Path, help="directory of the environments")
    parser.add_argument("--missing", nargs="*", default=[], help="pairs that could not be tested, as PAIR=REASON")
    options = parser.parse_args()
    path = record.RESULTS / "versions.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"runs": [], "missing": {}}
    runs = [{"commit": before["commit"]} | run for run in before["runs"]]
    pairs = [(python, torch) for torch in options.torch for python in options.python]
    missing = before["missing"] | dict(pair.split("=", 1) for pair in options.missing)
    selection = {"marks": MARKS, "paths": FOLDERS}
    interpreters = [environment(options.environments, *pair) for pair in pairs] or [Path(sys.executable)]
    for interpreter in interpreters:
        found = {"commit": record.COMMIT} | run_tests(interpreter, FOLDERS)
        print(found, flush=True)
        runs = sorted([run for run in runs if _pair(run) != _pair(found)] + [found], key=_pair)
        green = all(map(is_green, runs))
        figures = {"green": green, "runs": runs, "missing": missing, "selection": selection}
        record.write("versions", "benchmarks.versions", figures)


if __name__ == "__main__":
    main()
