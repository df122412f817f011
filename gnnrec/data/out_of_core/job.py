"""What all tasks of one ``gnnrec prepare`` share, and the directory through which they hand things on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from gnnrec.data.formats import Layout
from gnnrec.data.out_of_core.size import Plan
from gnnrec.data.prepare_options import PrepareOptions

#: Of these options the result does not depend, nor do the files in between.
_FREE = ("engine", "workers", "scheduler", "scratch", "memory", "overwrite", "download_dir", "movies")
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Job:
    """The work.

    Attributes:
        scratch: Files in between.
        layouts: The input files.
        options: The options.
        plan: How input is cut.
        text_ids: Roles (``user``, ``movie``) whose ids are text; the ids of the others are integers.
    """

    scratch: Path
    layouts: list[Layout]
    options: PrepareOptions
    plan: Plan
    text_ids: frozenset[str] = frozenset()

    @property
    def buckets(self) -> int:
        """Number of user ranges."""
        return 1 << self.plan.log_buckets

    def fingerprint(self) -> str:
        """Says whether files in between are of use for this job."""
        stats = [(str(each.path.resolve()), os.stat(each.path)) for each in self.layouts]
        inputs = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
        options = {name: str(value) for name, value in vars(self.options).items() if name not in _FREE}
        text = json.dumps([_VERSION, inputs, options, dataclasses.astuple(self.plan), sorted(self.text_ids)])
        return hashlib.sha256(text.encode()).hexdigest()

    def note(self, name: str) -> Path:
        """Where a task leaves what it found, when all else that it writes is there."""
        return self.scratch / f"{name}.json"

    def read_note(self, name: str) -> Any:
        """What :meth:`leave_note` left, or None."""
        path = self.note(name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def leave_note(self, name: str, found: Any) -> Any:
        """Marks a task as done."""
        aside = self.note(name).with_suffix(".tmp")
        aside.write_text(json.dumps(found), encoding="utf-8")
        os.replace(aside, self.note(name))
        return found
