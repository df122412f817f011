"""Downloads from a local HTTP server that fails on request."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gnnrec.data import download, movielens
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError
from tests.data.file_cases import CASES
from tests.data.file_tables import movies

NAME = "ml-latest-small"


def zipped(entries: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in entries.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def dataset(**more: str) -> bytes:
    ratings = "userId,movieId,rating,timestamp\n" + "".join(
        f"{user},{movie},{(user + movie) % 10 / 2 + 0.5},{user * 1000 + movie}\n"
        for user in range(50)
        for movie in range(40)
    )
    members = {"ratings.csv": ratings, "movies.csv": "movieId,title,genres\n1,One,Drama\n", "tags.csv": "userId\n"}
    return zipped({f"{NAME}/{member}": text for member, text in members.items()} | more)


class Server(ThreadingHTTPServer):
    """Serves ``files``; truncates the first ``drops`` responses and sends ``statuses`` before any file."""

    daemon_threads = True

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.ranges, self.drops, self.statuses, self.requests = True, 0, [], []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def publish(self, content: bytes, md5: str | None = "right") -> bytes:
        self.files[f"/{NAME}.zip"] = content
        if md5:
            digest = hashlib.md5(content).hexdigest() if md5 == "right" else md5
            self.files[f"/{NAME}.zip.md5"] = f"MD5 ({NAME}.zip) = {digest}\n".encode()
        return content


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        requested = self.headers.get("Range")
        self.server.requests.append((self.path, requested))
        content = self.server.files.get(self.path)
        if self.path.endswith(".zip") and self.server.statuses:
            return self.send_error(self.server.statuses.pop(0))
        if content is None:
            return self.send_error(404)
        start = int(re.fullmatch(r"bytes=(\d+)-", requested)[1]) if requested and self.server.ranges else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return None
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if self.path.endswith(".zip") and self.server.drops:
            self.server.drops -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


def fetch(server: Server, directory):
    return download.fetch(NAME, directory, server.url, backoff=0.001)


def zip_ranges(server: Server) -> list:
    return [requested for path, requested in server.requests if path.endswith(".zip")]


def test_ml_100k_is_downloaded_with_titles_and_published_folds(server, tmp_path, monkeypatch):
    case = CASES["ml_100k"](tmp_path)
    files = {f"ml-100k/{name}": (tmp_path / name).read_bytes() for name in ("u.data", "u.item")}
    files |= {"ml-100k/u1.base": b"1\t2\t3\t4\n", "ml-100k/mku.sh": b"exit 1"}
    server.files["/ml-100k.zip"] = zipped(files)
    monkeypatch.setenv(download.URL_VARIABLE, server.url)
    monkeypatch.setitem(movielens.ARCHIVES, "ml-100k", dataclasses.replace(movielens.ARCHIVES["ml-100k"], md5=None))
    prepare(tmp_path / "out", PrepareOptions(dataset="ml-100k", download_dir=tmp_path / "cache", shards=2))
    data = PreparedDataset(tmp_path / "out")
    assert data.num_ratings == len(case.expected) and data.manifest.rating["min"] == 1.0
    assert set(data.movies["title"]) == set(movies()["title"])
    assert {path.name for path in (tmp_path / "cache" / "ml-100k").iterdir()} == {"u.data", "u.item", "u1.base"}


def test_prepare_downloads_a_dataset_once(server, tmp_path, monkeypatch, capfd):
    content = server.publish(dataset())
    monkeypatch.setenv(download.URL_VARIABLE, server.url + "/")
    options = PrepareOptions(dataset=NAME, download_dir=tmp_path / "cache", shards=2)
    manifest = prepare(tmp_path / "out", options)
    assert manifest.counts == {"users": 50, "movies": 40, "ratings": 2000, "duplicates_dropped": 0}
    assert manifest.source["dataset"] == NAME
    assert {path.name for path in (tmp_path / "cache").rglob("*")} == {NAME, "ratings.csv", "movies.csv"}
    out, bar = capfd.readouterr()
    assert "GroupLens" in out and "Harper and Joseph A. Konstan. 2015" in out
    assert f"{NAME}.zip: 100%" in bar and f"{len(content) / 1024:.1f}k" in bar
    prepare(tmp_path / "again", options)
    assert len(server.requests) == 2  # nothing is fetched the second time


def test_broken_connections_are_resumed(server, tmp_path):
    content = server.publish(dataset())
    server.drops = 7  # more than the attempts without progress
    fetch(server, tmp_path)
    starts = [int(requested[6:-1]) for requested in zip_ranges(server)[1:]]
    assert len(starts) == 7 and starts == sorted(starts) and starts[0] == len(content) // 2
    assert (tmp_path / NAME / "ratings.csv").stat().st_size > 1000


def test_interrupted_download_is_resumed(server, tmp_path):
    content = server.publish(dataset())
    (tmp_path / f"{NAME}.zip.part").write_bytes(content[:100])
    fetch(server, tmp_path)
    assert zip_ranges(server) == ["bytes=100-"]


def test_download_restarts_without_range_support(server, tmp_path):
    server.publish(dataset())
    server.ranges, server.drops = False, 1
    assert (fetch(server, tmp_path) / "ratings.csv").is_file()
    assert len(zip_ranges(server)) == 2


def test_complete_part_is_kept_and_too_long_part_replaced(server, tmp_path):
    content = server.publish(dataset())
    part = tmp_path / f"{NAME}.zip.part"
    part.write_bytes(content)
    assert (fetch(server, tmp_path) / "ratings.csv").is_file()
    part.write_bytes(content + b"more")
    download.download(f"{server.url}/{NAME}.zip", part, backoff=0.001)
    assert part.read_bytes() == content
    assert zip_ranges(server) == [f"bytes={len(content)}-", f"bytes={len(content) + 4}-", None]


def test_server_errors_are_retried_and_refusals_are_not(server, tmp_path):
    server.publish(dataset())
    server.statuses = [503, 500, 429]
    assert (fetch(server, tmp_path / "a") / "ratings.csv").is_file()
    server.statuses = [403]
    with pytest.raises(UserError, match=rf"{NAME}.zip cannot be downloaded \(HTTP 403 .*pass --ratings"):
        fetch(server, tmp_path / "b")
    server.statuses = [503] * 99
    with pytest.raises(UserError, match="HTTP 503"):
        fetch(server, tmp_path / "c")
    assert len(server.statuses) == 94


def test_unreachable_server_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/ml-1m.zip.md5 cannot be downloaded \(.*refused"):
        download.fetch("ml-1m", tmp_path, "http://127.0.0.1:9", backoff=0.001)
    with pytest.raises(UserError, match=f"set {download.URL_VARIABLE} to one that starts with http"):
        download.fetch("ml-1m", tmp_path, "elsewhere")


def test_wrong_checksum_deletes_the_file(server, tmp_path):
    server.publish(dataset(), md5="0" * 32)
    with pytest.raises(
        UserError, match=rf"{NAME}.zip has MD5 \w{{32}} after .*, expected 0{{32}}: the damaged file was deleted"
    ):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_published_checksum_must_match_the_known_one(server, tmp_path):
    server.files["/ml-20m.zip.md5"] = b"00000000000000000000000000000000  ml-20m.zip"
    with pytest.raises(
        UserError, match=r"ml-20m.zip.md5 contains 0{32}, but the published ml-20m.zip has cd245b17a1ae2cc3"
    ):
        download.fetch("ml-20m", tmp_path, server.url, backoff=0.001)
    assert list(tmp_path.iterdir()) == []


def test_unpublished_checksum_is_reported_and_the_known_one_verified(server, tmp_path, capsys, monkeypatch):
    content = server.publish(dataset(), md5=None)
    fetch(server, tmp_path / "a")
    assert f"{NAME}.zip.md5 is not published" in capsys.readouterr().err
    pinned = movielens.Archive(NAME, ("ratings.csv",), hashlib.md5(content).hexdigest()[::-1], NAME)
    monkeypatch.setitem(movielens.ARCHIVES, NAME, pinned)
    with pytest.raises(UserError, match=f"expected {pinned.md5}: the damaged file was deleted"):
        fetch(server, tmp_path / "b")


@pytest.mark.parametrize("name", ["../evil.csv", "/evil.csv", f"{NAME}/../../evil.csv", "..\\evil.csv", "C:evil.csv"])
def test_paths_outside_the_archive_are_refused(server, tmp_path, name):
    server.publish(dataset(**{name: "gotcha"}))
    with pytest.raises(UserError, match="unsafe entry"):
        fetch(server, tmp_path / "inner")
    assert list((tmp_path / "inner").iterdir()) == [] and not list(tmp_path.rglob("evil*"))


def test_symbolic_links_are_refused(server, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo(f"{NAME}/ratings.csv")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    server.publish(buffer.getvalue())
    with pytest.raises(UserError, match=f"unsafe entry '{NAME}/ratings.csv'"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"<html>not a zip</html>", zipped({"other/ratings.csv": "x"}), dataset()[:5000]],
    ids=["page", "other files", "cut off"],  # zip files contain the time: pytest's own ids would differ among workers
)
def test_damaged_or_wrong_archives_are_refused(server, tmp_path, content):
    server.publish(content)
    with pytest.raises(UserError, match="is damaged|it is not the published archive"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []
