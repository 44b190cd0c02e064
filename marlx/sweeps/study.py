"""Trials of a sweep in an Optuna storage, shared by any number of processes.

Every process writes a heartbeat into the storage. Trials of a process without one are put back into
the queue by the others, also while they train.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from marlx.sweeps import trials
from marlx.sweeps.heartbeat import Heartbeat
from marlx.sweeps.parameters import Sweep
from marlx.sweeps.search import make_sampler, optuna_module, suggest, to_optuna
from marlx.sweeps.storage import Storage
from marlx.sweeps.trials import Row

if TYPE_CHECKING:
    import optuna

PATIENCE_SECONDS = 120.0
"""Longest time that a result waits for a database that cannot be reached."""
_OUTSIDE = ("surplus", "again")  # attributes of trials that do not count as trials of the sweep


T = TypeVar("T")


class Unreachable(ConnectionError):
    """The database of a sweep does not answer any more."""


class Study:
    """The trials of a sweep, as one process takes and reports them.

    Args:
      sweep: the search space, method and metric.
      name: of the study in the storage.
      storage: an Optuna storage URL.
      trials: number of trials, over all processes; every point of a grid if None.
      evaluations: number of evaluations of a whole trial, for early termination.
      seed: of the search; each trial samples with a seed made of this and its number.

    Raises:
      ValueError: Optuna is missing, the storage cannot be opened, or holds another sweep.
    """

    def __init__(
        self,
        sweep: Sweep,
        name: str,
        storage: str,
        *,
        trials: int | None = None,
        evaluations: int = 1,
        seed: int = 0,
    ) -> None:
        self._sweep, self._optuna, self._name = sweep, optuna_module(), name
        points = sweep.grid() if sweep.method == "grid" else []
        self.limit = min(trials or len(points), len(points)) if points else trials or 0
        self._storage = Storage(storage)
        self._database = self._storage.open()
        with self._turn():
            self.study = self._opened(name, evaluations, seed)
            self._fill(points[: self.limit])
        self._heartbeat = Heartbeat(self.study, self._storage)

    def open(self) -> int:
        """Start the heartbeat, requeue the trials of dead processes, and return their number."""
        self._heartbeat.start()
        return self.requeue()

    def requeue(self) -> int:
        """Requeue the trials of dead processes, and return their number."""

        def requeue() -> int:
            if not self._trials("RUNNING"):
                return 0
            with self._turn():
                running = self._trials("RUNNING")
                return sum(self._again(one) for one in running if not self._heartbeat.lives(one))

        return self._patiently(requeue)

    def close(self) -> int:
        """Requeue the trials that this process has not finished, and return their number."""
        self._heartbeat.stop()
        with self._turn():
            running, own = self._trials("RUNNING"), self._heartbeat.worker
            return sum(self._again(one) for one in running if one.user_attrs.get("worker") == own)

    def disconnect(self) -> None:
        """Close the connections of this thread; they are opened again when they are needed."""
        self._database.remove_session()
        self._database.engine.dispose()

    def take(self, count: int) -> list[optuna.Trial]:
        """Returns up to `count` trials to run; none if all are done or run by other processes."""
        taken: list[optuna.Trial] = []
        while len(taken) < count and (trial := self._patiently(self._next)) is not None:
            self._patiently(functools.partial(self._sample, trial))
            taken.append(trial)
        return taken

    def note(self, trial: optuna.Trial, **about: Any) -> None:
        """Store JSON values with a trial of this process; nothing if it is lost, see `report`."""

        def store() -> None:
            with contextlib.suppress(self._optuna.exceptions.UpdateFinishedTrialError):
                for key, value in about.items():
                    trial.set_user_attr(key, value)

        self._patiently(store)

    def unfinished(self) -> int:
        """Returns the number of trials that are queued, or run by any process."""
        return self._patiently(
            lambda: len([trial for trial in self._counted() if not trial.state.is_finished()])
        )

    def values(self, trial: optuna.Trial | optuna.trial.FrozenTrial) -> dict[str, Any]:
        """Returns the values of the searched parameters in a trial, by dotted name."""
        return trials.values(self._sweep, trial.params)

    def report(
        self, trial: optuna.Trial, value: float, step: int
    ) -> Literal["goes on", "prune", "lost"]:
        """Record an evaluation, and return whether the trial goes on, is pruned, or is lost.

        A trial is lost if its process was silent for so long that it was given to another one.
        """
        try:
            trial.report(value, step)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                stop = self._sweep.early is not None and trial.should_prune()
        except (self._optuna.exceptions.UpdateFinishedTrialError, ValueError):
            return "lost"
        except self._optuna.exceptions.StorageInternalError:
            return "goes on"  # the database cannot be reached; the end of the trial waits for it
        return "prune" if stop else "goes on"

    def finish(self, trial: optuna.Trial, value: float, **about: Any) -> bool:
        """Record the value of a trial; one that is not finite marks it as failed.

        Args:
          trial: of this process.
          value: of the metric.
          **about: JSON values that are stored with it.

        Returns:
          False if the trial is lost, see `report`.
        """
        if not np.isfinite(value):
            return self.fail(trial, f"{self._sweep.metric.name} is {value}")
        return self._tell(trial, {"values": float(value)}, about)

    def prune(self, trial: optuna.Trial) -> bool:
        """Record that a trial was stopped early; False if it is lost."""
        return self._tell(trial, {"state": self._state("PRUNED")}, {})

    def fail(self, trial: optuna.Trial, reason: str) -> bool:
        """Record that a trial could not be run; False if it is lost."""
        return self._tell(trial, {"state": self._state("FAIL")}, {"reason": reason})

    def best(self) -> Row | None:
        """Returns the finished trial with the best value."""
        done = [row for row in self.rows() if row.state == "finished"]
        return done[0] if done else None

    def rows(self) -> list[Row]:
        """Returns all trials, finished ones first, sorted by value."""
        return trials.rows(self._sweep, self._counted())

    def importances(self) -> dict[str, float]:
        """Returns `marlx.sweeps.trials.importances` of the trials so far."""
        return trials.importances(self.study, self.rows())

    def _opened(self, name: str, evaluations: int, seed: int) -> Any:
        optuna, sweep = self._optuna, self._sweep
        early = sweep.early
        pruner = optuna.pruners.NopPruner()
        if early is not None:
            most = min(early.most or evaluations, evaluations)
            pruner = optuna.pruners.HyperbandPruner(min(early.least, most), most, early.eta)
        problem = json.dumps(
            [sweep.method, sweep.names, sweep.options, sweep.metric, sweep.parameters], default=str
        )
        with self._storage.reported():
            study = optuna.create_study(
                study_name=name,
                storage=self._database,
                direction=sweep.metric.goal,
                sampler=make_sampler(sweep, seed),
                pruner=pruner,
                load_if_exists=True,
            )
        if study.user_attrs.setdefault("sweep", problem) != problem:
            raise ValueError(
                f"the storage holds another sweep called {name}; give this one another --study"
            )
        study.set_user_attr("sweep", problem)
        return study

    def _turn(self) -> contextlib.AbstractContextManager[None]:
        """Keeps other processes from taking or ending trials inside a `with` block."""
        return self._storage.turn(self._name)

    def _tell(self, trial: optuna.Trial, how: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
        """End a trial; False if it has ended already, since another process took it over."""

        def tell() -> bool:
            with self._turn():
                held = self.study._storage.get_trial(trial._trial_id)
                if held.state.is_finished():
                    return False
                for key, value in about.items():
                    trial.set_user_attr(key, value)
                self.study.tell(trial, **how)
                return True

        return self._patiently(tell)

    def _patiently(self, action: Callable[[], T]) -> T:
        """Returns what `action` returns; calls it again while the database cannot be reached.

        Raises:
          Unreachable: it could not be reached for `PATIENCE_SECONDS`.
        """
        import sqlalchemy

        unreached = (
            self._optuna.exceptions.StorageInternalError,
            sqlalchemy.exc.OperationalError,
        )
        end, wait = time.monotonic() + PATIENCE_SECONDS, 0.5
        while True:
            try:
                return action()
            except unreached as error:
                if time.monotonic() + wait > end:
                    reason = " ".join(str(error).split("\n")[0].split())
                    raise Unreachable(f"the storage cannot be reached: {reason}") from None
            time.sleep(wait)
            wait *= 2

    def _fill(self, points: list[dict[str, Any]]) -> None:
        """Enqueue the points of a grid that no process has enqueued yet."""
        known = {_key(trial) for trial in self.study.get_trials(deepcopy=False)}
        for number, point in enumerate(points):
            if f"grid {number}" not in known:
                encoded = {
                    one.name: to_optuna(one, point[one.name]) for one in self._sweep.searched
                }
                self.study.enqueue_trial(encoded, user_attrs={"queued": f"grid {number}"})

    def _next(self) -> optuna.Trial | None:
        """Returns a trial that is now this process's; None if there is none left."""
        while True:
            with self._turn():
                if not self._left():
                    return None
                trial: optuna.Trial = self.study.ask()
                trial.set_user_attr("worker", self._heartbeat.worker)
                if not self._surplus(trial):
                    return trial
                trial.set_user_attr("surplus", True)  # without a lock, another was faster
                self.study.tell(trial, state=self._state("FAIL"))

    def _sample(self, trial: optuna.Trial) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for one in self._sweep.searched:
                suggest(trial, one)

    def _left(self) -> bool:
        """Whether a trial is queued, or another one may be sampled."""
        if self._trials("WAITING"):
            return True
        return self._sweep.method != "grid" and len(self._counted()) < self.limit

    def _surplus(self, trial: optuna.Trial) -> bool:
        """Whether there are enough trials without this one, or another has the same point."""
        key, before = trial.user_attrs.get("queued"), []
        for other in self._counted():
            if other.number < trial.number:
                before.append(_key(other))
        if key is not None:
            return key in before
        return self._sweep.method == "grid" or len(before) >= self.limit

    def _trials(self, state: str) -> list[optuna.trial.FrozenTrial]:
        found: list[optuna.trial.FrozenTrial] = self.study.get_trials(
            deepcopy=False, states=(self._state(state),)
        )
        return found

    def _counted(self) -> list[optuna.trial.FrozenTrial]:
        return [
            trial
            for trial in self.study.get_trials(deepcopy=False)
            if not any(name in trial.user_attrs for name in _OUTSIDE)
        ]

    def _state(self, name: str) -> Any:
        return getattr(self._optuna.trial.TrialState, name)

    def _again(self, frozen: optuna.trial.FrozenTrial) -> bool:
        """Requeue a trial whose process is gone; False if another process did so already.

        It is queued before it is ended, so that a process that is killed in between loses nothing.
        """
        params = frozen.params or frozen.system_attrs.get("fixed_params", {})
        queued = frozen.user_attrs.get("queued")
        key = queued or f"again {frozen.number}"
        try:
            later = (t for t in self.study.get_trials(deepcopy=False) if t.number > frozen.number)
            # of a search, one without values yet is sampled anew instead
            if (queued or params) and not any(_key(trial) == key for trial in later):
                self.study.enqueue_trial(params, user_attrs={"queued": key})
            trial = self._optuna.trial.Trial(self.study, frozen._trial_id)
            trial.set_user_attr("again", True)
            self.study.tell(frozen.number, state=self._state("FAIL"))
        except (
            Exception
        ):  # finished by another process just now; drivers raise different exceptions
            return False
        return True


def _key(trial: optuna.trial.FrozenTrial) -> Any:
    return trial.user_attrs.get("queued")
