"""Protocol cards: what a training and its evaluation must have in common to be comparable.

A card is a YAML file: environments and their settings, steps, seeds, evaluations, how actions are
chosen in them, and the unit of returns. Shipped cards are in `benchmarks/protocols/` (installed as
`marlx.protocols`); a card of one's own is named by its path. `docs/protocols.md` lists the keys.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.resources
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from marlx.config.coerce import coerce
from marlx.config.layers import Experiment, Layer, build, merge, schema, sources
from marlx.config.tree import flatten
from marlx.config.yaml_text import parse
from marlx.files import read_text
from marlx.settings import LARGEST, MOST_SEEDS, check_settings, require, setting
from marlx.text import printable, shortened, unknown

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from marlx.learner import Judged, Learner

SUFFIXES = (".yaml", ".yml")
"""How the file of a card ends."""
FREE = ("learner", "num_envs", "rollout_length")
"""Settings that belong to the algorithm: free, unless the card fixes them."""
WORDS_ONLY = ("name", "title", "about", "environments", "report")
"""Keys of a card that are no part of its hash: a run on one board owes nothing to the others."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """A protocol.

    Attributes:
      name: the file's, without its suffix.
      title: in a few words.
      about: what the numbers compare with, and what they do not.
      environments: ids.
      env: settings that every environment is made with.
      steps: environment steps per seed.
      seeds: least number of seeds.
      evals: evaluations during training, at equal distances; the one at the start is not counted.
      eval_episodes: episodes of each evaluation and seed; the last has at least 100.
      judged: `drawn`: actions are drawn by learners that train a policy; a Q-learner has none, and
        is greedy. `greedy`: every learner is.
      measure: what is compared: `return`, or a rate that the environment tells, e.g. `win_rate`.
      unit: the return of a team: the agents' returns added (`sum`) or averaged (`mean`), or the one
        of the two that is the environment's own (`team`).
      algorithm: whether settings of algorithms are `free`, or those of the `preset`.
      settings: of training and learner, which every run has.
      versions: package -> how its version must begin; environments need these packages.
      report: steps at which tables show the learning curve.
    """

    name: str
    title: str
    about: str = ""
    environments: tuple[str, ...]
    env: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    steps: int = setting(0, at_least=1, at_most=LARGEST)
    seeds: int = setting(0, at_least=1, at_most=MOST_SEEDS)
    evals: int = setting(0, at_least=1, at_most=LARGEST)
    eval_episodes: int = setting(0, at_least=1, at_most=LARGEST)
    judged: Literal["drawn", "greedy"]
    unit: Literal["sum", "mean", "team"]
    measure: Literal["return", "win_rate", "success_rate"] = "return"
    algorithm: Literal["free", "preset"] = "free"
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    report: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_settings(self)
        require("environments", self.environments, bool(self.environments), "one id at least")
        for name in flatten(self.settings):
            if name.partition(".")[0] not in FREE:
                raise unknown("setting", name, FREE, "settings")

    @property
    def hash(self) -> str:
        """12 hexadecimal digits of the SHA-256 of what a run has to satisfy.

        Keys at their defaults are left out, so that a new key changes no card without it.
        """
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        given = {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name not in WORDS_ONLY and value != defaults[name] and value != {}
        }
        text = json.dumps(given, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def plain(self) -> dict[str, Any]:
        """Returns the card in the layout of its file, its name included."""
        given = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}

    def missing(self) -> list[str]:
        """Returns a text for each package that is not installed, or not in the card's version."""
        texts = []
        for package, wanted in self.versions.items():
            try:
                version = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                version = None
            if not version_fits(version, wanted):
                there = "is not installed" if version is None else f"is {version}"
                texts.append(
                    f"{package} {wanted}, which {there}: pip install '{package}=={wanted}.*'"
                )
        return texts


def version_fits(version: str | None, wanted: str) -> bool:
    """Whether a version is `wanted` or begins with it: 0.2.1 fits 0.2, and 0.20 does not."""
    return version is not None and f"{version}.".startswith(f"{wanted}.")


def card_names() -> list[str]:
    """Returns the names of the shipped cards, sorted."""
    files = (Path(entry.name) for entry in shipped().iterdir())
    return sorted(file.stem for file in files if file.suffix == ".yaml")


def shipped() -> Traversable:
    """The folder of shipped cards and submitted rows."""
    return importlib.resources.files("marlx.protocols")


def card(name: str | Path) -> Card:
    """Returns a shipped card by its name, or one of a file by its path.

    Raises:
      ValueError: there is none, or the file is no card; the message names the key.
    """
    text = str(name)
    if text in card_names():
        source = f"{text}.yaml"
        return _card(parse((shipped() / source).read_text(encoding="utf-8"), source), text, source)
    path = Path(name)
    if path.suffix not in SUFFIXES:
        error = unknown("card", text, card_names(), listed_by="marlx protocol list")
        raise ValueError(f"{error}; a card of your own is a .yaml file")
    return _card(parse(read_text(path), str(path)), path.stem, str(path))


def _card(values: Mapping[str, Any], name: str, source: str) -> Card:
    hints = typing.get_type_hints(Card)
    given: dict[str, Any] = {"name": name}
    for key, value in values.items():
        if key not in hints:
            raise unknown("key", key, hints, source)
        try:
            given[key] = _read(value, hints[key])
        except ValueError as error:
            raise ValueError(f"{key} in {source}: {error}") from None
    for field in dataclasses.fields(Card):
        needed = field.default is dataclasses.MISSING or field.default == 0
        if field.name not in given and needed and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{source} has no {field.name}; a card needs one")
    try:
        return Card(**given)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _read(value: Any, hint: Any) -> Any:
    """Returns a value of a card as its type; text is made safe to show."""
    if typing.get_origin(hint) is Mapping:
        if not isinstance(value, Mapping):
            raise ValueError(f"expected `name: value` lines, got {shortened(repr(value))}")
        return dict(value)
    read = coerce(value, hint)
    if isinstance(read, str):
        return printable(" ".join(read.split()))
    if isinstance(read, tuple):
        return tuple(printable(one) if isinstance(one, str) else one for one in read)
    return read


def judged_of(protocol: Card, learner: Learner) -> Judged:
    """Returns how a learner's actions are chosen under a card: `drawn` or `greedy`."""
    return "drawn" if "drawn" == protocol.judged == learner.judged else "greedy"


def experiment_under(
    protocol: Card,
    algorithm: str,
    env_id: str,
    given: Mapping[str, Any] | None = None,
    *,
    seeds: int | None = None,
    seed: int = 0,
    steps: int | None = None,
) -> Experiment:
    """Returns the experiment of an algorithm under a card: preset, `given`, then the card.

    The distance between evaluations follows from all steps of the card, so a run with fewer is the
    beginning of the whole one, and can be made longer later.

    Args:
      protocol: the card.
      algorithm: name.
      env_id: one of the card's environments.
      given: settings of the algorithm, in the layout of a YAML file.
      seeds: to train; the card's if not given.
      seed: the first of them.
      steps: to train; the card's if not given.

    Raises:
      ValueError: a setting is the card's, unknown or refused, or there are more steps than the
        card's.
    """
    from marlx.loop.settings import with_total_steps

    _check_given(protocol, algorithm, given or {})
    if steps is not None and not 1 <= steps <= protocol.steps:
        raise ValueError(f"--steps is {steps}; it must be 1 to {protocol.steps}, as the card says")
    algorithm, env_id, layers = sources(algorithm, env_id, None)
    # an algorithm's preset may choose settings of the environment, and a card compares one task
    own = {
        **{name: getattr(protocol, name) for name in ("evals", "eval_episodes")},
        **{"total_steps": protocol.steps, "seeds": seeds or protocol.seeds, "seed": seed},
        **protocol.settings,
        "env": dict(protocol.env),
    }
    layers = [
        one._replace(values={k: v for k, v in one.values.items() if k != "env"}) for one in layers
    ]
    layers += [Layer("the settings given", given or {}), Layer(f"card {protocol.name}", own)]
    made = build(algorithm, env_id, merge(schema(algorithm, env_id), layers))
    learner = made.build()[2]
    train = with_total_steps(made.train, learner, steps or protocol.steps)
    return made._replace(train=dataclasses.replace(train, eval=judged_of(protocol, learner)))


def _check_given(protocol: Card, algorithm: str, given: Mapping[str, Any]) -> None:
    """Checks that settings are the user's to choose under this card.

    Raises:
      ValueError: one is not.
    """
    fixed = flatten(protocol.settings)
    for name in flatten(given):
        if name.partition(".")[0] not in FREE:
            raise ValueError(f"card {protocol.name} sets {name}; only {', '.join(FREE)} are free")
        if name in fixed:
            raise ValueError(f"card {protocol.name} fixes {name}; it cannot be given")
        if protocol.algorithm == "preset":
            raise ValueError(
                f"card {protocol.name} runs {algorithm} with its preset; {name} cannot be given"
            )
