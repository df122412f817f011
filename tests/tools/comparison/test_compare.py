"""``gnnrec compare`` tabulates several fits, each in a separate process, and can be interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import quality
from gnnrec.config.training_options import WandbOptions
from gnnrec.data.prepared import TEST, TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.tools.comparison import compare as comparison
from gnnrec.tools.comparison import launch, models
from gnnrec.tools.comparison.compare import CompareOptions, command, compare
from gnnrec.tools.comparison.fit import FitJob, fit, sums_path
from gnnrec.tools.comparison.models import choose
from gnnrec.tools.comparison.output import open_output
from gnnrec.training.run import train
from gnnrec.training.tracking.tracker import Tracker
from gnnrec.utils import files
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

pytestmark = pytest.mark.slow

SMALL = ["model.dim=4", "loader.folds=2", "optimizer.epochs=1", "device=cpu"]
MODELS = ["global mean", "sage"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("compare"))


def fit_here(job: FitJob, directory: Path, world: World) -> None:
    """Replaces :func:`launch.run` by a fit in this process, since starting one takes seconds."""
    found, sums = fit(job, job.train_config(), world)
    if world.is_main:
        if sums is not None:
            sums.save(sums_path(Path(job.result)))
        Path(job.result).write_text(json.dumps({"model": job.model, "seed": job.seed} | found))


def options(out: Path, names: list[str] = MODELS, seeds: int = 2, **others) -> CompareOptions:
    return CompareOptions(out=out, models=names, seeds=seeds, **{"set": SMALL} | others)


@pytest.fixture(scope="module")
def table(dataset, tmp_path_factory) -> Path:
    """The directory of a finished comparison."""
    out = tmp_path_factory.mktemp("tables") / "table"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "run", fit_here)
        compare(dataset.directory, options(out), World())
    return out


def test_rows_have_all_measurements(dataset, table):
    rows = json.loads((table / "comparison.json").read_text())
    assert [row["model"] for row in rows] == MODELS
    for row in rows:
        assert {*("data", "protocol", "model", "seeds", "metrics", "validation", "seconds", "peak_memory_gib")} <= set(
            row
        )
        assert (row["data"], row["protocol"], row["seeds"]) == ("prepared", "random", [0, 1])
        assert set(row["metrics"]) == {"rmse", "mae", "rmse_without_time", "mae_without_time"}
        assert row["seconds"] >= 0 and row["peak_memory_gib"] > 0.05
        assert "/" not in row["command"] and row["command"].startswith("gnnrec compare PATH --models ")
    mean = dataset.rating[dataset.split == TRAIN].mean()
    error = ((dataset.rating[dataset.split == TEST] - mean) ** 2).mean() ** 0.5
    assert rows[0]["metrics"]["rmse"] == {"mean": pytest.approx(error, rel=1e-5), "spread": 0.0}
    assert rows[1]["metrics"]["rmse"]["spread"] > 0
    for name in ("comparison.csv", "comparison.md"):
        assert "global mean" in (table / name).read_text()
    assert not (table / "running").exists()


def test_a_gnn_has_the_scores_of_train_dist(dataset, table, tmp_path):
    config = make_config(dataset.directory, tmp_path / "run", seed=1, device="cpu")
    given = json.loads((table / "request.json").read_text())["configuration"]
    for name, part in given.items():
        for key, value in part.items() if isinstance(part, dict) else ():
            setattr(config.value(name), key, value)
    summary = train(config, World())
    found = json.loads((table / "fits" / "sage-1.json").read_text())
    assert set(found["metrics"]) == {"rmse", "mae", "rmse_without_time", "mae_without_time"}
    for name, value in found["metrics"].items():
        assert value == pytest.approx(summary[f"test_{name}"])
    assert found["validation"] == pytest.approx(summary["validation_rmse_without_time"])


def test_nothing_is_fitted_twice(dataset, table, tmp_path, monkeypatch):
    fitted = []

    def interrupted(job: FitJob, directory: Path, world: World) -> None:
        if len(fitted) == 2:
            raise KeyboardInterrupt
        fitted.append((job.model, job.seed))
        fit_here(job, directory, world)

    monkeypatch.setattr(launch, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(dataset.directory, options(tmp_path / "out"), World())
    assert not (tmp_path / "out" / "comparison.json").exists()
    fitted.append("a place, so that the next interruption is late")
    with pytest.raises(UserError, match="continue it with --resume, or pass --overwrite"):
        compare(dataset.directory, options(tmp_path / "out"), World())
    rows = compare(dataset.directory, options(tmp_path / "out", resume=True), World())
    pairs = [item for item in fitted if isinstance(item, tuple)]
    assert sorted(pairs) == [(model, seed) for model in MODELS for seed in (0, 1)]
    whole = json.loads((table / "comparison.json").read_text())
    assert [row["metrics"] for row in rows] == [row["metrics"] for row in whole]


def test_resuming_adds_models_and_overwriting_starts_from_scratch(dataset, tmp_path, monkeypatch):
    fitted = []
    monkeypatch.setattr(launch, "run", lambda *job: (fitted.append(job[0].model), fit_here(*job)))
    compare(dataset.directory, options(tmp_path / "out", ["global mean"], seeds=1), World())
    rows = compare(dataset.directory, options(tmp_path / "out", ["biases", "global mean"], 1, resume=True), World())
    assert fitted == ["global mean", "biases"] and [row["model"] for row in rows] == ["biases", "global mean"]
    compare(dataset.directory, options(tmp_path / "out", ["biases"], 1, overwrite=True), World())
    assert fitted[2:] == ["biases"] and len(list((tmp_path / "out" / "fits").iterdir())) == 1


@pytest.mark.parametrize("kind", ["rating", "ranking"])
def test_differences_have_intervals(dataset, tmp_path, monkeypatch, kind, capsys):
    monkeypatch.setattr(launch, "run", fit_here)
    names = ["global mean", "biases", "sage"] if kind == "rating" else ["popularity", "EASE", "gnn"]
    given = {"set": [*SMALL, "ranking.dim=4"], "intervals": names[0]}
    rows = compare(dataset.directory, options(tmp_path / "out", names, **given), World())
    assert "differences" not in rows[0]
    metrics = ("rmse", "mae") if kind == "rating" else ("ndcg@100", "mrr")
    for row in rows[1:]:
        for name in metrics:
            found = row["differences"][name]
            expected = row["metrics"][name]["mean"] - rows[0]["metrics"][name]["mean"]
            assert found["value"] == pytest.approx(expected, abs=2e-6) and found["from"] == names[0]
            assert found["low"] < found["value"] < found["high"]
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert f"Differences from {names[0]}, with 95 % confidence intervals" in text
    first = rows[1]["differences"][metrics[0]]
    assert f"{first['value']:+.4f} ({first['low']:+.4f} to {first['high']:+.4f})" in text
    assert f"Differences from {names[0]}" in capsys.readouterr().out


def test_fits_without_sums_of_users_are_repeated_for_intervals(dataset, tmp_path, monkeypatch):
    fitted = []
    monkeypatch.setattr(launch, "run", lambda *job: (fitted.append(job[0].model), fit_here(*job)))
    names = ["global mean", "biases"]
    before = compare(dataset.directory, options(tmp_path / "out", names, 1), World())
    after = compare(dataset.directory, options(tmp_path / "out", names, 1, resume=True, intervals="biases"), World())
    assert fitted == names * 2 and [row["metrics"] for row in after] == [row["metrics"] for row in before]
    compare(dataset.directory, options(tmp_path / "out", names, 1, resume=True, intervals="biases"), World())
    assert len(fitted) == 4


@pytest.mark.parametrize("intervals", ["sgae", "biases"])
def test_intervals_need_a_model_of_the_comparison(dataset, tmp_path, intervals):
    names = MODELS if intervals == "sgae" else ["biases"]
    with pytest.raises(UserError, match=f"--intervals {intervals}: must be one of several models"):
        compare(dataset.directory, options(tmp_path / "out", names, intervals=intervals), World())


def test_a_fit_in_its_own_process(dataset, table, tmp_path):
    rows = compare(dataset.directory, options(tmp_path / "out", ["sage"], seeds=1, label="small"), World())
    assert rows[0]["model"] == "small" and "--label small" in rows[0]["command"]
    found = json.loads((tmp_path / "out" / "fits" / "sage-0.json").read_text())
    assert found["metrics"] == json.loads((table / "fits" / "sage-0.json").read_text())["metrics"]
    assert 0.05 < found["peak_memory_gib"] < 4


def on_ranks(world: World, data: Path, out: Path) -> list[dict]:
    return compare(data, options(out, ["sage"], seeds=1), world)


def test_two_ranks_fit_like_one(dataset, table, tmp_path):
    first, second = run_on_ranks(2, on_ranks, dataset.directory, tmp_path / "out")
    assert first == second and "--nproc-per-node 2" in first[0]["command"]
    expected = json.loads((table / "fits" / "sage-0.json").read_text())
    assert first[0]["metrics"]["rmse"]["mean"] == pytest.approx(expected["metrics"]["rmse"], rel=1e-4)


def test_a_failed_fit_has_its_reason(dataset, tmp_path):
    broken = tmp_path / "broken"
    job = FitJob(str(tmp_path / "nowhere"), "rating", "biases", 0, None, [], str(broken), str(tmp_path / "result"))
    with pytest.raises(UserError, match="biases, seed 0, failed: .*not a prepared dataset.*rank-0.log"):
        launch.run(job, tmp_path, World())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["sgae"], "sgae is not a model .did you mean sage"),
        (["biased mf"], "did you mean biased MF"),
        (["xyz"], "xyz is not a model .choose among global mean"),
        (["sage", "EASE"], "have no common metric"),
    ],
)
def test_wrong_models_are_refused(dataset, tmp_path, names, message):
    with pytest.raises(UserError, match=message):
        compare(dataset.directory, options(tmp_path / "out", names), World())
    assert not (tmp_path / "out").exists()


def test_by_default_all_models_of_the_protocol(dataset, tmp_path, monkeypatch, capsys):
    assert choose([], dataset) == ("rating", [*models.RATING_BASELINES, "gat", "gcn", "sage"])
    ranked = write_dataset(tmp_path, protocol="leave-last")
    assert choose([], ranked) == ("ranking", [*models.RANKING_BASELINES, "gnn"])
    monkeypatch.setitem(models._PACKAGES, "implicit ALS", "no_such_package")
    assert "implicit ALS" not in choose([], ranked)[1]
    assert "implicit ALS is not installed and left out: pip install" in capsys.readouterr().out
    with pytest.raises(UserError, match="implicit ALS is not installed: pip install"):
        choose(["implicit ALS"], ranked)
    with pytest.raises(UserError, match="gcn predicts ratings, and .* was prepared for ranking"):
        choose(["gcn"], ranked)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seeds": 0}, "--seeds 0: must be at least 1"),
        ({"label": "x"}, "--label x: pass exactly one model"),
        ({"resume": True, "overwrite": True}, "exclude each other"),
        ({"set": ["model.dimm=3"]}, "did you mean"),
        ({"resume": True, "set": [*SMALL, "model.layers=2"]}, "holds a comparison of another configuration"),
    ],
)
def test_errors_do_not_change_the_table(dataset, table, changed, message):
    before = {path: path.stat().st_mtime_ns for path in table.rglob("*")}
    with pytest.raises(UserError, match=message):
        compare(dataset.directory, options(table, **changed), World())
    assert {path: path.stat().st_mtime_ns for path in table.rglob("*")} == before


def test_other_directories_are_not_changed(dataset, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("x")
    with pytest.raises(UserError, match="thesis holds something else than a comparison"):
        compare(dataset.directory, options(tmp_path / "thesis", overwrite=True), World())
    with pytest.raises(UserError, match="chapter is a file"):
        compare(dataset.directory, options(tmp_path / "thesis" / "chapter"), World())
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter"]


def test_a_second_job_is_refused(table):
    lock = files.lock_file(table / ".lock")
    with pytest.raises(UserError, match="another gnnrec compare uses .*: wait for it"):
        open_output(table, {}, resume=True, overwrite=False)
    lock.close()
    open_output(table, {}, resume=True, overwrite=False).close()


def test_the_table_is_logged_to_wandb_if_enabled(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "run", fit_here)
    logged = []
    monkeypatch.setattr(Tracker, "table", lambda self, *arguments: logged.append(arguments))
    given = options(tmp_path / "out", ["global mean"], 1, wandb=WandbOptions(mode="offline"))
    compare(dataset.directory, given, World())
    assert len(list((tmp_path / "out" / "wandb").glob("offline-run-*"))) == 1
    ((name, head, (row,)),) = logged
    assert (name, head[:2], row[0]) == ("comparison", ["model", "test RMSE"], "global mean")


def test_commands_can_be_repeated():
    given = CompareOptions(Path("out"), config=Path("configs/x.yaml"), set=["model.layers=2"], label="two layers")
    assert command(Path("data/mine"), given, "sage", 1) == (
        "gnnrec compare data/mine --models sage --seeds 3 --config configs/x.yaml --set model.layers=2 "
        "--label 'two layers' --out PATH"
    )
    assert "--config" not in command(Path("data/mine"), given, "biased MF", 1)


def test_quality_pools_splits_and_records_where_it_was_measured(dataset, tmp_path, monkeypatch, capsys):
    other = write_dataset(tmp_path / "other", seed=1)
    monkeypatch.setattr(comparison.launch, "run", fit_here)
    monkeypatch.setattr(quality, "RESULT", tmp_path / "quality.json")
    given = ["--data", str(dataset.directory), str(other.directory), "--name", "tiny", "--models", "sage"]
    monkeypatch.setattr("sys.argv", ["quality", *given, "--seeds", "1", "--set", *SMALL, "--label", "tiny sage"])
    quality.main()
    (row,) = json.loads((tmp_path / "quality.json").read_text())
    assert (row["data"], row["model"], row["splits"], row["seeds"]) == ("tiny", "tiny sage", 2, [0])
    assert {"commit", "hardware", "versions", "date", "protocol", "seconds", "metrics"} <= set(row)
    assert row["command"].startswith("python -m benchmarks.quality --data PATH PATH --name tiny --models sage")
    assert "tiny sage" in capsys.readouterr().out
