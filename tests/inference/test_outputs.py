"""Results at addresses: fsspec's file system in memory, and a server that stores files."""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from gnnrec.cli.main import run_command
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference import outputs
from gnnrec.inference.export_directory import ExportDirectory
from gnnrec.training.run import train
from tests.configs import make_config
from tests.inference.made_export import KINDS, make_dataset, make_export

pytestmark = pytest.mark.slow


class Storing(SimpleHTTPRequestHandler):
    """Serves a directory, and stores what is put there; notes the order."""

    stored: list[str] = []

    def do_PUT(self) -> None:
        path = Path(self.translate_path(self.path))
        path.parent.mkdir(parents=True, exist_ok=True)
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            content = self.rfile.read(int(self.headers["Content-Length"]))
        path.write_bytes(content)
        self.stored.append(self.path)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    """Address of the directory ``served``."""
    (tmp_path / "served").mkdir()
    Storing.stored.clear()
    handler = functools.partial(Storing, directory=str(tmp_path / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    if system.exists("/bucket"):
        system.rm("/bucket", recursive=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gnnrec" / "outputs"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def exported(dataset, tmp_path_factory) -> Path:
    return make_export(dataset, tmp_path_factory.mktemp("export") / "made", **KINDS["float32"])


def pairs(dataset, place: Path) -> list[str]:
    raw = {"userId": dataset.users["user"][:9], "movieId": dataset.movies["movie"][:9]}
    pd.DataFrame(raw).to_csv(place / "pairs.csv", index=False)
    return ["--pairs", str(place / "pairs.csv"), "--device", "cpu"]


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet"])
def test_predictions_at_an_address_are_those_here(dataset, exported, tmp_path, memory, name):
    words = pairs(dataset, tmp_path)
    run_command(["predict", str(exported), *words, "--out", str(tmp_path / name)])
    run_command(["predict", str(exported), *words, "--out", f"memory://bucket/{name}"])
    assert memory.ls("/bucket", detail=False) == [f"/bucket/{name}"]
    stored = io.BytesIO(memory.cat(f"/bucket/{name}"))
    read = pd.read_parquet if name.endswith("parquet") else functools.partial(
        pd.read_csv, compression="gzip" if name.endswith("gz") else None
    )  # fmt: skip
    pd.testing.assert_frame_equal(read(stored), read(tmp_path / name))
    with pytest.raises(
        UserError, match=f"memory://bucket/{name} exists already: choose another address or pass --over"
    ):
        run_command(["predict", str(exported), *words, "--out", f"memory://bucket/{name}"])
    run_command(["predict", str(exported), *words, "--out", f"memory://bucket/{name}", "--overwrite"])


def test_predictions_are_put_on_a_server(dataset, exported, tmp_path, server):
    words = pairs(dataset, tmp_path)
    run_command(["predict", str(exported), *words, "--out", str(tmp_path / "here.csv")])
    run_command(["predict", str(exported), *words, "--out", f"{server}/deep/there.csv"])
    assert (tmp_path / "served" / "deep" / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def assert_same_directory(memory, root: str, here: Path) -> None:
    names = sorted(path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file())
    assert sorted(name.removeprefix(f"{root}/") for name in memory.find(root)) == names and "manifest.json" in names
    for name in names:
        if name != "manifest.json":  # it has the time of writing
            assert memory.cat(f"{root}/{name}") == (here / name).read_bytes(), name


def test_recommendations_at_an_address_are_those_here(exported, tmp_path, memory, cache):
    words = ["recommend", str(exported), "--all", "--top", "3", "--part-rows", "7", "--device", "cpu", "--out"]
    run_command([*words, str(tmp_path / "here")])
    run_command([*words, "memory://bucket/lists"])
    assert_same_directory(memory, "/bucket/lists", tmp_path / "here")
    assert list(cache.iterdir()) == []
    with pytest.raises(
        UserError, match="memory://bucket/lists exists already: choose another address or pass --overwr"
    ):
        run_command([*words, "memory://bucket/lists"])
    run_command([*words[:4], "2", *words[5:], "memory://bucket/lists", "--overwrite"])
    table = pd.concat(
        pd.read_parquet(io.BytesIO(memory.cat(name))) for name in memory.glob("/bucket/lists/*/*.parquet")
    )
    assert table["rank"].max() == 2


def test_an_export_at_an_address_is_that_here(dataset, tmp_path, memory):
    train(make_config(dataset.directory, tmp_path / "run"), World())
    words = [
        "export",
        str(tmp_path / "run"),
        "--part-rows",
        "20",
        "--formats",
        "parquet,npy",
        "--device",
        "cpu",
        "--out",
    ]
    run_command([*words, str(tmp_path / "here")])
    run_command([*words, "memory://bucket/export"])
    assert_same_directory(memory, "/bucket/export", tmp_path / "here")
    memory.get("/bucket/export", str(tmp_path / "back"), recursive=True)
    run_command(["export", "--verify", str(tmp_path / "back")])
    with pytest.raises(UserError, match="--wandb logs the path of an export on this machine"):
        run_command([*words, "memory://bucket/other", "--wandb", "true"])


def test_the_manifest_is_put_last(exported, tmp_path, server):
    words = ["recommend", str(exported), "--all", "--part-rows", "7", "--device", "cpu", "--out", f"{server}/lists"]
    run_command(words)
    assert len(Storing.stored) > 3 and Storing.stored[-1] == "/lists/manifest.json"
    assert ExportDirectory(tmp_path / "served" / "lists").is_complete
    with pytest.raises(UserError, match="/lists exists already"):
        run_command(words)


def test_an_interrupted_copy_leaves_no_manifest_and_is_repeated(exported, memory, cache, monkeypatch):
    words = [
        "recommend",
        str(exported),
        "--all",
        "--part-rows",
        "7",
        "--device",
        "cpu",
        "--out",
        "memory://bucket/lists",
    ]
    put, count = outputs._put, []

    def failing(*arguments):
        count.append(arguments)
        if len(count) == 3:
            raise OSError("connection lost")
        put(*arguments)

    monkeypatch.setattr(outputs, "_put", failing)
    with pytest.raises(UserError, match=r"memory://bucket/lists cannot be written \(connection lost\)"):
        run_command(words)
    assert len(memory.find("/bucket/lists")) == 2 and not memory.exists("/bucket/lists/manifest.json")
    (kept,) = cache.iterdir()
    assert ExportDirectory(kept).is_complete
    run_command(words)
    assert memory.exists("/bucket/lists/manifest.json") and list(cache.iterdir()) == []


def test_file_systems_that_cannot_be_written_are_named(dataset, exported, tmp_path):
    words = pairs(dataset, tmp_path)
    for address in ("nosuchsystem://a/b.csv", "http://127.0.0.1:9/b.csv"):
        with pytest.raises(UserError, match=f"{address} cannot be written .*check the address") as caught:
            run_command(["predict", str(exported), *words, "--out", address])
        assert "\n" not in str(caught.value)
