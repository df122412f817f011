"""Runs in MLflow (optional): no failure here ends a run that has started, or makes it wait.

A thread sends the records. What a server does not take is sent again with the next record, and when the run is resumed.
"""

from __future__ import annotations

import json
import math
import os
import queue
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.config.serialize import flat
from gnnrec.config.training_options import MlflowOptions
from gnnrec.errors import UserError
from gnnrec.training.tracking.best_effort import best_effort, one_line
from gnnrec.utils import files, strict_json
from gnnrec.utils.log import logger

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

#: File in the run directory with the id of the run in MLflow.
NAME_FILE = "mlflow.json"
#: Most metrics and most parameters in a request, and the longest value of a parameter.
_METRICS, _PARAMETERS, _LONGEST = 1000, 100, 500
#: Options of trackers; they may have passwords.
_TRACKERS = ("wandb.", "mlflow.")
#: Seconds that the end of a run waits for MLflow.
PATIENCE = 30.0
#: Environment that users may set otherwise: fewer retries than MLflow's own, which take minutes; no usage reports.
_ENVIRONMENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_DISABLE_TELEMETRY": "true"}


class MlflowRun:
    """A run in MLflow.

    Args:
        directory: The run directory. A run that is in MLflow already is continued.
        options: Options of MLflow; the URI is given.
        config: Configuration of the run.
        records: Earlier records of the run, of which those are sent that MLflow does not have.

    Raises:
        UserError: mlflow is not installed, or cannot start.
    """

    def __init__(self, directory: Path, options: MlflowOptions, config: dict, records: Iterable[dict] = ()):
        self._best_effort, self._directory = best_effort("MLflow"), directory
        self._client, self.id, continued = _start(directory, options, config)
        self._sent: set[tuple[str, int]] = set()
        self._unread = continued  # what MLflow has is not known yet
        self._waiting: list[Metric] = []
        self._queue: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="gnnrec-mlflow", daemon=True)
        self._thread.start()
        for record in records:
            self.log(record)

    def log(self, record: dict) -> None:
        """Sends the numbers of a step, unless MLflow has them already."""
        self._queue.put(record)

    def summary(self, values: dict) -> None:
        """Sends the summary and the configuration as files."""
        self._queue.put({"summary": values})

    def finish(self, status: str = "FINISHED", patience: float = PATIENCE) -> None:
        """Ends the run.

        Args:
            status: Status of MLflow: FINISHED, FAILED, KILLED (it can be resumed) or RUNNING (it goes on at once).
            patience: Seconds to wait until everything is sent.
        """
        self._queue.put({"status": status})
        self._queue.put(None)
        self._thread.join(patience)
        if self._thread.is_alive():
            logger.warning(f"MLflow does not answer: it lacks the last records, which {self._directory} has")

    def _work(self) -> None:
        """Sends what the queue has until None; in the thread."""
        while (item := self._queue.get()) is not None:
            with self._best_effort:
                if "step" in item:
                    self._waiting += self._metrics(item)
                if self._queue.empty() or "step" not in item:
                    self._send()
            with self._best_effort:
                if "summary" in item:
                    self._client.log_text(self.id, strict_json.dumps(item["summary"], indent=1), "summary.json")
                    self._client.log_artifact(self.id, str(self._directory / "config.yaml"))
                elif item.get("status") == "RUNNING":
                    self._client.update_run(self.id, status="RUNNING")
                elif "status" in item:
                    self._client.set_terminated(self.id, item["status"])

    def _metrics(self, record: dict) -> list[Metric]:
        """Metrics of a record that are not sent yet."""
        from mlflow.entities import Metric

        metrics = []
        for name, value in record.items():
            key = (metric_key(name), record["step"])
            number = isinstance(value, (int, float)) and math.isfinite(value)
            if name not in ("step", "time") and number and key not in self._sent:
                self._sent.add(key)
                metrics.append(Metric(key[0], float(value), round(1e3 * record["time"]), record["step"]))
        return metrics

    def _send(self) -> None:
        if self._unread:
            self._read_sent()
        while self._waiting:
            self._client.log_batch(self.id, metrics=self._waiting[:_METRICS])
            del self._waiting[:_METRICS]

    def _read_sent(self) -> None:
        """Leaves out the metrics that MLflow has from before; after that all that is sent is known."""
        names = self._client.get_run(self.id).data.metrics
        there = {(name, metric.step) for name in names for metric in self._client.get_metric_history(self.id, name)}
        self._waiting = [metric for metric in self._waiting if (metric.key, metric.step) not in there]
        self._sent |= there
        self._unread = False


def metric_key(name: str) -> str:
    """Returns the name of a field in MLflow, which allows no ``@``."""
    return name.replace("@", "_at_")


def _start(directory: Path, options: MlflowOptions, config: dict) -> tuple[MlflowClient, str, bool]:
    """Makes the run in MLflow, or finds it; returns its id and whether it was there."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise UserError("mlflow is not installed: pip install 'gnnrec[mlflow]', or leave out --mlflow.uri") from None
    try:
        client = MlflowClient(options.uri)
        found = client.get_experiment_by_name(options.experiment)
        experiment = found.experiment_id if found else client.create_experiment(options.experiment)
        here = {"uri": options.uri, "experiment": experiment}
        before = _read_name(directory)
        if before is not None and {name: before.get(name) for name in here} == here:
            client.update_run(before["run"], status="RUNNING")
            return client, before["run"], True
        run = client.create_run(experiment, run_name=options.name or directory.name).info.run_id
        files.write_text(directory / NAME_FILE, json.dumps({"run": run} | here) + "\n")
        params = [
            Param(name, str(value)[:_LONGEST]) for name, value in flat(config).items() if not name.startswith(_TRACKERS)
        ]
        for start in range(0, len(params), _PARAMETERS):
            client.log_batch(run, params=params[start : start + _PARAMETERS])
        return client, run, False
    except Exception as error:
        raise UserError(
            f"--mlflow.uri {options.uri}: MLflow cannot start ({one_line(error)}): start its server, or leave "
            "--mlflow.uri out"
        ) from None


def _read_name(directory: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((directory / NAME_FILE).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) and isinstance(found.get("run"), str) else None
    except (OSError, ValueError):
        return None
