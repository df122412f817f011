"""Ratings at addresses are copied once, from a server on this machine and a file system of fsspec."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.remote import is_remote, local_copy
from gnnrec.errors import UserError
from tests.data.file_tables import assert_same_bytes, movies, ratings


class Quiet(SimpleHTTPRequestHandler):
    """Serves a directory; notes which files are read."""

    read: list[str] = []

    def do_GET(self) -> None:
        self.read.append(self.path)
        super().do_GET()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    """Address of the directory ``served``."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    Quiet.read.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def prepared(out: Path, cache: Path, **options) -> PreparedDataset:
    prepare(out, PrepareOptions(shards=4, overwrite=True, download_dir=cache, **options))
    return PreparedDataset(out, verify=True)


def test_files_of_a_server_are_copied_once(server, tmp_path):
    ratings().to_csv(tmp_path / "served" / "ratings.csv.gz", index=False)
    movies().to_csv(tmp_path / "served" / "movies.csv", index=False)
    here = {
        name: tmp_path / "served" / file for name, file in (("ratings", "ratings.csv.gz"), ("movies", "movies.csv"))
    }
    there = {"ratings": Path(f"{server}/ratings.csv.gz"), "movies": Path(f"{server}/movies.csv")}
    first = prepared(tmp_path / "here", tmp_path / "cache", **here)
    for _ in range(2):
        prepared(tmp_path / "there", tmp_path / "cache", **there)
        assert_same_bytes(first.directory, tmp_path / "there")
    assert sum("ratings" in path for path in Quiet.read) == 1
    changed = ratings()[:500]
    changed.to_csv(tmp_path / "served" / "ratings.csv.gz", index=False)
    assert prepared(tmp_path / "there", tmp_path / "cache", **there).num_ratings == 500


def test_what_a_server_lacks_is_named(server, tmp_path):
    with pytest.raises(UserError, match=rf"{server}/none.csv (does not exist|cannot be read)") as failure:
        prepared(tmp_path / "out", tmp_path / "cache", ratings=Path(f"{server}/none.csv"))
    assert "\n" not in str(failure.value) and not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="http://127.0.0.1:9/a.csv (cannot be read|does not exist)"):
        prepared(tmp_path / "out", tmp_path / "cache", ratings=Path("http://127.0.0.1:9/a.csv"))
    with pytest.raises(UserError, match="nosuchsystem://a/b.csv cannot be read .*check the address"):
        prepared(tmp_path / "out", tmp_path / "cache", ratings=Path("nosuchsystem://a/b.csv"))


@pytest.mark.parametrize("named", ["memory://bucket/log", "memory://bucket/log/*/part-*.csv"])
def test_directories_and_patterns(tmp_path, named):
    system = fsspec.filesystem("memory")
    for number in range(3):
        text = ratings()[number * 300 : number * 300 + 300].to_csv(index=False)
        system.pipe(f"/bucket/log/day={number}/part-0.csv", text.encode())
    ratings().to_csv(tmp_path / "all.csv", index=False)
    first = prepared(tmp_path / "here", tmp_path / "cache", ratings=tmp_path / "all.csv")
    second = prepared(tmp_path / "there", tmp_path / "cache", ratings=Path(named))
    assert first.manifest.files == second.manifest.files
    system.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    "path, remote",
    [("https://a/b", True), ("s3://a/b", True), ("gs:/a/b", True), ("C:/a", False), ("a/b:c/d", False), ("~/a", False)],
)
def test_addresses_have_a_scheme(path, remote, tmp_path):
    assert is_remote(Path(path)) == remote
    if not remote:
        assert local_copy(Path(path), tmp_path) == Path(path) and os.listdir(tmp_path) == []
