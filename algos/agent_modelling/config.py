"""Settings of PPO with a model of the other agents: CLAM, LIAM, bounds and controls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, get_args

from marlx.algos.ppo_config import PPOConfig

ModelKind = Literal["clam", "labels", "liam", "none", "oracle", "random", "shuffled"]
TokenKind = Literal["own", "change", "code"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Size of the encoder."""

    width: int = 64
    """Of all its layers."""
    heads: int = 4
    """Of its attention; they divide the width."""
    seeds: int = 4
    """Learned queries that pool the trajectory."""

    def __post_init__(self) -> None:
        count: tuple[Callable[[Any], bool], str] = (lambda x: x >= 1, "at least 1")
        check(self, (("width", *count), ("heads", *count), ("seeds", *count)))
        divides = (lambda x: self.width % x == 0, f"a divisor of width ({self.width})")
        check(self, (("heads", *divides), ("width", lambda x: x % 2 == 0, "even")))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContrastConfig:
    """How the encoder is trained."""

    lr: float = 3e-3
    """Adam's step size."""
    updates: float = 0.5
    """Gradient steps after each rollout; 0.5 is one after every other."""
    batch: int = 64
    """Trajectories in each; nothing is learned before as many have ended."""
    capacity: int = 10_000
    """Trajectories kept, the last ones."""
    temperature: float = 0.5
    """Of the similarities."""
    shortest: int = 8
    """Steps of the shortest part of a trajectory that is a view."""
    longest: int = 48
    """Steps of the longest."""
    apart: bool = False
    """The two views share no step: the second lies before a random cut, the first behind it."""
    mask: float = 0.3
    """Share of the first view's steps that are blanked."""
    prefix: float = 0.5
    """How often the second view is instead a beginning of any length, as in acting."""
    momentum: float = 0.99
    """How much of the acting copy stays at each gradient step."""
    projection: int = 64
    """Width of the space where views are compared."""

    def __post_init__(self) -> None:
        count: tuple[Callable[[Any], bool], str] = (lambda x: x >= 1, "at least 1")
        share: tuple[Callable[[Any], bool], str] = (lambda x: 0 <= x <= 1, "between 0 and 1")
        above: tuple[Callable[[Any], bool], str] = (lambda x: x > 0, "above 0")
        names = ("capacity", "shortest", "projection")
        check(self, tuple((name, *count) for name in names))
        check(self, tuple((name, *share) for name in ("mask", "prefix", "momentum")))
        check(self, tuple((name, *above) for name in ("lr", "updates", "temperature")))
        check(self, (("batch", lambda x: 2 <= x <= self.capacity, "2 up to capacity"),))
        at_least = (lambda x: x >= self.shortest, f"at least shortest ({self.shortest})")
        check(self, (("longest", *at_least),))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiamConfig:
    """LIAM's encoder and decoder."""

    lr: float = 7e-4
    """Adam's step size."""
    hidden: int = 64
    """Width of encoder and decoder."""
    updates: int = 4
    """Gradient steps after each rollout, each on its share of the environments."""
    max_grad_norm: float = 0.5
    """Gradients are scaled down to this global norm."""

    def __post_init__(self) -> None:
        count: tuple[Callable[[Any], bool], str] = (lambda x: x >= 1, "at least 1")
        above: tuple[Callable[[Any], bool], str] = (lambda x: x > 0, "above 0")
        check(self, (("hidden", *count), ("updates", *count)))
        check(self, (("lr", *above), ("max_grad_norm", *above)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CLAMConfig:
    """Settings of PPO with a model of whom it plays with."""

    model: ModelKind = "clam"
    """`clam`, `liam`; bounds: `labels` (clam told who is alike), `oracle` (told who it is);
    controls: `none` (zeros), `random` (an untrained encoder), `shuffled` (another episode's)."""
    embedding: int = 20
    """Numbers in the vector, for all models alike."""
    token: TokenKind = "own"
    """What the encoder reads: what the agent sees and did (`own`), how that changed (`change`), or
    what it sees and the others did (`code`, as in the authors' repository)."""
    inputs: tuple[int, ...] = ()
    """Components of the observation that it reads; none given: all."""
    encoder: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)
    """Its size."""
    contrast: ContrastConfig = dataclasses.field(default_factory=ContrastConfig)
    """Its training."""
    liam: LiamConfig = dataclasses.field(default_factory=LiamConfig)
    """The other model."""
    ppo: PPOConfig = dataclasses.field(default_factory=PPOConfig)
    """The policy's."""

    def __post_init__(self) -> None:
        check(self, (("embedding", lambda x: x >= 1, "at least 1"),))
        for name, known in (("model", get_args(ModelKind)), ("token", get_args(TokenKind))):
            check(self, ((name, known.__contains__, " or ".join(known)),))


def check(record: Any, rules: tuple[tuple[str, Callable[[Any], bool], str], ...]) -> None:
    """Raises ValueError for the first setting of `record` that breaks its rule.

    Args:
      record: a dataclass of settings.
      rules: name of a setting, what must hold of its value, and that in words.
    """
    for name, holds, accepted in rules:
        value = getattr(record, name)
        if not holds(value):
            raise ValueError(f"{name} is {value}; it must be {accepted}")
