"""What all tasks of one ``gnnrec prepare`` share, and the directory through which they hand things on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from gnnrec.data.formats import Layout
from gnnrec.data.out_of_core.size import Plan
from gnnrec.data.prepare_options import PrepareOptions
from gnnrec.errors import UserError

#: Of these options the result does not depend, nor do the files in between.
_FREE = ("engine", "workers", "scheduler", "scratch", "overwrite", "download_dir", "movies")
_VERSION = 1
_MARKER = "job"


@dataclasses.dataclass(frozen=True)
class PrepareJob:
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

    def open_scratch(self) -> PrepareJob:
        """An empty directory, or that of an earlier run of the same input and options.

        Returns:
            The job as the earlier run had it: cut as it was, with ids of the kind that they were found to be.

        Raises:
            UserError: The directory is somebody else's.
        """
        if (note := self.read_marker(_MARKER)) and note["fingerprint"] == self._fingerprint():
            return dataclasses.replace(self, plan=Plan(**note["plan"]), text_ids=frozenset(note["text_ids"]))
        self.remove_scratch()
        if self.scratch.exists() and any(self.scratch.iterdir()):
            raise UserError(f"{self.scratch} holds something else: name an empty directory with --scratch")
        self.scratch.mkdir(parents=True, exist_ok=True)
        found = {"fingerprint": self._fingerprint(), "plan": vars(self.plan), "text_ids": sorted(self.text_ids)}
        self.leave_marker(_MARKER, found)
        return self

    def remove_scratch(self) -> None:
        """Removes files in between; a directory of somebody else stays as it is."""
        note = self.marker(_MARKER)
        if note.exists():
            note.write_text("{}", encoding="utf-8")  # should this be interrupted, what is left is of no use
            for path in self.scratch.iterdir():
                if path != note:
                    path.unlink()
            shutil.rmtree(self.scratch)

    def _fingerprint(self) -> str:
        stats = [(str(each.path.resolve()), os.stat(each.path)) for each in self.layouts]
        inputs = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
        options = {name: str(value) for name, value in vars(self.options).items() if name not in _FREE}
        text = json.dumps([_VERSION, inputs, options])
        return hashlib.sha256(text.encode()).hexdigest()

    def marker(self, name: str) -> Path:
        """Where a task leaves what it found, when all else that it writes is there."""
        return self.scratch / f"{name}.json"

    def read_marker(self, name: str) -> Any:
        """What :meth:`leave_marker` left; None where it did not."""
        path = self.marker(name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def leave_marker(self, name: str, found: Any) -> Any:
        """Marks a task as done."""
        aside = self.marker(name).with_suffix(".tmp")
        aside.write_text(json.dumps(found), encoding="utf-8")
        os.replace(aside, self.marker(name))
        return found
