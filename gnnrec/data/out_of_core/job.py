"""Shared state of all tasks of one ``gnnrec prepare``, and the scratch directory that passes files between them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from gnnrec.data.layout import Layout
from gnnrec.data.out_of_core.size import Plan
from gnnrec.data.prepare_options import PrepareOptions
from gnnrec.errors import UserError

#: Options that affect neither the result nor the scratch files.
_IGNORED_OPTIONS = (
    "engine",
    "workers",
    "scheduler",
    "scratch",
    "overwrite",
    "download_dir",
    "movies",
    "movies_columns",
    "movie_features",
    "user_features",
    "feature_types",
    "feature_dims",
    "feature_count",
    "dry_run",
    "audit",
)
_VERSION = 5
_MARKER = "job"


@dataclasses.dataclass(frozen=True)
class PrepareJob:
    """One run of ``gnnrec prepare`` in bounded memory.

    Attributes:
        scratch: Directory for intermediate files.
        layouts: The input files.
        options: The options.
        plan: Size of input splits and number of buckets.
        text_ids: Roles (``user``, ``movie``) whose ids are text; ids of other roles are integers.
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
        """Creates the scratch directory, or opens that of an earlier run with the same input and options.

        Returns:
            The job, with the plan and the text ids of the earlier run if there is one.

        Raises:
            UserError: The directory contains other files.
        """
        if (marker := self.read_marker(_MARKER)) and marker["fingerprint"] == self._fingerprint():
            return dataclasses.replace(self, plan=Plan(**marker["plan"]), text_ids=frozenset(marker["text_ids"]))
        self.remove_scratch()
        self._temporary_path(_MARKER).unlink(missing_ok=True)  # of a run that was killed at once
        if self.scratch.exists() and any(self.scratch.iterdir()):
            raise UserError(f"{self.scratch} holds something else: pass an empty directory with --scratch")
        self.scratch.mkdir(parents=True, exist_ok=True)
        content = {"fingerprint": self._fingerprint(), "plan": vars(self.plan), "text_ids": sorted(self.text_ids)}
        self.write_marker(_MARKER, content)
        return self

    def remove_scratch(self) -> None:
        """Removes the scratch directory of a job; other directories are left alone."""
        marker = self.marker_path(_MARKER)
        if marker.exists():
            marker.write_text("{}", encoding="utf-8")  # an interrupted removal leaves files that cannot be reused
            for path in self.scratch.iterdir():
                if path != marker:
                    path.unlink()
            shutil.rmtree(self.scratch)

    def _fingerprint(self) -> str:
        stats = [(str(layout.path.resolve()), os.stat(layout.path)) for layout in self.layouts]
        inputs = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
        options = {name: str(value) for name, value in vars(self.options).items() if name not in _IGNORED_OPTIONS}
        text = json.dumps([_VERSION, inputs, options])
        return hashlib.sha256(text.encode()).hexdigest()

    def marker_path(self, name: str) -> Path:
        """Path of a task's marker, which is written after all other files of the task."""
        return self.scratch / f"{name}.json"

    def _temporary_path(self, name: str) -> Path:
        return self.marker_path(name).with_suffix(".tmp")

    def read_marker(self, name: str) -> Any:
        """Reads the result of a finished task; returns None if the task is not done."""
        path = self.marker_path(name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def write_marker(self, name: str, result: Any) -> Any:
        """Marks a task as done and returns its result."""
        temporary = self._temporary_path(name)
        temporary.write_text(json.dumps(result), encoding="utf-8")
        os.replace(temporary, self.marker_path(name))
        return result
