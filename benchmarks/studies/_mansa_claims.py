"""The numbers in the sentences of MANSA's page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import _cells as cells
import numpy as np
from _mansa_tables import AGAINST_RANDOM, FORAGING, PENALTY
from _prose import Claim, stated

SMAX = "jaxmarl/smax/3m, IPPO and MAPPO"
EIGHT = "Foraging-8x8-2p-2f-coop-v3"
THREE = "Foraging-10x10-3p-3f-coop-v3"


def get(comparison: str, arm: str) -> cells.Result:
    """Returns the rows of an arm of the study `mansa`."""
    return cells.need("mansa", comparison, arm)


def text(comparison: str, arm: str) -> str:
    """Returns the greedy return of an arm with its interval."""
    return cells.greedy(get(comparison, arm))


def saved(run: cells.Result, reference: cells.Result) -> str:
    """Returns the percentage of the reference's calls that a run does not make."""
    return f"{100 * (1 - cells.total_calls(run) / cells.total_calls(reference)):.0f}"


def foraging(index: int) -> list[cells.Result]:
    """Returns the arms of one row of the table of foraging: 0 MANSA, 3 IQL, 4 QMIX."""
    return [get(f"Foraging-{task}-v3", arms[index]) for task, arms in FORAGING.items()]


def updates(found: cells.Result, part: str | None) -> float:
    """Returns a learner's gradient updates per seed, by its settings and the calls it was given."""
    learner = found.records[0]["settings"]["learner"]
    settings = learner[part] if part else learner
    rate = cells.total_calls(found) / found.rows[0]["steps"][-1]
    trained = found.rows[0]["steps"][-1] - settings["warmup"]
    return float(settings["updates_per_step"] * rate * trained)


def decisions() -> tuple[list[float], int]:
    """Returns the agreement of a switch with the best one, per cost, and the differing decisions.

    A call pays in the last stage alone, where it costs less than it gains.
    """
    by_cost: dict[str, list[bool]] = {}
    for row in cells.study("mansa_oracle").rows:
        cost, measured = float(row["arm"].removeprefix("cost ")), row["measured"]
        best = [0, 0, 0, 0, int(cost < measured["gap"])]
        same = [a == b for a, b in zip(measured["called"], best, strict=True)]
        by_cost.setdefault(row["arm"], []).extend(same)
    agreement = [float(np.mean(same)) for same in by_cost.values()]
    return agreement, sum(not one for same in by_cost.values() for one in same)


def preset() -> tuple[str, str]:
    """Returns the least share of QMIX's return, and the least saving of calls, in percent."""
    runs = list(zip(foraging(0), foraging(4), strict=True))
    share = min(cells.mean(run) / cells.mean(qmix) for run, qmix in runs)
    return str(math.floor(100 * share)), min(saved(*pair) for pair in runs)


def steps_per_second(name: str) -> float:
    """Returns the training steps per second of an algorithm's preset."""
    return float(cells.measured("speed_learners", name, "steps_per_second"))


def pace(name: str) -> str:
    """Returns the same as text."""
    return f"{steps_per_second(name):,.0f}"


def timing() -> Sequence[Claim]:
    """Returns the claims of what calls cost."""
    names = ("random 0", "random 0.1", "random 1", "qmix")
    seconds = [f"{cells.measured('speed_mansa', name, 'seconds'):.1f}" for name in names]
    return [
        Claim(
            "take {} s without calls, {} s with 10% calls, {} s with calls only; QMIX alone {} s",
            *seconds,
        ),
        Claim("`mansa` made {} steps per second and QMIX {}", pace("mansa"), pace("qmix")),
    ]


def games() -> Sequence[Claim]:
    """Returns the claims of the games with a known answer."""
    _, wrong = decisions()
    rows = cells.study("mansa_oracle").rows
    costs = [float(row["arm"].removeprefix("cost ")) for row in rows]
    return [
        Claim(
            "With costs of {} to {} it agrees with this in all decisions but {}, a tie",
            f"{min(costs):g}",
            f"{max(costs):g}",
            str(wrong),
        ),
        Claim("optimum {}, every seed alike", text("matrix/stages", "joint_q")),
    ]


def on_foraging() -> Sequence[Claim]:
    """Returns the claims below the table of foraging."""
    inside = [round(updates(run, "centralised") / 1000) for run in foraging(0)]
    alone = [round(updates(run, None) / 1000) for run in foraging(4)]
    samples = [row["measured"]["centralised_samples"] for row in foraging(0)[0].rows]
    learner = foraging(4)[0].records[0]["settings"]["learner"]
    window, batch = learner["window"], learner["batch"]
    mine = updates(foraging(4)[0], None) * window * batch
    rates = [
        cells.total_calls(get("Foraging-10x10-2p-2f-coop-v3", arm))
        / get("Foraging-10x10-2p-2f-coop-v3", arm).rows[0]["steps"][-1]
        for arm in ("random-t01", "mansa")
    ]
    five = [foraging(index)[3] for index in (3, 4)]
    more = all(
        updates(run, "centralised") > updates(qmix, None)
        for run, qmix in zip(foraging(0), foraging(4), strict=True)
    )
    random = max(run.runs[0]["random_return"] for run in foraging(4))
    return [
        Claim("a random team gets at most {}.", cells.number(random, 2)),
        Claim(
            "QMIX made {}, {}, {} and {} updates inside MANSA, and {}, {}, {} and {} alone",
            *(f"{count},000" for count in (*inside, *alone)),
        ),
        Claim(
            "same settings and seeds: {}. (b)",
            cells.greedy(cells.need("learning", EIGHT, "qmix")),
        ),
        Claim("call rate {}, the preset's is {}.", *(f"{rate:.4f}" for rate in rates)),
        Claim("- MANSA has at least {}% of QMIX's return with at least {}% fewer calls", *preset()),
        stated(
            "**but its centralised learner makes more gradient updates than QMIX alone**", true=more
        ),
        Claim(
            "The whole trains at {} of QMIX's speed.",
            f"{steps_per_second('mansa') / steps_per_second('qmix'):.1f}",
        ),
        Claim(
            "on 8x8 {} million steps in the centralised gradients, QMIX {} million",
            f"{np.mean(samples) / 1e6:.1f}",
            f"{mine / 1e6:.1f}",
        ),
        Claim(
            "On 5x5 IQL alone has {}% of QMIX's return",
            f"{100 * cells.mean(five[0]) / cells.mean(five[1]):.0f}",
        ),
    ]


def sharpness() -> Sequence[Claim]:
    """Returns the claims of how sharp the switch is."""
    comparison = f"{EIGHT}, greedy"
    greedy = get(comparison, "mansa-greedy")
    last = [row["measured"]["call_rate"][-1] for row in greedy.rows]
    floor = sorted(last)[:4]
    whole = [
        np.array([np.mean(row["curve"]) for row in get("Foraging-10x10-2p-2f-coop-v3", arm).rows])
        for arm in ("mansa-t01", "random-t01")
    ]
    spread = math.hypot(*(np.std(one, ddof=1) / len(one) ** 0.5 for one in whole))
    one_update = [
        cells.standard_errors(get(comparison, arm), get(other or comparison, control))
        for comparison, arm, other, control, _ in AGAINST_RANDOM
        if "-1x" in arm
    ]
    sight = "Foraging-2s-8x8-2p-2f-coop-v3"
    return [
        Claim(
            "The last is behind the random one by {} standard errors",
            f"{(whole[1].mean() - whole[0].mean()) / spread:.1f}",
        ),
        Claim("In the end it calls at {}% of the steps on four", f"{100 * max(floor):.1f}"),
        Claim(
            "It has {}, a random switch with as many calls {}, IQL alone {}.",
            cells.greedy(greedy),
            text(comparison, "random-greedy"),
            cells.greedy(cells.need("learning", EIGHT, "iql")),
        ),
        stated(
            "Random switches were as good or better in all such runs.",
            true=all(
                cells.mean(get(comparison, arm)) <= cells.mean(get(other or comparison, control))
                for comparison, arm, other, control, _ in AGAINST_RANDOM
                if arm.startswith("mansa-greedy")
            ),
        ),
        Claim(
            "in standard errors: {} on 8x8, {} with sight 2, {} on",
            *(f"{one:+.1f}" for one in one_update),
        ),
        Claim(
            "- Sight 2: {} against {}.",
            text(sight, "mansa-1x"),
            text(f"{sight}, greedy", "random-greedy"),
        ),
        Claim(
            "MANSA has {}, QMIX {}, IQL {}.",
            *(text(THREE, arm) for arm in ("mansa-1x-4m", "qmix-4m", "iql-4m")),
        ),
    ]


def penalty() -> Sequence[Claim]:
    """Returns the claims of boards where loading alone is punished."""
    five, two = (f"{PENALTY}, budget of {budget}" for budget in (5, 2))
    sharp = get(PENALTY, "mansa-t01")
    return [
        Claim(
            "A random team gets {}, QMIX {}.",
            cells.number(get(PENALTY, "qmix").runs[0]["random_return"], 2),
            text(PENALTY, "qmix"),
        ),
        Claim("which has {} with {} calls.", cells.greedy(sharp), cells.calls(sharp)),
        Claim(
            "- Five calls: its return with {}% fewer calls. "
            "Ahead of the random switch by {} standard errors.",
            saved(get(five, "mansa-budget"), get(five, "joint_q-budget")),
            f"{cells.standard_errors(get(five, 'mansa-budget'), get(five, 'random-budget')):.1f}",
        ),
        Claim(
            "- Two calls: ahead by {} standard errors",
            f"{cells.standard_errors(get(two, 'mansa-budget2'), get(two, 'random-budget2')):.1f}",
        ),
    ]


def policy_gradients() -> Sequence[Claim]:
    """Returns the claims of MANSA above PPO."""
    board = f"{EIGHT}, IPPO and MAPPO"
    arms = ("mansa_ppo-mansa", "mansa_ppo-random", "ippo", "mappo")
    names = ("mansa_ppo-mansa", "ippo", "mappo")
    fewer = [saved(get(one, arms[0]), get(one, "mappo")) for one in (board, SMAX)]
    return [
        Claim(
            "MANSA has {}, a random switch {}, IPPO {}, MAPPO {}.",
            *(text(board, arm) for arm in arms),
        ),
        Claim("MANSA has {}, IPPO {}, MAPPO {}.", *(text(SMAX, arm) for arm in names)),
        Claim("MANSA makes {}% and {}% fewer calls than MAPPO", *fewer),
    ]


def limits() -> Sequence[Claim]:
    """Returns the claims of the limits."""
    mansa, qmix = foraging(0), foraging(4)
    error = [np.std([row["final"] for row in run.rows], ddof=1) / 5**0.5 for run in qmix]
    short = cells.mean(qmix[0]) - error[0] - cells.mean(mansa[0])
    board = "Foraging-8x8-2p-2f-coop-pen-v3, budget of 10"
    texts = [
        value
        for arm in ("mansa-budget10", "random-budget10")
        for value in (text(board, arm), cells.calls(get(board, arm)))
    ]
    return [
        Claim(
            "with sight 2 ({}; QMIX {} - {}), on 5x5 ({}; QMIX {} on every seed) "
            "and, by {}, on 8x8.",
            cells.number(cells.mean(mansa[1])),
            cells.number(cells.mean(qmix[1])),
            cells.number(float(error[1])),
            cells.number(cells.mean(mansa[3])),
            cells.greedy(qmix[3]),
            cells.number(short),
        ),
        Claim("is not solved: MANSA {} ({} calls), random {} ({} calls) after 2,500,000", *texts),
    ]


def page() -> list[Claim]:
    """Returns all claims of the page."""
    parts = (timing, games, on_foraging, sharpness, penalty, policy_gradients, limits)
    return [claim for part in parts for claim in part()]
