"""Simple crypto: Alice tells Bob a secret over a channel that Eve listens to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax.numpy as jnp

from marlx.envs.mpe.core import Agent, Landmark, Number, Particles, ParticleState, one_hot
from marlx.types import Array

SECRETS = 2
SYMBOLS = 4
EVE, BOB, ALICE = range(3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crypto(Particles):
    """Alice knows a secret and shares a key with Bob; Bob and Eve say what they take it to be.

    Bob and Alice are each paid Eve's squared error minus Bob's; Eve is paid minus her own. An error
    is the difference between what one says and the secret as a one-hot of 4; who says all zeros
    (possible in continuous actions only) has none. Nobody moves. The goal holds the secret and the
    key, each 0 or 1.

    Observation of Alice: secret and key. Of Bob: key, and what Alice said last. Of Eve: what Alice
    said last. All as one-hots of 4. Agents are Eve, Bob, Alice.

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
        """One for each secret; they do nothing."""
        return (Landmark(),) * SECRETS

    @property
    def goals(self) -> tuple[int, ...]:
        """Secret and key."""
        return (SECRETS, SECRETS)

    def aims(self, goal: Sequence[int]) -> list[tuple[int, int | None]]:
        """The landmark that stands for the secret."""
        return [(goal[0], None)]

    def see(self, state: ParticleState) -> list[list[Array]]:
        """What each knows and hears."""
        secret, key = (one_hot(state.goal[k], SYMBOLS, state.comm.dtype) for k in range(2))
        heard = state.comm[ALICE]
        return [[heard], [key, heard], [secret, key]]

    def pay(self, state: ParticleState) -> list[Number]:
        """Squared errors."""
        secret = list(one_hot(state.goal[0], SYMBOLS, state.comm.dtype))
        eve, bob = (_error(list(state.comm[i]), secret) for i in (EVE, BOB))
        return [-eve, eve - bob, eve - bob]


def _error(said: Sequence[Array], secret: Sequence[Array]) -> Array:
    """Squared distance of two vectors; 0 for who says nothing."""
    terms = [(a - b) * (a - b) for a, b in zip(said, secret, strict=True)]
    silent = (said[0] == 0) & (said[1] == 0) & (said[2] == 0) & (said[3] == 0)
    return jnp.where(silent, 0.0, sum(terms[1:], start=terms[0]))
