"""Groups of loggers, loggers in threads, and the `report` argument of `marlx.train`."""

import threading
import time

import numpy as np
import pytest
from logged import progress

import marlx
from marlx.loggers import Background, Loggers, by_seed
from marlx.loggers.base import together


class Memory:
    """A logger that remembers what it logged, or fails."""

    def __init__(self, fails=False, gate=None):
        self.seen, self.result, self.fails, self.gate = [], "open", fails, gate

    def log(self, progress):
        if self.gate:
            self.gate.wait(60)
        if self.fails:
            raise RuntimeError("the disk\nis full")
        self.seen.append(progress.steps)

    def close(self, result):
        self.result = result


def test_an_error_is_printed_once_and_other_loggers_go_on(capsys):
    good, bad = Memory(), Memory(fails=True)
    loggers = Loggers([bad, good])
    for steps in (1, 2, 3):
        loggers.log(progress(steps))
    loggers.close({"x": 1})
    assert good.seen == [1, 2, 3] and good.result == bad.result == {"x": 1}
    assert capsys.readouterr().err == "Memory: could not log: RuntimeError: the disk is full\n"


def test_train_calls_the_loggers_it_is_given(tiny_algorithm, capsys):
    env, params = marlx.make("matrix/climbing", horizon=3)
    learner = tiny_algorithm(env.spec(params))
    settings = {"total_steps": 64, "num_envs": 2, "rollout_length": 4, "evals": 2, "seeds": 2}
    one, other = Memory(), Memory(fails=True)
    result = marlx.train(env, learner, params, report=[one, other], eval_episodes=50, **settings)
    assert one.seen == [p.steps for p in result.history] == [8, 40, 72]
    assert one.result["return"]["per_seed"] == result.returns.mean(1).tolist()
    assert one.result["random_return"] == result.random_returns.mean()
    assert (one.result["steps"], one.result["seeds"]) == (72, [0, 1])
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(ValueError, match="must be a function of a Progress, a logger"):
        marlx.train(env, learner, params, report=3, **settings)


def test_a_function_is_a_logger_whose_errors_are_raised(capsys):
    seen = []
    together(lambda progress: seen.append(progress.steps)).log(progress(7))
    together(None).log(progress(8))
    assert seen == [7]

    def stop(progress):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        together(stop).log(progress(9))


def test_means_leave_out_numbers_that_are_not_finite():
    mean, first, second = by_seed(progress(2, loss=[np.nan, 4.0], gone=[np.nan, np.inf]))
    assert mean == (None, {"return": 2.05, "loss": 4.0})
    assert first == (0, {"return": 2.0}) and second == (1, {"return": 2.1, "loss": 4.0})


def test_training_does_not_wait_for_a_slow_logger(capsys):
    slow = Memory(gate=threading.Event())
    background = Background("slow", lambda: slow, limit=2, patience=60.0)
    for steps in range(10):
        background.log(progress(steps))
    assert slow.seen == [], "it was waited for"
    slow.gate.set()
    background.close({"x": 1})
    # the newest are kept; the thread may have logged one before
    assert slow.seen[-2:] == [8, 9] and len(slow.seen) <= 3 and slow.result == {"x": 1}
    assert capsys.readouterr().err.count("too slow") == 1


def test_closing_takes_no_longer_than_patience(capsys):
    never = threading.Event()
    background = Background("stuck", lambda: never.wait() and Memory(), patience=0.3)
    background.log(progress(1))
    began = time.perf_counter()
    background.close({})
    assert 0.25 < time.perf_counter() - began < 30  # and not for ever
    assert "stuck: gave up waiting" in capsys.readouterr().err
    never.set()
