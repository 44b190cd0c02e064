"""Cross-play: returns of policies with partners that they were not trained with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.analysis.plots import figure, plain_label
from marlx.learner import Learner, acting
from marlx.loop.evaluation import evaluate
from marlx.runs.policies import Policy
from marlx.types import Array, Observation, Tree


def together(first: Learner, second: Learner, ego: int) -> Learner:
    """Returns a learner for acting only: `first` plays agent `ego`, `second` all others.

    Its policy is a pair of their policies. Both act for all agents and keep their own memories;
    of each only its agents' actions are used. Each takes the actions that it is judged by, whatever
    `explore` says.
    """
    plays = acting(first, first.judged), acting(second, second.judged)

    def act(
        policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        keys = jax.random.split(key)
        mine, own, _ = plays[0](policy[0], memory[0], obs, keys[0], explore)
        theirs, other, _ = plays[1](policy[1], memory[1], obs, keys[1], explore)
        chosen = (jnp.arange(mine.shape[1]) == ego).reshape(-1, *[1] * (mine.ndim - 2))
        return jnp.where(chosen, mine, theirs), (own, other), ()

    return first._replace(
        memory=lambda num_envs: (first.memory(num_envs), second.memory(num_envs)),
        act=act,
        act_drawn=None,
    )


def cross_play(
    policies: Sequence[Policy], ego: int = 0, episodes: int = 100, seed: int = 0
) -> np.ndarray[Any, Any]:
    """Returns team returns f64 [K, K]: row i plays agent `ego`, column j all others.

    Each policy takes the actions that it is judged by, drawn or greedy ones.

    Args:
      policies: K policies of one environment.
      ego: index of the agent that the row's policy plays.
      episodes: per pair; each return is their mean.
      seed: seed of the episodes, which are the same for all pairs.

    Raises:
      ValueError: the policies are of different environments, or there is no such agent.
    """
    home = policies[0]
    for policy in policies:
        if policy.spec != home.spec or policy.env != home.env:
            raise ValueError(
                f"policies of {home.spec.id} and of {policy.spec.id} with other settings cannot "
                "play together; give runs of one environment"
            )
    if not 0 <= ego < home.spec.num_agents:
        raise ValueError(f"ego is {ego}; it must be 0 to {home.spec.num_agents - 1}")
    key, programs = jax.random.key(seed), dict[Any, Callable[[Tree, Array], Array]]()
    returns = np.zeros((len(policies), len(policies)))
    for i, row in enumerate(policies):
        for j, column in enumerate(policies):
            # policies with equal settings share a compiled program
            pair = row, column
            which = tuple((type(p.learner.config), p.learner.config, p.judged) for p in pair)
            if which not in programs:
                first, second = (p.learner._replace(judged=p.judged) for p in pair)
                learner = together(first, second, ego)

                def play(pair: Tree, key: Array, learner: Learner = learner) -> Array:
                    return evaluate(home.env, home.params, learner, pair, key, episodes).mean()

                programs[which] = jax.jit(play)
            returns[i, j] = programs[which]((row.arrays, column.arrays), key)
    return returns


def heat_map(
    path: str | Path, returns: np.ndarray[Any, Any], names: Sequence[str], *, title: str = ""
) -> None:
    """Writes a PNG heat map of a cross-play matrix f64 [K, K]."""
    size = 2.5 + 0.6 * len(names)
    drawn = figure(size + 1, size)
    axes: Any = drawn.add_subplot()
    image = axes.imshow(returns, cmap="viridis")
    middle = (returns.min() + returns.max()) / 2
    for i, j in np.ndindex(returns.shape):
        color = "white" if returns[i, j] < middle else "black"
        text = f"{returns[i, j]:.3g}"
        axes.text(j, i, text, ha="center", va="center", color=color, fontsize=8)
    names = list(map(plain_label, names))
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="plays the others", ylabel="plays the ego")
    axes.set_title(plain_label(title), fontsize=10)
    drawn.colorbar(image, ax=axes, label="team return", shrink=0.8)
    drawn.savefig(path, format="png")
