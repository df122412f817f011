"""What W&B is told of a run, read back from the files of offline runs; and what becomes of a run when W&B fails."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import gnnrec
from gnnrec.config.training_options import WandbOptions
from gnnrec.distributed.health import monitor
from gnnrec.errors import RanksLost, Stopped, UserError
from gnnrec.training.tracking.tracker import Tracker
from gnnrec.training.tracking.wandb_run import WandbRun
from gnnrec.utils import code_version
from tests.end_to_end.wandb_file import history, of_kind, offline_runs, values, wandb_records
from tests.training.runs import STEPS, STOP, config_of, run

OFFLINE = WandbOptions(mode="offline", group="seeds", tags=["a", "b"])


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """W&B stages artifacts below the home directory, unless it is told otherwise."""
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))


@pytest.fixture(scope="module")
def tracked(dataset, tmp_path_factory) -> Path:
    """A run in W&B and TensorBoard that was stopped in the middle of an epoch, and gone on with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_DATA_DIR", str(tmp_path_factory.mktemp("staged")))
        directory = tmp_path_factory.mktemp("tracked") / "run"
        config = config_of(dataset, directory, wandb=OFFLINE, tensorboard=True, checkpoint={"every_steps": 4})
        with pytest.raises(Stopped):
            run(config, {10: STOP})
        run(config)
    return directory


def recorded(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_a_run_that_is_gone_on_with_has_every_record_once(tracked):
    found = [wandb_records(path) for path in offline_runs(tracked)]
    assert len(found) == 2
    rows = [row for records in found for row in history(records)]
    assert rows == [{name: value for name, value in record.items() if name != "time"} for record in recorded(tracked)]
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, STEPS + 1))
    runs = [of_kind(records, "run")[0] for records in found]
    assert len({each.run_id for each in runs}) == 1
    assert all((each.run_group, list(each.tags), each.display_name) == ("seeds", ["a", "b"], "run") for each in runs)


def test_w_and_b_knows_what_the_run_is(tracked, dataset):
    (record, *_), summary = of_kind(wandb_records(offline_runs(tracked)[0]), "run"), _summary(tracked)
    config = values(record.config.update)
    assert config["model"]["architecture"] == "sage" and config["optimizer"]["epochs"] == 8
    assert config["partition"]["edges"] == [dataset.num_ratings] and config["partition"]["max_over_mean_edges"] == 1
    assert config["gnnrec_version"] == gnnrec.__version__ and config["dataset_fingerprint"] == dataset.fingerprint
    told = {}
    for update in of_kind(wandb_records(offline_runs(tracked)[1]), "summary"):
        told |= values(update.update)
    assert {name: told[name] for name in summary} == summary


def _summary(directory: Path) -> dict:
    return json.loads((directory / "summary.json").read_text())


def test_a_run_uses_a_dataset_and_makes_a_model(tracked, dataset):
    first, second = (wandb_records(path) for path in offline_runs(tracked))
    artifacts = of_kind(first, "artifact") + of_kind(second, "artifact")
    used = [artifact for artifact in artifacts if artifact.use_after_commit]
    (made,) = (artifact for artifact in artifacts if not artifact.use_after_commit)
    name, facts = f"dataset-{dataset.fingerprint[:12]}", json.loads(made.metadata)
    assert [(artifact.type, artifact.name) for artifact in used] == 2 * [("dataset", name)]
    assert len({artifact.digest for artifact in used}) == 1
    assert (made.type, made.name) == ("model", f"model-{of_kind(first, 'run')[0].run_id}") and "best" in made.aliases
    assert facts["fingerprint"] == _summary(tracked)["model_fingerprint"]
    assert facts["dataset"] == dataset.fingerprint
    # Descriptions, and where the rest is.
    assert {entry.path for entry in made.manifest.contents if not entry.ref} == {"checkpoint.json", "config.yaml"}
    (best,) = (tracked / "checkpoints").glob("best-*")
    references = {entry.ref for entry in made.manifest.contents if entry.ref}
    assert references == {path.resolve().as_uri() for path in best.iterdir()}


def test_weights_go_along_where_that_is_asked_for(dataset, tmp_path):
    options = WandbOptions(mode="offline", upload_checkpoints=True)
    run(config_of(dataset, tmp_path / "run", wandb=options, max_steps=3))
    (made,) = (
        artifact
        for artifact in of_kind(wandb_records(offline_runs(tmp_path / "run")[0]), "artifact")
        if artifact.type == "model"
    )
    (best,) = (tmp_path / "run" / "checkpoints").glob("best-*")
    inside = {entry.path: entry.size for entry in made.manifest.contents if not entry.ref}
    weights = {path.name: path.stat().st_size for path in best.iterdir()}
    assert weights.items() <= inside.items() and any(name.endswith(".pt") for name in weights)
    assert not any((tmp_path / "staged").rglob("*.pt")), "they are not copied"


def test_what_w_and_b_has_is_not_sent_again(tmp_path):
    """A killed run goes on from a checkpoint before its last records, and is killed once more."""
    tracker = Tracker(tmp_path, OFFLINE, {}, active=True)
    tracker.log(1, loss=1.0)
    kept = tracker.recorded_bytes
    for step in (2, 3, 4):
        tracker.log(step, loss=1.0 / step)
    tracker.log(4, validation_rmse=0.5)
    tracker.close()
    name, sent = of_kind(wandb_records(offline_runs(tmp_path)[0]), "run")[0].run_id, []
    for last in (3, 5):
        tracker = Tracker(tmp_path, OFFLINE, {}, True, kept, "", name)
        said = []
        tracker._wandb._run.log = said.append
        for step in range(2, last + 1):
            tracker.log(step, loss=1.0 / step)
            if step == 4:
                tracker.log(4, validation_rmse=0.5)
        tracker.close()
        sent.append([record["step"] for record in said])
    assert sent == [[], [5]]
    assert [record["step"] for record in recorded(tmp_path)] == [1, 2, 3, 4, 4, 5]


@pytest.mark.parametrize(
    ("problem", "alerts", "exit_code", "preempted"),
    [
        (None, 0, 0, False),
        (UserError("no room left"), 1, 1, False),
        (RuntimeError("a bug"), 1, 1, False),
        (RanksLost("rank 3 (host a, pid 7) has left"), 1, 1, False),
        (Stopped("by SIGTERM"), 0, 75, True),
        (KeyboardInterrupt(), 0, 1, False),
    ],
)
def test_alerts_of_failures(tmp_path, problem, alerts, exit_code, preempted):
    place = tmp_path / ("long name " * 9)
    place.mkdir()
    Tracker(place, OFFLINE, {}, active=True).close(problem)
    records = wandb_records(offline_runs(place)[0])
    found = of_kind(records, "alert")
    assert len(found) == alerts and [each.exit_code for each in of_kind(records, "exit")] == [exit_code]
    assert bool(of_kind(records, "preempting")) == preempted
    for alert in found:
        assert str(problem) in alert.text and str(place) in alert.text and len(alert.title) < 64
        assert alert.level == "ERROR"


def test_lost_ranks_are_an_alert_too(dataset, tmp_path, monkeypatch):
    """The process ends at once, from another thread: W&B is told before."""

    ended = []
    monkeypatch.setattr(monitor.os, "_exit", ended.append)
    lost = {5: lambda: monitor.abort("train_dist.py", 0, "rank 1 (host a, pid 7) has left")}
    run(config_of(dataset, tmp_path / "run", wandb=OFFLINE, max_steps=6), lost)
    (alert,) = of_kind(wandb_records(offline_runs(tmp_path / "run")[0]), "alert")
    assert "rank 1 (host a, pid 7) has left" in alert.text and ended == [76]


class Broken:
    """A W&B run in which nothing works."""

    id = "broken"

    def __getattr__(self, name: str):
        raise OSError(28, "No space left on device")


def test_what_fails_in_w_and_b_never_ends_a_run_or_hides_its_end(dataset, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("gnnrec.training.tracking.wandb_run._start", lambda *_: Broken())
    summary = run(config_of(dataset, tmp_path / "run", wandb=OFFLINE, max_steps=3))
    assert summary["steps"] == 3
    warnings = [line for line in capfd.readouterr().err.splitlines() if "W&B" in line]
    assert len(warnings) == 1 and "No space left on device" in warnings[0]

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(config_of(dataset, tmp_path / "failed", wandb=OFFLINE), {2: fail})


def test_w_and_b_that_cannot_start_is_one_line(tmp_path, monkeypatch):
    import wandb

    def init(**_):
        raise wandb.errors.UsageError("No API key configured.\nUse `wandb login`")

    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(UserError, match="--wandb.mode online: W&B cannot start .No API key.*offline") as problem:
        WandbRun(tmp_path, WandbOptions(mode="online"), {})
    assert "\n" not in str(problem.value)


def test_the_code_has_a_version(tmp_path, monkeypatch):
    """A commit only where the package's files belong to the checkout."""
    version = code_version.code_version()
    assert version["gnnrec_version"] == gnnrec.__version__ and isinstance(version["git_changed"], bool)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(code_version, "_PACKAGE", package)
    found = code_version.code_version.__wrapped__
    assert found()["git_commit"] is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "somebody else's"], check=True)
    assert found()["git_commit"] is None
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "ours"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert (found()["git_commit"], found()["git_changed"]) == (commit, False)
    (package / "__init__.py").write_text("changed")
    assert (found()["git_commit"], found()["git_changed"]) == (commit, True)
