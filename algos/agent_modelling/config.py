"""Settings of PPO with a model of the other agents: CLAM, LIAM, bounds and controls."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.algos.ppo_config import PPOConfig
from marlx.settings import check_settings, nearest_names, require, setting

ModelKind = Literal["clam", "labels", "liam", "none", "oracle", "random", "shuffled"]
TokenKind = Literal["own", "observation", "change", "code"]


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Size of CLAM's encoder."""

    width: int = setting(64, at_least=1, at_most=16_384)
    """Width of all its layers."""
    heads: int = setting(4, at_least=1, at_most=1024)
    """Attention heads; they must divide the width."""
    seeds: int = setting(4, at_least=1, at_most=1024)
    """Learned queries that pool the trajectory."""

    def __post_init__(self) -> None:
        check_settings(self)
        divides = self.width % self.heads == 0
        require("heads", self.heads, divides, f"a divisor of width ({self.width})")
        require("width", self.width, self.width % 2 == 0, "even")


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class ContrastConfig:
    """Contrastive training of CLAM's encoder."""

    lr: float = setting(3e-3, above=0, at_most=1e6, traced=True)
    """Adam's step size."""
    updates: float = setting(4.0, above=0, at_most=1000, traced=True)
    """Gradient updates per rollout, as many as LIAM's; 0.5 is one after every other rollout."""
    batch: int = setting(64, at_least=2, at_most=1_000_000)
    """Trajectories per gradient update; learning begins when as many have ended."""
    capacity: int = setting(10_000, at_least=1)
    """Trajectories that are kept, the newest ones."""
    temperature: float = setting(0.5, above=0, at_most=1e6, traced=True)
    """Temperature of the similarities in the loss."""
    shortest: int = setting(8, at_least=1, at_most=1_000_000)
    """Fewest steps of the part of a trajectory that is a view."""
    longest: int = setting(48, at_least=1, at_most=1_000_000)
    """Most steps of that part."""
    apart: bool = False
    """The two views share no step: the second lies before a random cut, the first behind it."""
    mask: float = setting(0.3, at_least=0, at_most=1, traced=True)
    """Share of the first view's steps that are masked."""
    prefix: float = setting(0.5, at_least=0, at_most=1, traced=True)
    """Probability that the second view is a prefix of any length instead, as in acting."""
    momentum: float = setting(0.95, at_least=0, at_most=1, traced=True)
    """Momentum of the encoder that acts: its share that stays at each gradient update. The first
    updates keep less, so that it is the mean of the trained ones, without its own start."""
    projection: int = setting(64, at_least=1, at_most=16_384)
    """Width of the space in which views are compared."""

    def __post_init__(self) -> None:
        check_settings(self)
        holds = self.batch <= self.capacity
        require("batch", self.batch, holds, f"at most capacity ({self.capacity})")
        ordered = self.longest >= self.shortest
        require("longest", self.longest, ordered, f"at least shortest ({self.shortest})")


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class LiamConfig:
    """Settings of LIAM's encoder and decoder."""

    lr: float = setting(7e-4, above=0, at_most=1e6, traced=True)
    """Adam's step size."""
    hidden: int = setting(64, at_least=1, at_most=16_384)
    """Width of encoder and decoder."""
    updates: int = setting(4, at_least=1, at_most=1000)
    """Gradient updates per rollout, each on an equal part of the environments."""
    max_grad_norm: float = setting(0.5, above=0, traced=True, finite=False)
    """Largest global norm of a gradient; larger ones are scaled down."""

    def __post_init__(self) -> None:
        check_settings(self)


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class CLAMConfig:
    """Settings of PPO with a model of its partners."""

    model: ModelKind = "clam"
    """Model of the partners:
    `clam`: contrastive encoder of the own trajectory.
    `labels`: upper bound, CLAM trained with labels of which partners are alike.
    `liam`: LIAM's encoder, which reconstructs what the partners see and do.
    `none`: control, zeros.
    `oracle`: upper bound, the partner's identity.
    `random`: control, an untrained encoder.
    `shuffled`: control, the embedding of another episode."""
    embedding: int = setting(20, at_least=1, at_most=16_384)
    """Size of the embedding, the same for all models."""
    standardise: bool = True
    """The policy reads embeddings less their running mean, over their running deviation (not those
    of `oracle` and `none`)."""
    token: TokenKind = "own"
    """Input of the encoder at each step:
    `own`: the agent's observation and action.
    `observation`: its observation alone; for observations that show what partners do.
    `change`: the change of that since the step before.
    `code`: its observation and the others' actions, as in the authors' repository."""
    inputs: tuple[int, ...] = ()
    """Components of the observation that the encoder reads; none given: all."""
    encoder: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)
    """Size of CLAM's encoder."""
    contrast: ContrastConfig = dataclasses.field(default_factory=ContrastConfig)
    """Training of CLAM's encoder."""
    liam: LiamConfig = dataclasses.field(default_factory=LiamConfig)
    """Settings of LIAM."""
    policy_steps: int = setting(0, at_least=0)
    """Steps after which the policy's memory is reset and its returns are cut, as if an episode had
    ended, while the model of the partner goes on; 0: at the end of an episode only."""
    ppo: PPOConfig = dataclasses.field(default_factory=PPOConfig)
    """Settings of the policy."""

    def __post_init__(self) -> None:
        check_settings(self)


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class LIAMConfig(CLAMConfig):
    """Settings of PPO with LIAM's model of its partners: those of `clam`, with that model."""

    model: ModelKind = "liam"
    """Model of the partners; see `clam`. `liam`: an encoder of the own trajectory that
    reconstructs what the partners see and do."""
