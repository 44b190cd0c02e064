"""Environments with partners by name: `partners/{environment}`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from marlx.environment import Environment
from marlx.envs.checks import check_probability
from marlx.envs.partners.cast import make_cast
from marlx.envs.partners.choice import BY_NAME, default_ego, heuristics
from marlx.envs.partners.partner import Partner
from marlx.envs.partners.people import ENDING, from_episodes
from marlx.envs.partners.roles import RewardOf, Roles, check_reward
from marlx.envs.partners.stored import from_runs
from marlx.envs.partners.trained import NAME as PRETRAINED
from marlx.envs.partners.trained import has_pretrained, pretrained
from marlx.registry import Family, make_env, settings_of
from marlx.text import unknown


class _Named(Roles):
    """Base of the environments `partners/...`, whose fields are made by `_class_for`."""

    name: str
    pool: tuple[str, ...]
    ego: tuple[int, ...]
    every_seed: bool
    epsilon: float
    privileged: bool
    reward: RewardOf
    judged: bool

    def __post_init__(self) -> None:
        check_reward(self.reward)
        inner_id = self.name.removeprefix("partners/")
        settings = {name: getattr(self, name) for name in settings_of(make_env(inner_id))}
        env = make_env(inner_id, **settings)
        policies = pool_of(
            env,
            self.pool,
            every_seed=self.every_seed,
            epsilon=self.epsilon,
            judged=self.judged,
        )
        object.__setattr__(self, "cast", make_cast(env, policies, self.ego))


class Setting(NamedTuple):
    """A setting that `partners/...` adds to those of the inner environment."""

    type: Any
    default: Any
    help: str


SETTINGS = {
    "pool": Setting(
        tuple[str, ...],
        (),
        "partners, one of which is drawn for each episode: names of heuristics (h1), pretrained, "
        "run folders, folders of run folders, and files of played episodes (.jsonl). Empty: all "
        "heuristics of the environment, or random if it has none.",
    ),
    "ego": Setting(tuple[int, ...], (0,), "agents that learn; partners play the others."),
    "every_seed": Setting(bool, False, "put all seeds of a run into the pool, not only the best."),
    "epsilon": Setting(
        float,
        0.0,
        "probability with which an agent of a trained policy acts at random instead.",
    ),
    "privileged": Setting(
        bool,
        False,
        "append the partner, the partners' observations and their actions to the global state.",
    ),
    "reward": Setting(
        Literal["own", "against"],
        "own",
        "reward of the agents that learn: their own, or minus the team reward of the partners "
        "(against).",
    ),
    "judged": Setting(
        bool,
        False,
        "trained policies take the actions that they are judged by, drawn ones for policy "
        "gradients, instead of the best.",
    ),
}
"""Settings that `partners/...` adds to those of the inner environment, by name."""


def pool_of(
    env: Environment[Any, Any],
    pool: Sequence[str] = (),
    *,
    every_seed: bool = False,
    epsilon: float = 0.0,
    judged: bool = False,
) -> tuple[Partner, ...]:
    """Returns partners by name.

    Args:
      env: the environment in which they play.
      pool: names of `heuristics(env)`, `pretrained` if there is one, run folders, folders of run
        folders, and .jsonl files of episodes that people played (`from_episodes`). Empty: all
        heuristics of `env` but those in `BY_NAME`, or `random` if it has none.
      every_seed: all seeds of a run, not only its best one.
      epsilon: probability with which agents of trained policies act at random; see `from_runs`.
      judged: trained policies take the actions that they are judged by.

    Raises:
      ValueError: a name is neither a heuristic that fits `env` nor a folder with a policy that
        does.
    """
    known = heuristics(env)
    check_probability(epsilon=epsilon)
    default = [name for name in known if name not in BY_NAME] or ["random"]
    if PRETRAINED in pool and has_pretrained(env):
        known[PRETRAINED] = pretrained(env, epsilon=epsilon)
    for name in pool:
        if name not in known and name.endswith(ENDING) and Path(name).is_file():
            known[name] = from_episodes(name, env)
        if name not in known and not Path(name).is_dir():
            where = f"the pool of {env.spec().id} (heuristics, run folders, or played episodes)"
            raise unknown("partner", name, known, where)
    paths = [path for name in pool if name not in known for path in _runs_in(name)]
    explore = None if judged else False
    trained = from_runs(paths, env, every_seed=every_seed, explore=explore, epsilon=epsilon)
    names = pool or default
    return (*[known[name] for name in names if name in known], *trained)


def _runs_in(name: str) -> list[str]:
    """Returns the run folders in a folder, or the folder itself if there are none."""
    inside = [str(path) for path in sorted(Path(name).iterdir()) if (path / "policy").is_dir()]
    return inside or [name]


@functools.cache
def _class_for(inner: type[Environment[Any, Any]]) -> type[Any]:
    """Returns the dataclass of `inner` with partners, which has the settings of both."""
    fields: list[Any] = [("name", str, dataclasses.field())]
    fields += [
        (name, setting.type, dataclasses.field(default=setting.default))
        for name, setting in SETTINGS.items()
    ]
    fields += [(name, hint, dataclasses.field()) for name, hint in settings_of(inner).items()]
    own = "\n".join(f"  {name}: {setting.help}" for name, setting in SETTINGS.items())
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
    """Returns the Attributes sections of the docstrings of a class and its bases."""
    documents = [inspect.cleandoc(base.__doc__ or "") for base in cls.__mro__]
    blocks = [re.search(r"^Attributes:\n((?:  .*\n?)+)", text, re.M) for text in documents]
    return "\n".join(block[1].rstrip() for block in blocks if block)


def make(id: str) -> Roles:
    """Returns the environment of an id `partners/{environment}`, with the default pool.

    The learner controls agent 0, unless the environment's heuristics say otherwise: where predators
    chase a prey it is the prey, and in LIAM's speaker task the second agent.

    Raises:
      ValueError: the environment is unknown, or has a setting with the name of one of `SETTINGS`.
    """
    inner = make_env(id.removeprefix("partners/"))
    settings = settings_of(inner)
    if shared := sorted(settings.keys() & SETTINGS.keys()):
        raise ValueError(
            f"{id}: the environment has a setting {shared[0]!r} of its own; use with_partners"
        )
    values = {name: getattr(inner, name) for name in settings}
    made: Roles = _class_for(type(inner))(name=id, ego=default_ego(inner), **values)
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
