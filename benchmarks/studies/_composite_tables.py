"""The tables of MANSA, GMAH and CLAM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import _cells as cells

STAGES = (
    ("MANSA, `il_trains_on all`", "mansa"),
    ("its control: random", "random"),
    ("its control: first", "first"),
    ("MANSA, `il_trains_on g0`", "mansa-g0"),
    ("its control: random", "random-g0"),
    ("its control: first", "first-g0"),
    ("joint-action Q", "joint_q"),
    ("IQL", "iql"),
    ("QMIX", "qmix"),
)
FORAGING = {
    "8x8-2p-2f-coop": ("mansa-800k", "random-800k", "first-800k", "iql", "qmix-800k"),
    "2s-8x8-2p-2f-coop": ("mansa", "random", "first", "iql", "qmix"),
    "10x10-2p-2f-coop": ("mansa", "random-t01", "first-t01", "iql", "qmix"),
    "5x5-2p-1f-coop": ("mansa", "random", "first", "iql", "qmix"),
}
"""Arms of MANSA with the preset, its two controls, IQL and QMIX."""
FORAGING_NOTES = {
    ("10x10-2p-2f-coop", "random"): " (b)",
    ("10x10-2p-2f-coop", "first"): " (b)",
    ("8x8-2p-2f-coop", "QMIX"): " (a)",
}
SHARP = (
    ("the preset", "mansa"),
    ("random", "random-t01"),
    ("shorter exploration", "mansa-t03"),
    ("shorter exploration, temperature 0.1", "mansa-t01"),
)
PENALTY = "Foraging-5x5-2p-1f-coop-pen-v3"
BUDGETS = (
    (PENALTY, ("mansa", "random-t01", "first-t01", "iql", "joint_q"), ("", " (c)", " (c)")),
    (
        f"{PENALTY}, budget of 5",
        ("mansa-budget", "random-budget", "first-budget", "iql-budget", "joint_q-budget"),
        (),
    ),
    (
        f"{PENALTY}, budget of 2",
        ("mansa-budget2", "random-budget2", "first-budget2", "iql-budget2", "joint_q-budget2"),
        (),
    ),
)
"""Comparison; arms of MANSA, its two controls, IQL and joint-action Q; footnotes of the first."""
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
DEEPSEA = (
    ("learned subgoals (`gmah_q`)", "learned"),
    ("flat QMIX, with as many updates", "flat"),
)
MODELS = (
    ("`oracle`", "oracle"),
    ("no model, a policy with a GRU", "recurrent"),
    ("`liam`", "liam"),
    ("`labels`", "labels"),
    ("`clam`", "clam"),
    ("`random`, an encoder that is never trained", "random"),
    ("`none`", "none"),
    ("`shuffled`", "shuffled"),
)
CLAM_TASKS = (
    ("`simple_spread_v3`, nearest, assigned, stay, random", "spread"),
    ("`liam_speaker_listener`, eight codes", "speakers"),
    ("`simple_tag_v3`, three predators", "tag"),
    ("`liam_predator_prey`, three predators", "liam"),
    ("`Foraging-8x8-2p-2f-v3`, h1, h2, random", "foraging"),
)


def stages() -> str:
    """Returns the table of the games in turn."""
    rows = []
    for label, arm in STAGES:
        found = cells.need("mansa", "matrix/stages", arm)
        steps = "0" if arm == "iql" else cells.calls(found)
        rows.append([label, cells.greedy(found), steps])
    return cells.table(["", "greedy return", "centralised steps"], rows)


def mansa_foraging() -> str:
    """Returns the table of MANSA with foraging's preset."""
    labels = ("MANSA", "random", "first", "IQL", "QMIX")
    columns = {
        task: [cells.result("mansa", f"Foraging-{task}-v3", arm) for arm in arms]
        for task, arms in FORAGING.items()
    }
    first = {task: _needed(found[0]) for task, found in columns.items()}
    rows = [["steps", *(f"{_steps(found):,}" for found in first.values())]]
    for i, label in enumerate(labels):
        texts = [
            _starred(found[i]) + FORAGING_NOTES.get((task, label), "")
            for task, found in columns.items()
        ]
        rows.append([label, *texts])
    rows.append(["calls of MANSA", *map(cells.calls, first.values())])
    return cells.table(["greedy return", *(f"`{task}`" for task in FORAGING)], rows)


def sharp() -> str:
    """Returns the table of switches by how sharply they decide."""
    comparison = "Foraging-10x10-2p-2f-coop-v3"
    rows = [
        [label, cells.whole_training(cells.need("mansa", comparison, arm))] for label, arm in SHARP
    ]
    return cells.table(["", "mean return of a whole training"], rows)


def penalty() -> str:
    """Returns the table of boards where loading alone is punished."""
    labels = ("MANSA", "random", "first", "IQL", "joint-action Q")
    columns = [
        [cells.need("mansa", comparison, arm) for arm in arms] for comparison, arms, _ in BUDGETS
    ]
    rows = [["steps", *(f"{_steps(found[0]):,}" for found in columns)]]
    for i, label in enumerate(labels):
        notes = [texts[i] if i < len(texts) else "" for _, _, texts in BUDGETS]
        texts = [_starred(found[i]) + note for found, note in zip(columns, notes, strict=True)]
        rows.append([label, *texts])
    for i, label in ((0, "MANSA"), (1, "random"), (4, "joint-action Q")):
        rows.append([f"calls of {label}", *(cells.calls(found[i]) for found in columns)])
    head = ["greedy return", "no budget, the preset", "at most five calls", "at most two calls"]
    return cells.table(head, rows)


def _needed(found: cells.Result | None) -> cells.Result:
    assert found is not None
    return found


def _steps(found: cells.Result) -> int:
    """Steps per seed, without what a last whole rollout adds."""
    return int(found.records[0]["settings"]["total_steps"])


def _starred(found: cells.Result | None) -> str:
    """The greedy return, with a star where it is of fifteen seeds."""
    return cells.greedy(found) + ("*" if found is not None and len(found.rows) == 15 else "")


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
            rows.append([label, cells.greedy(found), cells.seeds(found)])
    return cells.table(["T = 256, goal behind the door", "return", "seeds"], rows)


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


def deepsea() -> str:
    """Returns the table of learned subgoals."""
    rows = []
    for label, arm in DEEPSEA:
        found = cells.need("gmah", "deepsea", arm)
        count = sum(row["final"] > 0.5 for row in found.rows)
        rows.append([label, cells.greedy(found), f"{count} of {len(found.rows)}"])
    return cells.table(["", "greedy return", "seeds that found the corner"], rows)


def clam_games() -> str:
    """Returns the table of agent models in two repeated games."""
    rows = []
    for label, arm in MODELS:
        found = [cells.need("clam", game, arm) for game in ("coordination", "rps")]
        texts = [text for one in found for text in (cells.greedy(one, 2), _curve_mean(one))]
        rows.append([label, *texts])
    head = ["coordination, five habits", "mean of training"]
    return cells.table(["", *head, "rock-paper-scissors, three habits", "mean of training"], rows)


def clam_tasks() -> str:
    """Returns the table of agent models on other tasks."""
    arms = ("oracle", "none", "clam", "random", "liam", "labels")
    rows = []
    for label, comparison in CLAM_TASKS:
        found = [cells.result("clam", comparison, arm) for arm in arms]
        first = _needed(found[0])
        count, steps = len(first.rows), round(_steps(first) / 1e6)
        means = [
            cells.MISSING if x is None else cells.number(_mean_of([r["final"] for r in x.rows]))
            for x in found
        ]
        rows.append([label, f"{count}, {steps}M", *means])
    head = ["oracle", "none", "clam", "random encoder", "liam", "labels"]
    return cells.table(["task", "seeds, steps", *head], rows)


def _curve_mean(found: cells.Result) -> str:
    """The mean of the evaluations after the first, over seeds."""
    means = [_mean_of(row["curve"][1:]) for row in found.rows]
    return cells.number(_mean_of(means), 2)


def _mean_of(values: Sequence[float]) -> float:
    return sum(values) / len(values)


TABLES: Mapping[str, Callable[[], str]] = {
    "mansa-stages": stages,
    "mansa-foraging": mansa_foraging,
    "mansa-sharp": sharp,
    "mansa-penalty": penalty,
    "gmah-doorkey": doorkey,
    "gmah-behind-the-door": behind_the_door,
    "gmah-trashgrid": trashgrid,
    "gmah-foraging": gmah_foraging,
    "gmah-deepsea": deepsea,
    "clam-games": clam_games,
    "clam-tasks": clam_tasks,
}
