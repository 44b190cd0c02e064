"""The driver of a run: the order of its steps, and stopping."""

import marlx
from marlx.loop.drive import drive
from marlx.loop.evaluation import random_learner
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig


def test_drive_appends_logs_saves_and_stops_in_that_order():
    env, params = marlx.make("matrix/climbing", horizon=3)
    config = TrainConfig(total_steps=80, num_envs=2, rollout_length=4, evals=4, eval_episodes=60)
    run = Run(env, params, random_learner(env.spec(params)), config)
    history, calls = [], []

    def save(run, history, *, now):
        calls.append(("save", len(history), now))

    def stop():
        calls.append(("stop", len(history)))
        return len(history) == 2

    result = drive(run, history, log=lambda p: calls.append(("log", p.steps)), save=save, stop=stop)
    assert result is None and [p.steps for p in history] == [8, 32]
    assert calls == [
        ("log", 8), ("stop", 1), ("save", 1, False),
        ("log", 32), ("stop", 2), ("save", 2, True),
    ]  # fmt: skip

    at_the_end = drive(run, history, stop=lambda: len(history) == 4)
    assert at_the_end is not None, "a run that is asked to stop at its end is finished"
    assert at_the_end.history is history and [p.steps for p in history] == [8, 32, 56, 80]
    assert at_the_end.returns.shape == (1, 120) and at_the_end.random_returns.shape == (100,)
