"""Picture of where the trained switch of a foraging run calls: `mansa_map.py RUN`.

    marlx train mansa Foraging-5x5-2p-1f-coop-v3 --out runs/mansa
    python benchmarks/studies/mansa_map.py runs/mansa

It needs the policy of a run folder; the rows of the study do not hold one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import _plots
import jax
import numpy as np

from marlx import load_policy, statistics
from marlx.loop.rollout import rollout, start


def draw_map(path: str, episodes: int = 256) -> None:
    """Draws where on the grid, and how far from food, the switch of a foraging run calls."""
    policy = load_policy(path)
    env, params, learner = policy.env, policy.params, policy.learner
    horizon = policy.spec.horizon

    def play(key: Any) -> Any:
        actors = start(env, params, learner, key, episodes)
        return rollout(env, params, learner, policy.arrays, actors, key, horizon, explore=False)[1]

    t = jax.device_get(jax.jit(play)(jax.random.key(0)))
    called = t.extras.called
    entities = np.asarray(t.obs.global_state).reshape(*called.shape, -1, 3)
    num_food = env.num_food
    food, agents = entities[..., :num_food, :], entities[..., num_food:, :]
    there = food[..., 2] > 0
    steps = np.abs(agents[..., :, None, :2] - food[..., None, :, :2]).sum(-1)
    steps = np.where(there[..., None, :], steps, np.inf).min(-1)  # of each agent to the nearest
    some = there.any(-1)
    distance, rates, counts = statistics.rate_by(steps.max(-1)[some], called[some])
    height, width = env.size
    where = agents[..., :2].astype(int)
    cells = where[..., 0] * width + where[..., 1]
    cell, cell_rate, _ = statistics.rate_by(
        cells.reshape(-1), np.repeat(called.reshape(-1), cells.shape[-1])
    )
    grid = np.full(height * width, np.nan)
    grid[cell.astype(int)] = cell_rate

    figure, (left, right) = _plots.panels(2, width=9)
    image = left.imshow(grid.reshape(height, width), cmap="viridis", vmin=0)
    left.set(title="calls per step, by an agent's cell", xticks=[], yticks=[])
    figure.colorbar(image, ax=left)
    right.bar(distance, rates, color="#3b6ea8")
    for x, y, n in zip(distance, rates, counts, strict=True):
        right.annotate(f"{n}", (x, y), ha="center", va="bottom", fontsize=6)
    right.set(
        title="by the farther agent's distance to food",
        xlabel="cells to the nearest food",
        ylabel="calls per step (steps seen above)",
    )
    out = _plots.save(figure, "mansa-map-5x5")
    print(f"{out}: {called.mean():.3f} calls per step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", type=Path, help="of a run folder")
    draw_map(parser.parse_args().path)


if __name__ == "__main__":
    main()
