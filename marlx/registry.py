"""Finding environments and algorithms by name: the built-in ones and those of installed packages.

A third-party package shows up here by declaring entry points::

    [project.entry-points."marlx.envs"]
    my_worlds = "my_package:FAMILY"        # a `Family`

    [project.entry-points."marlx.algos"]
    my_learner = "my_package:ALGORITHM"    # an `Algorithm`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from marlx.environment import Environment
from marlx.learner import Learner
from marlx.types import EnvSpec


class Family(NamedTuple):
    """Environments made from one pattern of ids.

    Attributes:
      name: of the family; presets are looked up by it.
      pattern: regular expression that a whole id of this family matches.
      usage: how ids are formed, for people, e.g. `Foraging[-{k}s]-{s}x{s}-{p}p-{f}f[-coop]-v3`.
      examples: a few ids, shown by `marlx list` and used to suggest the nearest one.
      make: `(id) -> Environment`, a frozen dataclass whose fields are the family's settings: they
        can be overridden in `marlx.make(id, **settings)` and on the command line.
    """

    name: str
    pattern: str
    usage: str
    examples: tuple[str, ...]
    make: Callable[[str], Environment[Any, Any]]


class Algorithm(NamedTuple):
    """A learner that can be built by name.

    Attributes:
      name: e.g. `qmix`.
      summary: one line for `marlx list` and `--help`.
      config: its settings, a frozen keyword-only dataclass with a default for every field.
      build: `(spec, config) -> Learner`.
    """

    name: str
    summary: str
    config: type[Any]
    build: Callable[[EnvSpec, Any], Learner]
