"""Version of the running code: package, torch and git commit."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import torch

from gnnrec._version import __version__

_PACKAGE = Path(__file__).parents[1]


@functools.cache
def code_version() -> dict[str, str | bool | None]:
    """Versions of this package and of torch and, in a git checkout, its commit.

    Returns:
        ``gnnrec_version``, ``torch_version``, ``git_commit`` (None outside a checkout) and ``git_changed``, whether
        tracked files differ from the commit.
    """
    # An installed package may be inside another project's checkout, which does not track its files.
    tracked = _git("ls-files", "--error-unmatch", "__init__.py") is not None
    commit = _git("rev-parse", "HEAD") if tracked else None
    changes = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {
        "gnnrec_version": __version__,
        "torch_version": torch.__version__,
        "git_commit": commit,
        "git_changed": bool(changes),
    }


def _git(*arguments: str) -> str | None:
    """Output of a git command; None if it fails or git is not installed."""
    try:
        result = subprocess.run(
            ["git", "-C", str(_PACKAGE), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
