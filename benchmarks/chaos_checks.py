"""Checks of a run after faults. They read the files themselves and do not rely on the program's own readers."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import torch

_CLOCK = re.compile("^time$|seconds?$|^memory_gib$|^collective_mib$")


def unsound(run: Path) -> list[str]:
    """Checkpoints of a run that are incomplete or do not match their checksums."""
    found = []
    for directory in sorted((run / "checkpoints").glob("[!.]*")):
        try:
            files = json.loads((directory / "checkpoint.json").read_text(encoding="utf-8"))["files"]
            right = bool(files) and all(_sha256(directory / name) == value for name, value in files.items())
        except (OSError, ValueError, KeyError):
            right = False
        # The running job may have removed an old one meanwhile.
        if not right and directory.exists():
            found.append(f"{directory.name} is not sound")
    return found


def differences(undisturbed: Path, run: Path) -> list[str]:
    """Differences of a finished run from the undisturbed one."""
    found = []
    for kind in ("best", "step"):
        first, second = (max((each / "checkpoints").glob(f"{kind}-*")) for each in (undisturbed, run))
        if first.name != second.name:
            found.append(f"the last {kind} checkpoint is {second.name} and not {first.name}")
            continue
        names = [sorted(path.name for path in each.glob("*.pt")) for each in (first, second)]
        if names[0] != names[1]:
            found.append(f"{second.name} has other files")
            continue
        for name in names[0]:
            a, b = (torch.load(each / name, weights_only=True) for each in (first, second))
            if a.keys() != b.keys() or not all(torch.equal(a[key], b[key]) for key in a):
                found.append(f"{second.name}/{name} has other values")
    if _records(undisturbed) != _records(run):
        found.append("metrics.jsonl differs")
    scores = [
        {name: value for name, value in _json(each / "summary.json").items() if name.startswith(("test_", "steps"))}
        for each in (undisturbed, run)
    ]
    if scores[0] != scores[1]:
        found.append(f"test scores differ: {scores}")
    return found + leftovers(run)


def export_differences(undisturbed: Path, export: Path) -> list[str]:
    """Differences of an export from the undisturbed one, and of its files from its manifest."""
    first, second = (_json(each / "manifest.json") for each in (undisturbed, export))
    found = [] if first == second else [f"{export.name}/manifest.json differs"]
    for name, entry in second["files"].items():
        if _sha256(export / name) != entry["sha256"]:
            found.append(f"{export.name}/{name} does not match its manifest")
    there = {str(path.relative_to(export)) for path in export.rglob("*") if path.is_file()}
    return found + ([] if there == {"manifest.json", *second["files"]} else [f"{export.name} has other files"])


def leftovers(directory: Path) -> list[str]:
    """Hidden files and directories that killed writers left."""
    return [f"{path.relative_to(directory)} was left" for path in directory.rglob(".*")]


def _records(run: Path) -> list[dict]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if not _CLOCK.search(name)} for line in lines]


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
