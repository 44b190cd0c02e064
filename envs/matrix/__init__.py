"""Matrix games: known payoffs, known optima, one table look-up per step.

They are the smallest tasks in which multi-agent learners differ: costly miscoordination (climbing,
penalty), values that are not a sum (two-step, 8/-12), conflicting interests (the ordinal games).

Source: github.com/uoe-agents/matrix-games as EPyMARL runs it, for everything that it registers;
`tables.py` names the source of the rest. Differs from that package in:
  - `nonconflict-19`, which has two 0s there for the rank 1 (here 1);
  - `twostep-2p`, which crashes there;
  - `-laststate` observations, which change their shape after reset there (here
    `observation="last_action"`);
  - returns, which EPyMARL sums over agents. Ours are means, the unit of the benchmark of
    Papoudakis et al. 2021.
"""

from __future__ import annotations

from marlx.envs.matrix.game import MatrixGame, MatrixState
from marlx.envs.matrix.tables import EXAMPLES, GAMES, settings_of_game
from marlx.envs.matrix.values import Attack, best_attack, last_actions, value_against
from marlx.registry import Family

__all__ = [
    "FAMILY",
    "Attack",
    "MatrixGame",
    "MatrixState",
    "best_attack",
    "last_actions",
    "make",
    "value_against",
]


def make(id: str) -> MatrixGame:
    """Returns the game of an id, e.g. `matrix/penalty-25`; `FAMILY.usage` lists the ids.

    Raises:
      ValueError: there is no such game.
    """
    return MatrixGame(name=id, **settings_of_game(id.removeprefix("matrix/")))


FAMILY = Family(
    name="matrix",
    pattern=r"matrix/.+",
    usage=(
        "matrix/{game}: "
        + ", ".join(GAMES)
        + ", chain-{k}, penalty-{k}, coordination[-{actions}][-graded], nonconflict-{1..21}, "
        "conflict-{1..57}, custom (with payoff)"
    ),
    examples=EXAMPLES,
    make=make,
)
