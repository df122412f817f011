"""Kills a change of a dataset at every file that it opens for writing, writes to, renames or removes.

A process forks a child for every such moment, so that nothing of it runs after that moment.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from gnnrec.data.growth import merge
from gnnrec.data.growth.append import append
from gnnrec.data.growth.append_options import AppendOptions
from gnnrec.data.growth.compact import CompactOptions, compact
from gnnrec.data.growth.forget import ForgetOptions, forget_users
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.utils.log import logger

#: Exit codes: killed, as it was before the change, as it is after it.
KILLED, BEFORE, AFTER = 9, 10, 11
#: Moments before and after the manifest is replaced, at all of which the change is killed; of others, every ninth.
AROUND, STEP = (9, 5), 9
CHANGING = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")


def in_child(function: Callable[[], int | None]) -> int:
    """Runs a function in a forked child; returns its exit code."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = function() or 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def files_of(dataset: PreparedDataset) -> set[str]:
    """Paths of the files of a dataset, in it."""
    return {dataset.manifest.path(name) for name in dataset.manifest.files}


def kill_at(moment: int | None) -> list[int]:
    """Ends this process at a file operation, or at none.

    Returns:
        Their number so far, and the one that has replaced the manifest.
    """
    seen = [0, 0]

    def count() -> None:
        seen[0] += 1
        if seen[0] == moment:
            os._exit(KILLED)

    def hook(event: str, arguments: tuple) -> None:
        writes = event == "open" and arguments[2] is not None and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGING or writes:
            count()
        if event == "os.rename" and str(arguments[1]).endswith("manifest.json"):
            seen[1] = seen[0]

    sys.addaudithook(hook)
    write_at = merge.write_at
    merge.write_at = lambda *arguments: (count(), write_at(*arguments))
    return seen


def main(place: Path, name: str) -> None:
    """Prints the number of moments, at how many of them the change was killed, and how often that was too late."""
    logger.setLevel("ERROR")
    base, data, receipt = place / "base", place / "data", place / "receipt.json"
    changes: dict[str, Callable[[], object]] = {
        "append": lambda: append(data, AppendOptions(append=[str(place / "day2.csv")])),
        "compact": lambda: compact(data, CompactOptions(engine="memory")),
        "forget": lambda: forget_users(data, ForgetOptions(["10"], receipt)),
    }

    def make_base() -> None:
        prepare(base, PrepareOptions(ratings=place / "day0.csv", shards=2))
        append(base, AppendOptions(append=[str(place / "day1.csv")]))

    def restore() -> None:
        receipt.unlink(missing_ok=True)
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(base, data)

    def state() -> int:
        dataset = PreparedDataset(data, verify=True)
        before = PreparedDataset(base).fingerprint
        return BEFORE if dataset.fingerprint == before else AFTER if dataset.fingerprint == expected() else 1

    def expected() -> str:
        return (place / "expected").read_text()

    def undisturbed() -> None:
        moments = kill_at(None)
        changes[name]()
        (place / "moments").write_text("{} {}".format(*moments))
        (place / "expected").write_text(PreparedDataset(data).fingerprint)

    def killed() -> None:
        kill_at(moment)
        changes[name]()

    def after() -> int:
        """The state; then, at some moments, whether the change, if it has not taken place, and a further one do."""
        found = state()
        if moment % 3 == 0 and found in (BEFORE, AFTER):
            if found == BEFORE:
                changes[name]()
            known = files_of(PreparedDataset(data))
            append(data, AppendOptions(append=[str(place / "day3.csv")]))
            known |= files_of(PreparedDataset(data))
            others = {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()} - known
            if others != {".lock", "manifest.json"} or (name == "forget" and not receipt.exists()):
                return 1
        return found

    assert in_child(make_base) == 0
    restore()
    assert in_child(undisturbed) == 0
    total, replaced = map(int, (place / "moments").read_text().split())
    states = []
    for moment in sorted({*range(1, total, STEP), *range(replaced - AROUND[0], replaced + AROUND[1]), total}):
        restore()
        assert in_child(killed) == KILLED, f"moment {moment} of {total} was not reached"
        states.append(in_child(after))
        assert states[-1] in (BEFORE, AFTER), f"moment {moment}: neither dataset, or the next change went wrong"
    assert states == sorted(states)
    print(total, len(states), states.count(AFTER))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
