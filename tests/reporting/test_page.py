"""The files: complete, without anything from elsewhere, and for every kind of run."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from gnnrec.cli.main import run_command
from gnnrec.distributed.world import World
from gnnrec.reporting.comparison import comparison_page
from gnnrec.reporting.content import Table
from gnnrec.reporting.run_records import distinct_names, read_run
from gnnrec.training.checkpoint.info import read_info
from gnnrec.training.run import train
from gnnrec.utils.files import sha256
from tests.configs import make_config
from tests.reporting.conftest import NASTY, data, figure, page_of, section_names

pytestmark = pytest.mark.slow


class Resources(HTMLParser):
    """Collects what a page would load, and its text and elements."""

    def __init__(self, path: Path):
        super().__init__()
        self.loads, self.links, self.text, self.elements = [], [], "", []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action", "poster"):
                (self.links if tag == "a" else self.loads).append(value)

    def handle_data(self, text):
        self.text += text


@pytest.fixture(scope="module")
def report(rating_run, tmp_path_factory) -> Path:
    """The report of the rating run."""
    out = tmp_path_factory.mktemp("reports") / "rating"
    run_command(["report", str(rating_run), "--out", str(out), "--device", "cpu"])
    return out


def test_the_page_loads_no_resources(report):
    found = Resources(report / "report.html")
    assert found.loads == ["data:,"]
    assert found.links and all(link.startswith("#") for link in found.links)
    text = (report / "report.html").read_text()
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert "@import" not in style and "url(" not in style
    specs = json.loads(re.search(r'id="specs" type="application/json">(.*?)</script>', text, re.DOTALL)[1])
    assert '"url"' not in json.dumps(specs)


def test_every_link_of_the_page_has_a_target(report):
    found = Resources(report / "report.html")
    anchors = re.findall(r'<section id="(\w+)"', (report / "report.html").read_text())
    assert [f"#{anchor}" for anchor in anchors] == found.links
    assert len(set(anchors)) == len(anchors) == 11


def test_each_chart_has_a_png(report):
    names = re.findall(r'data-spec="([\w.]+)"', (report / "report.html").read_text())
    pictures = {path.stem: path.read_bytes() for path in report.glob("*.png")}
    assert len(names) >= 12 and set(names) == set(pictures)
    assert all(each.startswith(b"\x89PNG") and len(each) > 3000 for each in pictures.values())
    assert {path.suffix for path in report.iterdir()} == {".png", ".html"}


def test_titles_are_escaped(report):
    found = Resources(report / "report.html")
    assert NASTY in found.text
    assert "b" not in found.elements


def test_the_head_describes_the_run(report, rating_run):
    text = Resources(report / "report.html").text
    summary = json.loads((rating_run / "summary.json").read_text())
    for wanted in ("60 users", "1,400 ratings", "GraphSAGE, 1 layer, 8 dimensions", f"{summary['test_rmse']:.4f}"):
        assert wanted in text
    assert summary["torch_version"] in text and "biased MF (ALS)" in text


def test_a_rating_run_has_all_sections(rating_run):
    assert section_names(page_of(rating_run)) == [
        "results", "lists", "curves", "fails", "calibration", "map", "recommendations", "similar", "leakage", "time",
        "options",
    ]  # fmt: skip


def test_errors_without_time_come_first_and_are_explained(rating_run, bare_run):
    page = page_of(rating_run, users=1)
    labels = [tile.label for tile in page.tiles]
    assert labels[:2] == ["test RMSE without time", "test RMSE"] and "validation RMSE without time" in labels
    assert page.sections[0].items[0].head[1:3] == labels[:2]
    assert "selects the best checkpoint" in page.sections[0].text
    bare = page_of(bare_run, users=1)
    shown = " ".join([*(tile.label for tile in bare.tiles), *bare.sections[0].items[0].head, bare.sections[0].text])
    assert "test RMSE" in shown and "ithout time" not in shown


def test_a_ranking_run(ranking_run):
    page = page_of(ranking_run, users=2)
    assert section_names(page) == [
        "results", "curves", "fails", "map", "recommendations", "similar", "leakage", "time", "options",
    ]  # fmt: skip
    assert page.tiles[0].label == "test NDCG@100" and not page.notices
    assert len(page.sections[4].items) == 2
    names = data(figure(page, "results"))["name"].tolist()[:5]
    assert names == ["popularity", "recent popularity", "item kNN", "EASE", "this model"]


def test_a_run_without_titles_genres_times_and_baselines(bare_run):
    page = page_of(bare_run)
    assert "genre" not in data(figure(page, "movie_map"))
    assert data(figure(page, "movie_map"))["title"].str.startswith("m").all()
    (results,) = page.sections[0].items
    assert len(results.rows) == 1 and "No baselines" in results.caption
    assert "validation" not in " ".join(tile.label for tile in page.tiles)


def test_an_unfinished_run_has_a_notice_and_no_test_ratings(rating_run, tmp_path):
    shutil.copytree(rating_run, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    (tmp_path / "run" / "metrics.jsonl").open("a").write('{"step": 13, "ti')
    page = page_of(tmp_path / "run")
    assert "has not ended" in page.notices[0] and "step 12" in page.notices[0]
    assert "results" not in section_names(page)
    (fails,) = [section for section in page.sections if section.anchor == "fails"]
    assert "validation ratings" in fails.text and "test" not in fails.text
    assert "test" not in " ".join(tile.label for tile in page.tiles)


def test_a_run_without_checkpoints_shows_its_records(rating_run, tmp_path):
    shutil.copytree(rating_run, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "stopped.json").write_text('{"stopped": "by a signal, before anything was saved"}')
    page = page_of(tmp_path / "run")
    assert section_names(page) == ["curves", "time", "options"]
    assert "was stopped by a signal" in page.notices[0] and "only its records" in page.notices[1]


def test_a_run_that_diverged_still_has_its_curves(rating_run, tmp_path):
    shutil.copytree(rating_run, tmp_path / "run")
    (best,) = (tmp_path / "run" / "checkpoints").glob("best-*")
    weights = torch.load(best / "model.pt", weights_only=True)
    torch.save({name: torch.full_like(value, torch.nan) for name, value in weights.items()}, best / "model.pt")
    info = read_info(best)
    info.files["model.pt"] = sha256(best / "model.pt")
    (best / "checkpoint.json").write_text(info.text())
    line = json.dumps({"step": 12, "time": 0, "loss": float("nan")})
    (tmp_path / "run" / "metrics.jsonl").open("a").write(line + "\n")
    page = page_of(tmp_path / "run")
    assert "diverged" in page.notices[0]
    assert section_names(page) == ["results", "lists", "curves", "leakage", "time", "options"]
    assert data(figure(page, "curve_loss"))["value"].notna().all()


@pytest.mark.parametrize(
    "options", [{"refit": True}, {"objective": "ranking"}, {"model": {"head": "mlp", "layers": 0}}]
)
def test_other_kinds_of_runs(rating_run, tmp_path, options):
    train(make_config(rating_run.parent / "data", tmp_path / "run", **options), World())
    page = page_of(tmp_path / "run", users=1)
    assert not page.notices and {"fails", "map", "recommendations"} <= set(section_names(page))


def test_all_seconds_are_shown_by_name(rating_run, tmp_path):
    shutil.copytree(rating_run, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    summary |= {"sampling_seconds": 2.5, "evaluation_seconds": 1.25, "odd_seconds": None}
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    lines = [json.dumps(row | {"compute_seconds": 0.5} if "loss" in row else row) for row in rows]
    (tmp_path / "run" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    page = page_of(tmp_path / "run")
    found = data(figure(page, "seconds")).set_index("name")["value"]
    assert found["training · sampling"] == 2.5 and found["evaluation"] == 1.25 and "odd" not in found
    strong = data(figure(page, "seconds")).set_index("name")["strong"]
    assert strong["training"] and strong["evaluation"] and not strong["training · sampling"]
    found = data(figure(page, "seconds_by_step"))
    assert set(found["series"]) >= {"step", "sampling", "compute"} and "evaluation" not in set(found["series"])
    assert (found.query("series == 'compute'")["value"] == 500).all()


def test_several_ranks_and_their_shards_have_charts(rating_run, tmp_path):
    shutil.copytree(rating_run, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    summary["partition"] = {"users": [40, 20], "edges": [800, 600], "graph_bytes": [1, 1], "bytes_a_step": 2**21}
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary))
    page = page_of(tmp_path / "run")
    assert data(figure(page, "edges_by_rank"))["value"].tolist() == [800, 600]
    assert "ratio 1.143" in figure(page, "edges_by_rank").caption
    assert data(figure(page, "ratings_by_shard"))["series"].tolist() == ["rank 0"] * 4 + ["rank 1"] * 4
    for name, total in (("ratings", 1400), ("users", 60)):
        shards = data(figure(page, f"{name}_by_shard"))
        assert shards["value"].sum() == total and len(shards) == 8


def test_a_comparison(rating_run, tmp_path, capsys):
    data_place = rating_run.parent / "data"
    other = make_config(data_place, tmp_path / "other", model={"architecture": "gcn"}, optimizer={"epochs": 4})
    train(other, World())
    run_command(
        ["report", str(rating_run), str(tmp_path / "other"), "--out", str(tmp_path / "both"), "--device", "cpu"]
    )
    assert "report.html" in capsys.readouterr().out
    found = Resources(tmp_path / "both" / "report.html")
    summaries = [json.loads((run / "summary.json").read_text()) for run in (rating_run, tmp_path / "other")]
    first, second = (summary["test_rmse"] for summary in summaries)
    assert f"{first:.4f}" in found.text and f"{second:.4f}" in found.text
    assert f"{abs(100 * (second / first - 1)):.1f} %" in found.text and found.loads == ["data:,"]
    assert "model.architecture" in found.text and "optimizer.beta1" not in found.text and "run_dir" not in found.text
    assert (tmp_path / "both" / "curve_loss.png").exists()


def test_runs_of_different_objectives_share_no_charts(rating_run, ranking_run, tmp_path):
    runs = [read_run(run, name) for run, name in zip((rating_run, ranking_run), ("one", "two"))]
    page = comparison_page(runs)
    assert len(page.notices) == 2 and all("cannot be compared" in notice for notice in page.notices)
    assert "curves" not in section_names(page)
    (table,) = [item for item in page.sections[0].items if isinstance(item, Table)]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["test RMSE"][1] == "–" and rows["test NDCG@100"][0] == "–"


def test_names_of_runs_are_unique():
    assert distinct_names([Path("/a/one"), Path("/a/two")]) == ["one", "two"]
    assert distinct_names([Path("/a/run"), Path("/b/run")]) == ["a/run", "b/run"]


def test_text_that_cannot_be_drawn_is_escaped(monkeypatch, tmp_path):
    import vl_convert

    from gnnrec.reporting.content import Figure
    from gnnrec.reporting.page import _write_png

    drawn = []
    monkeypatch.setattr(vl_convert, "vegalite_to_png", lambda spec, **options: drawn.append(spec) or b"png")
    rows = [{"title": "An \x1b[31mE\x07S\x00C", "value": 3.5}, {"title": "\tgood \u00e9\n\U0001f600", "value": None}]
    _write_png(Figure("f", "Title", "", {"datasets": {"a": rows}, "mark": "bar"}), tmp_path)
    assert drawn[0]["datasets"]["a"] == [
        {"title": "An \\u001b[31mE\\u0007S\\u0000C", "value": 3.5},
        {"title": "\tgood \u00e9\n\U0001f600", "value": None},
    ]
