"""Generations of a prepared dataset: a change writes new files aside, and one rename makes them those of the dataset.

Files that a change writes are in ``generations/000001`` and so on, and ``manifest.json`` has the path of every file of
the dataset. Replacing the manifest is the moment of the change: a process that is killed leaves the dataset as it was
before that moment, or as it is after it. Files of the previous generation stay until the next change, for programs that
opened the dataset before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gnnrec.data.prepared import FORMAT_VERSION, MANIFEST, Manifest, PreparedDataset
from gnnrec.data.shard_check import shard_checksums
from gnnrec.data.threads import in_threads
from gnnrec.errors import UserError
from gnnrec.utils import files

#: Directory of the files that changes have written.
GENERATIONS = "generations"
_LOCK = ".lock"
_TEMPORARY = ".tmp-"
#: A receipt that is not yet in its place: ``to`` is that place, and ``receipt`` its contents.
_PENDING = "receipt.json"


@dataclasses.dataclass
class Change:
    """A change of a dataset that is under way.

    Attributes:
        dataset: The dataset before it.
        directory: Where the change writes its files; it becomes the directory of the new generation.
        scratch: Directory for intermediate files.
        is_done: The change has taken place.
    """

    dataset: PreparedDataset
    directory: Path
    scratch: Path
    is_done: bool = False

    def commit(
        self,
        manifest: Manifest,
        user_ptr: np.ndarray,
        checksums: dict[str, list[int]] | None = None,
        dropped: tuple[str, ...] = (),
        keep_previous: bool = True,
        receipt: tuple[Path, dict] | None = None,
    ) -> Manifest:
        """Makes the written files part of the dataset. Files that were not written stay as they are.

        Args:
            manifest: All fields but ``files``, which is filled in here.
            user_ptr: Start of the ratings of each user after the change.
            checksums: Array -> CRC-32 of every shard, where they are known.
            dropped: Files that the dataset no longer has.
            keep_previous: Keep files that only the dataset before the change has, until the next one.
            receipt: A file to write with the change, and its contents, to which the fingerprints are added.
        """
        root, before = self.dataset.directory, self.dataset.manifest
        number = 1 + max((int(path.name) for path in _generations(root)), default=0)
        target = root / GENERATIONS / f"{number:06d}"
        written = _entries(self.directory, target.relative_to(root), user_ptr, manifest.shards, checksums or {})
        kept = {name: entry for name, entry in before.files.items() if name not in (*written, *dropped)}
        manifest = dataclasses.replace(manifest, files=kept | written, format_version=FORMAT_VERSION)
        if receipt is not None:
            content = {"fingerprint_before": before.fingerprint, "fingerprint": manifest.fingerprint, **receipt[1]}
            pending = {"to": str(Path(receipt[0]).resolve()), "receipt": content}
            files.write_text(root / GENERATIONS / _PENDING, json.dumps(pending, indent=1) + "\n")
        files.sync(self.directory)
        os.rename(self.directory, target)
        files.sync(root / GENERATIONS)
        files.write_text(root / MANIFEST, manifest.text() + "\n")
        files.sync(root)
        self.is_done = True
        _finish_receipt(root, manifest)
        used = _paths(manifest) | (_paths(before) if keep_previous else set())
        _remove_others(root, used, set(before.files))
        return manifest


@contextlib.contextmanager
def change(directory: Path) -> Iterator[Change]:
    """Opens a dataset to change it; no other process changes it at the same time.

    Raises:
        UserError: It is no prepared dataset, is damaged, cannot be written, or is being changed.
    """
    dataset = PreparedDataset(directory)
    try:
        lock = files.lock_file(dataset.directory / _LOCK)
    except OSError as error:
        raise UserError(
            f"{directory}: cannot write there ({error.strerror}): choose a copy that you may write"
        ) from None
    if lock is None:
        raise UserError(f"{directory} is being changed by another process: try again when it has ended")
    with lock:
        dataset = PreparedDataset(directory)  # another process may have changed it before the lock
        _refuse_unknown_split(dataset)
        root, opened = dataset.directory / GENERATIONS, None
        temporary = root / f"{_TEMPORARY}{uuid.uuid4().hex[:8]}"
        try:
            _remove_leftovers(dataset.directory, root)
            _finish_receipt(dataset.directory, dataset.manifest)
            for path in (temporary / "files", temporary / "scratch"):
                path.mkdir(parents=True)
            opened = Change(dataset, temporary / "files", temporary / "scratch")
            yield opened
        except OSError as error:
            is_done = opened is not None and opened.is_done
            state = "the change is made, the next one completes what it left" if is_done else "nothing was changed"
            raise UserError(
                f"{directory}: cannot write there ({files.error_text(error)}): make room; {state}"
            ) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _refuse_unknown_split(dataset: PreparedDataset) -> None:
    """Refuses a dataset of another program whose ratings cannot be split in the same way again."""
    missing = [name for name in ("seed", "validation") if name not in dataset.manifest.split]
    if missing:
        raise UserError(
            f"{dataset.directory / MANIFEST}: split has no {missing[0]}, so changed ratings cannot be split as the "
            "others were: add it, or write the dataset again"
        )


def now() -> str:
    """The time, as a line of the manifest has it."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _entries(
    directory: Path, target: Path, user_ptr: np.ndarray, shards: list[int], checksums: dict[str, list[int]]
) -> dict[str, dict]:
    """Entries of the manifest for all files of a directory that will be at ``target``."""
    paths = sorted(directory.iterdir())
    # Opened here: numpy.load must not run in two threads (findings/numpy_load_in_threads.py).
    unknown = [path for path in paths if path.suffix == ".npy" and path.stem not in checksums]
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in unknown}

    def entry(path: Path) -> dict:
        of_shards = {}
        if path.stem in checksums:
            of_shards["shards"] = checksums[path.stem]
        elif path.stem in arrays:
            of_shards["shards"] = shard_checksums(path.stem, arrays[path.stem], user_ptr, shards)
        files.sync(path)  # before the manifest, which is not to name files that a power failure has taken
        size, place = path.stat().st_size, str(target / path.name)
        return {"bytes": size, "sha256": files.sha256(path), "path": place, **of_shards}

    return dict(zip((path.name for path in paths), in_threads(entry, paths)))


def _paths(manifest: Manifest) -> set[str]:
    return {manifest.path(name) for name in manifest.files}


def _generations(root: Path) -> list[Path]:
    return [path for path in (root / GENERATIONS).iterdir() if path.name.isdigit()]


def _remove_leftovers(directory: Path, root: Path) -> None:
    """Removes what processes that were killed have left. Only the holder of the lock calls this."""
    for place in (directory, root):
        for path in sorted(place.glob(f".*{_TEMPORARY}*")):
            path.unlink(missing_ok=True)
    for path in sorted(root.glob(f"{_TEMPORARY}*")):
        shutil.rmtree(path, ignore_errors=True)


def _remove_others(root: Path, used: set[str], names: set[str]) -> None:
    """Removes files of generations that are not used, and files of the dataset as it was prepared at first.

    Args:
        root: The dataset.
        used: Paths that stay.
        names: Names of files of a dataset.
    """
    for generation in _generations(root):
        for path in generation.iterdir():
            if str(path.relative_to(root)) not in used:
                path.unlink()
        with contextlib.suppress(OSError):  # it holds files
            generation.rmdir()
    for name in names - used:
        (root / name).unlink(missing_ok=True)


def _finish_receipt(root: Path, manifest: Manifest) -> None:
    """Writes the receipt of the last change, unless a process was killed before that change took place."""
    path = root / GENERATIONS / _PENDING
    if not path.exists():
        return
    pending = json.loads(path.read_text(encoding="utf-8"))
    if pending["receipt"]["fingerprint"] == manifest.fingerprint:
        Path(pending["to"]).parent.mkdir(parents=True, exist_ok=True)
        files.write_text(Path(pending["to"]), json.dumps(pending["receipt"], indent=1) + "\n")
    path.unlink()
