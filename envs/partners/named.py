"""Environments with partners by name: `partners/{environment}`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marlx.environment import Environment
from marlx.envs.mpe.liam import LiamSpeakerListener
from marlx.envs.partners.choice import heuristics
from marlx.envs.partners.particles import has_predators
from marlx.envs.partners.trained import NAME as PRETRAINED
from marlx.envs.partners.trained import has_pretrained, pretrained
from marlx.envs.roles import Partner, Roles, from_runs, make_cast
from marlx.registry import Family, make_env, settings_of
from marlx.text import unknown


class _Named(Roles):
    """Base of the environments called `partners/...`, whose fields are made by `_class_for`."""

    name: str
    pool: tuple[str, ...]
    ego: tuple[int, ...]
    every_seed: bool
    epsilon: float
    privileged: bool

    def __post_init__(self) -> None:
        inner_id = self.name.removeprefix("partners/")
        settings = {name: getattr(self, name) for name in settings_of(make_env(inner_id))}
        env = make_env(inner_id, **settings)
        policies = pool_of(env, self.pool, every_seed=self.every_seed, epsilon=self.epsilon)
        object.__setattr__(self, "cast", make_cast(env, policies, self.ego))


SETTINGS = {
    "pool": (
        tuple[str, ...],
        (),
        "heuristics (h1), pretrained, run folders and folders of them, one of which is drawn for "
        "each episode; none given: every heuristic made for the environment, or random where there "
        "is none.",
    ),
    "ego": (tuple[int, ...], (0,), "the agents that learn; the partners play the others."),
    "every_seed": (bool, False, "all seeds of a run are in the pool, not its best one alone."),
    "epsilon": (
        float,
        0.0,
        "how often an agent of a run's policy does something random instead.",
    ),
    "privileged": (
        bool,
        False,
        "the global state also tells who the partner is, what the partners see and what they did.",
    ),
}
"""What `partners/...` adds to the settings of the environment: type, default, help."""


def pool_of(
    env: Environment[Any, Any],
    pool: Sequence[str] = (),
    *,
    every_seed: bool = False,
    epsilon: float = 0.0,
) -> tuple[Partner, ...]:
    """Partners by name.

    Args:
      env: what they are to play in.
      pool: names of `heuristics(env)`, `pretrained` where there is one, run folders, and folders of
        run folders; empty: every heuristic made for `env`, or `random` where there is none.
      every_seed: all seeds of a run, not its best one alone.
      epsilon: how often agents of trained policies do something random; see `from_runs`.

    Raises:
      ValueError: neither a heuristic that fits `env` nor a folder with a policy that does.
    """
    known = heuristics(env)
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon is {epsilon}; it must be between 0 and 1")
    default = [name for name in known if name != "random"] or ["random"]
    if PRETRAINED in pool and has_pretrained(env):
        known[PRETRAINED] = pretrained(env, epsilon=epsilon)
    for name in pool:
        if name not in known and not Path(name).is_dir():
            where = f"the pool of {env.spec().id} (heuristics, or the folders of runs)"
            raise unknown("partner", name, known, where)
    paths = [path for name in pool if name not in known for path in _runs_in(name)]
    trained = from_runs(paths, env, every_seed=every_seed, epsilon=epsilon)
    names = pool or default
    return (*[known[name] for name in names if name in known], *trained)


def _runs_in(name: str) -> list[str]:
    """The folder itself or, where it is not a run's, those of the runs in it."""
    inside = [str(path) for path in sorted(Path(name).iterdir()) if (path / "policy").is_dir()]
    return inside or [name]


@functools.cache
def _class_for(inner: type[Environment[Any, Any]]) -> type[Any]:
    """The dataclass of `inner` with partners: its settings are those of both."""
    fields: list[Any] = [("name", str, dataclasses.field())]
    fields += [
        (name, hint, dataclasses.field(default=default))
        for name, (hint, default, _) in SETTINGS.items()
    ]
    fields += [(name, hint, dataclasses.field()) for name, hint in settings_of(inner).items()]
    own = "\n".join(f"  {name}: {text}" for name, (_, _, text) in SETTINGS.items())
    doc = (
        f"{inner.__name__} with partners: the learner controls `ego`, fixed policies the others."
        f"\n\nAttributes:\n{own}\n{_attributes(inner)}"
    )
    return dataclasses.make_dataclass(
        f"{inner.__name__}WithPartners",
        fields,
        bases=(_Named,),
        namespace={"__doc__": doc},
        frozen=True,
        kw_only=True,
        eq=False,
    )


def _attributes(cls: type[Any]) -> str:
    """What docstrings say of a class's attributes, its bases' included, for the command line."""
    documents = [inspect.cleandoc(base.__doc__ or "") for base in cls.__mro__]
    blocks = [re.search(r"^Attributes:\n((?:  .*\n?)+)", text, re.M) for text in documents]
    return "\n".join(block[1].rstrip() for block in blocks if block)


def make(id: str) -> Roles:
    """The environment of an id `partners/{environment}`, with the default pool.

    The learner controls agent 0 or, where predators chase a prey, the prey; of LIAM's speakers the
    second, as there.

    Raises:
      ValueError: the environment is unknown, or has a setting whose name is taken.
    """
    inner = make_env(id.removeprefix("partners/"))
    settings = settings_of(inner)
    if taken := sorted(settings.keys() & SETTINGS.keys()):
        raise ValueError(
            f"{id}: the environment has a setting {taken[0]!r} of its own; use with_partners"
        )
    values = {name: getattr(inner, name) for name in settings}
    if has_predators(inner):  # LIAM's setting: the prey learns, the predators are given
        values["ego"] = (inner.spec().num_agents - 1,)
    if isinstance(inner, LiamSpeakerListener):
        values["ego"] = (1,)
    made: Roles = _class_for(type(inner))(name=id, **values)
    return made


FAMILY = Family(
    name="partners",
    pattern=r"partners/.+",
    usage="partners/{environment}, for instance partners/Foraging-8x8-2p-2f-coop-v3",
    examples=(
        "partners/Foraging-8x8-2p-2f-coop-v3",
        "partners/Foraging-2s-8x8-3p-2f-v3",
        "partners/mpe/liam_predator_prey",
        "partners/mpe/liam_speaker_listener",
    ),
    make=make,
)
