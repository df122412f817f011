"""The Dockerfile, as far as can be told without Docker: what it copies is there, and its versions are ours."""

from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

import train_dist
from gnnrec.cli.main import COMMANDS, command_parser, run_command
from tests.inference.made_export import make_dataset, make_export

ROOT = Path(__file__).parents[1]
#: Packages that others import where they happen to be installed.
OPTIONAL = {"attrs", "cloudpickle", "docstring_parser", "ruamel.yaml", "typeshed_client", "setuptools", "cython"}


def instructions(file: str = "Dockerfile") -> list[tuple[str, str]]:
    """Instructions and their arguments, without comments and with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / file).read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def arguments_of(name: str) -> list[str]:
    return [arguments for each, arguments in instructions() if each == name]


def copied() -> list[str]:
    return [source for arguments in arguments_of("COPY") for source in shlex.split(arguments)[:-1]]


def test_instructions_are_known_and_in_order():
    names = [name for name, _ in instructions()]
    assert set(names) <= {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "CMD"}
    assert names.index("FROM") < names.index("RUN") and names[:2] == ["ARG", "ARG"]
    # Nothing is installed as the user who runs it, and nothing runs as root.
    assert names.index("USER") > max(place for place, name in enumerate(names) if name in ("RUN", "COPY"))
    assert arguments_of("USER") == ["gnnrec"]


def test_what_it_copies_is_there_and_not_ignored():
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert ignored[0] == "*" and set(kept) == set(copied())
    for source in copied():
        assert (ROOT / source).exists(), source
        assert not any(fnmatch.fnmatch(source, line) for line in ignored[1:] if not line.startswith("!"))
    # What setuptools reads is among it.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"], "gnnrec", "pyproject.toml"} <= set(copied())


def test_its_torch_is_that_of_the_constraints():
    versions = dict(argument.split("=") for argument in arguments_of("ARG"))
    constraints = (ROOT / "launch" / "constraints.txt").read_text().splitlines()
    assert f"torch=={versions['TORCH']}" in constraints
    assert arguments_of("FROM") == ["pytorch/pytorch:${TORCH}-cuda${CUDA}-cudnn9-runtime"]


def test_everything_else_is_installed_with_the_constraints():
    installs = [line for line in arguments_of("RUN") if "pip install" in line]
    assert len(installs) == 1 and "-c launch/constraints.txt" in installs[0] and " -U" not in installs[0]
    extras = re.search(r"\.\[([\w,-]+)\]", installs[0])
    assert extras is not None
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras[1].split(",")) <= set(known)


def test_its_command_is_one_of_ours():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (command,) = arguments_of("CMD")
    assert eval(command)[0] in project["scripts"]


def smoke_run() -> list[list[str]]:
    """Words of the commands of the smoke run that start programs of ours."""
    text = (ROOT / "launch" / "image_smoke.sh").read_text().replace("\\\n", " ")
    commands = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [words for words in commands if words and words[0] in ("gnnrec", "torchrun")]


def test_the_smoke_run_names_files_of_the_image():
    (place,) = {path for path in arguments_of("WORKDIR") if path != "/work"}
    named = [word for words in smoke_run() for word in words if word.startswith("/")]
    assert len(named) == 2
    for word in named:
        path = PurePosixPath(word).relative_to(place)
        assert path.parts[0] in copied() and (ROOT / path).exists(), word


@pytest.mark.slow
def test_the_smoke_run_succeeds(tmp_path, monkeypatch):
    """Its commands, in this process, on one rank and the CPU."""
    monkeypatch.chdir(tmp_path)
    for words in smoke_run():
        arguments = [word.replace("/opt/gnnrec", str(ROOT)) for word in words]
        if words[0] == "torchrun":
            script = next(place for place, word in enumerate(arguments) if word.endswith("train_dist.py"))
            train_dist.main([*arguments[script + 1 :], "--device", "cpu"])
        else:
            run_command(arguments[1:])
    assert (tmp_path / "run" / "summary.json").exists() and list((tmp_path / "export").rglob("*.parquet"))
    assert list((tmp_path / "lists").rglob("*.parquet"))


def serving(name: str) -> list[str]:
    return [arguments for each, arguments in instructions("Dockerfile.serve") if each == name]


def test_what_the_image_for_serving_copies_is_in_the_other_one_too():
    sources = {source for arguments in serving("COPY") for source in shlex.split(arguments)[:-1]}
    assert [source for source in sources if not {source, *map(str, Path(source).parents)} & set(copied())] == []
    names = [name for name, _ in instructions("Dockerfile.serve")]
    assert names.index("USER") > max(place for place, name in enumerate(names) if name in ("RUN", "COPY"))
    entry = eval(serving("ENTRYPOINT")[0]) + eval(serving("CMD")[0])
    assert entry[0] == "gnnrec" and command_parser("serve", COMMANDS["serve"]).parse_args(entry[2:]).host == "0.0.0.0"


@pytest.mark.slow
def test_the_image_for_serving_installs_what_is_imported_to_convert_an_export_and_to_answer(tmp_path):
    """In a process where every other package of the environment is missing."""
    packages, package = [line for line in serving("RUN") if "pip install" in line][0].split("&&")
    assert "-c launch/constraints.txt" in packages and shlex.split(package)[-2:] == ["--no-deps", "."]
    named = packages.split("launch/constraints.txt")[1]
    installed = {
        re.split(r"\W", word)[0] for word in shlex.split(named.replace("prometheus-client", "prometheus_client"))
    }
    installed |= {"yaml", "faiss"}  # PyYAML and faiss-cpu
    dataset = make_dataset(tmp_path / "data")
    make_export(dataset, tmp_path / "export")
    code = (
        "import sys; from importlib import metadata\n"
        "tops = metadata.packages_distributions()\n"
        "for name in ('torch', 'numba', 'pandas', 'scipy', 'sklearn', 'torch_geometric', 'tqdm', 'faiss'):\n"
        "    sys.modules[name] = None\n"
        "from gnnrec.cli.main import run_command\n"
        "run_command(['serve', sys.argv[1], '--convert-only', '--port', '0'])\n"
        "from gnnrec.serving.app import create_app; import gnnrec.serving.http_protocol\n"
        "from tests.serving.client import ask, get\n"
        "assert ask(create_app(sys.argv[1]), get('/recommend', user=7)).status == 200\n"
        "ours = {name.split('.')[0] for name in sys.modules if sys.modules[name]} & set(tops)\n"
        "owners = {tops[name][0].lower().replace('-', '_') for name in ours} - {'gnnrec'}\n"
        "print(sorted(owners))\n"
    )
    found = subprocess.run([sys.executable, "-c", code, str(tmp_path / "export")], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    owners = set(eval(found.stdout.splitlines()[-1]))
    # What those packages depend on themselves, or import where it happens to be installed.
    dependencies = {"anyio", "click", "h11", "idna", "sniffio", "typing_extensions", "pyyaml"}
    assert owners >= {"numpy", "pyarrow", "starlette", "uvicorn", "orjson", "prometheus_client", "jsonargparse"}
    assert owners - {name.lower() for name in installed} - dependencies - OPTIONAL == set()
