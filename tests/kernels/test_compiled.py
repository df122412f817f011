"""What one process compiled is what another one finds, whoever else writes at the same time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numba.core.caching import IndexDataCacheFile

from gnnrec.kernels.compiled import KernelFiles, compiled

KEYS = [("types", number) for number in range(40)]


def files(kind: type, directory: Path) -> IndexDataCacheFile:
    return kind(cache_path=str(directory), filename_base="kernel", source_stamp=(1.0, 2))


def wrong_versions(kind: type, directory: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Keys that load what was saved for another key, after four writers at once."""
    save = IndexDataCacheFile._save_data

    def slowly(self, name, data):
        time.sleep(0.001)  # whoever is slow here has a number that others may take
        save(self, name, data)

    monkeypatch.setattr(IndexDataCacheFile, "_save_data", slowly)

    def write(mine: list) -> None:
        kept = files(kind, directory)
        for key in mine:
            kept.save(key, key)

    writers = [threading.Thread(target=write, args=(KEYS[first::4],)) for first in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    kept = files(kind, directory)
    return sum(kept.load(key) not in (key, None) for key in KEYS)


def test_writers_at_the_same_time_do_not_mix_versions(tmp_path, monkeypatch):
    assert wrong_versions(KernelFiles, tmp_path, monkeypatch) == 0
    kept = files(KernelFiles, tmp_path)
    assert [kept.load(key) for key in KEYS] == KEYS


def test_numbered_files_would_mix_versions(tmp_path, monkeypatch):
    """The reason for :class:`KernelFiles`; when numba mends it, they can go."""
    assert wrong_versions(IndexDataCacheFile, tmp_path, monkeypatch) > 0


def test_another_source_is_another_file(tmp_path):
    files(KernelFiles, tmp_path).save(KEYS[0], "old")
    newer = KernelFiles(cache_path=str(tmp_path), filename_base="kernel", source_stamp=(3.0, 2))
    assert newer.load(KEYS[0]) is None


def test_functions_are_kept_and_found(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))

    def double(values):
        return values * 2

    assert compiled(double)(np.arange(3)).tolist() == [0, 2, 4]
    assert compiled(double)(np.arange(3.0)).tolist() == [0, 2, 4]
    assert len(list(tmp_path.rglob("*.nbc"))) == 2 and not list(tmp_path.rglob("*.nbi"))
    again = compiled(double)
    assert again(np.arange(3)).tolist() == [0, 2, 4]
    assert sum(again.stats.cache_hits.values()) == 1
