"""Trained opponents: how the partners `pretrained` are made, and what they are worth.

    python benchmarks/opponents.py             # train both sides of each task, and keep them
    python benchmarks/opponents.py --table     # only play with those that are kept

A task's two sides learn at the same time, each for its own reward, by IPPO; the policy is kept in
`envs/partners/pretrained/`, with a `made.json` that says how it came about. The table holds it
against opponents that do something random, or nothing: they play the same teams.
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

import _timing
import jax
import jax.numpy as jnp
import numpy as np

import marlx
from marlx import cli, statistics
from marlx.environment import Environment, vector_reset, vector_step
from marlx.envs import partners
from marlx.envs.roles import Partner, no_memory
from marlx.types import Array, Observation, Tree

KEPT = Path(partners.__file__).parent / "pretrained"
TASKS = {"mpe/simple_tag_v3": "good", "mpe/simple_adversary_v3": "adversaries"}
"""The side that is an opponent, while the other one learns; the policy kept plays either."""
COMMAND = (
    "marlx train ippo {task} --learner.sharing group --learner.reward group "
    "--total-steps 1_000_000 --learner.lr-steps 1_000_000"
)


def make(task: str) -> None:
    """Train a task's two sides, and keep the policy."""
    command = COMMAND.format(task=task)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        code = cli.run([*shlex.split(command)[1:], "--out", str(run)])
        if code:
            raise RuntimeError(f"{command} ended with {code}")
        keep(task, run)


def keep(task: str, run: Path) -> None:
    """Copy the policy of a run of `COMMAND`, with how it was made."""
    folder = KEPT / task.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("policy.json", "arrays.safetensors"):
        shutil.copyfile(run / "policy" / name, folder / name)
    made = {"command": COMMAND.format(task=task), **_timing.about("marlx", "flax", "optax")}
    (folder / "made.json").write_text(json.dumps(made, indent=1) + "\n")


def still(env: Environment[Any, Any]) -> Partner:
    """A partner that does not push."""

    def act(policy: Tree, memory: Tree, obs: Observation, key: Array) -> tuple[Array, Tree]:
        del policy, obs, key
        return jnp.zeros(env.spec().num_agents, jnp.int32), memory

    return Partner("still", no_memory, act)


def returns(
    env: Environment[Any, Any], sides: Mapping[str, Partner], episodes: int, seed: int = 0
) -> dict[str, np.ndarray[Any, Any]]:
    """F64 [episodes] for each of the environment's groups: what one of its agents gets.

    Args:
      env: whose groups are the keys of `sides`.
      sides: who plays each of them.
      episodes: whole ones, all at once.
      seed: the same episodes begin alike, whoever plays.
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
    """A row for each opponent and team: what the team gets, and the opponent."""
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
    parser.add_argument("--table", action="store_true", help="only play with what is kept")
    parser.add_argument("--episodes", type=int, default=1024)
    args = parser.parse_args()
    for task in [] if args.table else TASKS:
        make(task)
    rows = [row for task in TASKS for row in table(task, args.episodes)]
    print(_timing.table([{k: v for k, v in row.items() if "interval" not in k} for row in rows]))
    _timing.write("opponents", {"episodes": args.episodes, "rows": rows}, ("marlx", "flax"))


if __name__ == "__main__":
    main()
