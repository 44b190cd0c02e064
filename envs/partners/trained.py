"""Trained opponents that come with marlx: `pretrained` in a pool.

They are for competitive tasks, in which one side learns against the other after both were trained.
`pretrained/` holds them in the format of run folders; `benchmarks/studies/opponents.py` trains them
again.
"""

from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING, Any

from marlx.envs.partners.partner import Partner
from marlx.envs.partners.stored import from_policy
from marlx.registry import settings_of

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from marlx.environment import Environment

NAME = "pretrained"
"""Their name in a pool."""


def has_pretrained(env: Environment[Any, Any]) -> bool:
    """Returns whether marlx has a trained policy for this environment, with any settings."""
    return (_folder(env) / "policy.json").is_file()


def pretrained(env: Environment[Any, Any], *, epsilon: float = 0.0) -> Partner:
    """Returns the partner `pretrained`, which can play any agent of `env`, greedily.

    Args:
      env: the environment in which it plays, with the settings of its training; only the time
        limit, which it does not see, may differ.
      epsilon: probability with which an agent takes a uniformly random legal action instead.

    Raises:
      ValueError: there is none, or a setting of `env` differs from its training.
    """
    from marlx.runs.policies import load_policy

    name = env.spec().id
    if not has_pretrained(env):
        raise ValueError(f"marlx has no {NAME} partner for {name}")
    with importlib.resources.as_file(_folder(env)) as path:
        policy = load_policy(path)
    for setting in settings_of(policy.env):
        its, ours = getattr(policy.env, setting), getattr(env, setting)
        if its != ours and setting != "horizon":
            raise ValueError(
                f"the {NAME} partner for {name} was trained with {setting} {its}; here it is {ours}"
            )
    return from_policy(policy, NAME, epsilon=epsilon)


def _folder(env: Environment[Any, Any]) -> Traversable:
    """Returns the folder of the policy for `env`, which may not exist."""
    return importlib.resources.files(__package__) / NAME / env.spec().id.replace("/", "-")
