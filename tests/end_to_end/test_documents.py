"""The commands in README and docs are accepted by the programs they call, and links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from gnnrec.cli.main import command_parser, find_command
from gnnrec.config.parser import normalize
from gnnrec.config.train_config import parse_train_config
from tests.end_to_end.commands import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(document: Path) -> list[list[str]]:
    """The commands in ```bash blocks, split into words, without comments and with continued lines joined."""
    blocks = re.findall(r"^```bash\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def check_training(arguments: list[str]) -> None:
    if "--config" in arguments:
        assert (ROOT / arguments[arguments.index("--config") + 1]).is_file()
    parse_train_config(arguments)


def check_command(*words: str) -> None:
    name, command, arguments = find_command(list(words))
    parser = command_parser(name, command)
    parser.parse_args(normalize(parser, arguments))


def check_torchrun(arguments: list[str]) -> None:
    parsed = get_args_parser().parse_args(arguments)
    script, rest = parsed.training_script, parsed.training_script_args
    assert arguments[-len(rest) :] == rest, "torchrun took an option of the program for its own"
    if script == "train_dist.py":
        check_training(rest)
    elif script == "gnnrec":
        assert parsed.module
        check_command(*rest)
    else:
        assert (parsed.module, script) == (True, "gnnrec.export")
        check_command("export", *rest)


def check_script(script: str, *arguments: str) -> None:
    text = (ROOT / script).read_text()
    for option in arguments:
        assert not option.startswith("--") or f"  {option} " in text, f"{script} does not know {option}"


def check(words: list[str]) -> None:
    """Raises where a program would refuse its options."""
    program, *arguments = words
    if program == "gnnrec":
        check_command(*arguments)
    elif program == "torchrun":
        check_torchrun(arguments)
    elif program == "bash":
        check_script(*arguments)
    elif program == "docker" and arguments[0] == "run" and "gnnrec" in arguments:
        check([word.removeprefix("/opt/gnnrec/") for word in arguments[arguments.index("gnnrec") + 1 :]])
    else:
        assert program in ("source", "export", "sbatch", "ruff", "mypy", "docker", "curl"), f"what is {program}?"


# tests/slurm runs those of slurm.md.
CASES = [
    pytest.param(words, id=f"{path.name}: {' '.join(words)}")
    for path in DOCUMENTS
    if path.name != "slurm.md"
    for words in commands(path)
]


@pytest.mark.parametrize("words", CASES)
def test_documented_commands_are_accepted(words: list[str]):
    check(words)


def test_the_readme_has_the_whole_path():
    text = " ".join(" ".join(words) for words in commands(ROOT / "README.md"))
    for part in ("quickstart.sh", "test.sh", "prepare", "train_dist.py", "evaluate", "gnnrec.export", "recommend"):
        assert part in text


@pytest.mark.parametrize("wrong", ["gnnrec prepare x --ratngs y", "torchrun -m gnnrec.export run", "python x.py"])
def test_wrong_commands_would_be_noticed(wrong: str):
    with pytest.raises(Exception):  # noqa: B017
        check(shlex.split(wrong))


def written(words: list[str]) -> str | None:
    """The directory that a documented command makes, if any."""
    for option in ("--out", "--run-dir", "--to"):
        if option in words:
            address = words[words.index(option) + 1]  # a directory, or a store in one: duckdb:stores/movies
            return None if "//" in address else address.rpartition(":")[2]
    return words[2] if words[:2] in (["gnnrec", "prepare"], ["gnnrec", "synth"]) else None


def test_no_document_makes_what_the_readme_has_made():
    made = {written(words) for words in commands(ROOT / "README.md")} - {None}
    assert {"data/mine", "runs/mine", "export/mine"} <= made
    replaced = ("--overwrite", "--resume", "docker")  # a container has files of its own
    refused = [
        f"{path.name}: {' '.join(words)}"
        for path in DOCUMENTS
        if path.name not in ("README.md", "slurm.md")  # slurm.md is for another machine
        for words in commands(path)
        if written(words) in made and not set(replaced) & set(words)
    ]
    assert refused == []


def test_own_ratings_are_trained_with_the_defaults():
    """README's way, the guide's first run and the quickstart name no configuration."""
    lines = [words for name in ("README.md", "docs/guide.md") for words in commands(ROOT / name)]
    own = [
        words for words in lines if {"data/mine", "data/guide"} & set(words) and {"train", "train_dist.py"} & set(words)
    ]
    assert len(own) >= 3 and not [words for words in own if "--config" in words]
    assert "--config" not in (ROOT / "launch" / "quickstart.sh").read_text()


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "benchmarks" / "README.md"], ids=lambda path: path.name)
def test_what_documents_install_has_tested_versions(document: Path):
    hints = re.findall(r"pip install [^`\n]*", document.read_text(encoding="utf-8"))
    assert [hint for hint in hints if "-c launch/constraints.txt" not in hint] == []


def test_git_ignores_what_documented_commands_make_and_no_package():
    entries = (ROOT / ".gitignore").read_text().split()
    made = {written(words) for path in DOCUMENTS for words in commands(path)} - {None}
    assert {name.split("/")[0] for name in made} <= {entry.strip("/") for entry in entries}
    anywhere = {entry.strip("/") for entry in entries if not entry.startswith("/")}
    packages = {path.parent.name for top in ("gnnrec", "tests") for path in (ROOT / top).rglob("*.py")}
    assert "data" in packages and not anywhere & packages


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_named_files_exist(document: Path):
    text = document.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert all((document.parent / link).exists() for link in links), links
    named = re.findall(r"`((?:configs|launch|docs)/[\w./-]+)`", text)
    assert all((ROOT / name).exists() for name in named), named


def test_the_guide_names_every_configuration():
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "configs").glob("*.yaml") if path.name not in text] == []
