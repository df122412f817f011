"""Records of a run in W&B, read from the files of offline runs; and runs during which W&B fails."""

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

pytestmark = pytest.mark.slow

OFFLINE = WandbOptions(mode="offline", group="seeds", tags=["a", "b"])


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """Keeps staged artifacts of W&B out of the home directory."""
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))


@pytest.fixture(scope="module")
def tracked(dataset, tmp_path_factory) -> Path:
    """A run in W&B and TensorBoard that was stopped in mid-epoch and resumed."""
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


@pytest.mark.slow
def test_a_resumed_run_has_every_record_once(tracked):
    starts = [wandb_records(path) for path in offline_runs(tracked)]
    assert len(starts) == 2
    rows = [row for records in starts for row in history(records)]
    assert rows == [{name: value for name, value in record.items() if name != "time"} for record in recorded(tracked)]
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, STEPS + 1))
    runs = [of_kind(records, "run")[0] for records in starts]
    assert len({run.run_id for run in runs}) == 1
    assert all((run.run_group, list(run.tags), run.display_name) == ("seeds", ["a", "b"], "run") for run in runs)


@pytest.mark.slow
def test_wandb_has_the_configuration_and_the_summary(tracked, dataset):
    (record, *_), summary = of_kind(wandb_records(offline_runs(tracked)[0]), "run"), _summary(tracked)
    config = values(record.config.update)
    assert config["model"]["architecture"] == "sage" and config["optimizer"]["epochs"] == 8
    assert config["partition"]["edges"] == [dataset.num_ratings] and config["partition"]["max_over_mean_edges"] == 1
    assert config["gnnrec_version"] == gnnrec.__version__ and config["dataset_fingerprint"] == dataset.fingerprint
    logged = {}
    for update in of_kind(wandb_records(offline_runs(tracked)[1]), "summary"):
        logged |= values(update.update)
    assert {name: logged[name] for name in summary} == summary


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
    # Only descriptions; the other files are references.
    assert {entry.path for entry in made.manifest.contents if not entry.ref} == {"checkpoint.json", "config.yaml"}
    (best,) = (tracked / "checkpoints").glob("best-*")
    references = {entry.ref for entry in made.manifest.contents if entry.ref}
    assert references == {path.resolve().as_uri() for path in best.iterdir()}


def test_a_run_on_all_ratings_sends_no_metric_of_held_out_ratings(dataset, tmp_path):
    run(config_of(dataset, tmp_path / "run", wandb=OFFLINE, refit="all", baselines=True, max_steps=6))
    records = wandb_records(offline_runs(tmp_path / "run")[0])
    logged = {}
    for update in of_kind(records, "summary"):
        logged |= values(update.update)
    sent = set(logged) | {name for row in history(records) for name in row}
    assert {"loss", "step", "training_seconds"} <= sent
    assert not [name for name in sent if name.startswith(("test", "validation", "rmse_by", "baselines"))]
    assert logged["no_test_metrics"] == _summary(tmp_path / "run")["no_test_metrics"]
    assert [record.exit_code for record in of_kind(records, "exit")] == [0] and not of_kind(records, "alert")
    (made,) = (each for each in of_kind(records, "artifact") if each.type == "model")
    assert not json.loads(made.metadata)["validation"]


@pytest.mark.slow
def test_weights_are_uploaded_on_request(dataset, tmp_path):
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


def test_records_that_wandb_has_are_not_sent_again(tmp_path):
    """A killed run resumes from a checkpoint before its last records, and is killed once more."""
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
        logged = []
        tracker._wandb._run.log = logged.append
        for step in range(2, last + 1):
            tracker.log(step, loss=1.0 / step)
            if step == 4:
                tracker.log(4, validation_rmse=0.5)
        tracker.close()
        sent.append([record["step"] for record in logged])
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
def test_failures_send_alerts(tmp_path, problem, alerts, exit_code, preempted):
    directory = tmp_path / ("long name " * 9)
    directory.mkdir()
    Tracker(directory, OFFLINE, {}, active=True).close(problem)
    records = wandb_records(offline_runs(directory)[0])
    sent = of_kind(records, "alert")
    assert len(sent) == alerts and [record.exit_code for record in of_kind(records, "exit")] == [exit_code]
    assert bool(of_kind(records, "preempting")) == preempted
    for alert in sent:
        assert str(problem) in alert.text and str(directory) in alert.text and len(alert.title) < 64
        assert alert.level == "ERROR"


def test_lost_ranks_send_an_alert(dataset, tmp_path, monkeypatch):
    """The process ends at once, from another thread, but the alert is sent before."""

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


def test_failures_of_wandb_never_end_a_run_or_hide_its_error(dataset, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("gnnrec.training.tracking.wandb_run._start", lambda *_: Broken())
    summary = run(config_of(dataset, tmp_path / "run", wandb=OFFLINE, max_steps=3))
    assert summary["steps"] == 3
    warnings = [line for line in capfd.readouterr().err.splitlines() if "W&B" in line]
    assert len(warnings) == 1 and "No space left on device" in warnings[0]

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(config_of(dataset, tmp_path / "failed", wandb=OFFLINE), {2: fail})


def test_an_error_of_wandb_at_its_start_is_one_line(tmp_path, monkeypatch):
    import wandb

    def init(**_):
        raise wandb.errors.UsageError("No API key configured.\nUse `wandb login`")

    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(UserError, match="--wandb.mode online: W&B cannot start .No API key.*offline") as problem:
        WandbRun(tmp_path, WandbOptions(mode="online"), {})
    assert "\n" not in str(problem.value)


def test_the_code_version_has_a_commit_only_inside_its_checkout(tmp_path, monkeypatch):
    """A commit is recorded only if the package's files belong to the checkout."""
    version = code_version.code_version()
    assert version["gnnrec_version"] == gnnrec.__version__ and isinstance(version["git_changed"], bool)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(code_version, "_PACKAGE", package)
    version_of = code_version.code_version.__wrapped__
    assert version_of()["git_commit"] is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "another project"], check=True)
    assert version_of()["git_commit"] is None
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "ours"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert (version_of()["git_commit"], version_of()["git_changed"]) == (commit, False)
    (package / "__init__.py").write_text("changed")
    assert (version_of()["git_commit"], version_of()["git_changed"]) == (commit, True)
