"""launch/test.sh: what it compiles only when asked, what it passes on to pytest, and what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.repository.project import ROOT, constraints

#: Stands in for the Python of an environment: modules are found as ``$MODULES`` says, and commands are written down.
PYTHON = """\
#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$CALLS"
case "$*" in
*find_spec*) for name in ${MODULES:-}; do [[ " $* " != *" $name "* ]] || exit 0; done; exit 1 ;;
*hashlib*) cat >/dev/null && echo 0 ;;
*importlib.metadata*) echo cp-torch ;;
esac
case "$*" in *"pip wheel"*)
    while [[ "$1" != --wheel-dir ]]; do shift; done
    name="${3%%==*}" && touch "$2/${name//-/_}-${3##*==}-any.whl"
esac
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables for a run in which ``tmp_path/venv`` is the environment, with everything installed already."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    installed = ["0", "gnnrec[]", "gnnrec[test]", "gnnrec[wandb]", "gnnrec[metis]"]
    (tmp_path / "venv" / "gnnrec-installed.txt").write_text("\n".join(installed) + "\n")
    own = {
        "GNNREC_VENV": str(tmp_path / "venv"),
        "XDG_CACHE_HOME": str(tmp_path / "kept"),
        "CALLS": str(tmp_path / "calls"),
    }
    return os.environ | own


def run(environment: dict[str, str], *arguments: str, script: str = "launch/test.sh") -> subprocess.CompletedProcess:
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run(
        [bash, ROOT / script, *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


def calls(environment: dict[str, str]) -> str:
    path = Path(environment["CALLS"])
    return path.read_text() if path.exists() else ""


def test_nothing_is_compiled_unless_asked(environment):
    result = run(environment, "-m", "not slow", "tests/graph")
    assert result.returncode == 0, result.stderr
    assert "-m pip" not in calls(environment)
    assert calls(environment).splitlines()[-1].startswith("-m pytest -q -n ")
    assert calls(environment).splitlines()[-1].endswith(" --dist loadgroup -m not slow tests/graph")
    assert "the tests of PyG's own sampler are skipped; --with-torch-sparse" in result.stdout


@pytest.mark.parametrize("module", ["torch_sparse", "pyg_lib"])
def test_nothing_is_said_of_a_sampler_that_is_there(environment, module):
    result = run(environment | {"MODULES": module})
    assert result.returncode == 0 and "skipped" not in result.stdout


def test_continuous_integration_compiles_both_once(environment, tmp_path):
    result = run(environment, script=".ci/run")
    assert result.returncode == 0, result.stderr
    for name in ("torch-scatter", "torch-sparse"):
        assert f"pip wheel {name}=={constraints()[name]}" in result.stdout
        assert (
            tmp_path / "kept/gnnrec/wheels/cp-torch" / f"{name.replace('-', '_')}-{constraints()[name]}-any.whl"
        ).exists()
    assert "skipped" not in result.stdout
    assert "--with-torch-sparse" not in calls(environment).splitlines()[-1]
    # The second time they are installed already.
    assert "pip wheel" not in run(environment, script=".ci/run").stdout
    # Another environment takes what was kept.
    installed = tmp_path / "venv" / "gnnrec-installed.txt"
    installed.write_text(installed.read_text().replace("torch-sparse for cp-torch\n", ""))
    again = run(environment, script=".ci/run")
    assert "pip install torch_sparse-" in again.stdout and "pip wheel" not in again.stdout


def test_a_late_option_is_refused_before_anything_is_done(environment):
    result = run(environment, "tests/graph", "--with-torch-sparse")
    assert (result.returncode, result.stdout, calls(environment)) == (2, "", "")
    assert len(result.stderr.splitlines()) == 1 and "must come before" in result.stderr


def test_it_explains_itself(environment):
    result = run(environment, "--help")
    assert result.returncode == 0 and calls(environment) == ""
    for word in (
        "--with-torch-sparse",
        "GNNREC_SKIP_SLURM=1",
        "GNNREC_SKIP_CHROMIUM=1",
        "GNNREC_SKIP_HOSTS=1",
        "not slow",
    ):
        assert word in result.stdout
