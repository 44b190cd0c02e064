"""Vault: one key and two doors; behind the second, one wrong lever is worse than the first.

    grid/vault-{n}p    n agents, each in a lane of its own

The smallest task over subgoals in which agents that learn to choose separately prefer a worse plan
than agents whose values are mixed. What is best, and what either of them prefers, is computed.
Source: ours, after the two-step game of QMIX (arXiv 1803.11485).
"""

from __future__ import annotations

import re

from marlx.envs.vault.state import EAST, STAY, WEST, VaultState
from marlx.envs.vault.world import Vault
from marlx.registry import Family

__all__ = ["EAST", "FAMILY", "PATTERN", "STAY", "USAGE", "WEST", "Vault", "VaultState", "make"]

PATTERN = r"grid/vault-(?P<agents>[1-9]\d?)p"
USAGE = "grid/vault-{n}p"


def make(id: str) -> Vault:
    """Returns the environment of an id, e.g. `grid/vault-4p`.

    Raises:
      ValueError: the id does not have the form of `USAGE`, or there are too few agents.
    """
    match = re.fullmatch(PATTERN, id)
    if match is None:
        raise ValueError(f"{id!r} is not a vault id; the form is {USAGE}")
    return Vault(num_agents=int(match["agents"]))


FAMILY = Family(
    name="vault",
    pattern=PATTERN,
    usage=USAGE,
    examples=("grid/vault-4p", "grid/vault-2p"),
    make=make,
)
