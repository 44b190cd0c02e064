"""Trains the partners `pretrained`, and compares them with simple opponents.

    python benchmarks/studies/opponents.py             # train and store both sides of each task
    python benchmarks/studies/opponents.py --table     # only play with the stored policies

The two sides of a task learn at the same time by IPPO, each for its own reward. The policy is
stored in `envs/partners/pretrained/`, with a `made.json` about its training. The table compares it
with opponents that act at random or not at all, against the same teams.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _study
import jax
import jax.numpy as jnp
import numpy as np

import marlx
from marlx import cli, statistics
from marlx.analysis import make_rows
from marlx.environment import Environment
from marlx.envs import partners
from marlx.envs.partners import Partner, no_memory
from marlx.loop.vector import vector_reset, vector_step
from marlx.types import Array, Observation, Tree

KEPT = Path(partners.__file__).parent / "pretrained"
TASKS = {"mpe/simple_tag_v3": "good", "mpe/simple_adversary_v3": "adversaries"}
"""The side that is the opponent. The stored policy can play either side."""
COMMAND = (
    "marlx train ippo {task} --learner.sharing group --learner.reward group "
    "--total-steps 1_000_000 --learner.lr-steps 1_000_000"
)


def make(task: str) -> None:
    """Trains the two sides of a task and stores the policy."""
    command = COMMAND.format(task=task)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        code = cli.run([*shlex.split(command)[1:], "--out", str(run)])
        if code:
            raise RuntimeError(f"{command} ended with {code}")
        keep(task, run)


def keep(task: str, run: Path) -> None:
    """Copies the policy of a run of `COMMAND`, with a record of its training."""
    folder = KEPT / task.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("policy.json", "arrays.safetensors"):
        shutil.copyfile(run / "policy" / name, folder / name)
    made = {"command": COMMAND.format(task=task), **_study.about()}
    (folder / "made.json").write_text(json.dumps(made, indent=1) + "\n")


def still(env: Environment[Any, Any]) -> Partner:
    """Returns a partner that does not move."""

    def act(policy: Tree, memory: Tree, obs: Observation, key: Array) -> tuple[Array, Tree]:
        del policy, obs, key
        return jnp.zeros(env.spec().num_agents, jnp.int32), memory

    return Partner("still", no_memory, act)


def returns(
    env: Environment[Any, Any], sides: Mapping[str, Partner], episodes: int, seed: int = 0
) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the returns of one agent of each group of the environment, f64 [episodes].

    Args:
      env: its groups are the keys of `sides`.
      sides: the partner that plays each group.
      episodes: number of complete episodes, played in parallel.
      seed: of the episodes; the same seed gives the same starts for any partners.
    """
    spec, params = env.spec(), env.default_params
    groups = dict(spec.groups)

    def step(carry: Tree, key: Array) -> tuple[Tree, Array]:
        obs, state, memories = carry
        key_env, *keys = jax.random.split(key, 1 + len(groups))
        action, after = jnp.zeros((episodes, spec.num_agents), jnp.int32), {}
        for (name, members), key_side in zip(groups.items(), keys, strict=True):
            side, own = sides[name], np.array(members)
            each = jax.vmap(side.act, (None, 0, 0, 0))
            drawn = jax.random.split(key_side, episodes)
            chosen, after[name] = each(side.policy, memories[name], obs, drawn)
            action = action.at[:, own].set(chosen[:, own])
        obs, state, reward, *_ = vector_step(env, params, key_env, state, action)
        return (obs, state, after), reward

    @jax.jit
    def play(key: Array) -> Array:
        key_start, key = jax.random.split(key)
        obs, state = vector_reset(env, params, key_start, episodes)
        memories = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (episodes, *jnp.shape(x))),
            {name: sides[name].init() for name in groups},
        )
        # all episodes are as long as the horizon: no particle environment ends earlier
        _, reward = jax.lax.scan(step, (obs, state, memories), jax.random.split(key, spec.horizon))
        return reward.sum(0)

    total = np.asarray(play(jax.random.key(seed)), float)
    return {name: total[:, members[0]] for name, members in groups.items()}


def table(task: str, episodes: int) -> list[dict[str, Any]]:
    """Returns a row per team and opponent, with the returns of both."""
    env, _ = marlx.make(task)
    opponent, (team,) = TASKS[task], [name for name, _ in env.spec().groups if name != TASKS[task]]
    known, own = partners.heuristics(env), partners.pretrained(env)
    teams = {"trained together": own}
    if "after_prey" in known:
        teams["after_prey"] = known["after_prey"]
    rows = []
    for team_name, ours in teams.items():
        for theirs in (known["random"], still(env), own):
            found = returns(env, {opponent: theirs, team: ours}, episodes)
            row: dict[str, Any] = {"task": task, "team": team_name, "opponent": theirs.name}
            for name, side in (("team_return", team), ("opponent_return", opponent)):
                row[name] = statistics.mean(found[side][None])
                row[f"{name}_interval"] = statistics.bootstrap_interval(found[side][None])
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="only play with the stored policies")
    parser.add_argument("--episodes", type=int, default=1024)
    args = parser.parse_args()
    for task in [] if args.table else TASKS:
        make(task)
    for task in TASKS:
        for row in table(task, args.episodes):
            print(row, flush=True)
            add(row, args.episodes)


def add(row: dict[str, Any], episodes: int) -> None:
    """Stores a row of `table`."""
    measured = dict(row)
    case = {name: measured.pop(name) for name in ("task", "team", "opponent")}
    task = case.pop("task")
    rows, record = make_rows.measured_rows(
        {"environment": task, **case, "episodes": episodes},
        [measured],
        study="opponents",
        comparison=task,
        arm=f"{case['team']} against {case['opponent']}",
        about=_study.about(),
        env=task,
    )
    _study.add(rows, record)


if __name__ == "__main__":
    main()
