"""Cross-play: how policies do with each other that were not trained together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.learner import Learner
from marlx.loop.evaluation import evaluate
from marlx.runs.policies import Policy
from marlx.types import Array, Observation, Tree


def together(first: Learner, second: Learner, ego: int) -> Learner:
    """A learner that acts only: `first` for agent `ego`, `second` for all others.

    Its policy is a pair of theirs, and each sees and remembers all that it would if it played
    alone.
    """

    def act(
        policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        keys = jax.random.split(key)
        mine, own, _ = first.act(policy[0], memory[0], obs, keys[0], explore)
        theirs, other, _ = second.act(policy[1], memory[1], obs, keys[1], explore)
        chosen = (jnp.arange(mine.shape[1]) == ego).reshape(-1, *[1] * (mine.ndim - 2))
        return jnp.where(chosen, mine, theirs), (own, other), ()

    return first._replace(
        memory=lambda num_envs: (first.memory(num_envs), second.memory(num_envs)), act=act
    )


def cross_play(
    policies: Sequence[Policy], ego: int = 0, episodes: int = 100, seed: int = 0
) -> np.ndarray[Any, Any]:
    """F64 [K, K], mean team return of row k as agent `ego` with column k as all the others.

    Greedy, on the same episodes for all pairs.

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
            # policies of equal settings act by the same program
            which = tuple((type(p.learner.config), p.learner.config) for p in (row, column))
            if which not in programs:
                learner = together(row.learner, column.learner, ego)

                def play(pair: Tree, key: Array, learner: Learner = learner) -> Array:
                    return evaluate(home.env, home.params, learner, pair, key, episodes).mean()

                programs[which] = jax.jit(play)
            returns[i, j] = programs[which]((row.arrays, column.arrays), key)
    return returns


def heat_map(
    path: str | Path, returns: np.ndarray[Any, Any], names: Sequence[str], *, title: str = ""
) -> None:
    """Draw a cross-play matrix f64 [K, K] as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window system

    size = 2.5 + 0.6 * len(names)
    figure = Figure(figsize=(size + 1, size), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    image = axes.imshow(returns, cmap="viridis")
    middle = (returns.min() + returns.max()) / 2
    for i, j in np.ndindex(returns.shape):
        color = "white" if returns[i, j] < middle else "black"
        text = f"{returns[i, j]:.3g}"
        axes.text(j, i, text, ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="plays the others", ylabel="plays the ego")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, label="greedy team return", shrink=0.8)
    figure.savefig(path, format="png")
