"""Output directory of ``gnnrec compare``: made, resumed or replaced, and locked by one job."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, TextIO

from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.stored import read_json

REQUEST, _LOCK = "request.json", ".lock"
#: What to do about a damaged file.
WAY_OUT = "remove it and pass --resume"


def open_output(out: Path, request: dict[str, Any], resume: bool, overwrite: bool) -> TextIO:
    """Makes the directory of a comparison, or checks the one to resume.

    Args:
        out: The directory.
        request: What a resumed comparison must have asked for too.
        resume: Resume the comparison there.
        overwrite: Replace the comparison there.

    Returns:
        The lock, which the system releases when the file is closed or the process ends.

    Raises:
        UserError: The directory holds something else, or another job uses it.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: choose another directory")
    found = [path for path in out.iterdir() if path.name != _LOCK] if out.exists() else []
    if found and not (out / REQUEST).exists():
        raise UserError(f"--out {out} holds something else than a comparison: choose another directory")
    if found and not resume and not overwrite:
        raise UserError(f"--out {out} holds a comparison: continue it with --resume, or pass --overwrite")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = files.lock_file(out / _LOCK)
    except OSError as error:
        raise UserError(f"--out {out}: cannot write there ({error.strerror}): choose another directory") from None
    if lock is None:
        raise UserError(f"another gnnrec compare uses {out}: wait for it, or choose another --out")
    if found and resume:
        before = read_json(out / REQUEST, WAY_OUT)
        differing = [name for name, value in request.items() if before.get(name) != value]
        if differing:
            raise UserError(f"--out {out} holds a comparison of another {differing[0]}: choose another directory")
        return lock
    try:
        for path in found:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (out / "fits").mkdir()
        files.write_text(out / REQUEST, json.dumps(request, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"--out {out}: cannot write there ({error.strerror}): choose another directory") from None
    return lock
