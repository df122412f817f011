"""Movies for all users, in files, against a stable sort of all scores."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnnrec.cli.main import run_command
from gnnrec.distributed.shutdown import StopRequest
from gnnrec.distributed.world import World
from gnnrec.errors import Stopped, UserError
from gnnrec.inference import recommend_all as module
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.training.run import train
from tests.configs import make_config
from tests.distributed.ranks import run_on_ranks
from tests.inference.made_export import NEARLY, SATED, expected, make_dataset, make_export
from tests.inference.recommended import recommend_all

#: Exports with interest, which a dot head sums and an MLP head ranks.
INTERESTED = [{"interest": 3}, {"interest": 3, "head": "mlp"}]


def options_for(out: Path, **options) -> RecommendOptions:
    return RecommendOptions(all=True, out=out, **{"top": 6, "part_rows": 9} | options)


def write(place: Path, out: Path, world: World | None = None, **options) -> dict:
    return recommend_all(place, options_for(out, **options), world or World())


def on_ranks(world: World, place: Path, out: Path) -> dict:
    return write(place, out, world)


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [{}, {"dtype": "float16"}, {"head": "mlp"}, {"scale": None}, {"part_rows": 1000}, *INTERESTED],
    ids=str,
)
@pytest.mark.parametrize("options", [{}, {"top": 100}, {"genre": ["Comedy"], "part_rows": 1000}], ids=str)
def test_every_user_gets_the_best_unrated_movies(dataset, tmp_path, kind, options):
    place = make_export(dataset, tmp_path / "export", **kind)
    write(place, tmp_path / "out", **options)
    found = pd.read_parquet(tmp_path / "out" / "recommendations")
    allowed = np.array(["Comedy" in names for names in dataset.movies["genres"]]) if "genre" in options else None
    pd.testing.assert_frame_equal(found, expected(dataset, place, options.get("top", 6), allowed), check_dtype=False)
    assert not (found["user"] == SATED).any() and (found["user"] == NEARLY).sum() <= 2
    schema = pq.read_schema(tmp_path / "out" / "recommendations" / "part-0000000000.parquet")
    ratings = [pa.float32()] * ("interest" in kind)
    types = [schema.field(name).type for name in schema.names]
    assert types == [pa.int64(), pa.int32(), pa.int64(), pa.float32(), *ratings]


@pytest.mark.slow
@pytest.mark.parametrize("order_by", ["rating", "interest", "both"])
@pytest.mark.parametrize("kind", INTERESTED, ids=str)
def test_lists_have_the_requested_order(dataset, tmp_path, kind, order_by):
    place = make_export(dataset, tmp_path / "export", **kind)
    manifest = write(place, tmp_path / "out", order_by=order_by)
    found = pd.read_parquet(tmp_path / "out" / "recommendations")
    pd.testing.assert_frame_equal(found, expected(dataset, place, 6, order_by=order_by), check_dtype=False)
    assert manifest["score"] == {"both": "score"}.get(order_by, order_by)
    with pytest.raises(UserError, match="holds recommendations with order_by"):
        write(place, tmp_path / "out", order_by="rating" if order_by != "rating" else "both")


def test_string_ids(tmp_path):
    dataset = make_dataset(tmp_path, "strings")
    place = make_export(dataset, tmp_path / "export")
    write(place, tmp_path / "out")
    found = pd.read_parquet(tmp_path / "out" / "recommendations")
    pd.testing.assert_frame_equal(found, expected(dataset, place, 6), check_dtype=False)


def test_the_manifest_describes_the_files(dataset, made, tmp_path):
    manifest = write(made, tmp_path / "out", min_ratings=3)
    assert manifest == json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["format"] == "gnnrec-recommendations" and manifest["top"] == 6
    assert manifest["filters"] == "--min-ratings 3" and manifest["users"] == dataset.num_users
    names = [f"recommendations/part-{first:010d}.parquet" for first in range(0, dataset.num_users, 9)]
    assert sorted(manifest["files"]) == names == sorted(set(contents(tmp_path / "out")) - {"manifest.json"})
    for name, entry in manifest["files"].items():
        content = (tmp_path / "out" / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.slow
def test_any_number_of_ranks_writes_the_same_files(made, tmp_path):
    for size in (1, 3):
        run_on_ranks(size, on_ranks, made, tmp_path / str(size))
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


@pytest.mark.slow
def test_a_run_and_its_export_agree(dataset, tmp_path):
    from gnnrec.inference.export import ExportOptions, export

    train(make_config(dataset.directory, tmp_path / "run", optimizer={"lr": 0.05}), World())
    export(tmp_path / "run", ExportOptions(tmp_path / "export"), World())
    for place in ("run", "export"):
        write(tmp_path / place, tmp_path / f"of {place}")
    ours, theirs = (pd.read_parquet(tmp_path / f"of {place}" / "recommendations") for place in ("run", "export"))
    assert (ours[["user", "rank", "movie"]] == theirs[["user", "rank", "movie"]]).to_numpy().mean() > 0.99
    np.testing.assert_allclose(ours["score"], theirs["score"], rtol=1e-5)
    run_on_ranks(2, on_ranks, tmp_path / "run", tmp_path / "of two")
    two = pd.read_parquet(tmp_path / "of two" / "recommendations")
    np.testing.assert_allclose(ours["score"], two["score"], rtol=1e-4)


class Stopping(StopRequest):
    """Requests a stop after a number of checks."""

    def __init__(self, after: int):
        super().__init__()
        self.after = after

    @property
    def code(self) -> int:
        self.after -= 1
        return signal.SIGTERM if self.after < 0 else 0


def test_a_stopped_call_is_resumed_to_the_same_files(made, tmp_path, monkeypatch):
    write(made, tmp_path / "whole")
    out = tmp_path / "out"
    with pytest.raises(Stopped, match="SIGTERM"):
        write(made, out, World(stop=Stopping(after=2)))
    assert not (out / "manifest.json").exists()
    kept = sorted((out / "recommendations").iterdir())
    assert len(kept) == 2
    kept[1].write_bytes(b"damaged")
    times = kept[0].stat().st_mtime_ns
    (out / "recommendations" / "part-0000000018.parquet.tmp").write_bytes(b"half")
    write(made, out)
    assert kept[0].stat().st_mtime_ns == times
    assert contents(out) == contents(tmp_path / "whole")


def test_a_complete_directory_is_not_changed(made, tmp_path, capsys):
    write(made, tmp_path / "out")
    before = {name: os.stat(tmp_path / "out" / name).st_mtime_ns for name in contents(tmp_path / "out")}
    write(made, tmp_path / "out")
    assert "is already complete" in capsys.readouterr().out
    assert before == {name: os.stat(tmp_path / "out" / name).st_mtime_ns for name in contents(tmp_path / "out")}


def test_directories_with_other_content_are_refused(dataset, made, tmp_path):
    out = tmp_path / "out"
    write(made, out)
    other = make_export(dataset, tmp_path / "other", seed=1)
    for place, options, says in (
        (other, {}, "with model"),
        (made, {"top": 7}, "with top"),
        (made, {"min_year": 1985}, "with filters"),
        (made, {"part_rows": 10}, "with part_rows"),
    ):
        with pytest.raises(UserError, match=f"{says} .*--overwrite"):
            write(place, out, **options)
    write(other, out, overwrite=True)
    write(other, tmp_path / "fresh")
    assert contents(out) == contents(tmp_path / "fresh")


def test_nothing_but_recommendations_is_replaced(dataset, made, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    before = contents(made), contents(tmp_path / "thesis"), contents(dataset.directory)
    for out in (made, tmp_path / "thesis", dataset.directory):
        with pytest.raises(UserError, match="holds something else than recommendations"):
            write(made, out, overwrite=True)
    assert before == (contents(made), contents(tmp_path / "thesis"), contents(dataset.directory))


def fail_on_the_last_part(world: World, place: Path, out: Path) -> str:
    real = module.pq.write_table

    def full(table, path):
        if "part-0000000036" in str(path):
            raise OSError(28, "No space left on device")
        real(table, path)

    module.pq.write_table = full
    try:
        with pytest.raises(UserError) as caught:
            write(place, out, world)
    finally:
        module.pq.write_table = real
    return str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2])
def test_a_full_disk_is_one_line_on_every_rank(made, tmp_path, size):
    said = run_on_ranks(size, fail_on_the_last_part, made, tmp_path / "out")
    assert len(set(said)) == 1 and "No space left on device" in said[0] and "run the same command again" in said[0]
    assert not (tmp_path / "out" / "manifest.json").exists()
    write(made, tmp_path / "out")
    write(made, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_command(dataset, made, tmp_path, capsys):
    out = tmp_path / "out"
    run_command(["recommend", str(made), "--all", "--top", "3", "--out", str(out), "--max-year", "1999"])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"{out}: 3 of 18 movies for {dataset.num_users} users") and line.endswith("users/s")
    assert pd.read_parquet(out / "recommendations")["rank"].max() == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--all"], "--all needs --out"),
        (["--all", "--out", "x", "--top", "0"], "--top 0"),
        (["--all", "--out", "x", "--part-rows", "0"], "--part-rows 0"),
        (["--all", "--out", "x", "--genre", "Opera"], "--genre Opera"),
        (["--all", "--out", "x", "--user", "7"], "pass one of"),
    ],
)
def test_invalid_options_are_refused(made, words, says):
    with pytest.raises(UserError, match=says):
        run_command(["recommend", str(made), *words])
    assert not Path("x").exists()
