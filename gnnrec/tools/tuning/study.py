"""History of a search: Optuna draws settings and prunes, and a journal stores every finished trial."""

from __future__ import annotations

import csv
import math
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from gnnrec import rng
from gnnrec.config.train_config import TrainConfig
from gnnrec.errors import UserError
from gnnrec.tools.tuning.space import Parameter
from gnnrec.utils import files

#: One in this many trials that reach a rung continues (successive halving).
REDUCTION = 2
_NAME = "gnnrec tune"
_JOURNAL, _LOCK = "study.log", ".lock"


def import_optuna() -> ModuleType:
    """Imports optuna.

    Raises:
        UserError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("optuna is not installed: pip install 'gnnrec[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Study:
    """Trials of a search, on rank 0. Finished trials are stored in a directory, the current one only in memory.

    A setting is a function of the seed, the number of the trial and the finished trials before it. A resumed study
    therefore repeats the interrupted trial and has the same result as an uninterrupted one.

    Args:
        directory: Directory of ``study.log``, Optuna's journal; created if missing.
        context: Plain values that identify the study; an existing study must have the same.
        chosen: The searched parameters.
        base: Configuration of the first trial.
        first_rung: Epochs after which a trial may be pruned for the first time.
        seed: Seed of the search.

    Raises:
        UserError: The directory has a study with another context, or another process uses it.
    """

    def __init__(
        self,
        directory: Path,
        context: dict,
        chosen: tuple[Parameter, ...],
        base: TrainConfig,
        first_rung: int,
        seed: int,
    ):
        self._optuna = import_optuna()
        self.directory, self.seed, self.parameters = directory, seed, chosen
        self.start = {parameter.name: parameter.start(base) for parameter in chosen}
        self._distributions = {
            parameter.name: self._optuna.distributions.FloatDistribution(
                *parameter.within(base), log=parameter.multiple
            )
            for parameter in chosen
        }
        self._lock = _locked(directory)
        try:
            self._stored = self._open(context)
        except BaseException:
            self.close()
            raise
        pruner = self._optuna.pruners.SuccessiveHalvingPruner(first_rung, REDUCTION)
        self._study = self._optuna.create_study(study_name=_NAME, pruner=pruner)
        self._study.add_trials(self._stored.trials)
        self._trial: Any = None

    def _open(self, context: dict) -> Any:
        journal = self._optuna.storages.journal
        path = self.directory / _JOURNAL
        try:
            storage = self._optuna.storages.JournalStorage(journal.JournalFileBackend(str(path)))
            known = _NAME in self._optuna.get_all_study_names(storage)
            stored = (self._optuna.load_study if known else self._optuna.create_study)(
                storage=storage, study_name=_NAME
            )
        except (ValueError, KeyError) as error:
            raise UserError(f"{path} is damaged ({error}): choose another --out") from None
        known = stored.user_attrs
        for name, value in context.items():
            if name not in known:
                stored.set_user_attr(name, value)
            elif known[name] != value:
                raise UserError(f"{self.directory} holds a study of another {name}: choose another --out")
        return stored

    def close(self) -> None:
        """Releases the lock of the directory."""
        self._lock.close()

    @property
    def trials(self) -> list:
        """Finished trials, as Optuna's ``FrozenTrial``; their numbers are their positions."""
        return self._stored.get_trials(deepcopy=False)

    @property
    def best(self) -> Any:
        """The complete trial with the lowest validation loss; None without complete trials."""
        complete = [trial for trial in self.trials if trial.state.name == "COMPLETE"]
        return min(complete, key=lambda trial: trial.value, default=None)

    def ask(self) -> dict[str, float]:
        """Draws the setting of the next trial, parameter name -> value. The first is the start."""
        number = len(self.trials)
        self._study.sampler = self._optuna.samplers.TPESampler(seed=rng.key(self.seed, "tune", number) % 2**32)
        if number == 0:
            self._study.enqueue_trial(self.start)
        self._trial = self._study.ask(self._distributions)
        return dict(self._trial.params)

    def report(self, epoch: int, loss: float, last: bool) -> bool:
        """Records a validation loss of the current trial; returns whether the trial should be pruned."""
        if not math.isfinite(loss):
            return True
        self._trial.report(loss, epoch)
        return not last and self._trial.should_prune()

    def tell(self, loss: float, epochs: int, pruned: bool) -> None:
        """Ends and stores the current trial.

        Args:
            loss: The validation loss of its best weights.
            epochs: Number of epochs.
            pruned: Whether it was pruned.
        """
        states = self._optuna.trial.TrialState
        self._trial.set_user_attr("epochs", epochs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if pruned:
                self._study.tell(self._trial, state=states.PRUNED)
            else:
                self._study.tell(self._trial, loss)
        self._stored.add_trial(self._study.trials[-1])
        self._write_table()

    def _write_table(self) -> None:
        path = self.directory / "trials.csv"
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["trial", *self.start, "validation_loss", "epochs", "pruned"])
            for trial in self.trials:
                pruned = trial.state.name == "PRUNED"
                row = [trial.params[name] for name in self.start]
                writer.writerow([trial.number + 1, *row, loss_of(trial), trial.user_attrs["epochs"], pruned])


def loss_of(trial: Any) -> float | None:
    """Returns the validation loss of a trial's best weights, of a pruned one its lowest; None if none was finite."""
    if trial.state.name != "PRUNED" and trial.value is not None and math.isfinite(trial.value):
        return trial.value
    return min(trial.intermediate_values.values(), default=None)


def _locked(directory: Path) -> TextIO:
    """Opens and locks a file; the system releases the lock when the process ends."""
    try:
        names = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
        if names - {_LOCK} and _JOURNAL not in names:
            raise UserError(f"--out {directory} holds something else than a study: choose another directory")
        directory.mkdir(parents=True, exist_ok=True)
        file = files.lock_file(directory / _LOCK)
    except OSError as error:
        raise UserError(f"--out {directory}: cannot write there ({error.strerror}): choose another directory") from None
    if file is None:
        raise UserError(f"another gnnrec tune uses {directory}: wait for it, or choose another --out")
    return file
