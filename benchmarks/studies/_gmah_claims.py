"""The numbers in the sentences of GMAH's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import _cells as cells
import numpy as np
from _prose import Claim, stated

from marlx import registry


def get(comparison: str, arm: str) -> cells.Result:
    """Returns the rows of an arm of the study `gmah`."""
    return cells.need("gmah", comparison, arm)


def mean(comparison: str, arm: str) -> str:
    """Returns the mean final return of an arm."""
    return cells.number(cells.mean(get(comparison, arm)))


def finals(comparison: str, arm: str) -> list[float]:
    """Returns the final return of every seed."""
    return [row["final"] for row in get(comparison, arm).rows]


def reaches(comparison: str, arm: str, goal: float) -> str:
    """Returns the steps after which the mean curve of an arm is at a return, in whole thousands."""
    found = get(comparison, arm)
    curve = np.mean([row["curve"] for row in found.rows], axis=0)
    return f"{found.rows[0]['steps'][int(np.argmax(curve >= goal))] // 1000},000"


def mixing() -> tuple[str, str]:
    """Returns the least and the largest gain by mixing of a seed of staged TrashGrid."""
    pairs = zip(*(finals("trashgrid", arm) for arm in ("staged", "staged-unmixed")), strict=True)
    gains = [mixed - alone for mixed, alone in pairs]
    return f"{min(gains):.2f}", f"{max(gains):.2f}"


def low(comparison: str) -> Mapping[str, list[float]]:
    """Returns by subgoal each seed's share achieved, of a low level trained alone."""
    seeds = [row["measured"]["achieved"] for row in get(comparison, "low").rows]
    return {name: [seed[name] for seed in seeds] for name in seeds[0]}


def vault() -> Sequence[Claim]:
    """Returns the claims of what the vault is worth beside partners who explore."""
    env, _ = registry.make("grid/vault-4p")
    worth = [f"{env.worth(share / 2):.2f}" for share in (0.1, 0.02)]
    return [
        Claim("to an independent one the vault is worth {}, the mean over its partners'", worth[0]),
        Claim("with which the vault is worth {} to an independent one.", worth[1]),
    ]


def doorkey() -> Sequence[Claim]:
    """Returns the claims of DoorKey."""
    shares = low("doorkey")
    texts = [
        f"{value:.2f}"
        for name in ("key", "door", "goal")
        for value in (np.mean(shares[name]), min(shares[name]), max(shares[name]))
    ]
    arms = ("adaptive", "fixed", "changed", "flat")
    ends = [get("doorkey-64", arm).runs[0]["interval"] for arm in arms]
    apart = [
        (one, other)
        for i, one in enumerate(arms)
        for j, other in enumerate(arms)
        if ends[i][0] > ends[j][1]
    ]
    return [
        Claim("key **{}** ({} to {}), door **{}** ({} to {}), goal **{}** ({} to {});", *texts),
        stated(
            "With T = 64 the first and the third interval are above that of flat PPO; the "
            "fixed period's overlaps all.",
            true=apart == [("adaptive", "flat"), ("changed", "flat")],
        ),
    ]


def trashgrid() -> Sequence[Claim]:
    """Returns the claims of TrashGrid."""
    worst, *others = sorted(finals("trashgrid", "staged"))
    shares = low("trashgrid")
    goal = cells.mean(get("trashgrid", "flat"))
    return [
        Claim(
            "reach flat QMIX's end after {} steps (the aim was half)",
            reaches("trashgrid", "adaptive", goal),
        ),
        Claim(
            "end at {} to {}, above flat QMIX's best; one at {},",
            *(cells.number(one) for one in (others[0], others[-1], worst)),
        ),
        Claim("none on every seed, by {} to {}.", *mixing()),
        Claim(
            "`deliver` {}, `pick` {}, `find` {}, `split` **{}** (five seeds",
            *(f"{np.mean(shares[name]):.2f}" for name in ("deliver", "pick", "find", "split")),
        ),
        Claim("With random subgoals the team gets {}.", mean("trashgrid", "low")),
    ]


def foraging() -> Sequence[Claim]:
    """Returns the claims of foraging."""
    gaps = [
        float(cells.exploring(found)) - cells.mean(found)
        for found in (
            cells.need("learning", "Foraging-10x10-3p-3f-v3", name)
            for name in ("iql", "vdn", "qmix")
        )
    ]
    long = cells.need("mansa", "Foraging-10x10-3p-3f-coop-v3", "qmix-4m")
    return [
        Claim("are {} to {} above greedy ones", f"{min(gaps):.2f}", f"{max(gaps):.2f}"),
        Claim("Flat QMIX reaches {} in four million steps", cells.greedy(long)),
        Claim(
            "Why `gmah_q` stays at {}:", cells.number(cells.mean(get("foraging", "adaptive")), 1)
        ),
    ]


def page() -> list[Claim]:
    """Returns all claims of the page."""
    return [claim for part in (doorkey, vault, trashgrid, foraging) for claim in part()]
