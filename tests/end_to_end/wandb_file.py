"""Reads the files that W&B leaves of offline runs."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

PATIENCE = 120


def offline_runs(run: Path) -> list[Path]:
    """Directories of the W&B runs below a run directory, in the order of their names, which are times."""
    return sorted((run / "wandb").glob("offline-run-*"))


def wandb_records(directory: Path) -> list:
    """Records of an offline run that has ended, or is about to: W&B writes the file in a process of its own.

    Args:
        directory: One of :func:`offline_runs`.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        (path,) = directory.glob("run-*.wandb")
        records = _read(path)
        if of_kind(records, "exit"):
            return records
        assert time.monotonic() < deadline, f"{path} has no end: {len(records)} records"
        time.sleep(0.02)


def _read(path: Path) -> list:
    """A log as LevelDB writes it: blocks of 32 KiB with headers of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, part, records = path.read_bytes(), 7, b"", []
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        part += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(Record.FromString(part))
            part = b""
    return records


def of_kind(records: list, kind: str) -> list:
    """The contents of the records of one kind: ``run``, ``history``, ``artifact``, ``alert``, ``exit``."""
    return [getattr(record, kind) for record in records if record.WhichOneof("record_type") == kind]


def values(items: Any) -> dict[str, Any]:
    """Names and values of a configuration, a summary or a row of the history."""
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def history(records: list) -> list[dict[str, Any]]:
    """Rows of the history, without what W&B adds."""
    rows = [values(row.item) for row in of_kind(records, "history")]
    return [{name: value for name, value in row.items() if not name.startswith("_")} for row in rows]
