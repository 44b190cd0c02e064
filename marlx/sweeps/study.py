"""Trials of a sweep in an Optuna storage, shared by any number of processes.

Every process writes a heartbeat into the storage. Trials of a process without one are put back into
the queue.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from marlx.sweeps.parameters import Sweep
from marlx.sweeps.search import from_optuna, make_sampler, optuna_module, suggest, to_optuna

if TYPE_CHECKING:
    import optuna

BEAT_SECONDS = 30.0
"""Time between two heartbeats."""
STALE_SECONDS = 180.0
"""Age of the last heartbeat from which a process counts as dead."""
_OUTSIDE = ("surplus", "again")  # attributes of trials that do not count as trials of the sweep


class Row(NamedTuple):
    """A trial as it is shown to people."""

    trial: int
    state: str  # finished, stopped early, failed, running, waiting
    value: float | None
    values: dict[str, Any]  # of the searched parameters
    about: dict[str, Any]  # folder, reason, evaluations, seconds


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
        self._sweep, self._optuna = sweep, optuna_module()
        self._worker = f"{platform.node()}:{os.getpid()}:{time.time():.3f}"
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._live)
        self._thread.daemon = True
        points = sweep.grid() if sweep.method == "grid" else []
        self.limit = min(trials or len(points), len(points)) if points else trials or 0
        self._shared = _folder_of(storage)
        with self._turn():
            self.study = self._opened(name, storage, evaluations, seed)
            self._fill(points[: self.limit])

    def open(self) -> int:
        """Start the heartbeat, requeue the trials of dead processes, and return their number."""
        self._beat()
        self._thread.start()
        with self._turn():
            died = [trial for trial in self._trials("RUNNING") if not self._lives(trial)]
            return sum(map(self._again, died))

    def close(self) -> int:
        """Requeue the trials that this process has not finished, and return their number."""
        self._stop.set()
        own = [t for t in self._trials("RUNNING") if t.user_attrs.get("worker") == self._worker]
        return sum(map(self._again, own))

    def take(self, count: int) -> list[optuna.Trial]:
        """Returns up to `count` trials to run; none if all are done or run by other processes."""
        taken: list[optuna.Trial] = []
        while len(taken) < count:
            queued = bool(self._trials("WAITING"))
            if not queued and (self._sweep.method == "grid" or len(self._counted()) >= self.limit):
                break
            with self._turn():
                trial = self.study.ask()
                trial.set_user_attr("worker", self._worker)
            if self._surplus(trial):  # another process was faster
                trial.set_user_attr("surplus", True)
                self.study.tell(trial, state=self._state("FAIL"))
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for one in self._sweep.searched:
                    suggest(trial, one)
            taken.append(trial)
        return taken

    def values(self, trial: optuna.Trial | optuna.trial.FrozenTrial) -> dict[str, Any]:
        """Returns the values of the searched parameters in a trial, by dotted name."""
        return {
            one.name: from_optuna(one, trial.params[one.name])
            for one in self._sweep.searched
            if one.name in trial.params
        }

    def finish(self, trial: optuna.Trial, value: float) -> None:
        """Record the value of a trial; one that is not finite marks it as failed."""
        if np.isfinite(value):
            self.study.tell(trial, float(value))
        else:
            self.fail(trial, f"{self._sweep.metric.name} is {value}")

    def prune(self, trial: optuna.Trial) -> None:
        """Record that a trial was stopped early."""
        self.study.tell(trial, state=self._state("PRUNED"))

    def fail(self, trial: optuna.Trial, reason: str) -> None:
        """Record that a trial could not be run."""
        trial.set_user_attr("reason", reason)
        self.study.tell(trial, state=self._state("FAIL"))

    def best(self) -> Row | None:
        """Returns the finished trial with the best value."""
        done = [row for row in self.rows() if row.state == "finished"]
        return done[0] if done else None

    def rows(self) -> list[Row]:
        """Returns all trials, finished ones first, sorted by value."""
        names = {
            "COMPLETE": "finished",
            "PRUNED": "stopped early",
            "FAIL": "failed",
            "RUNNING": "running",
            "WAITING": "waiting",
        }
        found = []
        for trial in self._counted():
            about = {
                key: value
                for key, value in trial.user_attrs.items()
                if key in ("folder", "reason", "seconds", "together")
            }
            values = self.values(trial)
            if not values:  # still in the queue
                fixed = trial.system_attrs.get("fixed_params", {})
                values = {
                    one.name: from_optuna(one, fixed[one.name])
                    for one in self._sweep.searched
                    if one.name in fixed
                }
            value = trial.value if trial.state.name in ("COMPLETE", "PRUNED") else None
            about["evaluations"] = len(trial.intermediate_values)
            found.append(Row(trial.number, names[trial.state.name], value, values, about))
        sign = -1 if self._sweep.metric.goal == "maximize" else 1
        order = list(names.values())
        return sorted(
            found,
            key=lambda row: (order.index(row.state), sign * (row.value or 0.0), row.trial),
        )

    def importances(self) -> dict[str, float]:
        """Returns the importance of each searched parameter, summing to 1; empty if unknown.

        It is unknown with fewer than four finished trials, or if all values are equal.

        Source: Watanabe et al. 2023 (PED-ANOVA), as implemented by Optuna.
        """
        done = [row for row in self.rows() if row.state == "finished"]
        if len(done) < 4 or len({row.value for row in done}) < 2:
            return {}
        evaluator = self._optuna.importance.PedAnovaImportanceEvaluator
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._optuna.importance.get_param_importances(self.study, evaluator=evaluator())
        return {name: float(value) for name, value in found.items() if np.isfinite(value)}

    def _opened(self, name: str, storage: str, evaluations: int, seed: int) -> Any:
        optuna, sweep = self._optuna, self._sweep
        early = sweep.early
        pruner = optuna.pruners.NopPruner()
        if early is not None:
            most = min(early.most or evaluations, evaluations)
            pruner = optuna.pruners.HyperbandPruner(min(early.least, most), most, early.eta)
        arguments = {"connect_args": {"timeout": 60}} if storage.startswith("sqlite") else {}
        problem = json.dumps(
            [sweep.method, sweep.names, sweep.options, sweep.metric, sweep.parameters], default=str
        )
        try:
            study = optuna.create_study(
                study_name=name,
                storage=optuna.storages.RDBStorage(storage, engine_kwargs=arguments),
                direction=sweep.metric.goal,
                sampler=make_sampler(sweep, seed),
                pruner=pruner,
                load_if_exists=True,
            )
        except Exception as error:  # of any database driver
            reason = " ".join(str(error).split("\n")[0].split())
            raise ValueError(f"cannot open the storage {_hidden(storage)}: {reason}") from None
        if study.user_attrs.setdefault("sweep", problem) != problem:
            raise ValueError(
                f"the storage holds another sweep called {name}; give this one another --study"
            )
        study.set_user_attr("sweep", problem)
        return study

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the lock of the database file, where the storage is one.

        SQLite locks no rows: two processes that ask at the same time may get the same trial, and
        of two that create the database one fails. Database servers lock by themselves.
        """
        try:
            import fcntl
        except ImportError:  # there are none on Windows
            yield
            return
        if self._shared is None:
            yield
            return
        folder = os.open(self._shared, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _fill(self, points: list[dict[str, Any]]) -> None:
        """Enqueue the points of a grid that no process has enqueued yet."""
        known = {_key(trial) for trial in self.study.get_trials(deepcopy=False)}
        for number, point in enumerate(points):
            if f"grid {number}" not in known:
                encoded = {
                    one.name: to_optuna(one, point[one.name]) for one in self._sweep.searched
                }
                self.study.enqueue_trial(encoded, user_attrs={"queued": f"grid {number}"})

    def _surplus(self, trial: optuna.Trial) -> bool:
        """Whether there are enough trials without this one, or another has the same point."""
        key, before = trial.user_attrs.get("queued"), []
        for other in self._counted():
            if other.number < trial.number:
                before.append(_key(other))
        if key is not None:
            return str(key).startswith("grid") and key in before
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
        """Requeue a trial whose process is gone; False if another process did so already."""
        try:
            trial = self._optuna.trial.Trial(self.study, frozen._trial_id)
            trial.set_user_attr("again", True)
            self.study.tell(frozen.number, state=self._state("FAIL"))
        except (
            Exception
        ):  # finished by another process just now; drivers raise different exceptions
            return False
        params = frozen.params or frozen.system_attrs.get("fixed_params")
        if params:  # otherwise it had no values yet, and a new trial will be sampled
            queued = frozen.user_attrs.get("queued", f"again {frozen.number}")
            self.study.enqueue_trial(params, user_attrs={"queued": queued})
        return True

    def _live(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                self._beat()
            except Exception:  # a storage that cannot be reached now may be the next time
                continue

    def _beat(self) -> None:
        self.study.set_user_attr(f"worker {self._worker}", time.time())

    def _lives(self, trial: optuna.trial.FrozenTrial) -> bool:
        worker = trial.user_attrs.get("worker")
        if worker is None:
            began = trial.datetime_start or datetime.datetime.min
            return (datetime.datetime.now() - began).total_seconds() < STALE_SECONDS
        node, process, _ = str(worker).rsplit(":", 2)
        if node == platform.node() and not _running(int(process)):
            return False
        beat = self.study.user_attrs.get(f"worker {worker}", 0.0)
        return bool(time.time() - beat < STALE_SECONDS)


def _key(trial: optuna.trial.FrozenTrial) -> Any:
    return trial.user_attrs.get("queued")


def _running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _folder_of(storage: str) -> Path | None:
    """Returns the folder of a database file; None for other storages."""
    scheme, _, path = storage.partition(":///")
    folder = Path(path).parent
    return folder if scheme.startswith("sqlite") and path and folder.is_dir() else None


def _hidden(storage: str) -> str:
    """Returns a storage URL without its password."""
    scheme, _, rest = storage.partition("://")
    return f"{scheme}://...@{rest.rsplit('@', 1)[1]}" if "@" in rest else storage


def sqlite(folder: Path) -> str:
    """Returns the storage URL of a sweep folder's own database."""
    return f"sqlite:///{(folder / 'study.db').resolve()}"


def table(rows: list[Row], names: list[str]) -> list[dict[str, Any]]:
    """Returns the rows as flat records, with a column per parameter."""
    return [
        {
            "trial": row.trial,
            "state": row.state,
            "value": row.value,
            **{name: row.values.get(name) for name in names},
            **_about(row.about),
        }
        for row in rows
    ]


def _about(about: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("evaluations", "seconds", "together", "folder", "reason")
    return {key: about.get(key) for key in keys}
