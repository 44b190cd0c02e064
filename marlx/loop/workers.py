"""Seeds of one run in several processes of a machine, each on processor cores of its own.

On a CPU, devices of one process share a pool of threads, and small programs spend much of their
time waking each other (our reading; measured in `benchmarks/studies/speed.md`). The run stays one:
this process compiles no training, asks the workers for a block at a time, and joins what they
return. So logs, checkpoints and results are those of a run without workers, and either can go on
with the other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.learner import Learner
from marlx.loop.placement import Layout
from marlx.loop.program import RunState
from marlx.loop.progress import Progress
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig
from marlx.types import Array, Observation, Tree
from marlx.xla.memory import is_key

Parts = tuple[Environment[Any, Any], EnvParams, Learner]


class WorkerGone(RuntimeError):
    """A worker ended or failed before the run did; the message is one line."""


class Share(NamedTuple):
    """Seeds and settings of one worker; pickled.

    Attributes:
      make: returns environment, parameters and learner.
      config: of the run, with the seeds of this worker.
      check_finite: as that of `Run`.
      cores: numbers of the processor cores that it runs on; none where they cannot be chosen.
    """

    make: Callable[[], Parts]
    config: TrainConfig
    check_finite: bool
    cores: tuple[int, ...]


class SharedRun(Run):
    """A run whose seeds are trained by workers, in shares whose sizes differ by at most one."""

    def __init__(
        self,
        env: Environment[Any, Any],
        params: EnvParams,
        learner: Learner,
        config: TrainConfig,
        make: Callable[[], Parts],
        workers: int,
        *,
        check_finite: bool = False,
    ) -> None:
        """Checks all settings; no process is started yet.

        Args:
          env: as for `Run`, and so are `params`, `learner`, `config`, `check_finite`.
          params: of the environment.
          learner: to train.
          config: of the training loop, with all seeds.
          make: makes the same environment, parameters and learner again in a worker; pickled.
          workers: how many, at most one for each seed.
          check_finite: look at every step.

        Raises:
          ValueError: settings that cannot work.
        """
        super().__init__(env, params, learner, config, devices=1, check_finite=check_finite)
        if not 1 <= workers <= config.seeds:
            raise ValueError(f"workers is {workers}; it must be from 1 to seeds, {config.seeds}")
        ends = [-(-config.seeds * i // workers) for i in range(workers + 1)]
        self._slices = [slice(ends[i], ends[i + 1]) for i in range(workers)]
        cores = cores_of(workers)
        self.shares = [
            Share(make, share_of(config, part), check_finite, cores[i])
            for i, part in enumerate(self._slices)
        ]
        self._workers: list[Worker] = []
        self._held: RunState | None = None  # a restored state that no worker has yet
        self._counters: Mapping[str, Any] = {}
        self._last: list[dict[str, Any]] = []
        self._end = weakref.finalize(self, end, self._workers)

    @property
    def layout(self) -> Layout:
        """A group for each worker."""
        return Layout(len(self.shares), 1)

    @property
    def started(self) -> bool:
        """Whether there is a state: the run was restored, or has begun."""
        return self._held is not None or bool(self._last)

    @property
    def state(self) -> RunState:
        """The state of all seeds on the host, keys as their key data, fetched from the workers."""
        return self._held if self._held is not None else self.snapshot()[0]

    def policies(self) -> Tree:
        """The policies (`Learner.policy`) now, leading axis [seeds], on the host."""
        if not self._last:
            policies = self.learner.policy(self.state.learner)
            return jax.tree.map(lambda x: x[: self.num_seeds], policies)
        shape = jax.eval_shape(self.learner.policy, self.state_shape.learner)
        return jax.tree.unflatten(jax.tree.structure(shape), self._joined("policies"))

    def played(self) -> tuple[Array, Observation]:
        """Running returns and current observations of all environments, leading axis [seeds]."""
        returns, obs = self._joined("played")
        return returns, obs

    def compile(self) -> None:
        """Starts the workers, which compile; `blocks` does it where it was not done before."""
        if self._workers:
            return
        self._workers.extend(start(share) for share in self.shares)
        if self._held is not None:
            leaves = jax.tree.leaves(on_host(self._held))
            parts = [[x[part] for x in leaves] for part in self._slices]
            self._ask("restore", [(part, self._counters) for part in parts])
        self._ask("compile")

    def blocks(self) -> Iterator[Progress]:
        """Trains, yielding before the first update and after every block that is left."""
        self.compile()
        while True:
            replies = self._ask("next")
            if replies[0] is None:
                return
            self._held, self._last = None, replies
            self.not_finite = self._joined("not_finite")
            phases = [reply["phases"] for reply in replies]
            slowest = {name: max(one[name] for one in phases) for name in phases[0]}
            self.phases = slowest | {k: v for k, v in self.phases.items() if k == "checkpoint"}
            yield Progress(
                replies[0]["steps"],
                self.total_steps,
                sum(self.phases.values()) - self.phases["compile"],
                self._joined("metrics"),
                dict(self.phases),
                self.policies,
            )

    def final_evaluation(self) -> dict[str, np.ndarray[Any, Any]]:
        """Metrics f64 [seeds, episodes] of at least 100 fresh episodes per seed and mode."""
        found: dict[str, np.ndarray[Any, Any]] = join(self._ask("final"))
        return found

    def snapshot(self) -> tuple[RunState, dict[str, Any]]:
        """Returns the state [seeds] on the host, and the counters, for `restore`."""
        replies = self._ask("snapshot")
        leaves = join([leaves for leaves, _ in replies])
        state = jax.tree.unflatten(jax.tree.structure(self.state_shape), leaves)
        return state, {**replies[0][1], "phases": dict(self.phases)}

    def restore(self, state: RunState, counters: Mapping[str, Any]) -> None:
        """Continues from a `snapshot` of a run with the same settings, with workers or without."""
        self._held, self._counters = state, counters
        self.phases.update(counters["phases"])

    def processes(self) -> list[int]:
        """Returns the ids of the workers' processes: none before they are started."""
        return [worker.process.pid for worker in self._workers]

    def close(self) -> None:
        """Ends the workers."""
        self._end()

    def _joined(self, name: str) -> Any:
        """Returns a part of the workers' last replies, leading axis [seeds]."""
        return join([reply[name] for reply in self._last])

    def _ask(self, what: str, arguments: Sequence[tuple[Any, ...]] = ()) -> list[Any]:
        """Sends every worker a request, and returns their replies.

        Args:
          what: a name in `requests`.
          arguments: for each worker; none for all if there are none.

        Raises:
          WorkerGone: one of them is gone, which is noticed at once, or failed.
        """
        given = arguments or [()] * len(self._workers)
        for i, worker in enumerate(self._workers):
            with self._noticing(i):
                worker.connection.send((what, given[i]))
        replies: dict[int, Any] = {}
        waiting = {worker.connection: i for i, worker in enumerate(self._workers)}
        while waiting:
            for connection in multiprocessing.connection.wait(list(waiting)):
                assert isinstance(connection, Connection)
                i = waiting.pop(connection)
                with self._noticing(i):
                    error, replies[i] = connection.recv()
                if error:
                    raise WorkerGone(f"worker {i} of {len(self._workers)} failed: {error}")
        return [replies[i] for i in range(len(self._workers))]

    @contextlib.contextmanager
    def _noticing(self, i: int) -> Iterator[None]:
        """Raises WorkerGone for the errors of a connection whose other end is closed."""
        try:
            yield
        except (EOFError, OSError):
            raise WorkerGone(f"worker {i} of {len(self._workers)} is gone") from None


def share_of(config: TrainConfig, part: slice) -> TrainConfig:
    """Returns the settings of the worker that trains a part of the seeds."""
    return dataclasses.replace(config, seeds=part.stop - part.start, seed=config.seed + part.start)


def cores_of(workers: int) -> list[tuple[int, ...]]:
    """Returns the processor cores of each worker: parts of those that this process may use.

    More workers than cores share them in turn. Empty where a process cannot choose.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [()] * workers
    cores = sorted(os.sched_getaffinity(0))
    if workers > len(cores):
        return [(cores[i % len(cores)],) for i in range(workers)]
    ends = [len(cores) * i // workers for i in range(workers + 1)]
    return [tuple(cores[ends[i] : ends[i + 1]]) for i in range(workers)]


def join(trees: Sequence[Tree]) -> Any:
    """Returns trees of arrays [seeds of a worker, ...] as one with [seeds, ...]."""
    return jax.tree.map(lambda *parts: np.concatenate(parts), *trees)


def on_host(tree: Tree) -> Any:
    """Returns a tree of arrays as NumPy's, keys as their key data."""
    return jax.tree.map(lambda x: np.asarray(jax.random.key_data(x) if is_key(x) else x), tree)


# --- processes ---


class Worker(NamedTuple):
    """A process, and the connection to it."""

    process: Any
    connection: Connection


def start(share: Share) -> Worker:
    """Starts a worker."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, share), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def end(workers: list[Worker]) -> None:
    """Ends workers at once, also within a block."""
    for worker in workers:
        worker.connection.close()
        worker.process.kill()
        worker.process.join()
    workers.clear()


def _work(connection: Connection, share: Share) -> None:
    """Serves a run in this process until it is ended, or the process that started it is."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal sends them to all: one decides
        signal.signal(number, signal.SIG_IGN)
    if share.cores:
        os.sched_setaffinity(0, share.cores)  # before JAX starts its threads
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    serve(connection, share)


def _leave_with_parent() -> None:
    """Exits once the process that started this one is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def serve(connection: Connection, share: Share) -> None:
    """Answers requests until the connection is closed.

    A reply is an error in one line, or None, and the result.
    """
    answers: dict[str, Callable[..., Any]] = {}
    with contextlib.suppress(EOFError, OSError):
        while True:
            what, arguments = connection.recv()
            reply: tuple[str | None, Any]
            try:
                answers = answers or requests(share)
                reply = None, answers[what](*arguments)
            except Exception as error:
                said = " ".join(str(error).split())[:200]
                reply = f"{type(error).__name__}: {said}", None
            connection.send(reply)


def requests(share: Share) -> dict[str, Callable[..., Any]]:
    """Makes a worker's run of each seed; returns what they can be asked for, by name.

    The seeds take turns, a block each. Under `vmap` they would round differently than alone, and
    on one core they are seldom faster together.
    """
    env, params, learner = share.make()
    seeds = [share_of(share.config, slice(i, i + 1)) for i in range(share.config.seeds)]
    check = share.check_finite
    runs = [Run(env, params, learner, one, devices=1, check_finite=check) for one in seeds]
    blocks = [run.blocks() for run in runs]

    def restore(leaves: Sequence[Any], counters: Mapping[str, Any]) -> None:
        like, structure = jax.tree.flatten(runs[0].state_shape)
        own = {name: seconds / len(runs) for name, seconds in counters["phases"].items()}
        for i, run in enumerate(runs):
            parts = [x[i : i + 1] for x in leaves]
            arrays = [_as_keys(x, y) if is_key(y) else x for x, y in zip(parts, like, strict=True)]
            run.restore(jax.tree.unflatten(structure, arrays), {**counters, "phases": own})

    def compile_all() -> None:
        runs[0].compile()
        for run in runs[1:]:
            run.compile_as(runs[0])

    def following() -> dict[str, Any] | None:
        found = [next(each, None) for each in blocks]
        after = [progress for progress in found if progress is not None]
        if not after:
            return None
        return {
            "steps": after[0].steps,
            "metrics": join([progress.metrics for progress in after]),
            "phases": {k: sum(one.phases[k] for one in after) for k in after[0].phases},
            "not_finite": join([run.not_finite for run in runs]),
            "policies": join([jax.tree.leaves(on_host(run.policies())) for run in runs]),
            "played": join([on_host(run.played()) for run in runs]),
        }

    def snapshot() -> tuple[list[Any], dict[str, Any]]:
        taken = [run.snapshot() for run in runs]
        states = [jax.tree.leaves(on_host(state)) for state, _ in taken]
        return join(states), taken[0][1]

    return {
        "restore": restore,
        "compile": compile_all,
        "next": following,
        "final": lambda: join([run.final_evaluation() for run in runs]),
        "snapshot": snapshot,
    }


def _as_keys(data: np.ndarray[Any, Any], like: Any) -> Array:
    """Returns random keys of the kind of `like` from their key data."""
    kind = jax.random.key_impl(jnp.empty((), like.dtype))
    keys: Array = jax.random.wrap_key_data(jnp.asarray(data), impl=kind)
    return keys
