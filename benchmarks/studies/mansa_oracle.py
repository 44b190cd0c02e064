"""Study `mansa_oracle`: the calls of MANSA's switch against those that pay, by cost of a call.

    python benchmarks/studies/mansa_oracle.py

The task is a chain of stages, of which only the last needs coordination. Every stage leads to the
next whatever is done, so a call pays where the joint action gains more than the cost at once.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import _study
import jax
import jax.numpy as jnp
import numpy as np

from marlx.algos import q_learning
from marlx.algos.switching import learner as switching_learner
from marlx.algos.switching.switch import switch_learner
from marlx.analysis import make_rows
from marlx.config import layers as config_layers
from marlx.loop import program as loop_program
from marlx.loop.rollout import rollout, start

TASK = "matrix/chain-4"
COSTS = (0.25, 0.5, 1.0, 3.0, 5.0, 7.0)


def measure(seeds: int, total_steps: int) -> dict[str, np.ndarray[Any, Any]]:
    """Trains all seeds and costs in one program, of which the cost is an argument.

    Returns:
      By name, leading axes [costs, seeds]: `called` [stages], whether the switch calls; `alone` and
      `joint` [stages], rewards of the independent and of the centralised part; `call_rate`.
    """
    experiment = config_layers.experiment("mansa", TASK, total_steps=total_steps, evals=1)
    env, params, _ = experiment.build()
    spec, stage_count = env.spec(params), 5
    # from the steps of the centralised part IQL would learn to coordinate, and calls gain nothing
    settings = dataclasses.replace(experiment.learner, il_trains_on="g0")
    # the oracle is of greedy parts, so these end greedy: while they explore, one wrong action next
    # to the 11 costs 30, and calls are worth less
    greedy = {"epsilon_end": 0.0, "epsilon_steps": total_steps // 2}
    parts = (
        q_learning.iql(spec, settings.independent, **greedy),
        q_learning.joint_q(spec, settings.centralised, **greedy),
    )

    def one(key: jax.Array, cost: jax.Array) -> dict[str, jax.Array]:
        own = dataclasses.replace(settings, call_cost=cost)
        switch = switch_learner(spec, own, own.switch)
        learner = switching_learner.mansa(spec, *parts, switch, own)
        run_ = loop_program.loop(env, params, learner, experiment.train)
        state, metrics = run_.block(run_.warm_up(run_.init(key)))
        policy = learner.policy(state.learner)
        actors = start(env, params, learner, key, 1)
        _, t, _ = rollout(env, params, learner, policy, actors, key, stage_count, explore=False)
        obs = jax.vmap(lambda i: env.observe(replace_stage(env, i), params))(
            jnp.arange(stage_count)
        )
        actions = [
            part.act(own, part.memory(stage_count), obs, key, False)[0]
            for part, own in zip(parts, policy[:2], strict=True)
        ]
        return {
            "called": t.extras.called[:, 0],
            "alone": jnp.stack(
                [
                    env.step_env(key, replace_stage(env, i), actions[0][i], params)[1][0]
                    for i in range(stage_count)
                ]
            ),
            "joint": jnp.stack(
                [
                    env.step_env(key, replace_stage(env, i), actions[1][i], params)[1][0]
                    for i in range(stage_count)
                ]
            ),
            "call_rate": metrics["call_rate"],
        }

    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    grid = jax.jit(jax.vmap(jax.vmap(one, (0, None)), (None, 0)))
    return {k: np.asarray(v) for k, v in grid(keys, jnp.array(COSTS)).items()}


def replace_stage(env: Any, stage: jax.Array | int) -> Any:
    """Returns a state in which `stage` is played next."""
    return dataclasses.replace(env.make_state(), stage=jnp.int32(stage))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--total-steps", type=int, default=60_000)
    args = parser.parse_args()
    found = measure(args.seeds, args.total_steps)
    gain = found["joint"] - found["alone"]
    costs = np.array(COSTS)[:, None, None]
    agree = found["called"] == (found["joint"] - costs > found["alone"])
    for i, cost in enumerate(COSTS):
        measured = [
            {
                "gap": float(gain[i, seed, -1]),
                "called": found["called"][i, seed].astype(int).tolist(),
                "call_rate": round(float(found["call_rate"][i, seed]), 4),
            }
            for seed in range(args.seeds)
        ]
        extra = {"agreement": float(agree[i].mean()), "agreement_of_all_costs": float(agree.mean())}
        rows, record = make_rows.measured_rows(
            {
                "algorithm": "mansa",
                "environment": TASK,
                "total_steps": args.total_steps,
                "call_cost": cost,
            },
            measured,
            study="mansa_oracle",
            comparison="calls by cost",
            arm=f"cost {cost:g}",
            about=_study.about(),
            env=TASK,
            algorithm="mansa",
            seeds=range(args.seeds),
            extra=extra,
        )
        _study.add(rows, record)
        print(cost, extra, measured, flush=True)


if __name__ == "__main__":
    main()
