"""State, actions and subgoals of the vault."""

from __future__ import annotations

import flax.struct

from marlx.environment import EnvState
from marlx.types import Array

STAY, WEST, EAST = range(3)
"""Actions."""
SUBGOALS = ("wait", "small room", "vault", "west lever", "east lever")


@flax.struct.dataclass
class VaultState(EnvState):
    """State of one episode."""

    cell: Array  # int32 [N], in the agent's lane, counted from its west end
    inside: Array  # bool [], the vault is open
    sign: Array  # int32 [N], the right lever of each agent: 0 west, 1 east
