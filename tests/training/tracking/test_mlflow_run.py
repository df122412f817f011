"""Runs in a real MLflow server on this machine, and runs during which it fails."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnnrec.config.training_options import MlflowOptions
from gnnrec.errors import Stopped, UserError
from gnnrec.training.tracking.mlflow_run import MlflowRun
from tests.end_to_end.processes import PATIENCE
from tests.training.runs import STEPS, STOP, config_of, run
from tests.training.tracking.test_tracker import recorded

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """URI of a server with a database."""
    place = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri, stores = f"http://127.0.0.1:{port}", ["--backend-store-uri", f"sqlite:///{place}/runs.db"]
    stores += ["--artifacts-destination", str(place / "artifacts"), "--workers", "1"]
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), *stores]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with open(place / "log", "wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=place, env=environment)
    try:
        wait_for(uri, process, place / "log")
        yield uri
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait_for(uri: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


def client_of(uri: str):
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def histories(uri: str, directory: Path) -> dict[tuple[str, int], list[float]]:
    """Values of the run of a directory by metric and step."""
    client, found = client_of(uri), json.loads((directory / "mlflow.json").read_text())
    values: dict[tuple[str, int], list[float]] = {}
    for name in client.get_run(found["run"]).data.metrics:
        for metric in client.get_metric_history(found["run"], name):
            values.setdefault((name, metric.step), []).append(metric.value)
    return values


@pytest.mark.processes
def test_a_run_that_was_stopped_and_killed_has_every_record_once(server, dataset, tmp_path):
    directory = tmp_path / "run"
    options = MlflowOptions(server, "seeds", "first")
    config = config_of(dataset, directory, mlflow=options, interest={}, checkpoint={"every_steps": 4})

    def killed():
        raise KeyboardInterrupt  # after the last checkpoint, without saving

    with pytest.raises(Stopped):
        run(config, {10: STOP})
    name = json.loads((directory / "mlflow.json").read_text())["run"]
    assert client_of(server).get_run(name).info.status == "KILLED"
    with pytest.raises(KeyboardInterrupt):
        run(config, {8: killed})
    assert client_of(server).get_run(name).info.status == "FAILED"
    run(config)
    found = client_of(server).get_run(name)
    assert (found.info.status, found.info.run_name, found.data.params["model.dim"]) == ("FINISHED", "first", "8")
    assert found.data.params["dataset_fingerprint"] == dataset.fingerprint
    assert client_of(server).get_experiment(found.info.experiment_id).name == "seeds"
    values = histories(server, directory)
    expected = {
        (name.replace("@", "_at_"), record["step"])
        for record in recorded(directory)
        for name in record
        if name not in ("step", "time")
    }
    assert values.keys() == expected and all(len(found) == 1 for found in values.values())
    assert ("test_list_recall_at_20", 24) in values
    losses = {("loss", record["step"]): [record["loss"]] for record in recorded(directory) if "loss" in record}
    assert len(losses) == STEPS and {key: values[key] for key in losses} == losses
    last = recorded(directory)[-1]
    assert values["test_rmse", 24] == [last["test_rmse"]]
    place = client_of(server).download_artifacts(name, "summary.json", str(tmp_path))
    assert json.loads(Path(place).read_text()) == json.loads((directory / "summary.json").read_text())
    assert [file.path for file in client_of(server).list_artifacts(name)] == ["config.yaml", "summary.json"]


def test_what_the_server_did_not_take_is_sent_later(server, tmp_path, caplog):
    records = [{"step": step, "time": 1e9 + step, "loss": 0.5 * step} for step in range(1, 7)]
    tracked, taken = MlflowRun(tmp_path, MlflowOptions(server), {}, []), threading.Event()
    log_batch = tracked._client.log_batch

    def fails(*arguments, **named):
        taken.set()
        raise OSError("no route to host")

    tracked._client.log_batch = fails
    for record in records[:3]:
        tracked.log(record)
    assert taken.wait(PATIENCE)
    tracked._client.log_batch = log_batch
    tracked.log(records[3])
    tracked.finish("KILLED", PATIENCE)
    assert histories(server, tmp_path) == {("loss", step): [0.5 * step] for step in range(1, 5)}
    assert [line.message for line in caplog.records] == ["MLflow: no route to host; the run continues without it"]
    # Resumed: the file has all of them, and the server a part.
    resumed = MlflowRun(tmp_path, MlflowOptions(server), {}, records)
    resumed.finish(patience=PATIENCE)
    assert resumed.id == tracked.id
    assert histories(server, tmp_path) == {("loss", step): [0.5 * step] for step in range(1, 7)}


def test_a_server_that_hangs_holds_nothing_up(server, tmp_path, caplog):
    tracked, hangs = MlflowRun(tmp_path, MlflowOptions(server), {}, []), threading.Event()
    tracked._client.log_batch = lambda *arguments, **named: hangs.wait(PATIENCE)
    tracked.log({"step": 1, "time": 1e9, "loss": 1.0})
    tracked.finish(patience=0.1)
    assert f"it lacks the last records, which {tmp_path} has" in caplog.text
    hangs.set()
    tracked._thread.join(PATIENCE)
    assert not tracked._thread.is_alive()


def test_a_server_that_is_not_there_and_a_missing_package_are_one_line(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UserError, match=r"--mlflow.uri http.*MLflow cannot start \(.+\): start its server") as line:
            run(config_of(dataset, tmp_path / "run", mlflow=MlflowOptions(uri)))
    assert "\n" not in str(line.value)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(UserError, match=r"pip install 'gnnrec.mlflow.'"):
        run(config_of(dataset, tmp_path / "other", mlflow=MlflowOptions(uri)))
