"""The workflows of GitHub, as far as can be told without it: they can be read, and what they name exists."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from tests.repository.programs import help_text
from tests.repository.project import PROJECT, PYPROJECT, ROOT, constraints

WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
JOBS = {f"{name}: {job}": body for name, workflow in WORKFLOWS.items() for job, body in workflow["jobs"].items()}
STEPS = [(f"{name}: {step.get('name', step.get('uses'))}", step) for name, job in JOBS.items() for step in job["steps"]]
ACTIONS = {"actions/checkout@v4", "actions/setup-python@v5", "actions/cache@v4"}
#: The first part of a path in the repository.
TOP = {path.name for path in ROOT.iterdir()} - {".venv", "dist", ".git"}


def commands() -> Iterator[tuple[str, list[str]]]:
    """A step's name and the words of a command in it; continued lines are joined."""
    for name, step in STEPS:
        for line in step.get("run", "").replace("\\\n", " ").splitlines():
            yield name, shlex.split(line, comments=True)


COMMANDS = [pytest.param(words, id=f"{name}: {' '.join(words)}") for name, words in commands() if words]


def program(words: list[str]) -> str:
    """A command's program, without the directory of an environment."""
    return re.sub(r"^(\.venv|/tmp/fresh|fresh)/bin/", "", words[0])


def test_there_are_two():
    assert set(WORKFLOWS) == {"checks.yml", "nightly.yml"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_has_what_github_needs(name):
    workflow = WORKFLOWS[name]
    # YAML 1.1 reads the key "on" as true.
    assert set(workflow) <= {"name", True, "permissions", "concurrency", "env", "jobs"}
    assert workflow["name"] == name.removesuffix(".yml") and workflow["permissions"] == {"contents": "read"}
    wanted = {"checks.yml": {"push", "pull_request"}, "nightly.yml": {"schedule", "workflow_dispatch"}}
    assert set(workflow[True]) == wanted[name]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_has_a_machine_a_limit_and_known_actions(name):
    job = JOBS[name]
    assert re.fullmatch(r"ubuntu-\d\d\.\d\d", job["runs-on"]) and 0 < job["timeout-minutes"] <= 90
    assert job["steps"][0] == {"uses": "actions/checkout@v4"}
    for step in job["steps"]:
        assert ("run" in step) != ("uses" in step)
        assert step.get("uses") in ACTIONS | {None}


def test_the_python_versions_begin_with_the_oldest_that_is_allowed():
    versions = JOBS["checks.yml: tests"]["strategy"]["matrix"]["python-version"]
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert str(allowed) == f">={versions[0]}"
    assert versions == [f"3.{minor}" for minor in range(10, 10 + len(versions))]
    others = [step["with"]["python-version"] for _, step in STEPS if "setup-python" in step.get("uses", "")]
    assert set(others) <= {*versions, "${{ matrix.python-version }}"}


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_is_known_and_its_paths_exist(words):
    known = {
        "bash",
        "ruff",
        "mypy",
        "shellcheck",
        "pre-commit",
        "pip",
        "python",
        "gnnrec",
        "git",
        "cd",
        "echo",
        "docker",
    }
    assert program(words) in known or re.match(r"\w+=\$\(", words[0])
    for word in words:
        if word.split("/")[0] in TOP:
            assert list(ROOT.glob(word)), word


@pytest.mark.parametrize("words", [case for case in COMMANDS if case.values[0][0] == "bash"])
def test_a_script_is_given_what_it_takes(words):
    _, script, *arguments = words
    if script == "launch/environment.sh":
        assert set(arguments) <= set(PROJECT["optional-dependencies"])
    elif script == "launch/test.sh":
        markers = {marker.split(":")[0] for marker in PYPROJECT["tool"]["pytest"]["ini_options"]["markers"]}
        expressions = [arguments[place + 1] for place, word in enumerate(arguments) if word == "-m"]
        assert {word for each in expressions for word in re.findall(r"\w+", each)} <= markers | {"not", "and", "or"}
        assert {word for word in arguments if word.startswith("-")} <= {"-m"}
        assert all((ROOT / word).exists() for word in arguments if not word.startswith("-") and word not in expressions)
    else:
        assert (script, arguments) == (".ci/run", [])


@pytest.mark.parametrize("words", [case for case in COMMANDS if program(case.values[0]) == "gnnrec"])
def test_options_of_gnnrec_exist(words):
    command = [word for word in words[1:2] if not word.startswith("-")]
    options = {word.replace("_", "-") for word in words[2:] if word.startswith("--")}
    assert options <= set(re.findall(r"--[\w.-]+", help_text("gnnrec", *command)))


def test_what_python_imports_in_them_exists():
    found = [re.findall(r"from (gnnrec[\w.]*) import (\w+)", step.get("run", "")) for _, step in STEPS]
    assert any(found)
    for package, name in (pair for pairs in found for pair in pairs):
        importlib.import_module(f"{package}.{name}")


def test_variables_of_the_tests_are_read_somewhere():
    environments: list[dict[str, Any]] = [*WORKFLOWS.values(), *JOBS.values(), *(step for _, step in STEPS)]
    names = {name for each in environments for name in each.get("env", {}) if name.startswith("GNNREC_")}
    scripts = [path for path in (ROOT / "launch").rglob("*") if path.is_file()]
    text = "".join(path.read_text() for path in [*scripts, *(ROOT / "tests").rglob("*.py")])
    assert names and all(re.search(rf"\b{name}\b", text.replace(Path(__file__).read_text(), "")) for name in names)


def test_the_wheels_that_are_kept_are_those_of_the_script():
    job = JOBS["nightly.yml: all-tests"]
    (kept,) = [step["with"]["path"] for step in job["steps"] if step.get("uses") == "actions/cache@v4"]
    script = (ROOT / "launch" / "test.sh").read_text()
    assert 'kept="${XDG_CACHE_HOME:-$HOME/.cache}/gnnrec/wheels/' in script
    assert kept == job["env"]["XDG_CACHE_HOME"] + "/gnnrec/wheels"


def test_hooks_that_are_left_out_have_steps():
    (step,) = [step for _, step in STEPS if "SKIP" in step.get("env", {})]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    skipped = step["env"]["SKIP"].split(",")
    assert set(skipped) <= {hook["id"] for hook in hooks}
    run = [" ".join(words) for name, words in commands() if name.startswith("checks.yml: style")]
    for hook in skipped:
        assert any(line.startswith(hook.replace("-", " ")) for line in run), hook


def test_the_version_of_torch_is_found():
    """The step that installs pyg-lib reads it from the constraints."""
    (step,) = [step for _, step in STEPS if "pyg-lib" in step.get("run", "") and "sed -n" in step["run"]]
    assert "sed -n 's/^torch==//p' launch/constraints.txt" in step["run"] and re.match(
        r"\d+\.\d+\.\d+$", constraints()["torch"]
    )


def test_the_wheel_is_checked_as_the_document_says():
    section = re.search(
        r"^## 3\..*?^```console\n(.*?)^```", (ROOT / "docs/releasing.md").read_text(), re.DOTALL | re.MULTILINE
    )
    (step,) = [step["run"] for name, step in STEPS if name.startswith("checks.yml: wheel: check")]
    assert section is not None and section[1] == step


def test_the_image_is_built_and_run():
    run = [" ".join(words) for name, words in commands() if words and words[0] == "docker"]
    assert run == ["docker build -t gnnrec .", "docker run --rm -i --ipc host gnnrec bash -s < launch/image_smoke.sh"]
