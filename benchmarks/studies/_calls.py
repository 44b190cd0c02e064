"""Where and how often a trained MANSA calls, and what its independent part does without calls."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from marlx.loop import evaluation
from marlx.loop.rollout import rollout, start

ENVS = 64


def call_rates(env: Any, params: Any, learner: Any, policies: Any, steps: int) -> np.ndarray:
    """Returns the greedy calls of each seed per step of a rollout, f64 [seeds, steps].

    Args:
      env: the environment.
      params: its parameters.
      learner: a MANSA.
      policies: of all seeds.
      steps: length of the rollout, from fresh episodes on, in 64 environments.
    """

    def rate(policy: Any, key: Any) -> Any:
        actors = start(env, params, learner, key, ENVS)
        _, t, _ = rollout(env, params, learner, policy, actors, key, steps, explore=False)
        return t.extras.called.mean(1)

    return np.asarray(jax.jit(jax.vmap(rate))(policies, keys_of(policies, 7)), float)


def executed_returns(
    experiment: Any, env: Any, params: Any, policies: Any, execution: str, episodes: int
) -> list[float]:
    """Returns the mean greedy return of each seed where `execution` says who acts.

    With `independent` the switch and the centralised part are never asked, so it is what the calls
    have taught the independent part, and no more.

    Args:
      experiment: whose settings are those of a MANSA.
      env: the environment.
      params: its parameters.
      policies: of all seeds.
      execution: `switched`, `independent` or `centralised`.
      episodes: per seed.
    """
    settings = dataclasses.replace(experiment.learner, execution=execution)
    learner = experiment._replace(learner=settings).build()[2]

    def mean(policy: Any, key: Any) -> Any:
        return evaluation.evaluate(env, params, learner, policy, key, episodes).mean()

    return [float(x) for x in jax.jit(jax.vmap(mean))(policies, keys_of(policies, 8))]


def numbers_of_switch(
    experiment: Any, env: Any, params: Any, learner: Any, result: Any
) -> list[dict[str, Any]]:
    """Returns for each seed the numbers of its calls, and its return without them.

    Args:
      experiment: whose settings are those of a MANSA.
      env: the environment.
      params: its parameters.
      learner: a MANSA.
      result: of its training.
    """
    samples = result.history[-1].metrics["centralised_samples_total"]
    horizon = env.spec(params).horizon
    rates = call_rates(env, params, learner, result.policies, 2 * horizon)
    alone = executed_returns(
        experiment, env, params, result.policies, "independent", experiment.train.eval_episodes
    )
    measured: list[dict[str, Any]] = []
    for i, independent in enumerate(alone):
        numbers: dict[str, Any] = {
            "centralised_samples": float(samples[i]),
            "greedy_call_rate": round(float(rates[i].mean()), 4),
            "independent_return": round(independent, 4),
        }
        if experiment.environment.startswith("matrix/"):
            by_stage = [round(x, 3) for x in rates[i, :horizon].tolist()]
            numbers["greedy_call_rate_by_stage"] = by_stage
        measured.append(numbers)
    return measured


def keys_of(policies: Any, number: int) -> Any:
    """Returns a key for each seed of `policies`."""
    return jax.random.split(jax.random.key(number), len(jax.tree.leaves(policies)[0]))
