"""Seeds shared by workers: the numbers, states and errors of one run; here workers are threads."""

import contextlib
import dataclasses
import functools
import os
import socket
import threading
from multiprocessing import Pipe

import jax
import numpy as np
import pytest
from test_finite import Broken
from tiny import TinyConfig, tiny

import marlx
from marlx.loop import workers
from marlx.loop.drive import drive
from marlx.loop.finite import NotFinite
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig
from marlx.loop.workers import SharedRun, WorkerGone
from marlx.runs.checkpoint_files import open_checkpoint
from marlx.runs.checkpoints import Checkpoints
from marlx.xla.names import named

CONFIG = TrainConfig(
    total_steps=96, num_envs=4, rollout_length=4, seeds=3, seed=5, evals=4, eval_episodes=8
)


class Ended:
    """A thread in the place of a process."""

    def __init__(self, thread, theirs):
        self.thread, self.theirs = thread, theirs

    def kill(self):
        with contextlib.suppress(OSError):  # it has ended already
            with socket.socket(fileno=os.dup(self.theirs.fileno())) as both:
                both.shutdown(socket.SHUT_RDWR)

    def join(self):
        self.thread.join(120)


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    def start(share):
        ours, theirs = Pipe()
        thread = threading.Thread(target=workers.serve, args=(theirs, share), daemon=True)
        thread.start()
        return workers.Worker(Ended(thread, theirs), ours)

    monkeypatch.setattr(workers, "start", start)


def parts(env=None, action_loss=0.0):
    env = marlx.make("matrix/climbing", horizon=3)[0] if env is None else env
    params = env.default_params
    learner = tiny(env.spec(params), TinyConfig())

    def update(state, key):
        state, metrics = learner.update(state, key)
        return state, {"loss": metrics["loss"] + action_loss * state["logits"].sum()}

    return env, params, learner._replace(update=update)


def shared(count=2, make=parts, config=CONFIG, **given):
    return SharedRun(*make(), config, make, count, **given)


def alone(make=parts, config=CONFIG, **given):
    return Run(*make(), config, devices=1, **given)


def numbers(history, result):
    """All numbers of a run that do not depend on time."""
    found = {f"policies/{k}": v for k, v in named(result.policies).items()}
    found |= {f"final/{name}": value for name, value in result.evaluated.items()}
    for progress in history:
        for name, value in progress.metrics.items():
            found[f"{progress.steps}/{name}"] = value
    return found | {"random": result.random_returns}


def same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Numbers of a run without workers, and its checkpoints of every evaluation."""
    store = Checkpoints(tmp_path_factory.mktemp("alone"), keep=9, seconds=0)
    run, history = alone(make=functools.partial(parts, action_loss=1.0)), []
    result = drive(run, history, save=lambda run, history, now: store.save(run, history))
    return numbers(history, result), store


def test_a_shared_run_has_the_numbers_of_one_and_its_checkpoints_go_on_either_way(
    expected, tmp_path
):
    make = functools.partial(parts, action_loss=1.0)
    store, run, history = Checkpoints(tmp_path, keep=9, seconds=0), shared(make=make), []
    assert [share.config.seeds for share in run.shares] == [2, 1] and not run.started
    result = drive(run, history, save=lambda run, history, now: store.save(run, history))
    run.close()
    same(numbers(history, result), expected[0])
    assert run.layout == (2, 1) and history[-1].phases["compile"] > 0

    for folder, again in ((expected[1].path, shared(make=make)), (tmp_path, alone(make=make))):
        middle = open_checkpoint(sorted(folder.iterdir())[1])
        history = Checkpoints(folder).restore(again, middle)
        assert again.started and len(history) == 2
        before = [leaf.copy() for leaf in jax.tree.leaves(jax.device_get(again.policies()))]
        result = drive(again, history)
        same(numbers(history, result), expected[0])
        after = jax.tree.leaves(again.policies())
        assert any((x != y).any() for x, y in zip(before, after, strict=True))
        again.close()


def test_a_worker_that_is_gone_or_fails_ends_the_run_in_one_line():
    run, seen = shared(), []

    def kill(progress):
        seen.append(progress.steps)
        run._workers[1].process.kill()

    with pytest.raises(WorkerGone, match=r"^worker 1 of 2 is gone$"):
        drive(run, [], log=kill)
    assert len(seen) == 1

    def refusing():
        raise ValueError("no such\nthing")

    run = SharedRun(*parts(), CONFIG, refusing, 2)
    with pytest.raises(WorkerGone, match=r"worker [01] of 2 failed: ValueError: no such thing$"):
        run.compile()
    run.close()


@pytest.mark.parametrize(("array", "check"), [("reward", False), ("observation", True)])
def test_nan_is_found_and_named_as_in_one_run(array, check):
    make = functools.partial(parts, Broken(array=array))
    messages = []
    for run in (alone(make), shared(make=make, check_finite=check)):
        with pytest.raises(NotFinite) as error:
            drive(run, [])
        messages.append(str(error.value))
        run.close()
    assert messages[0] == messages[1] and "step 2 of an episode of random play" in messages[0]


def test_seeds_and_cores_are_divided(monkeypatch):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: {3, 5, 6, 7, 9}, raising=False)
    assert workers.cores_of(2) == [(3, 5), (6, 7, 9)]
    assert workers.cores_of(7)[4:] == [(9,), (3,), (5,)]
    config = dataclasses.replace(CONFIG, seeds=7)
    shares = [share.config for share in shared(3, config=config).shares]
    assert [(one.seed, one.seeds) for one in shares] == [(5, 3), (8, 2), (10, 2)]
    with pytest.raises(ValueError, match="workers is 4; it must be from 1 to seeds, 3"):
        shared(4)
