"""The comparison of two versions: one bit is a difference, a new name is not, and nothing is not the same."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks import same_numbers
from benchmarks.same_numbers_cases import published, variants, write_raw
from benchmarks.same_numbers_names import is_ignored, option_word, translate
from benchmarks.same_numbers_read import read_directory

CONFIGS = Path(__file__).parents[2] / "configs"
RECORD = {"run/model/weight": "torch.float32 [2] ab", "run/summary/test_rmse": 0.1, "run/summary/best": None}


def write_run(directory: Path, tables: dict[str, torch.Tensor]) -> None:
    directory.mkdir(parents=True)
    for name, table in tables.items():
        torch.save({"ids": table}, directory / f"{name}.pt")
    records = [{"step": 1, "time": 12.5, "loss": 0.25, "step_seconds": 0.1, "name": "text"}]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_rows_in_several_files_are_one_table_and_clocks_and_text_are_left_out(tmp_path):
    table = torch.randn(5, 3)
    write_run(tmp_path / "one", {"users-0000000000-0000000005": table})
    write_run(tmp_path / "two", {"users-0000000003-0000000005": table[3:], "users-0000000000-0000000003": table[:3]})
    found = read_directory(tmp_path / "one", "run")
    assert found == read_directory(tmp_path / "two", "run")
    assert found.keys() == {"run/users/ids", "run/metrics/0/step", "run/metrics/0/loss"}


@pytest.mark.parametrize("changed", ["value", "sign of zero", "type", "shape"])
def test_every_bit_of_a_tensor_counts(tmp_path, changed):
    table = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    other = {
        "value": torch.nextafter(table, table + 1),
        "sign of zero": torch.tensor([[-0.0, 1.0], [2.0, 3.0]]),
        "type": table.double(),
        "shape": table.reshape(1, 4),
    }[changed]
    write_run(tmp_path / "one", {"model": table})
    write_run(tmp_path / "two", {"model": other})
    one, two = (read_directory(tmp_path / name, "run") for name in ("one", "two"))
    (line,) = same_numbers.differences({"a": one}, {"a": two})
    assert line.startswith("a: run/model/ids: ")


def test_tables_and_arrays_are_read(tmp_path):
    vectors = np.arange(6, dtype=np.float32)

    def write(name: str, last: float, movie: str) -> dict:
        folder = tmp_path / name / "users"
        folder.mkdir(parents=True)
        block = pa.FixedSizeListArray.from_arrays(pa.array(np.append(vectors[:5], np.float32(last))), 3)
        table = pa.table({"user": pa.array([4, 9]), "embedding": block, "movie": pa.array(["x", movie])})
        pq.write_table(table.slice(0, 1), folder / "part-0000000000.parquet")
        pq.write_table(table.slice(1), folder / "part-0000000001.parquet")
        np.savez(tmp_path / name / "head.npz", weight=vectors)
        np.save(tmp_path / name / "split.npy", vectors)
        return read_directory(tmp_path / name, "export")

    one, two = write("one", 5.0, "y"), write("two", 5.5, "z")
    assert one.keys() == {*(f"export/users/{name}" for name in ("user", "embedding", "movie"))} | {
        "export/head/weight",
        "export/split",
    }
    found = same_numbers.differences({"a": one}, {"a": two})
    assert [line.split(": ")[1] for line in found] == ["export/users/embedding", "export/users/movie"]


def test_a_file_of_an_unknown_kind_is_refused(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="no reader"):
        read_directory(tmp_path, "run")


def test_only_names_in_the_table_are_translated(monkeypatch):
    after = {
        "b-1": {"run/net/weight": RECORD["run/model/weight"], "run/summary/test_rmse": 0.1, "run/summary/best": None}
    }
    monkeypatch.setattr("benchmarks.same_numbers_names.RENAMED", [("^case/a-", "case/b-"), ("^run/model/", "run/net/")])
    assert same_numbers.differences({"a-1": RECORD}, after) == []
    assert same_numbers.differences({"a-1": RECORD}, {"a-1": RECORD}) == []
    monkeypatch.setattr("benchmarks.same_numbers_names.RENAMED", [("^case/a-", "case/b-")])
    assert same_numbers.differences({"a-1": RECORD}, after) == [
        "b-1: run/model/weight: only before",
        "b-1: run/net/weight: only after",
    ]
    monkeypatch.setattr("benchmarks.same_numbers_names.RENAMED", [("summary/.*", "summary")])
    with pytest.raises(SystemExit, match="two names become one"):
        same_numbers.differences({"a-1": RECORD}, after)


def test_cases_and_values_of_one_side_are_differences():
    less = {name: value for name, value in RECORD.items() if name != "run/summary/best"}
    assert same_numbers.differences({"a": RECORD, "b": RECORD}, {"a": less}) == [
        "a: run/summary/best: only before",
        "b: only before",
    ]
    changed = RECORD | {"run/summary/test_rmse": math.nextafter(0.1, 1), "run/summary/best": 0.0}
    assert len(same_numbers.differences({"a": RECORD}, {"a": changed})) == 2
    nan = RECORD | {"run/summary/test_rmse": float("nan")}
    assert same_numbers.differences({"a": nan}, {"a": copy.deepcopy(nan)}) == []


RUN = {f"run/model/{name}": "torch.float32 [2] ab" for name in range(6)} | {
    f"run/metrics/{row}/loss": 0.5 for row in range(3)
}


def write_recording(path: Path, cases: dict, only: str | None = None) -> Path:
    path.write_text(json.dumps({"made_with": {}, "only": only, "cases": cases}))
    return path


@pytest.mark.parametrize("only", [None, "rating"])
@pytest.mark.parametrize("cases", [{}, {"raw": RUN}, {"prepared-random": RUN}, {"rating-1": RECORD}, {"rating-1": {}}])
def test_recordings_that_lack_something_are_refused(tmp_path, cases, only):
    path = write_recording(tmp_path / "little.json", cases, only)
    with pytest.raises(SystemExit, match="not complete"):
        same_numbers.compare(path, path)


def test_a_part_is_compared_with_the_same_part_of_the_whole(tmp_path, monkeypatch, capsys):
    whole = {f"rating-{number}": RUN for number in range(3)}
    other = whole | {"rating-2": RUN | {"run/metrics/0/loss": 0.25}}
    paths = [write_recording(tmp_path / "a.json", whole), write_recording(tmp_path / "b.json", other)]
    with pytest.raises(SystemExit, match="not complete"):
        same_numbers.compare(*paths)
    for name in ("LEAST_CASES", "LEAST_ARRAYS", "LEAST_NUMBERS"):
        monkeypatch.setattr(same_numbers, name, 3)
    assert same_numbers.compare(*paths) == 1
    assert "rating-2: run/metrics/0/loss: 0.5 before, 0.25 after" in capsys.readouterr().out
    part = write_recording(tmp_path / "part.json", {"rating-1": RUN}, "-1$")
    assert same_numbers.compare(part, paths[1]) == 0
    assert capsys.readouterr().out == (
        "only a part of the cases is compared: -1$\nthe same bit for bit: 1 cases, 6 tensors and arrays, 3 numbers\n"
    )
    nothing = write_recording(tmp_path / "nothing.json", {"rating-0": RUN}, "-0$")
    with pytest.raises(SystemExit, match="not complete"):
        same_numbers.compare(part, nothing)


def test_options_are_spelled_as_the_tree_spells_them(monkeypatch):
    table = [("loader/parts", "loader/pieces"), ("loader/rows=touched", "loader/rows=active")]
    monkeypatch.setattr("benchmarks.same_numbers_names.RENAMED", table)
    old, new = "--loader.parts N --loader.rows {all,touched}", "--loader.pieces N --loader.rows {all,active}"
    asked = [("loader.parts", "3"), ("loader.rows", "touched"), ("loader.folds", "4")]
    spelled = [[option_word("run/config", *each, lambda text=text: text) for each in asked] for text in (old, new)]
    assert spelled[0] == ["--loader.parts=3", "--loader.rows=touched", "--loader.folds=4"]
    assert spelled[1] == ["--loader.pieces=3", "--loader.rows=active", "--loader.folds=4"]
    with pytest.raises(ValueError, match="neither"):
        option_word("run/config", "loader.parts", "3", lambda: "")


def test_figures_of_the_configuration_are_not_taken_for_clocks():
    assert not any(
        map(is_ignored, ["run/config/model/time", "run/config/checkpoint/every_minutes", "run/metrics/0/loss"])
    )
    assert all(map(is_ignored, ["run/metrics/0/time", "run/summary/seconds/compute", "run/metrics/3/memory_gib"]))


def test_every_case_has_a_name_of_its_own_and_every_config_two():
    cases = published(CONFIGS) + variants()
    assert len({case.label for case in cases}) == len(cases)
    names = {path.stem for path in CONFIGS.glob("*.yaml")} - {"sweep"}
    assert {case.label for case in published(CONFIGS)} == {f"{name}-{ranks}" for name in names for ranks in (1, 2)}
    assert translate("case/rating-1") == "case/rating-1"


def test_raw_ratings_are_the_same_each_time(tmp_path):
    write_raw(tmp_path / "one")
    write_raw(tmp_path / "two")
    found = read_directory(tmp_path / "one", "raw")
    assert found == read_directory(tmp_path / "two", "raw") and len(found) == 2
