"""Trained opponents that come with marlx: `pretrained` in a pool.

For competitive tasks in which one side learns against the other as it was left by training both.
They are policies as runs keep them, in `pretrained/`; `benchmarks/opponents.py` makes them again.
"""

from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING, Any

from marlx.envs.roles import Partner, from_policy
from marlx.registry import settings_of

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from marlx.environment import Environment

NAME = "pretrained"
"""What they are called in a pool."""


def has_pretrained(env: Environment[Any, Any]) -> bool:
    """Whether a trained policy for this environment comes with marlx, whatever its settings."""
    return (_folder(env) / "policy.json").is_file()


def pretrained(env: Environment[Any, Any], *, epsilon: float = 0.0) -> Partner:
    """The partner `pretrained`: plays any agent of `env`, greedily, as both sides were trained.

    Args:
      env: what it is to play in: with the settings that it was trained with, but for the time
        limit, which it does not see.
      epsilon: how often an agent does something uniformly random (and legal) instead.

    Raises:
      ValueError: there is none, or a setting of `env` is another than in training.
    """
    from marlx.runs.policies import load_policy

    name = env.spec().id
    if not has_pretrained(env):
        raise ValueError(f"no {NAME} partner of {name} comes with marlx")
    with importlib.resources.as_file(_folder(env)) as path:
        policy = load_policy(path)
    for setting in settings_of(policy.env):
        its, ours = getattr(policy.env, setting), getattr(env, setting)
        if its != ours and setting != "horizon":
            raise ValueError(
                f"the {NAME} partner of {name} was trained with {setting} {its}; here it is {ours}"
            )
    return from_policy(policy, NAME, epsilon=epsilon)


def _folder(env: Environment[Any, Any]) -> Traversable:
    """Where a policy for `env` would be."""
    return importlib.resources.files(__package__) / NAME / env.spec().id.replace("/", "-")
