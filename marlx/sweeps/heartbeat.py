"""Heartbeat of a process in a study, by which other processes know that it lives."""

from __future__ import annotations

import datetime
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from marlx.sweeps.storage import Storage, machine, process_runs

if TYPE_CHECKING:
    import optuna

BEAT_SECONDS = 30.0
"""Time between two heartbeats."""
STALE_SECONDS = 180.0
"""Age of the last heartbeat from which a process counts as dead."""


class Heartbeat:
    """Writes the time into a study every half minute, and reads that of other processes.

    Args:
      study: Optuna's.
      storage: its clock is the one that all processes share.

    Attributes:
      worker: name of this process in the study: machine, process and time of its start.
    """

    def __init__(self, study: Any, storage: Storage) -> None:
        self.worker = f"{machine()}:{os.getpid()}:{time.time():.6f}"
        self._study, self._storage = study, storage
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._live)
        self._thread.daemon = True

    def start(self) -> None:
        """Beat now, and from now on in a thread."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._stop.set()

    def lives(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Returns whether the process of a running trial still lives."""
        worker = trial.user_attrs.get("worker")
        if worker == self.worker:
            return True
        if worker is None:  # its process was killed in its turn, or there are no turns
            began = trial.datetime_start or datetime.datetime.min
            age = (datetime.datetime.now() - began).total_seconds()
            return not self._storage.locks and age < STALE_SECONDS
        there, process, _ = str(worker).rsplit(":", 2)
        if there == machine() and not process_runs(int(process)):
            return False
        beat = self._study.user_attrs.get(f"worker {worker}", 0.0)
        return bool(self._storage.now() - beat < STALE_SECONDS)

    def _live(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                self._beat()
            except Exception:  # a storage that cannot be reached now may be the next time
                continue

    def _beat(self) -> None:
        self._study.set_user_attr(f"worker {self.worker}", self._storage.now())
