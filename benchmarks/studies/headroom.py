"""Study `headroom`: what a switch between two learners can gain, before one is learned.

    python benchmarks/studies/headroom.py Foraging-8x8-2p-2f-coop-v3
    python benchmarks/studies/headroom.py Foraging-5x5-2p-1f-coop-pen-v3 --called joint_q
    python benchmarks/studies/headroom.py TASK --alone runs/iql --called runs/qmix

Both learners are trained with their presets, or their policies are read from run folders. From the
states of the team the script plays pairs of rollouts with and without a call, on the same random
numbers. It prints, at every call rate, the return of an oracle that calls where the difference is
largest, and that of calls at random. A task whose oracle is ahead by less than 0.02 of the best
return at 5% calls has no headroom: no switch can be shown to work there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import _headroom
import _study
import jax
import numpy as np

import marlx
from marlx.analysis import make_rows
from marlx.config import layers as config_layers

RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def players(
    name: str, task: str, seeds: int, steps: int | None, drawn: bool
) -> tuple[Any, Any, list[_headroom.Player], int]:
    """Returns the task, its parameters, a policy of each seed, and the steps of their training."""
    if Path(name).is_dir():
        policies = [marlx.load_policy(name, policy_seed=i).on(task) for i in range(seeds)]
        one = policies[0]
        found = [_headroom.Player(one.learner, policy.arrays, drawn) for policy in policies]
        return one.env, one.params, found, 0
    settings = {} if steps is None else {"total_steps": steps}
    experiment = config_layers.experiment(name, task, seeds=seeds, evals=4, **settings)
    env, params, learner = experiment.build()
    result = marlx.train(env, learner, params, config=experiment.train)
    every = range(seeds)
    policies = [jax.tree.map(lambda x, i=i: x[i], result.policies) for i in every]
    print(f"{name}: {np.round(result.returns.mean(-1), 3).tolist()}", flush=True)
    return (
        env,
        params,
        [_headroom.Player(learner, policy, drawn) for policy in policies],
        (experiment.train.total_steps),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task")
    parser.add_argument("--alone", default="iql", help="algorithm or run folder")
    parser.add_argument("--called", default="qmix", help="the same, of what is called")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--total-steps", type=int, help="of both trainings, if not the presets'")
    parser.add_argument("--drawn", action="store_true", help="actions are drawn (policy gradients)")
    parser.add_argument("--ahead", type=int, default=20, help="steps of a rollout")
    parser.add_argument("--lasts", type=int, default=1, help="steps that a call lasts")
    parser.add_argument("--pairs", type=int, default=4, help="pairs of rollouts per state")
    parser.add_argument("--episodes", type=int, default=128)
    parser.add_argument("--visiting", type=float, default=0.05, help="calls of the visiting team")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    args = parser.parse_args()
    env, params, alone, steps = players(
        args.alone, args.task, args.seeds, args.total_steps, args.drawn
    )
    *_, called, _ = players(args.called, args.task, args.seeds, args.total_steps, args.drawn)
    look = _headroom.Lookahead(args.ahead, args.lasts, args.pairs)
    measured = []
    for i, (own, other) in enumerate(zip(alone, called, strict=True)):
        game = _headroom.Game(env, params, own, other)
        found = _headroom.measure(
            game, look, args.rates, jax.random.key(i),
            episodes=args.episodes, visiting=args.visiting,
        )  # fmt: skip
        measured.append(found)
        show(i, found)
    rows, record = make_rows.measured_rows(
        {
            "environment": args.task,
            "alone": args.alone,
            "called": args.called,
            "total_steps": steps,
            "drawn": args.drawn,
            "episodes": args.episodes,
            "visiting": args.visiting,
            "rates": list(args.rates),
            **look._asdict(),
        },
        measured,
        study="headroom",
        comparison=args.task,
        arm=f"{args.alone} and {args.called}, {args.lasts} steps",
        about=_study.about(),
        env=args.task,
        seeds=range(args.seeds),
    )
    _study.add(rows, record)


def show(seed: int, found: dict[str, Any]) -> None:
    """Prints the headroom of one seed."""
    print(
        f"seed {seed}: alone {found['alone']:.3f}, always called {found['always']:.3f}, "
        f"gap {found['gap_mean']:.4f}, above 0 in {found['gap_positive']:.1%} of the states"
    )
    print("    calls   oracle   random   headroom")
    for rate, oracle, random, gain in zip(
        found["rate"], found["oracle"], found["random"], found["headroom"], strict=True
    ):
        print(f"  {rate:7.1%}  {oracle:7.3f}  {random:7.3f}   {gain:+8.3f}", flush=True)


if __name__ == "__main__":
    main()
