"""Which code computed something."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import torch

from gnnrec._version import __version__

_PACKAGE = Path(__file__).parents[1]


@functools.cache
def code_version() -> dict[str, str | bool | None]:
    """Versions of this package and of torch, and where the package lies in a git checkout its commit.

    Returns:
        ``gnnrec_version``, ``torch_version``, ``git_commit`` (None where there is none) and ``git_changed``, whether
        files differ from it.
    """
    # An installed package may lie inside somebody else's checkout, which does not know its files.
    ours = _git("ls-files", "--error-unmatch", "__init__.py") is not None
    commit = _git("rev-parse", "HEAD") if ours else None
    changes = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {
        "gnnrec_version": __version__,
        "torch_version": torch.__version__,
        "git_commit": commit,
        "git_changed": bool(changes),
    }


def _git(*arguments: str) -> str | None:
    """What git prints; None where it fails or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(_PACKAGE), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
