"""Exports that follow a parent: scores stay, vectors stay comparable, and deltas lead from one to the next."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.export_verify import VerifyOptions, verify
from gnnrec.inference.generations.alignment import Rows, align, orthogonal_map
from gnnrec.inference.generations.delta import open_delta, write_delta
from gnnrec.inference.generations.stored_rows import StoredRows
from gnnrec.inference.generations.verify_deltas import verify_deltas
from gnnrec.inference.user_encoder import Vectors
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.inference.exports import exported, table_of
from tests.inference.made_export import make_dataset, make_export


def test_a_turned_copy_is_turned_back():
    rng, blocks = np.random.default_rng(0), [slice(0, 4), slice(4, 9)]
    sides = []
    for rows in (30, 20):
        old = rng.normal(size=(rows, 9))
        new = np.concatenate(
            [old[:, :4] @ ortho_group.rvs(4, random_state=1), old[:, 4:] @ ortho_group.rvs(5, random_state=2)], 1
        )
        sides.append(Rows(new, old, rng.normal(size=rows), rng.normal(size=rows)))
    found = align(*sides, blocks, offset=3.0, old_offset=2.5)
    for side, of in zip(sides, (found.of_users, found.of_movies), strict=True):
        turned = of(Vectors(torch.from_numpy(side.new).float(), torch.from_numpy(side.new_bias).float()))
        torch.testing.assert_close(turned.vector, torch.from_numpy(side.old).float(), atol=1e-5, rtol=0)
    assert found.offset == 2.5
    assert found.user_shift + found.movie_shift == pytest.approx(0.5)
    assert np.mean(sides[1].new_bias + found.movie_shift - sides[1].old_bias) == pytest.approx(0, abs=1e-6)


def test_one_side_alone_gives_the_map_of_scipy():
    rng = np.random.default_rng(0)
    new, old = rng.normal(size=(2, 40, 6))
    np.testing.assert_allclose(orthogonal_map([(new, old)]), orthogonal_procrustes(new, old)[0], atol=1e-10)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Two trainings from different seeds."""
    place = tmp_path_factory.mktemp("generations")
    data = write_dataset(place / "data", 37, 29, shards=7)
    found = [place / f"run{seed}" for seed in (1, 2)]
    for seed, run in enumerate(found, 1):
        train(make_config(data.directory, run, seed=seed, optimizer={"lr": 0.05}), World())
    return found


def scores(out: Path) -> np.ndarray:
    (_, user, user_bias), (_, movie, movie_bias) = (table_of(out, kind) for kind in ("user", "movie"))
    manifest = json.loads((out / "manifest.json").read_text())
    return manifest["offset"] + user_bias[:, None] + movie_bias + user.astype(np.float64) @ movie.T


def test_an_export_that_follows_has_its_own_scores_and_the_parents_directions(runs, tmp_path):
    first, alone, following = tmp_path / "first", tmp_path / "alone", tmp_path / "following"
    exported(runs[0], first)
    exported(runs[1], alone)
    manifest = exported(runs[1], following, parent=first, tolerance=0.0, delta=tmp_path / "delta", part_rows=10)
    np.testing.assert_allclose(scores(following), scores(alone), atol=1e-5)
    assert manifest["offset"] == read_manifest(first)["offset"]
    apart = [np.linalg.norm(table_of(out, "movie")[1] - table_of(first, "movie")[1]) for out in (following, alone)]
    assert apart[0] < apart[1]
    assert manifest["parent"]["users"] == pytest.approx(
        {"same": 0, "changed": 37, "new": 0, "removed": 0, "mean_cosine": 1, "lowest_cosine": 1}, abs=2
    )
    verify(following, VerifyOptions(base=first, deltas=[str(tmp_path / "delta")]))


def follow_first(world: World, run: str, parent: str, out: str) -> None:
    exported(Path(run), Path(out), world, parent=Path(parent), tolerance=0.3, part_rows=10)


@pytest.mark.slow
@pytest.mark.processes
def test_two_ranks_write_the_rows_of_one(runs, tmp_path):
    exported(runs[0], tmp_path / "first")
    for ranks, name in ((1, "one"), (2, "two")):
        run_on_ranks(ranks, follow_first, str(runs[1]), str(tmp_path / "first"), str(tmp_path / name))
    for kind in ("user", "movie"):
        for one, two in zip(table_of(tmp_path / "one", kind), table_of(tmp_path / "two", kind), strict=True):
            np.testing.assert_allclose(one, two, atol=1e-6)


def test_rows_within_the_tolerance_are_the_parents(runs, tmp_path):
    exported(runs[0], tmp_path / "first")
    manifest = exported(
        runs[1], tmp_path / "second", parent=tmp_path / "first", tolerance=1e3, delta=tmp_path / "delta"
    )
    for kind in ("user", "movie"):
        for one, two in zip(table_of(tmp_path / "first", kind), table_of(tmp_path / "second", kind), strict=True):
            np.testing.assert_array_equal(one, two)
    assert manifest["parent"]["movies"]["same"] == 29
    assert open_delta(tmp_path / "delta").manifest["users"] == 0


def test_the_same_run_again_changes_nothing(runs, tmp_path):
    exported(runs[0], tmp_path / "first")
    manifest = exported(runs[0], tmp_path / "again", parent=tmp_path / "first", tolerance=0.0)
    assert manifest["parent"]["users"]["same"] == 37
    assert manifest["parent"]["movies"]["lowest_cosine"] == pytest.approx(1)


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> tuple[list[Path], list[Path]]:
    """Three exports, the second of other users and movies, with the deltas between them."""
    place = tmp_path_factory.mktemp("chain")
    numbers, letters = make_dataset(place / "numbers"), make_dataset(place / "letters", ids="strings")
    exports = [make_export(numbers, place / "0", seed=0), make_export(numbers, place / "1", seed=1)]
    exports.append(make_export(letters, place / "2", seed=1))
    stored = [StoredRows(out, read_manifest(out)) for out in exports]
    deltas = [place / "0-1", place / "1-2"]
    for number, out in enumerate(deltas):
        write_delta(stored[number], stored[number + 1], out, overwrite=False)
    return exports, deltas


def test_a_base_and_its_deltas_are_the_later_exports(chain):
    exports, deltas = chain
    assert "40 users and 29 movies" in verify_deltas(exports[0], deltas[:1], exports[1])
    assert "2 deltas" in verify_deltas(exports[0], deltas, exports[2])
    manifest = open_delta(deltas[1]).manifest
    assert (manifest["users"], manifest["removed_users"], manifest["removed_movies"]) == (40, 40, 29)


@pytest.mark.parametrize(
    ("base", "order", "full", "message"),
    [(0, [1, 0], 2, "does not follow"), (0, [0], 2, "does not lead to"), (1, [0], 1, "does not follow")],
)
def test_deltas_out_of_order_are_refused(chain, base, order, full, message):
    exports, deltas = chain
    with pytest.raises(UserError, match=message):
        verify_deltas(exports[base], [deltas[number] for number in order], exports[full])


def test_a_changed_row_is_found(chain, tmp_path):
    """Fingerprints do not help: the manifest of the later export is as before."""
    (first, second, _), deltas = chain
    out = tmp_path / "second"
    out.mkdir()
    rows = StoredRows(second, read_manifest(second))
    for folder in ("users", "movies"):
        (out / folder).mkdir()
        for path in rows.files(folder):
            source = (
                StoredRows(first, read_manifest(first)).files(folder)[0] if path.name.endswith("007.parquet") else path
            )
            (out / folder / path.name).write_bytes(source.read_bytes() if folder == "movies" else path.read_bytes())
    (out / "manifest.json").write_text((second / "manifest.json").read_text())
    with pytest.raises(UserError, match="0000000007.parquet: movie 2 differs from"):
        verify_deltas(first, deltas[:1], out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": "delta"}, "pass that one with --parent"),
        ({"parent": "nothing"}, "is not a complete export"),
        ({"parent": "first", "ratings": "ratings.csv"}, "leave out --ratings"),
        ({"parent": "first", "dtype": "float16"}, "pass --dtype float32"),
        ({"parent": "made"}, "5 \\+ 0 columns"),
        ({"parent": "mlp"}, "MLP head"),
    ],
)
def test_what_cannot_be_followed_is_refused(runs, tmp_path, options, message):
    exported(runs[0], tmp_path / "first")
    dataset = make_dataset(tmp_path / "dataset")
    for name, words in (("made", {}), ("mlp", {"head": "mlp"})):
        manifest = json.loads((make_export(dataset, tmp_path / name, **words) / "manifest.json").read_text())
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest | {"objective": "rating"}))
    places = {name: value if name == "dtype" else tmp_path / value for name, value in options.items()}
    with pytest.raises(UserError, match=message):
        exported(runs[1], tmp_path / "out", **places)
    assert not (tmp_path / "out" / "manifest.json").exists()
