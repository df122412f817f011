"""Debian packages that tests need, installed where this is Debian and we have the right to."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def may_install() -> bool:
    """Whether packages can be installed here at all."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str) -> None:
    """Installs packages; tests in other processes that install something wait, for apt-get itself may not.

    Raises:
        RuntimeError: apt-get failed; with its output.
    """
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with open(Path(tempfile.gettempdir()) / "gnnrec-apt.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            command = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *command]
            result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
            if result.returncode:
                raise RuntimeError(f"{' '.join(command)}\n{result.stdout}\n{result.stderr}")
