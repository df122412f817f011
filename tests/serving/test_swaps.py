"""Another export takes the place of the one that is served, and a damaged one does not."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gnnrec.errors import UserError
from gnnrec.serving import attempts
from gnnrec.serving import convert as convert_module
from gnnrec.serving.app import ServingApp, create_app
from gnnrec.serving.convert import SERVED, convert, converted_path, is_converted
from gnnrec.serving.live import find_export
from gnnrec.serving.snapshot import Snapshot
from tests.serving.client import Question, ask, get
from tests.serving.float_export import make_float_export


@pytest.fixture
def link(dataset, tmp_path) -> Path:
    """A link to the first of the exports ``1`` and ``2``."""
    for number in (1, 2):
        make_float_export(dataset, tmp_path / str(number), seed=number)
    (tmp_path / "current").symlink_to("1")
    return tmp_path / "current"


def point(link: Path, target: str) -> None:
    """Replaces a link atomically."""
    (link.parent / "next").symlink_to(target)
    (link.parent / "next").replace(link)


def refresh(app: ServingApp) -> bool:
    """Does at once what the application does from time to time; returns whether there was anything."""
    changed = app.live._watched.changed()
    if changed:
        asyncio.run(app.live.refresh())
    return changed


def test_a_link_that_names_another_export(link):
    app = create_app(link)
    before = ask(app, get("/recommend", user=7)).json
    assert not refresh(app)
    point(link, "2")
    assert refresh(app) and app.live.swaps == 1
    after = ask(app, get("/recommend", user=7)).json
    alone = ask(create_app(link.parent / "2"), get("/recommend", user=7)).json
    assert after == alone and after["generation"] != before["generation"]
    again = ask(app, get("/recommend", user=7, generation=before["generation"])).json
    assert again == before  # pages that were begun
    point(link, "1")
    assert refresh(app) and ask(app, get("/recommend", user=7)).json == before


@pytest.mark.slow
def test_snapshots_that_were_replaced_are_closed_at_once(link):
    app, counts = create_app(link), []
    gc.collect()
    gc.disable()  # nothing waits for a garbage collection, which a frozen heap is left out of
    try:
        for number in range(6):
            point(link, "2" if number % 2 == 0 else "1")
            assert refresh(app)
            for path in ("/recommend?user=7&genre=drama", "/search?q=film", "/similar?movie=2"):
                assert ask(app, Question(path)).status == 200
            counts.append(len(os.listdir("/proc/self/fd")))
    finally:
        gc.enable()
    assert app.live.swaps == 6 and len(set(counts[1:])) == 1, counts


def test_a_page_of_a_generation_that_another_worker_has_opened_before(link):
    app = create_app(link)
    first = ask(app, get("/recommend", user=7, generation=app.live.current.generation))
    assert first.status == 200
    wanted = ask(create_app(link.parent / "2"), get("/recommend", user=7)).json
    unknown = get("/recommend", user=7, generation=wanted["generation"])
    assert ask(app, unknown).status == 409
    point(link, "2")
    assert ask(app, unknown).json == wanted and app.live.swaps == 1
    assert ask(app, get("/recommend", user=7, generation="none")).status == 409
    assert ask(app, get("/recommend", user=7, generation=first.json["generation"])).json == first.json


@pytest.mark.parametrize("error", [MemoryError(), IndexError("of numpy"), TypeError("of JSON")])
def test_whatever_fails_while_an_export_is_opened_is_tried_again(link, monkeypatch, error):
    monkeypatch.setattr(attempts, "FIRST_PAUSE", 0.05)
    app = create_app(link)
    point(link, "2")
    with monkeypatch.context() as patch:
        patch.setattr(Snapshot, "warm", lambda snapshot: _throw(error))
        assert refresh(app) and not refresh(app) and (app.live.swaps, app.live.refused) == (0, 1)
    time.sleep(0.06)
    assert refresh(app) and (app.live.swaps, app.live.refused) == (1, 1) and not refresh(app)


def _throw(error: Exception) -> None:
    raise error


def test_an_export_that_is_written_again_in_its_place(dataset, tmp_path):
    app = create_app(make_float_export(dataset, tmp_path / "export", seed=1))
    before = ask(app, get("/recommend", user=7)).json
    shutil.rmtree(tmp_path / "export")
    assert not refresh(app) and ask(app, get("/recommend", user=7)).json == before
    make_float_export(dataset, tmp_path / "export", seed=2)
    assert refresh(app)
    assert ask(app, get("/recommend", user=7)).json["generation"] != before["generation"]


def test_a_directory_of_generations(link):
    place = link.parent / "live"
    for number in ("1", "2"):
        generation = place / f"00000{number}"
        generation.mkdir(parents=True)
        (link.parent / number).rename(generation / "export")
        (generation / "generation.json").write_text(json.dumps({"run": "run", "number": int(number)}))
    (place / "current.json").write_text(json.dumps({"generation": "000001", "export": "000001/export"}))
    assert find_export(place) == (place / "000001" / "export").resolve()
    app = create_app(place)
    before = ask(app, get("/health")).json
    (place / "current.json").write_text(json.dumps({"generation": "000002", "export": "000002/export"}))
    assert refresh(app)
    after = ask(app, get("/health")).json
    assert (before["export"][-13:], after["export"][-13:]) == ("000001/export", "000002/export")


@pytest.mark.parametrize("damage", ["bytes", "truncated", "missing", "manifest"])
def test_a_damaged_export_is_refused_and_the_old_one_goes_on(link, damage):
    app = create_app(link)
    before = ask(app, get("/recommend", user=7)).json
    part = link.parent / "2" / "users" / "part-0000000007.parquet"
    content = part.read_bytes()
    if damage == "manifest":
        (link.parent / "2" / "manifest.json").write_text("{")
    elif damage == "missing":
        part.unlink()
    else:
        part.write_bytes(content[:-9] if damage == "truncated" else content[:200] + b"??" + content[202:])
    point(link, "2")
    assert refresh(app)
    assert (app.live.swaps, app.live.refused) == (0, 1)
    assert ask(app, get("/recommend", user=7)).json == before
    assert not refresh(app)  # it is not converted again and again


def test_arrays_are_converted_once_and_serve_without_the_export(dataset, tmp_path):
    out = make_float_export(dataset, tmp_path / "export")
    before = ask(create_app(out, cache_dir=tmp_path / "cache"), get("/recommend", user=7)).json
    arrays = converted_path(out, tmp_path / "cache")
    written = {path: path.stat().st_mtime_ns for path in arrays.iterdir()}
    assert convert(out, tmp_path / "cache") == arrays
    assert {path: path.stat().st_mtime_ns for path in arrays.iterdir()} == written
    assert not (tmp_path / ".export.served").exists()
    shutil.rmtree(out / "users")
    assert ask(create_app(out, cache_dir=tmp_path / "cache"), get("/recommend", user=7)).json == before


def test_an_export_that_is_replaced_while_it_is_converted(dataset, tmp_path, monkeypatch):
    first, second = (make_float_export(dataset, tmp_path / str(number), seed=number) for number in (1, 2))
    wanted = {path.name: path.read_bytes() for path in convert(second, tmp_path / "wanted").iterdir()}
    check, checked = convert_module.check_sums, []

    def check_and_replace(export: Path, manifest: dict, beginnings: tuple[str, ...]) -> None:
        check(export, manifest, beginnings)
        if not checked:
            first.rename(tmp_path / "old")
            shutil.copytree(second, first)
        checked.append(manifest["model_fingerprint"])

    monkeypatch.setattr(convert_module, "check_sums", check_and_replace)
    arrays = convert(first, tmp_path / "cache")
    assert checked == ["floats 1", "floats 2"] and [arrays] == list((tmp_path / "cache").iterdir())
    found = {path.name: path.read_bytes() for path in arrays.iterdir()}
    assert found.pop(SERVED) != wanted.pop(SERVED) and found == wanted  # the former has the place


def test_an_export_that_is_written_while_it_is_converted_is_refused(dataset, tmp_path, monkeypatch):
    out = make_float_export(dataset, tmp_path / "export")
    monkeypatch.setattr(convert_module, "check_sums", lambda *arguments: (out / "manifest.json").unlink())
    with pytest.raises(UserError, match="is not a complete export"):
        convert(out, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_one_of_several_processes_converts(export, tmp_path, monkeypatch):
    written, write = [], convert_module._write
    monkeypatch.setattr(convert_module, "_write", lambda *args: written.append(1) or time.sleep(0.1) or write(*args))
    with ThreadPoolExecutor(3) as pool:
        found = {*pool.map(lambda _: convert(export, tmp_path), range(3))}
    assert len(found) == len(written) == 1 and is_converted(*found)


@pytest.mark.slow
def test_what_killed_conversions_and_older_exports_left_is_removed(dataset, tmp_path):
    """A killed conversion is gone with the next one, and of all exports the last two that were served stay."""
    out, place = tmp_path / "export", tmp_path / ".export.served"
    app = create_app(make_float_export(dataset, out, seed=1))
    (place / f".{24 * 'a'}.tmp-12345678").mkdir()
    (place / "other").mkdir()
    for seed in (2, 3, 4):
        shutil.rmtree(out)
        make_float_export(dataset, out, seed=seed)
        assert refresh(app)
    kept = {converted_path(out), app.live._previous.directory, place / "other"}
    assert len(kept) == 3 and set(place.iterdir()) == kept


def test_incomplete_arrays_are_converted_again(export, tmp_path):
    arrays = convert(export, tmp_path)
    (arrays / "users.npy").write_bytes(b"")
    assert not is_converted(arrays)
    with pytest.raises(UserError, match="is incomplete: remove it and start again"):
        Snapshot(arrays)
    assert convert(export, tmp_path) == arrays and is_converted(arrays)
    (arrays / SERVED).unlink()
    assert convert(export, tmp_path) == arrays and is_converted(arrays)


def test_exports_that_cannot_be_served_are_refused(dataset, tmp_path):
    with pytest.raises(UserError, match="is not a complete export"):
        create_app(tmp_path)
    out = make_float_export(dataset, tmp_path / "export")
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | {"ratings": {"file": "new.csv", "fingerprint": "x"}}))
    with pytest.raises(UserError, match="has the users of new.csv: serve an export without --ratings"):
        create_app(out)
    (out / "manifest.json").write_text(json.dumps(manifest | {"data": str(tmp_path / "gone")}))
    with pytest.raises(UserError, match="does not exist: pass its path with --data"):
        create_app(out)
    assert ask(create_app(out, data=dataset.directory), get("/health")).status == 200
