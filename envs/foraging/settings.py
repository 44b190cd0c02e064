"""Settings of level-based foraging, on which its rules, views and pictures depend."""

from __future__ import annotations

import dataclasses
from typing import Literal

MAX_UNROLLED = 9
"""Most agents and foods together for which the rules of `unrolled` are used, else `arrays`.

On a CPU with thousands of episodes, unrolled rules are nearly twice as fast at four and a fifth
faster at nine. At ten, arrays are as fast or faster with tens of episodes and up to a sixth slower
with thousands.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForagingSettings:
    """Settings of a foraging environment; `Foraging` inherits and documents them."""

    size: tuple[int, int] = (8, 8)
    num_agents: int = 2
    num_food: int = 2
    sight: int | None = None
    force_coop: bool = False
    min_player_level: int = 1
    max_player_level: int = 2
    min_food_level: int = 1
    max_food_level: int | None = None
    normalize_reward: bool = True
    penalty: float = 0.0
    observation: Literal["vector", "grid"] = "vector"
    observe_levels: bool = True
    subgoal_kind: Literal["beside", "load"] = "beside"
    horizon: int = 50

    @property
    def unrolled(self) -> bool:
        """Whether the rules are unrolled over agents and foods; see `MAX_UNROLLED`."""
        return self.num_agents + self.num_food <= MAX_UNROLLED

    @property
    def view(self) -> int:
        """Cells that an agent sees in each direction: `sight`, or the longer side for None."""
        return max(self.size) if self.sight is None else self.sight
