"""Makes the GIFs on the pages of environments: `python docs/pictures.py` (a minute on a CPU).

Nobody is trained for them: heuristics play where there are any, DoorKey is solved by search, and
the rest is played at random.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import marlx
from marlx.analysis.video import episode_frames, record_episode, write_gif
from marlx.envs import partners
from marlx.envs.doorkey import DROP, NUM_ACTIONS
from marlx.learner import stateless
from marlx.loop.evaluation import random_learner

IMAGES = Path(__file__).parent / "images"
WIDTH = 220
Act = Callable[[Any, Any, Any], tuple[Any, Any]]
"""`(memory, obs, key) -> actions, memory`, of one episode."""


def acting(first: Any, act: Act) -> Any:
    """A learner that only acts, by a rule written for one episode."""

    def batched(policy: Any, memory: Any, obs: Any, key: Any, explore: bool) -> Any:
        keys = jax.random.split(key, obs.action_mask.shape[0])
        action, memory = jax.vmap(act)(memory, obs, keys)
        return action, memory, ()

    def repeated(num_envs: int) -> Any:
        return jax.tree.map(lambda x: jnp.repeat(jnp.asarray(x)[None], num_envs, 0), first)

    return stateless(batched)._replace(memory=repeated)


def following(partner: Any) -> Any:
    """Every agent follows the same heuristic."""
    return acting(partner.init(), lambda m, obs, key: partner.act(partner.policy, m, obs, key)[:2])


def chasing(env: Any, partner: Any) -> Any:
    """The predators follow a heuristic, the prey (the last agent) runs at random."""
    anything = partners.random(env)

    def act(memory: Any, obs: Any, key: Any) -> tuple[Any, Any]:
        action, memory = partner.act(partner.policy, memory, obs, key)
        return action.at[-1].set(anything.act((), (), obs, key)[0][-1]), memory

    return acting(partner.init(), act)


def repeating(moves: Any) -> Any:
    """One agent makes these moves, int32 [T], in turn; its memory is which one is next."""
    return acting(jnp.int32(0), lambda number, obs, key: (moves[number][None], number + 1))


def solving(env: Any, key: Any) -> Any:
    """The shortest solution of the episode that `record_episode` draws with `key`; one agent."""
    params = env.default_params
    moves = jnp.array([a for a in range(NUM_ACTIONS) if a != DROP], jnp.int32)[:, None]
    size = 256

    @jax.jit
    def expand(states: Any) -> Any:
        one = jax.vmap(env.step_env, (None, None, 0, None))
        after, _, over, _ = jax.vmap(one, (None, 0, None, None))(key, states, moves, params)
        return after.replace(time=jnp.zeros_like(after.time)), over

    start = jax.jit(env.reset_env)(jax.random.split(key)[1], params)
    start = jax.tree.map(np.asarray, start)
    found: dict[bytes, list[int]] = {_bytes(start): []}
    frontier = [(start, list[int]())]
    while frontier:
        batch, frontier = frontier[:size], frontier[size:]
        padded = [state for state, _ in batch] + [start] * (size - len(batch))
        after, over = jax.device_get(expand(jax.tree.map(lambda *x: np.stack(x), *padded)))
        for i, (_, path) in enumerate(batch):
            for j, move in enumerate(np.asarray(moves)[:, 0]):
                state = jax.tree.map(lambda x, i=i, j=j: x[i, j], after)
                longer = [*path, int(move)]
                if over[i, j]:
                    return repeating(jnp.array(longer, jnp.int32))
                if _bytes(state) not in found:
                    found[_bytes(state)] = longer
                    frontier.append((state, longer))
    raise ValueError("this board has no solution")


def _bytes(state: Any) -> bytes:
    return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state))


def _smaller(frame: Any) -> Any:
    """The frame with a width of at most `WIDTH` pixels, so that pages and repository stay light."""
    image = Image.fromarray(frame)
    image.thumbnail((WIDTH, 10 * WIDTH), Image.Resampling.LANCZOS)
    return np.asarray(image)


def draw(name: str, env: Any, learner: Any, key: Any, fps: float = 4.0, steps: int = 60) -> None:
    """Play an episode and write (at most `steps` of) it to `images/`."""
    episode = record_episode(env, env.default_params, learner, (), key)
    episode = episode._replace(
        states=episode.states[: steps + 1],
        rewards=episode.rewards[:steps],
        captions=episode.captions[:steps],
    )
    path = IMAGES / f"{name}.gif"
    frames = [_smaller(frame) for frame in episode_frames(env, env.default_params, episode)]
    write_gif(path, frames, frames_per_second=fps)
    print(f"{path.name}: {len(episode.rewards)} steps, {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    """All of them."""
    key = jax.random.key(4)
    env, _ = marlx.make("Foraging-10x10-4p-4f-v3")
    draw("foraging", env, following(partners.heuristics(env)["h1"]), key)
    env, _ = marlx.make("mpe/simple_spread_v3")
    heuristics = [x for name, x in partners.heuristics(env).items() if name != "random"]
    draw("spread", env, following(heuristics[0]), key, fps=8)
    env, _ = marlx.make("mpe/simple_tag_v3")
    heuristics = [x for name, x in partners.heuristics(env).items() if name != "random"]
    draw("tag", env, chasing(env, heuristics[0]), key, fps=8)
    env, _ = marlx.make("grid/doorkey-8x8", goal_left_probability=0.0)
    draw("doorkey", env, solving(env, key), key)
    for name, env_id, steps in (
        ("trashgrid", "grid/trashgrid-8x8-2p", 32),
        ("matrix", "matrix/climbing", 10),
    ):
        env, _ = marlx.make(env_id)
        draw(name, env, random_learner(env.spec()), key, steps=steps)


if __name__ == "__main__":
    main()
