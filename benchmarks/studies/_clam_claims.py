"""The numbers in the sentences of CLAM's page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import _cells as cells
import numpy as np
from _prose import Claim, stated

GAME = "coordination"


def get(task: str, arm: str) -> cells.Result:
    """Returns the rows of an arm of the study `clam`."""
    return cells.need("clam", task, arm)


def updates(task: str, arm: str = "clam") -> float:
    """Returns the gradient steps of a run's encoder."""
    found = get(task, arm)
    settings = found.records[0]["settings"]
    rollout = settings["num_envs"] * settings["rollout_length"]
    learner = settings["learner"]
    rate = learner["liam" if learner["model"] == "liam" else "contrast"]["updates"]
    return math.floor(found.rows[0]["steps"][-1] / rollout * rate)


def ppo_updates(task: str) -> int:
    """Returns the gradient steps of a run's PPO."""
    found = get(task, "clam")
    settings = found.records[0]["settings"]
    rollouts = found.rows[0]["steps"][-1] // (settings["num_envs"] * settings["rollout_length"])
    ppo = settings["learner"]["ppo"]
    return int(rollouts * ppo["epochs"] * ppo["minibatches"])


def reaching(arm: str, share: float = 0.9) -> list[int]:
    """Returns each seed's steps to a share of the oracle's final return in the game."""
    goal = share * cells.mean(get(GAME, "oracle"))
    found = []
    for row in get(GAME, arm).rows:
        found.append(
            next(s for s, value in zip(row["steps"], row["curve"], strict=True) if value >= goal)
        )
    return found


def ends(numbers: Sequence[float], unit: int = 1) -> tuple[str, str]:
    """Returns the least and the largest number, in whole units."""
    return tuple(f"{round(value / unit) * unit:,}" for value in (min(numbers), max(numbers)))


def unseen(task: str) -> list[float]:
    """Returns the mean returns of all models with partners that they have not met."""
    arms = ("clam", "none", "liam", "random", "shuffled", "labels", "recurrent")
    return [
        float(np.mean([row["measured"]["unseen_return"] for row in get(task, arm).rows]))
        for arm in arms
    ]


def training() -> Sequence[Claim]:
    """Returns the claims of how much the encoder of the older runs was trained."""
    momentum = get(GAME, "clam").records[0]["settings"]["learner"]["contrast"]["momentum"]
    elsewhere = [updates(task) for task in ("speakers", "spread")]
    return [
        Claim(
            "{} gradient steps in the two games, {} to {} elsewhere. LIAM has {} in the same "
            "games, PPO {}.",
            f"{updates(GAME):.0f}",
            *(f"{count:.0f}" for count in elsewhere),
            f"{updates(GAME, 'liam'):.0f}",
            f"{ppo_updates(GAME):,}",
        ),
        Claim(
            "held {}% of its initial weights after {} steps.",
            f"{100 * momentum ** updates(GAME):.0f}",
            f"{updates(GAME):.0f}",
        ),
        Claim(
            "In the games' {} steps the stored runs made {} updates, eight times as "
            "many would be the present preset's, instead of about {}.",
            f"{get(GAME, 'clam').rows[0]['steps'][-1]:,}",
            f"{updates(GAME):.0f}",
            f"{round(get(GAME, 'clam').rows[0]['steps'][-1] / 250, -1):,.0f}",
        ),
    ]


def games() -> Sequence[Claim]:
    """Returns the claims below the table of games."""
    interval = np.diff(get(GAME, "clam").rows[0]["steps"])[0]
    coordination, rps = unseen(GAME), unseen("rps")
    return [
        Claim("mean of the {} evaluations", str(len(get(GAME, "clam").rows[0]["curve"]) - 1)),
        Claim(
            "oracle {}; GRU {} to {}; LIAM {}; CLAM {} to {} (per seed; evaluations every {} "
            "steps)",
            ends(reaching("oracle"))[0],
            *ends(reaching("recurrent")),
            ends(reaching("liam"))[0],
            *ends(reaching("clam")),
            f"{interval:,}",
        ),
        stated(
            "A recurrent policy and LIAM end slightly higher and learn several times as fast.",
            true=all(
                cells.mean(get(game, arm)) > cells.mean(get(game, "clam"))
                for game in (GAME, "rps")
                for arm in ("recurrent", "liam")
            )
            and 2 * max(reaching("liam")) < min(reaching("clam")),
        ),
        Claim("`labels` has the same {} updates", f"{updates(GAME, 'labels'):.0f}"),
        Claim(
            "get {} of 25 on coordination and {} to {} in rock-paper-scissors.",
            f"{np.mean(coordination):.1f}",
            f"{min(rps):.1f}",
            f"{max(rps):.1f}",
        ),
    ]


def elsewhere() -> Sequence[Claim]:
    """Returns the claims below the table of other tasks."""
    arms = ("clam", "none")
    runs = [get("spread", arm).runs[0] for arm in arms]
    half = max((run["interval"][1] - run["interval"][0]) / 2 for run in runs)
    others = [run["extra"]["unseen"] for run in runs]
    return [
        Claim(
            "({} episodes a seed, intervals of {} to each side)",
            f"{runs[0]['episodes_per_seed']:,}",
            f"{half:.2f}",
        ),
        Claim(
            "CLAM gets {}, no model {}.",
            *(cells.interval(other["mean"], *other["interval"], 2) for other in others),
        ),
    ]


def encoders() -> Sequence[Claim]:
    """Returns the claims of what the encoder tells, and of its cost."""
    tag = cells.need(
        "clam_encoder", "tag", "tag, the predators and what they did (code), views apart"
    )
    steps = [f"{100 * one['accuracy']:.0f}" for one in tag.rows[0]["measured"]["trained"]]
    spread = cells.need("clam_encoder", "spread", "spread, changes of what it sees, views apart")
    losses = [row["measured"]["loss"][-1] for row in spread.rows]
    cost = cells.need("speed", "speed_clam", "clam against ppo").rows
    ratios = [row["measured"]["ratio"] for row in cost]
    return [
        Claim(
            "accuracy reaches {}% ({}, {}, {}, {}, {}% at steps 1, 5, 10, 25, 49)",
            steps[-1],
            *steps,
        ),
        Claim("loss near guessing ({} of 4.84 after 1000 steps", f"{np.mean(losses):.2f}"),
        Claim(
            "costs {} times that of plain PPO on a GPU (H200) and {} times on two CPU cores",
            *(f"{ratio:.2f}" for ratio in sorted(ratios)),
        ),
    ]


def page() -> list[Claim]:
    """Returns all claims of the page."""
    return [claim for part in (training, games, elsewhere, encoders) for claim in part()]
