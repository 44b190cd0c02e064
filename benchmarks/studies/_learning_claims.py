"""The numbers of the learning study in the sentences of pages."""

from __future__ import annotations

from collections.abc import Sequence

import _cells as cells
import numpy as np
from _everyone_tables import LEARNERS
from _learning_tables import LARGE, found
from _prose import Claim, stated

EIGHT = "Foraging-8x8-2p-2f-coop-v3"
TEN = "Foraging-10x10-3p-3f-v3"


def text(task: str, name: str) -> str:
    """Returns the greedy return of an algorithm with its interval."""
    return cells.greedy(cells.need("learning", task, name))


def mean(task: str, name: str) -> str:
    """Returns the mean greedy return of an algorithm."""
    return cells.number(cells.mean(cells.need("learning", task, name)))


def finals(task: str, name: str) -> list[float]:
    """Returns the final greedy return of every seed."""
    return [row["final"] for row in cells.need("learning", task, name).rows]


def drawn(task: str, name: str) -> float:
    """Returns the mean return of an algorithm's drawn actions."""
    return cells.drawn_mean(cells.need("learning", task, name))


def team(task: str) -> float:
    """Returns what the team gets that a trained opponent was trained with."""
    (row,) = cells.need("opponents", task, "trained together against pretrained").rows
    return float(row["measured"]["team_return"])


def iql_early() -> tuple[str, str]:
    """Returns IQL on 8x8 after as many steps as VDN and QMIX have: on the way, and at an end."""
    early = cells.at(cells.need("learning", EIGHT, "iql"), 800_000)
    return early, cells.greedy(cells.need("mansa", EIGHT, "iql"))


def iql_page() -> list[Claim]:
    """Returns the claims of IQL's page."""
    return [Claim("it was at {} in this run; a run that ended there has {}.", *iql_early())]


def qmix_runs() -> tuple[str, str]:
    """Returns the two stored runs of QMIX on 8x8."""
    return text(EIGHT, "qmix"), cells.greedy(cells.need("mansa", EIGHT, "qmix-800k"))


def qmix_page() -> list[Claim]:
    """Returns the claims of QMIX's page."""
    return [
        Claim("with the same settings and seeds: {} and {}.", *qmix_runs()),
        Claim("(the sum over agents) after {} to {} seconds on two cores", *seconds_to_return()),
        Claim("where VDN gets {}; a", text("matrix/two_step", "vdn")),
        Claim("can represent its {}.", text("matrix/two_step", "qmix")),
    ]


def vdn_page() -> list[Claim]:
    """Returns the claims of VDN's page."""
    return [Claim("In the two-step game it gets {} of 8,", text("matrix/two_step", "vdn"))]


def ppo_page() -> list[Claim]:
    """Returns the claims of the page on policy gradients."""
    return [
        Claim(
            "a feed-forward MAPPO has {} with drawn actions and {} with the most probable ones",
            f"{drawn(TEN, 'mappo'):.2f}",
            f"{cells.mean(cells.need('learning', TEN, 'mappo')):.2f}",
        )
    ]


def seconds_to_return() -> tuple[str, str]:
    """Returns the least and the most seconds until QMIX plays spread for -40."""
    rows = cells.need("speed", "speed_qmix", "time to return").rows
    seconds = [row["measured"]["seconds"] for row in rows]
    return f"{min(seconds):.0f}", f"{max(seconds):.0f}"


def brief() -> Sequence[Claim]:
    """Returns the claims of learning in the table at the top of the results."""
    names = ("iql", "vdn", "qmix", "qplex", "mappo", "ippo")
    eight = [cells.mean(one) for name in LEARNERS if (one := found(EIGHT, name)) is not None]
    large = [cells.mean(cells.need("learning", t, n)) for t in LARGE for n in names[:3]]
    ten = [(drawn(TEN, n), cells.mean(cells.need("learning", TEN, n))) for n in names[4:]]
    return [
        Claim(
            "QPLEX: all but climbing ({} of 275) and penalty-100 ({} of 250)",
            mean("matrix/climbing", "qplex"),
            mean("matrix/penalty-100", "qplex"),
        ),
        Claim(
            "| {} of {} learners at 0.95 or more of 1, the least at {} |",
            str(sum(one >= 0.95 for one in eight)),
            str(len(eight)),
            f"{min(eight):.2f}",
        ),
        Claim(
            "| reached with drawn actions ({}), **missed greedily ({})** |",
            f"{min(one for one, _ in ten):.2f}",
            f"{min(one for _, one in ten):.2f}",
        ),
        Claim("| {} to {}; curves still rise |", f"{min(large):.2f}", f"{max(large):.2f}"),
        Claim("| {} to {} seconds, five seeds of five |", *seconds_to_return()),
    ]


def results() -> list[Claim]:
    """Returns the claims of learning on the page of results."""
    reference = finals("mpe/simple_reference_v3", "qmix")
    lone = [
        cells.mean(cells.need("learning", "mpe/simple_reference_v3", n)) for n in ("iql", "vdn")
    ]
    tag, adversary = (f"mpe/simple_{name}_v3" for name in ("tag", "adversary"))
    ippo = finals(f"partners/{tag}", "ippo")
    ahead = [
        sum(one > team(tag) for one in finals(f"partners/{tag}", n)) for n in ("ippo", "mappo")
    ]
    return [
        *brief(),
        Claim("IQL was at {}, and a run that ended there has {}.", *iql_early()),
        Claim("(a) Both stored runs of these settings and seeds, pooled: {} and {}.", *qmix_runs()),
        Claim(
            "QMIX ends between {} and {}. IQL and VDN stand between the landmarks (about {}),",
            f"{max(reference):.1f}",
            f"{min(reference):.1f}",
            f"{np.mean(lone):.0f}",
        ),
        Claim("get {} and {} (after", *(f"{team(task):.1f}" for task in (tag, adversary))),
        stated("Every seed of IPPO's predators is ahead", true=ahead[0] == len(ippo)),
        stated(
            "MAPPO learns to speak on every seed, IPPO on none",
            true=all(
                min(finals(task, "mappo")) > max(finals(task, "ippo"))
                for task in ("mpe/simple_reference_v3", "mpe/simple_speaker_listener_v4")
            ),
        ),
        Claim(
            "ahead of that ({} to {}), and {} of five of MAPPO's.",
            f"{min(ippo):.1f}",
            f"{max(ippo):.1f}",
            str(ahead[1]),
        ),
    ]
