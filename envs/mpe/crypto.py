"""Simple crypto: Alice sends Bob a secret over a channel that Eve reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax.numpy as jnp

from marlx.envs.mpe.bodies import Agent, Landmark
from marlx.envs.mpe.geometry import (
    Number,
    one_hot,
)
from marlx.envs.mpe.world import Particles, ParticleState
from marlx.types import Array

SECRETS = 2
SYMBOLS = 4
EVE, BOB, ALICE = range(3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crypto(Particles):
    """Alice knows a secret and shares a key with Bob; Bob and Eve guess the secret.

    Reward of Bob and of Alice: Eve's squared error minus Bob's. Reward of Eve: minus her error. An
    error is the difference between a message and the secret as a one-hot of 4; it is 0 for a
    message of zeros (possible with continuous actions only). Nobody moves. The goal holds the
    secret and the key, each 0 or 1.

    Observation of Alice: secret and key. Of Bob: key and Alice's last message. Of Eve: Alice's last
    message. All are one-hots of 4. Agents are Eve, Bob, Alice.

    Source: mpe2 1.1.1, simple_crypto_v3.
    """

    ID: ClassVar[str] = "mpe/simple_crypto_v3"
    DIM_C: ClassVar[int] = SYMBOLS
    COLORED: ClassVar[bool] = True

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Eve, Bob, Alice."""
        return tuple(
            Agent(f"{name}_0", name, collide=False, movable=False, speaks=True)
            for name in ("eve", "bob", "alice")
        )

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """One for each secret; they have no effect."""
        return (Landmark(),) * SECRETS

    @property
    def goals(self) -> tuple[int, ...]:
        """Secret and key."""
        return (SECRETS, SECRETS)

    def goal_landmarks(self, goal: Sequence[int]) -> list[tuple[int, int | None]]:
        """Returns the landmark of the secret."""
        return [(goal[0], None)]

    def views(self, state: ParticleState) -> list[list[Array]]:
        """Returns what each agent knows, and Alice's message."""
        secret, key = (one_hot(state.goal[k], SYMBOLS, state.comm.dtype) for k in range(2))
        heard = state.comm[ALICE]
        return [[heard], [key, heard], [secret, key]]

    def rewards(self, state: ParticleState) -> list[Number]:
        """Returns rewards from the squared errors."""
        secret = list(one_hot(state.goal[0], SYMBOLS, state.comm.dtype))
        eve, bob = (_error(list(state.comm[i]), secret) for i in (EVE, BOB))
        return [-eve, eve - bob, eve - bob]


def _error(said: Sequence[Array], secret: Sequence[Array]) -> Array:
    """Returns the squared distance of a message and the secret; 0 for a message of zeros."""
    terms = [(a - b) * (a - b) for a, b in zip(said, secret, strict=True)]
    silent = (said[0] == 0) & (said[1] == 0) & (said[2] == 0) & (said[3] == 0)
    return jnp.where(silent, 0.0, sum(terms[1:], start=terms[0]))
