"""Experiments: algorithm, environment and settings of a run, merged from five sources.

Each source overrides the one before:

1. the defaults of the dataclasses (`TrainConfig`, the learner's, the environment's as its id says),
2. `defaults` of the algorithm's preset, `configs/{algorithm}.yaml`,
3. the first entry under `environments` of that preset whose key is the environment's family or a
   regular expression that matches the whole id,
4. a YAML file of the user's,
5. the command line.

An algorithm that shares a preset with others may have one of its own too, over the shared one. A
preset with a line `base: gmah` starts from that one: its `defaults` go over those of the base, and
its `environments` are the base's with entries replaced, where the keys are the same, and added.

All are written alike. Training settings are at the top, `learner` and `env` are blocks::

    total_steps: 2_000_000
    learner: {lr: 3e-4}
    env: {sight: 2}

A user's file, and the `config.yaml` of a run, may also name the `algorithm` and the `environment`.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marlx.config.coerce import coerce
from marlx.config.tree import plain
from marlx.config.yaml_text import parse
from marlx.files import read_text
from marlx.registry import algorithm, built, configured, family, make_env, prepared, settings_of
from marlx.text import shortened, unknown

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from marlx.environment import Environment, EnvParams
    from marlx.learner import Learner
    from marlx.loop.settings import TrainConfig

Schema = dict[str, Any]
"""Setting -> type; a block is a nested schema."""


class Layer(NamedTuple):
    """Settings from one source."""

    source: str  # named in errors
    values: Mapping[str, Any]


class Experiment(NamedTuple):
    """Algorithm, environment and all settings of a run."""

    algorithm: str
    environment: str
    train: TrainConfig
    learner: Any  # the algorithm's config
    env: Environment[Any, Any]

    def build(self) -> tuple[Environment[Any, Any], EnvParams, Learner]:
        """Returns the environment, prepared for the algorithm, its parameters and the learner.

        Raises:
          ValueError: settings that do not go together.
        """
        env = self.prepared()
        params = env.default_params
        return env, params, built(algorithm(self.algorithm), env, self.learner)

    def prepared(self, env: Environment[Any, Any] | None = None) -> Environment[Any, Any]:
        """Returns the environment, or another one, in the wrapper that the algorithm needs."""
        return prepared(self.algorithm, self.env if env is None else env)

    def settings(self) -> dict[str, Any]:
        """Returns every setting, in the layout of a YAML file."""
        return {
            "algorithm": self.algorithm,
            "environment": self.environment,
            **plain(self.train),
            "learner": plain(self.learner),
            "env": plain(self.env),
        }


def schema(algorithm_name: str, env_id: str) -> Schema:
    """Returns the settings, with their types, of a run of this algorithm in this environment."""
    from marlx.loop.settings import TrainConfig

    return {
        **settings_of(TrainConfig),
        "learner": settings_of(algorithm(algorithm_name).config),
        "env": settings_of(make_env(env_id)),
    }


def preset_layers(algorithm_name: str, env_id: str) -> list[Layer]:
    """Returns the layers of the algorithm's preset: its defaults, and those for this environment.

    Below it are the presets of the algorithms that it is made of, each in its own block.
    """
    record = algorithm(algorithm_name)
    layers = []
    for block, part in reversed(record.parts):  # so that the first part's training settings win
        for layer in preset_layers(part, env_id):
            values = dict(layer.values)
            if "learner" in values:
                values["learner"] = {block: values["learner"]}
            layers.append(Layer(layer.source, values))
    for name in dict.fromkeys((record.preset or record.name, record.name)):
        layers += _preset(f"{name}.yaml", env_id)
    return layers


def _preset(name: str, env_id: str) -> list[Layer]:
    if not _preset_file(name).is_file():
        return []
    layers, entries = _read_preset(name)
    for pattern, layer in entries.items():
        if pattern == family(env_id).name or re.fullmatch(pattern, env_id):
            return [*layers, layer]
    return layers


def _read_preset(name: str) -> tuple[list[Layer], dict[str, Layer]]:
    """Returns the layers of `defaults`, the base's first, and those of `environments` by key.

    Keys that the base does not have are looked at first.
    """
    preset = parse(_preset_file(name).read_text(encoding="utf-8"), name)
    known = ("base", "defaults", "environments")
    for key in preset:
        if key not in known:
            raise unknown("key", key, known, name)
    defaults: list[Layer] = []
    inherited: dict[str, Layer] = {}
    if "base" in preset:
        defaults, inherited = _read_preset(f"{preset['base']}.yaml")
    own = {
        pattern: Layer(f"{name}, environments, {pattern}", values or {})
        for pattern, values in (preset.get("environments") or {}).items()
    }
    new = {pattern: layer for pattern, layer in own.items() if pattern not in inherited}
    defaults = [*defaults, Layer(f"{name}, defaults", preset.get("defaults") or {})]
    return defaults, {**new, **inherited, **own}


def _preset_file(name: str) -> Traversable:
    return importlib.resources.files("marlx.configs") / name


def file_layer(path: str | Path) -> tuple[str | None, str | None, Layer]:
    """Returns algorithm and environment, if the file names them, and its settings.

    Raises:
      ValueError: the file cannot be read, or is not a mapping.
    """
    values = parse(read_text(path), str(path))
    names = []
    for key in ("algorithm", "environment"):
        name = values.pop(key, None)
        if not isinstance(name, str | None):
            raise ValueError(f"{key} in {path} is {shortened(repr(name))}; it must be a name")
        names.append(name)
    return names[0], names[1], Layer(str(path), values)


def merge(known: Schema, layers: Sequence[Layer]) -> dict[str, Any]:
    """Returns the settings of all layers, later ones over earlier ones.

    Raises:
      ValueError: an unknown key or a value of the wrong type; the message names source and key.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        _merge_into(merged, known, layer.values, layer.source, "")
    return merged


def build(algorithm_name: str, env_id: str, values: Mapping[str, Any]) -> Experiment:
    """Returns the experiment with `values` (as from `merge`) over the dataclasses' defaults.

    Raises:
      ValueError: a setting that one of them refuses.
    """
    from marlx.loop.settings import TrainConfig

    train = {key: value for key, value in values.items() if key not in ("learner", "env")}
    return Experiment(
        algorithm_name,
        env_id,
        TrainConfig(**train),
        configured(algorithm(algorithm_name).config(), values.get("learner", {}), algorithm_name),
        make_env(env_id, **values.get("env", {})),
    )


def experiment(
    algorithm_name: str | None = None,
    env_id: str | None = None,
    *,
    file: str | Path | None = None,
    **settings: Any,
) -> Experiment:
    """Returns the experiment that `marlx train` would run: presets, then `file`, then `settings`.

    Args:
      algorithm_name: e.g. `qmix`; may be left to `file`.
      env_id: e.g. `Foraging-8x8-2p-2f-coop-v3`; may be left to `file`.
      file: a user's YAML file, for instance the `config.yaml` of a run.
      **settings: as in a YAML file, e.g. `total_steps=1_000, learner={"lr": 1e-3}`.

    Raises:
      ValueError: anything unknown, ill-typed or refused, in one line.
    """
    algorithm_name, env_id, layers = sources(algorithm_name, env_id, file)
    known = schema(algorithm_name, env_id)
    return build(
        algorithm_name, env_id, merge(known, [*layers, Layer("the settings given", settings)])
    )


def sources(
    algorithm_name: str | None, env_id: str | None, file: str | Path | None
) -> tuple[str, str, list[Layer]]:
    """Returns algorithm, environment, and every layer below the command line."""
    layers = []
    if file is not None:
        named_algorithm, named_env, layer = file_layer(file)
        algorithm_name, env_id = algorithm_name or named_algorithm, env_id or named_env
        layers.append(layer)
    if algorithm_name is None or env_id is None:
        missing = "algorithm" if algorithm_name is None else "environment"
        raise ValueError(f"no {missing} given; name one, or a file that says `{missing}: ...`")
    algorithm(algorithm_name)  # an unknown name is an error before its preset is read
    return algorithm_name, env_id, [*preset_layers(algorithm_name, env_id), *layers]


def _merge_into(
    merged: dict[str, Any], known: Schema, values: Mapping[str, Any], source: str, prefix: str
) -> None:
    if not isinstance(values, Mapping):
        block = prefix.rstrip(".") or "the file"
        raise ValueError(
            f"{block} in {source} is {shortened(repr(values))}; it must hold `name: value` lines"
        )
    for given, value in values.items():
        key = str(given).replace("-", "_")
        if key not in known:
            names = [prefix + name for name in known]
            raise unknown("setting", f"{prefix}{given}", names, source)
        if isinstance(known[key], dict):
            block = merged.setdefault(key, {})
            _merge_into(block, known[key], value or {}, source, f"{prefix}{key}.")
            continue
        try:
            merged[key] = coerce(value, known[key])
        except ValueError as error:
            raise ValueError(f"{prefix}{key} in {source}: {error}") from None
