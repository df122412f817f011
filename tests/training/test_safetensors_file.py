"""Files of tensors are those of the safetensors library, both ways, and damaged ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from gnnrec.errors import UserError
from gnnrec.training.safetensors_file import read_tensors, write_pieces, write_tensors

BASE = torch.arange(60, dtype=torch.float32).reshape(6, 10)
TENSORS = {
    "transposed": BASE.T,
    "sliced": BASE[1::2, 3:7],
    "expanded": BASE[0].expand(3, 10),
    "bf16": BASE.bfloat16(),
    "levels": torch.arange(7),
    "flags": torch.tensor([True, False, True]),
    "empty": torch.zeros(0, 4),
    "step": torch.tensor(3.0, dtype=torch.float64),
}


def assert_same(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype and actual[name].shape == tensor.shape, name
        assert torch.equal(actual[name], tensor), name


def test_the_library_reads_what_is_written_and_its_files_are_read(tmp_path):
    write_tensors(tmp_path / "ours", TENSORS)
    assert_same(safetensors.torch.load_file(tmp_path / "ours"), TENSORS)
    safetensors.torch.save_file(
        {name: each.contiguous().clone() for name, each in TENSORS.items()}, tmp_path / "theirs"
    )
    assert_same(read_tensors(tmp_path / "theirs"), TENSORS)


def test_bytes_do_not_depend_on_the_order_of_names_or_on_pieces(tmp_path):
    write_tensors(tmp_path / "once", TENSORS)
    write_tensors(tmp_path / "reversed", dict(reversed(TENSORS.items())))
    kinds = {name: (tuple(each.shape), each.dtype) for name, each in TENSORS.items()}
    pieces = {name: iter(each.split(2) if each.dim() else [each]) for name, each in TENSORS.items()}
    write_pieces(tmp_path / "pieces", kinds, pieces)
    for name in ("reversed", "pieces"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "once").read_bytes(), name


def test_a_file_that_cannot_be_written_to_is_read_and_stays_as_it_is(tmp_path):
    write_tensors(tmp_path / "file", TENSORS)
    before = (tmp_path / "file").read_bytes()
    (tmp_path / "file").chmod(0o444)
    read_tensors(tmp_path / "file")["levels"].zero_()
    assert (tmp_path / "file").read_bytes() == before


def header(path: Path, change: dict) -> None:
    """Changes the entry of a tensor in the header."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + length])
    entries["levels"] |= change
    text = json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes((2).to_bytes(8, "little") + b"[]"),
        lambda path: header(path, {"dtype": "F32"}),
        lambda path: header(path, {"dtype": "COMPLEX"}),
        lambda path: header(path, {"shape": [-7]}),
        lambda path: header(path, {"shape": [8]}),
        lambda path: header(path, {"data_offsets": [0, 56]}),
        lambda path: header(path, {"data_offsets": None}),
    ],
    ids=["cut", "longer", "no length", "empty", "a list", "type", "unknown", "negative", "shape", "overlap", "none"],
)
def test_damage_is_named_in_one_line(tmp_path, damage):
    path = tmp_path / "file"
    write_tensors(path, TENSORS)
    damage(path)
    with pytest.raises(UserError, match=r"file is damaged \(.+\): download it again"):
        read_tensors(path)
