"""The cache of compiled loops is correct with concurrent writers."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from numba.core.caching import IndexDataCacheFile

from gnnrec.kernels.compiled import KernelFiles, compiled

KEYS = [("float32",), ("float64",)]


def files(kind: type, directory: Path) -> IndexDataCacheFile:
    return kind(cache_path=str(directory), filename_base="kernel", source_stamp=(1.0, 2))


def loaded_after_two_writers(kind: type, directory: Path, monkeypatch: pytest.MonkeyPatch) -> list:
    """Loads two keys after two concurrent writers, the second of which finishes while the first writes its data."""
    first, second = files(kind, directory), files(kind, directory)
    began, save = second._load_index(), first._save_data

    def slowly(name: str, data: object) -> None:
        second.save(KEYS[1], KEYS[1])
        save(name, data)

    monkeypatch.setattr(second, "_load_index", lambda: dict(began))
    monkeypatch.setattr(first, "_save_data", slowly)
    first.save(KEYS[0], KEYS[0])
    kept = files(kind, directory)
    return [kept.load(key) for key in KEYS]


def test_concurrent_writers_do_not_mix_versions(tmp_path, monkeypatch):
    assert loaded_after_two_writers(KernelFiles, tmp_path, monkeypatch) == KEYS


def test_numba_mixes_versions_of_concurrent_writers(tmp_path, monkeypatch):
    """Shows why :class:`KernelFiles` exists: it can be removed once numba fixes this."""
    assert loaded_after_two_writers(IndexDataCacheFile, tmp_path, monkeypatch) == [None, KEYS[0]]


def test_a_full_disk_only_disables_the_cache(tmp_path, monkeypatch):
    def refuse(self, name, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "_save_data", refuse)
    kept = files(KernelFiles, tmp_path)
    kept.save(KEYS[0], KEYS[0])
    assert kept.load(KEYS[0]) is None


def test_versions_of_another_source_are_not_loaded(tmp_path):
    files(KernelFiles, tmp_path).save(KEYS[0], "old")
    newer = KernelFiles(cache_path=str(tmp_path), filename_base="kernel", source_stamp=(3.0, 2))
    assert newer.load(KEYS[0]) is None


def test_compiled_functions_are_cached(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))

    def double(values):
        return values * 2

    assert compiled(double)(np.arange(3)).tolist() == [0, 2, 4]
    assert compiled(double)(np.arange(3.0)).tolist() == [0, 2, 4]
    assert len(list(tmp_path.rglob("*.nbc"))) == 2 and not list(tmp_path.rglob("*.nbi"))
    again = compiled(double)
    assert again(np.arange(3)).tolist() == [0, 2, 4]
    assert sum(again.stats.cache_hits.values()) == 1
