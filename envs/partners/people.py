"""Partners that imitate people, from the episodes that `marlx play` records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from marlx.environment import Environment
from marlx.envs.partners.partner import Partner, no_memory
from marlx.files import NUMBER, TEXT, WHOLE, Record, checked, parse_json, read_text
from marlx.text import printable, shortened
from marlx.types import Array, EnvSpec, Observation, Tree

ENDING = ".jsonl"
"""Of files of episodes."""
HIDDEN = 64
"""Width of the network."""
UPDATES = 400
"""Gradient steps, each on all steps of all episodes."""
LARGEST_FILE = 64_000_000
"""Largest file that is read, in bytes."""
EPISODE = Record(
    {
        "environment": TEXT,
        "seat": WHOLE,
        "observation": [[NUMBER]],
        "legal": [[WHOLE]],
        "action": [[WHOLE]],
    }
)
"""A line of a file."""


def from_episodes(path: str | Path, env: Environment[Any, Any], *, seed: int = 0) -> Partner:
    """Returns a partner that acts as the person in a file of episodes, by behaviour cloning.

    A network of one hidden layer is fitted to the person's actions by maximum likelihood, with a
    small weight decay. It sees the present observation only. Actions are drawn, since people do
    not always do the same. It can play any agent, also those whose seat the person did not take.

    Args:
      path: of the file, a JSON object on each line; docs/watch.md lists the fields.
      env: the environment in which it plays, that of the episodes.
      seed: of the network's first weights.

    Raises:
      ValueError: the file cannot be read, or has no step of this environment.

    Source: Pomerleau 1991 (behaviour cloning).
    """
    spec = env.spec()
    if spec.continuous:
        raise ValueError(f"{spec.id} has continuous actions; people choose among discrete ones")
    local, legal, action = read_steps(path, spec)
    policy = _fitted(local / spec.scale, legal, action, jax.random.key(seed))
    return Partner(Path(path).stem, no_memory, _act, (policy, np.float32(spec.scale)))


def read_steps(
    path: str | Path, spec: EnvSpec
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Returns a person's steps: observations f32 [T, O], legal bool [T, A], actions int32 [T].

    Raises:
      ValueError: the file cannot be read, or does not fit the environment.
    """
    parts = []
    for number, line in enumerate(read_text(path, LARGEST_FILE).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{shortened(path, 200)}, line {number}"
        episode = checked(parse_json(line, where), EPISODE, where)
        if episode["environment"] != printable(spec.id):
            raise ValueError(
                f"{where} was played in {shortened(episode['environment'])}; here it is {spec.id}"
            )
        parts.append(_steps(episode, spec, where))
    parts = [part for part in parts if len(part[2])]
    if not parts:
        raise ValueError(f"{shortened(path, 200)} has no steps of a person")
    local, legal, action = (np.concatenate(column) for column in zip(*parts, strict=True))
    return local, legal, action


def _steps(episode: dict[str, Any], spec: EnvSpec, where: str) -> tuple[Any, ...]:
    """Returns the steps of one episode."""
    seat, count = episode["seat"], len(episode["action"])
    for name, width in (
        ("observation", spec.obs_size),
        ("legal", spec.num_actions),
        ("action", spec.num_agents),
    ):
        rows = episode[name]
        if len(rows) != count or any(len(row) != width for row in rows):
            raise ValueError(f"{where}: {name} must be {count} rows of {width} numbers")
    if seat >= spec.num_agents:
        raise ValueError(f"{where}: seat is {seat}; there are {spec.num_agents} agents")
    local = np.array(episode["observation"], np.float32).reshape(count, spec.obs_size)
    legal = np.array(episode["legal"], bool).reshape(count, spec.num_actions)
    action = np.array([row[seat] for row in episode["action"]], np.int32)
    if (action >= spec.num_actions).any() or not legal[np.arange(count), action].all():
        raise ValueError(f"{where}: an action of the person was not legal")
    return local, legal, action


def _logits(params: Tree, x: Array, legal: Array) -> Array:
    """Returns f32 [..., A], -inf where an action is not legal."""
    hidden = jax.nn.relu(x @ params["in"] + params["in_bias"])
    return jnp.where(legal, hidden @ params["out"] + params["out_bias"], -jnp.inf)


def _fitted(x: Any, legal: Any, action: Any, key: Array) -> Tree:
    """Returns parameters that make the actions likely."""
    key_in, key_out = jax.random.split(key)
    width, choices = x.shape[1], legal.shape[1]
    params = {
        "in": jax.random.normal(key_in, (width, HIDDEN)) / np.sqrt(max(width, 1)),
        "in_bias": jnp.zeros(HIDDEN),
        "out": 0.01 * jax.random.normal(key_out, (HIDDEN, choices)),
        "out_bias": jnp.zeros(choices),
    }
    optimiser = optax.adamw(1e-2, weight_decay=1e-3)

    def loss(params: Tree) -> Array:
        logits = jnp.where(legal, _logits(params, x, legal), -1e9)
        mean: Array = optax.softmax_cross_entropy_with_integer_labels(logits, action).mean()
        return mean

    def step(carry: Tree, _: None) -> tuple[Tree, None]:
        params, state = carry
        change, state = optimiser.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, change), state), None

    @jax.jit
    def fit(params: Tree) -> Tree:
        carry = params, optimiser.init(params)
        return jax.lax.scan(step, carry, None, length=UPDATES)[0][0]

    return jax.device_get(fit(params))


def _act(policy: Tree, memory: Tree, obs: Observation, key: Array) -> tuple[Array, Tree]:
    """Returns drawn actions int32 [N] of all agents; see `Partner.act`."""
    params, scale = policy
    logits = _logits(params, obs.local.astype(jnp.float32) / scale, obs.action_mask)
    return jax.random.categorical(key, logits).astype(jnp.int32), memory
