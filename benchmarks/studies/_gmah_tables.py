"""The tables of GMAH."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import _cells as cells
import _gmah_verdicts
import _verdicts

DOORKEY = (
    ("two levels, until achieved (c = 32)", "adaptive"),
    ("two levels, fixed period (c = 16)", "fixed"),
    ("two levels, `changed`", "changed"),
    ("flat PPO", "flat"),
)
TRASHGRID = (
    ("two levels", "adaptive", 0),
    ("two levels, no mixing", "unmixed", 0),
    ("in stages: 400,000 steps of the low level alone, then frozen", "staged", 400_000),
    ("in stages, no mixing", "staged-unmixed", 400_000),
    ("flat QMIX", "flat", 0),
)
"""Label, arm, and the steps before which a curve is not of the whole."""
GMAH_FORAGING = (
    ("two levels (`gmah`, `foraging-staged`)", "staged"),
    ("the same, no mixing", "staged-unmixed"),
    ("flat QMIX", "flat"),
    ("two levels above Q-learning (`gmah_q`, `refresh achieved`)", "adaptive"),
    ("the same, no mixing", "unmixed"),
)
VAULT = (
    ("two levels, mixed", "mixing"),
    ("two levels, no mixing", "none"),
    ("the same, quiet", "none-quiet"),
    ("flat QMIX", "flat"),
    ("flat IQL", "flat-iql"),
)
CHANGING = (
    ("until achieved", "adaptive"),
    ("`options`", "options"),
    ("`changed`", "changed"),
    ("fixed period", "fixed"),
    ("flat PPO", "flat"),
    ("flat PPO, gamma 0.99", "flat-099"),
)
DEEPSEA = (
    ("learned subgoals (`gmah_q`)", "learned"),
    ("flat QMIX, with as many updates", "flat"),
)
TEAM = (
    ("learned subgoals (`gmah_q`)", "learned"),
    ("the same, no mixing", "unmixed"),
    ("the same as the first, networks above not normalised", "plain"),
    ("flat QMIX, with as many updates", "flat"),
)


def doorkey() -> str:
    """Returns the table of DoorKey, with two lengths of episodes."""
    rows = []
    for label, arm in DOORKEY:
        short = cells.need("gmah", "doorkey-64", arm)
        long = cells.result("gmah", "doorkey-256", arm)
        middle = cells.MISSING if long is None else cells.at(long, 200_000)
        rows.append([label, cells.greedy(short), middle, cells.greedy(long)])
    head = ["return", "T = 64", "T = 256, after 200,000", "T = 256, at the end"]
    return cells.table(head, rows)


def behind_the_door() -> str:
    """Returns the table of DoorKey with the goal always behind the door."""
    rows = []
    for label, arm in DOORKEY:
        found = cells.result("gmah", "doorkey-256-right", arm)
        if found is not None:
            rows.append([label, cells.greedy(found), cells.drawn(found), cells.seeds(found)])
    head = ["T = 256, goal behind the door", "greedy", "drawn", "seeds, drawn"]
    return cells.table(head, rows)


def trashgrid() -> str:
    """Returns the table of TrashGrid."""
    points = (100_000, 155_000, 500_000)
    rows = []
    for label, arm, first in TRASHGRID:
        found = cells.need("gmah", "trashgrid", arm)
        middle = [cells.at(found, at) if at >= first else cells.MISSING for at in points]
        rows.append([label, *middle, cells.greedy(found)])
    return cells.table(["", *(f"after {at:,}" for at in points), "at the end"], rows)


def gmah_foraging() -> str:
    """Returns the table of foraging where three lift together."""
    points = (310_000, 515_000)
    rows = []
    for label, arm in GMAH_FORAGING:
        found = cells.need("gmah", "foraging", arm)
        middle = [cells.at(found, at) for at in points]
        rows.append([label, *middle, cells.greedy(found), cells.seeds(found, 2)])
    return cells.table(["", *(f"after {at:,}" for at in points), "at the end", "seeds"], rows)


def opened(comparison: str, arms: Sequence[tuple[str, str]]) -> str:
    """Returns the table of arms in a vault: return, and seeds that open it."""
    rows = []
    for label, arm in arms:
        found = cells.result("gmah", comparison, arm)
        count = cells.MISSING
        if found is not None:
            count = f"{sum(row['final'] > 0.85 for row in found.rows)} of {len(found.rows)}"
        rows.append([label, _final(found), count])
    return cells.table(["", "return", "seeds that open the vault"], rows)


def changing() -> str:
    """Returns the table of DoorKeys that change in mid-episode."""
    rows = []
    for label, arm in CHANGING:
        found = [cells.result("gmah", f"doorkey-{world}", arm) for world in ("moving", "relocking")]
        seeds = [str(len(one.rows)) for one in found if one is not None]
        texts = [_final(one) for one in found]
        rows.append([label, *texts, ", ".join(dict.fromkeys(seeds)) or cells.MISSING])
    return cells.table(["", "the goal moves", "doors lock again", "seeds"], rows)


def _final(found: cells.Result | None) -> str:
    """Returns the mean final return of an arm and its interval over seeds."""
    return cells.MISSING if found is None else cells.spread(row["final"] for row in found.rows)


def deepsea() -> str:
    """Returns the table of learned subgoals."""
    rows = []
    for label, arm in DEEPSEA:
        found = cells.need("gmah", "deepsea", arm)
        count = sum(row["final"] > 0.5 for row in found.rows)
        rows.append([label, cells.greedy(found), f"{count} of {len(found.rows)}"])
    return cells.table(["", "greedy return", "seeds that found the corner"], rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "gmah-claims": lambda: _verdicts.table(_gmah_verdicts.claims()),
    "gmah-changing": changing,
    "gmah-vault": lambda: opened("vault", VAULT),
    "gmah-learned-team": lambda: opened("learned-team", TEAM),
    "gmah-doorkey": doorkey,
    "gmah-behind-the-door": behind_the_door,
    "gmah-trashgrid": trashgrid,
    "gmah-foraging": gmah_foraging,
    "gmah-deepsea": deepsea,
}
