"""Checkpoints: written on some number of ranks, read on others, and refused when they are damaged."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.partition import partition
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.models.build import build_model
from gnnrec.models.options import ModelOptions
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.tables import NodeTables
from gnnrec.training.checkpoint import info as checkpoint_info
from gnnrec.training.checkpoint.info import CheckpointInfo, read_info
from gnnrec.training.checkpoint.read import load_checkpoint
from gnnrec.training.checkpoint.write import CheckpointState, CheckpointWriter, SaveFailed
from gnnrec.utils import files
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

pytestmark = pytest.mark.slow


def info_of(dataset: PreparedDataset, step: int = 30) -> CheckpointInfo:
    return CheckpointInfo(epoch=2, step=step, validation={"rmse": 0.9}, dataset=dataset.fingerprint)


def parts(dataset: PreparedDataset, world: World, shift: float) -> tuple[RankGraph, RatingModel, NodeTables]:
    """Graph, model and user rows, with a different value in every row and table."""
    graph = build_rank_graph(dataset, world)
    model, users = build_model(ModelOptions(dim=4, layers=2, architecture="gat"), graph, dataset, 0)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).view_as(parameter) + 1000.0 * number + shift)
        for number, row in enumerate(users.rows().values()):
            columns = row.numel() // graph.num_users
            rows = graph.user_rows[:, None] * columns + torch.arange(columns)
            row.copy_(rows.view_as(row) + 10_000.0 * number + shift)
    return graph, model, users


def save_on_rank(world: World, data: str, directory: str, shift: float) -> None:
    dataset = PreparedDataset(Path(data))
    graph, model, users = parts(dataset, world, shift)
    contents = CheckpointState({"model": model.state_dict()}, {"users": users.rows()}, graph.part).copy(world)
    CheckpointWriter(Path(directory), contents, info_of(dataset), world).finish()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("checkpoint"), shards=8)


@pytest.fixture(scope="module")
def three_rank_checkpoint(dataset, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "checkpoints" / "best"
    run_on_ranks(3, save_on_rank, str(dataset.directory), str(directory), 0.5)
    return directory


@pytest.fixture
def checkpoint(three_rank_checkpoint, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(three_rank_checkpoint, tmp_path / "best"))


def load_as(rank: int, size: int, dataset: PreparedDataset, directory: Path):
    """Reads a checkpoint as one of ``size`` ranks; reading calls no collectives."""
    graph, model, _ = parts(dataset, World(), 0.0)
    part = partition(dataset.manifest.shards, rank, size)
    users = model.user_tables(dataclasses.replace(graph, part=part))
    return load_checkpoint(directory, model, users, part), model, users


@pytest.mark.slow
def test_there_is_one_file_for_the_model_and_one_for_each_rank(dataset, three_rank_checkpoint):
    ranges = [partition(dataset.manifest.shards, rank, 3) for rank in range(3)]
    expected = {f"users-{part.start:010d}-{part.stop:010d}.pt" for part in ranges} | {"model.pt"}
    assert {path.name for path in three_rank_checkpoint.iterdir()} == expected | {"checkpoint.json"}
    assert [path.name for path in three_rank_checkpoint.parent.iterdir()] == ["best"]
    info = read_info(three_rank_checkpoint)
    assert info.files == {name: files.sha256(three_rank_checkpoint / name) for name in expected}
    assert (info.epoch, info.step, info.validation, info.dataset) == (2, 30, {"rmse": 0.9}, dataset.fingerprint)
    assert info.fingerprint == info.files["model.pt"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_any_number_of_ranks_reads_a_checkpoint_of_three(dataset, three_rank_checkpoint, size):
    _, expected, expected_users = parts(dataset, World(), 0.5)
    rows_by_rank = []
    for rank in range(size):
        info, model, users = load_as(rank, size, dataset, three_rank_checkpoint)
        assert info.step == 30
        state = model.state_dict()
        assert state.keys() == expected.state_dict().keys()
        for name, value in expected.state_dict().items():
            assert torch.equal(state[name], value), name
        rows_by_rank.append(users.rows())
    for name, rows in expected_users.rows().items():
        assert torch.equal(torch.cat([part[name] for part in rows_by_rank]), rows), name


@pytest.mark.slow
def test_three_ranks_read_a_checkpoint_of_one(dataset, tmp_path):
    save_on_rank(World(), str(dataset.directory), str(tmp_path / "last"), 0.25)
    expected = parts(dataset, World(), 0.25)[2].rows()
    rows_by_rank = [load_as(rank, 3, dataset, tmp_path / "last")[2].rows() for rank in range(3)]
    for name, rows in expected.items():
        assert torch.equal(torch.cat([part[name] for part in rows_by_rank]), rows), name


def test_a_checkpoint_replaces_the_previous_one(dataset, checkpoint):
    save_on_rank(World(), str(dataset.directory), str(checkpoint), 0.75)
    assert sum(path.name.startswith("users") for path in checkpoint.iterdir()) == 1
    assert [path.name for path in checkpoint.parent.iterdir()] == ["best"]
    expected = parts(dataset, World(), 0.75)[1].state_dict()
    state = load_as(0, 1, dataset, checkpoint)[1].state_dict()
    assert all(torch.equal(state[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    "failing", ["torch.save", "gnnrec.training.checkpoint.info.CheckpointInfo.text", "gnnrec.utils.files.sync"]
)
def test_a_failed_save_keeps_the_previous_checkpoint(dataset, checkpoint, monkeypatch, failing):
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}

    def fail(*args, **kwargs):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(failing, fail)
    with pytest.raises(SaveFailed, match="no space"):
        save_on_rank(World(), str(dataset.directory), str(checkpoint), 0.75)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before
    load_as(0, 1, dataset, checkpoint)
    # The next successful save removes the leftovers.
    save_on_rank(World(), str(dataset.directory), str(checkpoint), 0.75)
    assert [path.name for path in checkpoint.parent.iterdir()] == ["best"]


def refusal(dataset: PreparedDataset, directory: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_as(0, 1, dataset, directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["model", "users"])
@pytest.mark.parametrize("damage", ["a changed byte", "cut short", "removed"])
def test_damaged_and_missing_files_are_named(dataset, checkpoint, kind, damage):
    path = sorted(checkpoint.glob(f"{kind}*.pt"))[-1]
    content = bytearray(path.read_bytes())
    if damage == "removed":
        path.unlink()
    elif damage == "cut short":
        path.write_bytes(content[:-100])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    message = refusal(dataset, checkpoint)
    assert message.startswith(f"{path} ")
    assert ("is missing" if damage == "removed" else "does not match its checksum") in message


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"epoch": 1}', '{"epoch": 1, "what": 2}'])
def test_a_damaged_description_is_named(dataset, checkpoint, text):
    (checkpoint / "checkpoint.json").write_text(text)
    assert str(checkpoint / "checkpoint.json") in refusal(dataset, checkpoint)


@pytest.mark.parametrize("version", [None, 1, 2])
def test_another_format_is_refused_before_unknown_keys(dataset, checkpoint, version):
    path = checkpoint / "checkpoint.json"
    values = json.loads(path.read_text()) | {"format_version": version, "unknown": 5}
    del values["checksum"]
    if version is None:
        del values["format_version"]
    path.write_text(json.dumps(values | {"checksum": checkpoint_info._checksum(values)}))
    assert refusal(dataset, checkpoint) == (
        f"{path} was written by another version of gnnrec (format {version or 1}; this version reads 3): "
        "train again, or export with the version that wrote it"
    )


def test_the_format_is_version_3(checkpoint):
    assert json.loads((checkpoint / "checkpoint.json").read_text())["format_version"] == 3


@pytest.mark.parametrize("exists", [True, False])
def test_a_directory_without_a_checkpoint_is_named(dataset, tmp_path, exists):
    directory = tmp_path / "best"
    if exists:
        directory.mkdir()
    assert refusal(dataset, directory).startswith(f"{directory} is not a checkpoint")


def test_missing_users_are_counted(dataset, checkpoint):
    info = read_info(checkpoint)
    del info.files[sorted(name for name in info.files if name.startswith("users"))[1]]
    (checkpoint / "checkpoint.json").write_text(info.text())
    part = partition(dataset.manifest.shards, 1, 3)
    assert f"{dataset.num_users - part.num_users} of {dataset.num_users} users" in refusal(dataset, checkpoint)


@pytest.mark.parametrize(
    "options", [{"dim": 6}, {"dim": 4, "layers": 1}, {"dim": 4, "layers": 2, "architecture": "gcn"}], ids=str
)
def test_a_model_of_another_shape_is_refused(dataset, checkpoint, options):
    graph = build_rank_graph(dataset, World())
    model, users = build_model(ModelOptions(**{"architecture": "gat"} | options), graph, dataset, 0)
    with pytest.raises(UserError) as caught:
        load_checkpoint(checkpoint, model, users, graph.part)
    assert str(checkpoint / "model.pt") in str(caught.value) and "config.yaml" in str(caught.value)


@pytest.mark.parametrize("different", [{"dim": 5}, {"dim": 4, "messages": False}], ids=str)
def test_user_rows_of_another_shape_are_refused(dataset, checkpoint, different):
    graph, model, _ = parts(dataset, World(), 0.0)
    users = NodeTables("user", graph.user_rows, seed=0, init_std=1.0, id_init_std=1.0, **different)
    with pytest.raises(UserError, match="users-"):
        load_checkpoint(checkpoint, model, users, graph.part)
