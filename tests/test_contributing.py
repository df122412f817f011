"""A layer and a data set are added as CONTRIBUTING.md says, and then work everywhere."""

from __future__ import annotations

import functools
import http.server
import importlib
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import torch

from benchmarks.steps import run_epoch
from gnnrec.config.train_config import parse_train_config
from gnnrec.data import movielens
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST
from gnnrec.distributed.world import World
from gnnrec.models import layers
from gnnrec.models.conv import MessageInputs
from gnnrec.models.layerwise import embed_all
from gnnrec.training.run import build_trainer
from tests.datasets import ratings_table, write_dataset
from tests.models.test_conv_pyg import CHANNELS, EDGES, OUT, RECEIVERS, SENDERS, messages_of

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def shrunk(tmp_path, monkeypatch):
    """The layer of the document, in a file that ``gnnrec/models/layers`` finds."""
    (tmp_path / "shrunk.py").write_text(BLOCKS[0])
    monkeypatch.setattr(layers, "__path__", [*layers.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield importlib.import_module("gnnrec.models.layers.shrunk")
    del sys.modules["gnnrec.models.layers.shrunk"], layers.shrunk


def test_the_layer_is_formatted_like_all_others(tmp_path):
    (tmp_path / "shrunk.py").write_text(BLOCKS[0])
    for command in ("check", "format --check"):
        words = [sys.executable, "-m", "ruff", *command.split(), "--config", ROOT / "pyproject.toml", tmp_path]
        result = subprocess.run(words, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout


def test_the_layer_computes_its_formula(shrunk):
    torch.manual_seed(0)
    pairs = torch.randperm(SENDERS * RECEIVERS)[:EDGES]
    sender, receiver = pairs % SENDERS, pairs // SENDERS
    conv, states = shrunk.ShrunkMeanConv(CHANNELS, OUT), torch.randn(SENDERS, CHANNELS)
    ours = conv(MessageInputs(states), None, messages_of(sender, receiver, to_users=False), None)
    adjacency = torch.zeros(RECEIVERS, SENDERS)
    adjacency[receiver, sender] = 1
    degree = adjacency.sum(1, keepdim=True)
    theirs = adjacency @ (states @ conv.lin_value.weight.T) * degree.sqrt() / (degree + 10) + conv.bias
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("sampled", [[], ["--loader.seed-users=11", "--loader.raters-per-movie=3"]])
def test_the_layer_trains_and_embeds_by_its_name(tmp_path, shrunk, sampled):
    dataset = write_dataset(tmp_path / "data")
    assert "shrunk" in layers.architectures()
    place = ["--data", str(dataset.directory), "--run-dir", "unused"]
    config = parse_train_config(
        [*place, "--model.architecture=shrunk", "--model.layers=2", "--model.dim=8", "--max-steps=3", *sampled]
    )
    trainer = build_trainer(config, dataset, World())
    assert [result.update.number for result in run_epoch(trainer, 0)] == [1, 2, 3]
    assert trainer.evaluate(TEST).rmse < 2
    # Sums over parts of the users are what the whole gives: so are those over ranks.
    whole = trainer.embed()
    parts = embed_all(trainer.replicated, trainer.users, trainer.graph, chunk=7)
    torch.testing.assert_close(parts.movie, whole.movie, rtol=1e-4, atol=1e-5)


def test_a_data_set_is_one_entry(tmp_path, monkeypatch, capsys):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with zipfile.ZipFile(tmp_path / "ml-extra.zip", "w") as archive:
        archive.writestr("ml-extra/ratings.csv", ratings_table(20, 15, 120).to_csv(index=False))
        archive.writestr("ml-extra/movies.csv", "movieId,title,genres\n2,One,Drama\n")
    text = BLOCKS[1].replace("https://example.org/datasets", f"http://127.0.0.1:{server.server_port}")
    entry = eval(text, {"Archive": movielens.Archive})
    monkeypatch.setitem(movielens.ARCHIVES, entry.name, entry)
    options = PrepareOptions(dataset="ml-extra", download_dir=tmp_path / "kept")
    assert prepare(tmp_path / "data", options).counts["ratings"] == 120
    assert "Licence and citation" in capsys.readouterr().out
    server.shutdown()
    server.server_close()
