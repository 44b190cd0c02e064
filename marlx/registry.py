"""Environments and algorithms by name: the built-in ones and those of installed packages.

A package adds its own by declaring entry points::

    [project.entry-points."marlx.envs"]
    my_worlds = "my_package:FAMILY"        # a `Family`, or a tuple of them

    [project.entry-points."marlx.algos"]
    my_learner = "my_package:ALGORITHM"    # an `Algorithm`, or a tuple of them
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
import re
import typing
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from marlx._modules import modules_of
from marlx.text import nearest, shortened, unknown

if TYPE_CHECKING:  # JAX takes a second to import, and names can be looked up without it
    from marlx.environment import Environment, EnvParams
    from marlx.learner import Learner
    from marlx.types import EnvSpec

BUILT_IN_FAMILIES = (
    "marlx.envs.foraging:FAMILY",
    "marlx.envs.matrix:FAMILY",
    "marlx.envs.mpe:FAMILY",
    "marlx.envs.doorkey:FAMILY",
    "marlx.envs.trashgrid:FAMILY",
    "marlx.envs.vault:FAMILY",
    "marlx.envs.acquaint:FAMILY",
    "marlx.envs.signal:FAMILY",
    "marlx.envs.partners:FAMILY",
    "marlx.envs.bridges:FAMILIES",
)
"""Where the `Family` records of marlx are; imported when they are first needed."""

BUILT_IN_ALGORITHMS = (
    "marlx.algos.q_learning:ALGORITHMS",
    "marlx.algos.weighted_mixing:ALGORITHMS",
    "marlx.algos.transformed_q:ALGORITHMS",
    "marlx.algos.parallel_q:ALGORITHMS",
    "marlx.algos.ppo:ALGORITHMS",
    "marlx.algos.autoregressive.learner:ALGORITHMS",
    "marlx.algos.sequential_ppo:ALGORITHMS",
    "marlx.algos.counterfactual:ALGORITHMS",
    "marlx.algos.team_regularisation:ALGORITHMS",
    "marlx.algos.coach_regularisation:ALGORITHMS",
    "marlx.algos.off_policy.deterministic:ALGORITHMS",
    "marlx.algos.off_policy.factored:ALGORITHMS",
    "marlx.algos.off_policy.soft:ALGORITHMS",
    "marlx.algos.off_policy.sequential:ALGORITHMS",
    "marlx.algos.switching.learner:ALGORITHMS",
    "marlx.algos.subgoals.learner:ALGORITHMS",
    "marlx.algos.agent_modelling.learner:ALGORITHMS",
    "marlx.algos.population.learner:ALGORITHMS",
    "marlx.algos.influence.learner:ALGORITHMS",
)
"""Where the `Algorithm` records of marlx are; imported when they are first needed."""


class Family(NamedTuple):
    """Environments made from one pattern of ids.

    Attributes:
      name: of the family; presets are looked up by it.
      pattern: regular expression that a whole id of this family matches.
      usage: how ids are formed, for people, e.g. `Foraging[-{k}s]-{s}x{s}-{p}p-{f}f[-coop]-v3`.
      examples: a few ids, shown by `marlx list` and used to suggest the nearest one.
      make: `(id) -> Environment`, a frozen dataclass whose fields are the family's settings: they
        can be overridden in `marlx.make(id, **settings)` and on the command line.
      extra: what has to be installed where `make` imports another library; empty for ours.
    """

    name: str
    pattern: str
    usage: str
    examples: tuple[str, ...]
    make: Callable[[str], Environment[Any, Any]]
    extra: str = ""


class Algorithm(NamedTuple):
    """A learner that can be built by name.

    Attributes:
      name: e.g. `qmix`.
      summary: one line for `marlx list` and `--help`.
      config: its settings, a frozen keyword-only dataclass with a default for every field.
      build: `(spec, config) -> Learner`.
      preset: name of its file in `configs/`, without `.yaml`; `name` if empty. Algorithms that
        share a config may share a preset.
      parts: `(setting, algorithm)` of a learner that is made of others: the setting holds that
        algorithm's config and starts from that algorithm's preset. Training settings come from the
        preset of the first part.
      prepare: `(env) -> env`, a wrapper that the learner needs around every environment, such as
        `marlx.subgoals.with_subgoals`. Policies act in the wrapped environment.
      example: id of an environment in which it learns with its preset, if it needs one that has
        something: partners whose actions it is told, a language that is taught. Empty: any will do.
    """

    name: str
    summary: str
    config: type[Any]
    build: Callable[[EnvSpec, Any], Learner]
    preset: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    prepare: Callable[[Environment[Any, Any]], Environment[Any, Any]] | None = None
    example: str = ""

    def __call__(self, spec: EnvSpec | Environment[Any, Any] | str, **settings: Any) -> Learner:
        """Returns the learner for `spec`, with `settings` of `config` by keyword.

        Args:
          spec: of the environment; or the environment, or its id, with their own parameters.
          **settings: those of a part may be given as a mapping: `independent={"lr": 1e-3}`.

        Raises:
          ValueError: a setting that the algorithm does not have, or a value that it refuses.
        """
        config = configured(self.config(), settings, self.name)
        return built(self, source_of(self, spec), config)


def prepared(name: str, env: Environment[Any, Any]) -> Environment[Any, Any]:
    """Returns `env` in the wrapper that the algorithm called `name` needs around it, if any."""
    prepare = algorithm(name).prepare
    return env if prepare is None else prepare(env)


def source_of(record: Algorithm, given: Any) -> EnvSpec | Environment[Any, Any]:
    """Returns what a learner is built for: a spec, or an environment in the algorithm's wrapper.

    Args:
      record: the algorithm.
      given: a spec, an environment, or the id of one.

    Raises:
      ValueError: it is none of these.
    """
    from marlx.environment import Environment
    from marlx.types import EnvSpec

    env = make_env(given) if isinstance(given, str) else given
    if isinstance(env, EnvSpec):
        return env
    if isinstance(env, Environment):
        return env if record.prepare is None else record.prepare(env)
    raise ValueError(
        f"{record.name} takes the spec of an environment, or an environment, and got one of "
        f"type {type(given).__name__}; for instance: env, params = marlx.make(ID); "
        f"marlx.algos.{record.name}(env.spec(params))"
    )


def built(record: Algorithm, source: EnvSpec | Environment[Any, Any], config: Any) -> Learner:
    """Returns the learner of an algorithm, which pickle can make again from its name.

    Args:
      record: the algorithm.
      source: spec of the environment; or the environment, in the wrapper that the learner needs.
      config: an instance of `record.config`.
    """
    from marlx.learner import Recipe
    from marlx.types import EnvSpec

    spec = source if isinstance(source, EnvSpec) else source.spec(source.default_params)
    learner = record.build(spec, config)
    parts = tuple(learner[:-1])
    return learner._replace(recipe=Recipe(_again, record.name, source, config, spec, parts))


def _again(name: str, source: EnvSpec | Environment[Any, Any], config: Any) -> Learner:
    return built(algorithm(name), source, config)


Record = TypeVar("Record", Family, Algorithm)


def _load(kind: type[Record], group: str, built_in: Iterable[str]) -> dict[str, Record]:
    """Returns the records by name, the built-in ones first.

    A plug-in that cannot be loaded, or whose name is already in use, is left out with a warning.
    """
    found: dict[str, Record] = {}
    for reference in built_in:
        module, attribute = reference.split(":")
        records = getattr(importlib.import_module(module), attribute)
        found |= {r.name: r for r in ((records,) if isinstance(records, kind) else records)}
    for entry in importlib.metadata.entry_points(group=group):
        try:
            records = entry.load()
            records = (records,) if isinstance(records, kind) else tuple(records)
            for record in records:
                if not isinstance(record, kind):
                    raise TypeError(f"{record!r} is not a marlx.registry.{kind.__name__}")
                if record.name in found:
                    raise ValueError(f"the name {record.name!r} is taken")
                if kind is Algorithm and record.name in modules_of(group):
                    raise ValueError(f"{group}.{record.name} is a module of marlx")
                found[record.name] = record
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(
                f"plug-in {entry.name!r} ({entry.value}, group {group}) left out: {reason}",
                stacklevel=3,
            )
    return found


@functools.cache
def families() -> Mapping[str, Family]:
    """Returns every environment family by name."""
    return _load(Family, "marlx.envs", BUILT_IN_FAMILIES)


@functools.cache
def algorithms() -> Mapping[str, Algorithm]:
    """Returns every algorithm by name."""
    return _load(Algorithm, "marlx.algos", BUILT_IN_ALGORITHMS)


def algorithm(name: str) -> Algorithm:
    """Returns the algorithm called `name`.

    Raises:
      ValueError: there is none; the message names the nearest.
    """
    if not isinstance(name, str) or name not in algorithms():
        raise unknown("algorithm", str(name), algorithms())
    return algorithms()[name]


def family(env_id: str) -> Family:
    """Returns the family that `env_id` belongs to.

    Raises:
      ValueError: there is none; the message names the nearest ids and how ids are formed.
    """
    if not isinstance(env_id, str):
        raise ValueError(
            f"an environment is made from its id, as in 'Foraging-8x8-2p-2f-coop-v3'; got one "
            f"of type {type(env_id).__name__}"
        )
    for one in families().values():
        if re.fullmatch(one.pattern, env_id):
            return one
    owners = {example: one for one in families().values() for example in one.examples}
    near = nearest(env_id, owners)
    if near:
        hint = f"did you mean {' or '.join(near)}? Ids are formed as {owners[near[0]].usage}"
    else:
        some = [one.examples[0] for one in families().values() if one.examples][:3]
        hint = f"for example {', '.join(some)}; marlx list shows how ids are formed"
    raise ValueError(f"unknown environment {shortened(repr(env_id))}; {hint}")


def settings_of(record: Any) -> dict[str, Any]:
    """Returns name -> type of the settings of a dataclass or an instance of one, in their order.

    A setting that is itself a dataclass, such as a part of a composite learner, has a nested
    mapping in place of a type. `id` and `name` are no settings, but the id of an environment.
    """
    cls = record if isinstance(record, type) else type(record)
    hints = typing.get_type_hints(cls)
    return {
        field.name: settings_of(hint) if dataclasses.is_dataclass(hint) else hint
        for field in dataclasses.fields(cls)
        if field.init and field.name not in ("id", "name") and not field.name.startswith("_")
        for hint in (hints[field.name],)
    }


def configured(record: Any, settings: Mapping[str, Any], owner: str) -> Any:
    """Returns the dataclass `record` with `settings` over its own; mappings go into its parts.

    Args:
      record: an instance of a settings dataclass.
      settings: by name, nested for parts.
      owner: named in errors.

    Raises:
      ValueError: a setting that it does not have, or a value that it refuses.
    """
    known = [field.name for field in dataclasses.fields(record)]
    for name in settings:
        if name not in known:
            raise unknown("setting", name, known, owner)
    values = {
        name: configured(getattr(record, name), value, f"{owner}.{name}")
        if isinstance(value, Mapping) and dataclasses.is_dataclass(getattr(record, name))
        else value
        for name, value in settings.items()
    }
    return dataclasses.replace(record, **values)


def make_env(env_id: str, **settings: Any) -> Environment[Any, Any]:
    """Returns the environment called `env_id`, with `settings` overridden.

    Raises:
      ValueError: unknown id or setting, or a value the environment refuses.
    """
    env = family(env_id).make(env_id)
    known = settings_of(env)
    for name in settings:
        if name not in known:
            raise unknown("environment setting", name, known, env_id)
    return dataclasses.replace(env, **settings) if settings else env  # type: ignore[type-var]


def make(env_id: str, **settings: Any) -> tuple[Environment[Any, Any], EnvParams]:
    """Returns an environment and its default parameters.

    Args:
      env_id: e.g. `Foraging-8x8-2p-2f-coop-v3`; `marlx list` shows how ids are formed.
      **settings: fields of the environment to override, e.g. `sight=2`.

    Raises:
      ValueError: unknown id or setting, or a value the environment refuses.
    """
    env = make_env(env_id, **settings)
    return env, env.default_params
