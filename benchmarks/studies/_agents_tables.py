"""The table of what an agent costs in teams of different sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import _cells as cells

LEARNERS = {"mat": "MAT", "sable": "Sable"}
AGENTS = (2, 4, 8, 16, 32, 64, 128, 256)
COSTS = {"act_us": "acting", "update_us": "update", "bytes": "bytes"}
FLAT = 1.25
"""A cost per agent is called flat where the largest team's is at most this many times the
smallest's."""


def _cost(learner: str, agents: int, name: str) -> float | None:
    arm = f"{learner}, {agents} agents"
    if cells.result("speed", "agents_cost", arm) is None:
        return None
    return float(cells.measured("agents_cost", arm, name))


def agents_cost() -> str:
    """Returns a row per team size, and a sentence for each learner on its largest team."""
    rows = []
    for agents in AGENTS:
        values = [_cost(learner, agents, name) for learner in LEARNERS for name in COSTS]
        if any(value is not None for value in values):
            texts = [cells.MISSING if x is None else cells.number(x) for x in values]
            rows.append([str(agents), *texts])
    heads = [f"{label}, {cost}" for label in LEARNERS.values() for cost in COSTS.values()]
    table = cells.table(["agents", *heads], rows)
    return "\n\n".join([table, *filter(None, map(_sentence, LEARNERS))])


def _sentence(learner: str) -> str:
    """Returns how a learner's costs per agent grow from the smallest team to the largest."""
    sizes = [agents for agents in AGENTS if _cost(learner, agents, "bytes") is not None]
    if len(sizes) < 2:
        return ""
    first, last = sizes[0], sizes[-1]
    ratios = [
        (_cost(learner, last, name) or 0.0) / (_cost(learner, first, name) or 1.0) for name in COSTS
    ]
    act, update, size = (cells.number(ratio) for ratio in ratios)
    grow = [name for name, ratio in zip(COSTS.values(), ratios, strict=True) if ratio > FLAT]
    said = f"not flat: {', '.join(grow)}" if grow else "flat, or falling"
    return (
        f"{LEARNERS[learner]}, {last} agents against {first}, per agent: {act} times the time of "
        f"acting, {update} times that of an update, {size} times the memory ({said})."
    )


TABLES: Mapping[str, Callable[[], str]] = {"agents-cost": agents_cost}
