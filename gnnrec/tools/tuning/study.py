"""History of a search: Optuna draws settings and prunes, and a journal stores every finished trial."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from gnnrec import rng
from gnnrec.config.train_config import TrainConfig
from gnnrec.errors import UserError
from gnnrec.tools.tuning.claims import TrialClaims
from gnnrec.tools.tuning.space import Parameter
from gnnrec.utils import files
from gnnrec.utils.log import logger

#: One in this many trials that reach a rung continues (successive halving).
REDUCTION = 2
_NAME = "gnnrec tune"
_JOURNAL, _LOCK, _CLAIMS = "study.log", ".lock", ".claims"
#: Attribute of a trial with its number in the study.
_NUMBER = "number"
#: Returned by :meth:`Study.claim` while other jobs make all trials that are left.
WAIT = -1


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
    therefore repeats the interrupted trial and has the same result as an uninterrupted one. Where several jobs share a
    study, settings also depend on which trials are finished by then.

    Args:
        directory: Directory of ``study.log``, Optuna's journal; created if missing.
        context: Plain values that identify the study; an existing study must have the same.
        chosen: The searched parameters.
        base: Configuration of the first trial.
        first_rung: Epochs after which a trial may be pruned for the first time.
        seed: Seed of the search.
        shared: Other jobs may make trials of the study at the same time.

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
        shared: bool = False,
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
        self._lock = _locked(directory, shared)
        self._claims = TrialClaims(directory / _CLAIMS) if shared else None
        try:
            with self._guard():
                self._stored = self._open(context)
        except BaseException:
            self.close()
            raise
        self._pruner = self._optuna.pruners.SuccessiveHalvingPruner(first_rung, REDUCTION)
        self._study: Any = None
        self._trial: Any = None
        self._added = 0

    def _guard(self) -> contextlib.AbstractContextManager:
        """A lock of all jobs of a shared study; of another study it does nothing."""
        if self._claims is None:
            return contextlib.nullcontext()
        return _guarded(self._optuna.storages.journal.JournalFileSymlinkLock(str(self._claims.directory / "all")))

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
        """Gives up the current trial, and releases the lock of the directory."""
        if self._claims is not None:
            self._claims.close()
        self._lock.close()

    @property
    def trials(self) -> list:
        """Finished trials, as Optuna's ``FrozenTrial``, in the order of :func:`number_of`."""
        return sorted(self._stored.get_trials(deepcopy=False), key=number_of)

    @property
    def best(self) -> Any:
        """The complete trial with the lowest validation loss; None without complete trials."""
        complete = [trial for trial in self.trials if trial.state.name == "COMPLETE"]
        return min(complete, key=lambda trial: trial.value, default=None)

    def claim(self, total: int) -> int | None:
        """Takes the next trial that is to be made.

        Args:
            total: Trials of the whole study.

        Returns:
            Its number; :data:`WAIT` while other jobs make all that are left; None once all are finished.
        """
        with self._guard():
            finished = {number_of(trial) for trial in self.trials}
            left = [number for number in range(total) if number not in finished]
            if not left or self._claims is None:
                return left[0] if left else None
            taken = self._claims.taken()
            free = [number for number in left if number not in taken]
            if not free:
                return WAIT
            self._claims.take(free[0])
            return free[0]

    def ask(self, number: int) -> dict[str, float]:
        """Draws the setting of a trial, parameter name -> value. That of number 0 is the start."""
        sampler = self._optuna.samplers.TPESampler(seed=rng.key(self.seed, "tune", number) % 2**32)
        self._study = self._optuna.create_study(study_name=_NAME, pruner=self._pruner, sampler=sampler)
        self._added = 0
        self._add_finished()
        if number == 0:
            self._study.enqueue_trial(self.start)
        self._trial = self._study.ask(self._distributions)
        self._trial.set_user_attr(_NUMBER, number)
        return dict(self._trial.params)

    def _add_finished(self) -> None:
        """Lets sampler and pruner know of trials that were finished since the last time."""
        finished = self._stored.get_trials(deepcopy=False)
        self._study.add_trials(finished[self._added :])
        self._added = len(finished)

    def report(self, epoch: int, loss: float, last: bool) -> bool:
        """Records a validation loss of the current trial; returns whether the trial should be pruned."""
        if not math.isfinite(loss):
            return True
        self._add_finished()
        self._trial.report(loss, epoch)
        return not last and self._trial.should_prune()

    def tell(self, loss: float, epochs: int, pruned: bool) -> Any:
        """Ends and stores the current trial, unless another job that took this one for dead has stored it.

        Args:
            loss: The validation loss of its best weights.
            epochs: Number of epochs.
            pruned: Whether it was pruned.

        Returns:
            The trial, as Optuna's ``FrozenTrial``.
        """
        states = self._optuna.trial.TrialState
        self._trial.set_user_attr("epochs", epochs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if pruned:
                self._study.tell(self._trial, state=states.PRUNED)
            else:
                self._study.tell(self._trial, loss)
        ended = self._study.trials[self._trial.number]
        with self._guard():
            if number_of(ended) not in {number_of(trial) for trial in self.trials}:
                self._stored.add_trial(ended)
            else:
                logger.warning(f"trial {number_of(ended) + 1} was made by another job too, whose result counts")
            if self._claims is not None:
                self._claims.release()
            self.write_table()
        return ended

    def write_table(self) -> None:
        """Writes ``trials.csv``, with all finished trials."""
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow(["trial", *self.start, "validation_loss", "epochs", "pruned"])
        for trial in self.trials:
            pruned = trial.state.name == "PRUNED"
            row = [trial.params[name] for name in self.start]
            writer.writerow([number_of(trial) + 1, *row, loss_of(trial), trial.user_attrs["epochs"], pruned])
        files.write_text(self.directory / "trials.csv", file.getvalue())


def number_of(trial: Any) -> int:
    """Returns the number of a trial of the study, from 0; Optuna's own counts in the order of their ends."""
    return trial.user_attrs.get(_NUMBER, trial.number)


def loss_of(trial: Any) -> float | None:
    """Returns the validation loss of a trial's best weights, of a pruned one its lowest; None if none was finite."""
    if trial.state.name != "PRUNED" and trial.value is not None and math.isfinite(trial.value):
        return trial.value
    return min(trial.intermediate_values.values(), default=None)


@contextlib.contextmanager
def _guarded(lock: Any) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _locked(directory: Path, shared: bool) -> TextIO:
    """Opens and locks a file; the system releases the lock when the process ends."""
    try:
        names = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
        if names - {_LOCK, _CLAIMS} and _JOURNAL not in names:
            raise UserError(f"--out {directory} holds something else than a study: choose another directory")
        directory.mkdir(parents=True, exist_ok=True)
        file = files.lock_file(directory / _LOCK, shared)
    except OSError as error:
        raise UserError(f"--out {directory}: cannot write there ({error.strerror}): choose another directory") from None
    if file is None:
        raise UserError(
            f"another gnnrec tune uses {directory}: wait for it, choose another --out, or start all with --shared true"
        )
    return file
