"""Payoff tables of the named matrix games."""

from __future__ import annotations

import difflib
import re
from typing import Any

import numpy as np

from marlx.text import shortened

MOST_ACTIONS = 256
"""Most actions of an agent in `coordination-N`: the table has their square."""
CLIMBING_3P = [
    [[11, -30, 0], [-30, 0, 0], [0, 0, 0]],
    [[-30, 0, 0], [0, 7, 0], [0, 0, 0]],
    [[0, 0, 0], [0, 0, 0], [0, 6, 5]],
]
QTRAN = [[8, -12, -12], [-12, 0, 0], [-12, 0, 0]]
QPLEX_HARD = [[8, -12, -12], [-12, 6, 0], [-12, 0, 6]]
TWO_STEP = [[[0, 0], [0, 0]], [[7, 7], [7, 7]], [[0, 1], [1, 8]]]
TWO_STEP_NEXT = [[[1, 1], [2, 2]], [[-1, -1], [-1, -1]], [[-1, -1], [-1, -1]]]
ONE_STEP = {"horizon": 1, "end_at_horizon": "terminated"}

ADDITIVE = [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
CLIMBING = [[11, -30, 0], [-30, 7, 0], [0, 6, 5]]
ADDITIVE_AGAIN = [[4, 3, 2], [3, 2, 1], [2, 1, 0]]


def _in_turn(*tables: list[list[int]]) -> dict[str, Any]:
    """Returns the settings of an episode that plays each game once, in this order."""
    last = len(tables) - 1
    following = [np.full_like(table, i + 1 if i < last else -1) for i, table in enumerate(tables)]
    return {
        "payoff": list(tables),
        "transition": [table.tolist() for table in following],
        "horizon": len(tables),
        "end_at_horizon": "terminated",
        "observation": "stage",
    }


def _consensus(*, sparse: bool) -> dict[str, Any]:
    """Returns the settings of a game in which all agents but the first are to agree.

    Four agents with three actions are paid 1 where the last three agree, in each of 25 steps or in
    the last one alone. What the first does is paid nothing: it can only influence the others.
    """
    agree = np.zeros((3, 3, 3, 3), int)
    for action in range(3):
        agree[:, action, action, action] = 1
    game: dict[str, Any] = {"payoff": agree.tolist(), "observation": "last_action", "horizon": 25}
    if not sparse:
        return game
    last = game["horizon"] - 1
    stages = [np.full_like(agree, i + 1 if i < last else -1) for i in range(last + 1)]
    paid = [np.zeros_like(agree)] * last + [agree]
    return {
        **game,
        "payoff": [table.tolist() for table in paid],
        "transition": [table.tolist() for table in stages],
        "end_at_horizon": "terminated",
    }


GAMES: dict[str, dict[str, Any]] = {
    # uoe-agents/matrix-games: every agent gets the entry. Climbing is Claus & Boutilier 1998's.
    "climbing": {"payoff": CLIMBING},
    "climbing-3p": {"payoff": CLIMBING_3P},
    "trivial": {"payoff": [[11, 8, 0], [8, 7, 0], [0, 0, 0]]},
    "linear": {"payoff": [[1, 4, 2], [0, 3, 1], [2, 5, 3]]},
    "nonlinear": {"payoff": [[0, 3, 1], [0, 0, 0], [0, 6, 2]]},
    "linear-2p": {"payoff": [[1, 5], [5, 9]]},
    "nonlinear-2p": {"payoff": [[0, 0], [0, 10]]},
    "pdilemma": {"payoff": [[-1, -3], [-3, -2]]},
    # Rashid et al. 2018, section 5: agent 0 picks the second step's table. VDN gets 7 of 8.
    "two_step": {
        "payoff": TWO_STEP,
        "transition": TWO_STEP_NEXT,
        "horizon": 2,
        "end_at_horizon": "terminated",
        "observation": "stage",
    },
    # Son et al. 2019 (QTRAN), table 1; also in QPLEX and Weighted QMIX.
    "qtran": {"payoff": QTRAN, **ONE_STEP},
    # Wang et al. 2021 (QPLEX), harder variant; from memory, not checked against the paper.
    "qplex-hard": {"payoff": QPLEX_HARD, **ONE_STEP},
    # Ours. Coordination is hard for IQL and QMIX in the second and the fourth stage only.
    "stages": _in_turn(ADDITIVE, CLIMBING, ADDITIVE_AGAIN, QTRAN),
    # Ours, for attacks on a team (docs/attack.md). A majority partner follows what others did.
    "consensus": _consensus(sparse=False),
    "consensus-sparse": _consensus(sparse=True),
    # Textbook games, one table per agent.
    "prisoners_dilemma": {"payoff": [[[-1, -3], [0, -2]], [[-1, 0], [-3, -2]]], "per_agent": True},
    "stag_hunt": {"payoff": [[[4, 1], [3, 2]], [[4, 3], [1, 2]]], "per_agent": True},
    "battle_of_the_sexes": {"payoff": [[[3, 0], [0, 2]], [[2, 0], [0, 3]]], "per_agent": True},
    "matching_pennies": {"payoff": [[[1, -1], [-1, 1]], [[-1, 1], [1, -1]]], "per_agent": True},
    "rock_paper_scissors": {
        "payoff": [[[0, -1, 1], [1, 0, -1], [-1, 1, 0]], [[0, 1, -1], [-1, 0, 1], [1, -1, 0]]],
        "per_agent": True,
    },
}

# The 78 strictly ordinal 2x2 games (Rapoport & Guyer 1966) that are not equal up to the order of
# rows, columns and players, in the order of uoe-agents/matrix-games. Each is written as four pairs
# of ranks, (agent 0's, agent 1's), of the cells 00, 01, 10, 11.
NONCONFLICT = """
44332211 44331221 44322311 44321321 44311322 44233211 44332112 44331122 44322113
44321123 44233112 44223113 44312213 44311223 44213213 44231132 44221133 44211233
44133122 44123123 44122133
""".split()
CONFLICT = """
33422411 33421421 33411422 23421431 23411432 22411433 34422311 34421321 34412312
34411322 24421331 24411332 34431221 34432211 24431231 34221341 34211342 34122341
34112342 24321341 24311342 34231241 34132241 24331241 34412213 34411223 33412214
33411224 24411233 32412314 32411324 23411234 22411334 34432112 34431122 34422113
34421123 33422114 33421124 24431132 24421133 23421134 34211243 24311243 33244211
23344211 22344311 22433411 34214213 33214214 32214314 24413213 24314213 23413214
23314214 22413314 22314314
""".split()
ORDINAL = {
    **{f"nonconflict-{i}": cells for i, cells in enumerate(NONCONFLICT, 1)},
    **{f"conflict-{i}": cells for i, cells in enumerate(CONFLICT, 1)},
}


EXAMPLES = (
    *(f"matrix/{game}" for game in GAMES),
    *(f"matrix/penalty-{k}" for k in (0, 25, 50, 75, 100)),
    "matrix/chain-4",
    "matrix/coordination-3",
    "matrix/coordination-3-graded",
    "matrix/nonconflict-1",
    "matrix/conflict-1",
    "matrix/custom",
)


def settings_of_game(game: str) -> dict[str, Any]:
    """Returns the settings of `MatrixGame` for a game, e.g. `climbing` or `penalty-25`.

    Raises:
      ValueError: there is no game of that name; the message names the nearest.
    """
    if game in GAMES:
        return GAMES[game]
    if game in ORDINAL:
        cells = np.array([int(rank) for rank in ORDINAL[game]]).reshape(2, 2, 2)
        return {"payoff": np.moveaxis(cells, -1, 0), "per_agent": True}
    if game == "custom":
        return {}
    if match := re.fullmatch(r"penalty-(\d+(?:\.\d+)?)", game):
        penalty = 0 - float(match[1])  # not -0.0 for k = 0
        return {"payoff": [[penalty, 0, 10], [0, 2, 0], [10, 0, penalty]]}
    if match := re.fullmatch(r"chain-([1-9]\d{0,2})", game):  # ours
        return _in_turn(*[ADDITIVE] * int(match[1]), CLIMBING)
    if match := re.fullmatch(r"coordination(?:-([1-9]\d*))?(-graded)?", game):
        if len(match[1] or "") > 3 or int(match[1] or 2) > MOST_ACTIONS:
            raise ValueError(
                f"matrix/{shortened(game)} has too many actions; it must be at most {MOST_ACTIONS}"
            )
        size = int(match[1] or 2)
        return {"payoff": np.diag(np.arange(1, size + 1) if match[2] else np.ones(size, int))}
    known = [name.removeprefix("matrix/") for name in (*EXAMPLES, *GAMES, *ORDINAL)]
    near = difflib.get_close_matches(game, dict.fromkeys(known)) or known[:5]
    names = ", ".join(f"matrix/{name}" for name in near)
    raise ValueError(f"unknown matrix game matrix/{shortened(game)}; nearest: {names}")
