"""The claims that MANSA's page begins with."""

from __future__ import annotations

from collections.abc import Sequence

import _cells as cells
import _mansa_claims as page
import numpy as np
from _mansa_tables import AGAINST_RANDOM, BUDGETS, PENALTY, calls_at_the_end, few_calls
from _verdicts import MISSING, Verdict, above, all_of, decided

CHAINS = ("matrix/chain-50", "matrix/chain-100")
FEW = 0.05
"""Most calls, as a share of the steps."""
ENOUGH = 0.95
"""Least share of the centralised learner's return."""
EIGHT = "Foraging-8x8-2p-2f-coop-v3"
SWITCHES = (
    ("return units, greedy, gamma 0.9, penalty", f"{PENALTY}, greedy", "g09", (PENALTY, "joint_q")),
    ("calls of four steps, penalty", PENALTY, "lasts4", (PENALTY, "joint_q")),
    ("disagreement, penalty", PENALTY, "disagree", (PENALTY, "joint_q")),
    ("disagreement, 8x8", EIGHT, "disagree", (EIGHT, "qmix-800k")),
)
"""Words, comparison, label of the arms, and the centralised learner alone."""


def arm(comparison: str, name: str) -> cells.Result | None:
    """Returns the rows of an arm of the study `mansa`, None if it was not trained."""
    return cells.result("mansa", comparison, name)


def chain(task: str) -> list[Verdict]:
    """Returns the claims of a chain of stages of which one needs coordination."""
    found = []
    for end, words in (("", ""), ("-explored", ", explored longer")):
        name, learned = f"`{task}`{words}", arm(task, f"mansa{end}")
        found += [
            above(f"Calls better than at random, {name}", learned, arm(task, f"random{end}")),
            optimal(f"The optimum with at most 5% calls, {name}", learned),
        ]
    return [*found, optimal(f"The same by disagreement, `{task}`", arm(task, "disagreement"))]


def optimal(claim: str, found: cells.Result | None) -> Verdict:
    """Returns the verdict on "every seed is at the optimum, with few calls in greedy episodes"."""
    if found is None:
        return Verdict(claim, MISSING)
    best, seeds = found.records[0]["optimum"], len(found.rows)
    solved = sum(row["final"] >= best - 1e-3 for row in found.rows)
    rate = calls_at_the_end(found)
    evidence = f"{solved} of {seeds} seeds, {100 * rate:.1f}% calls"
    return decided(claim, solved == seeds and rate <= FEW, evidence, seeds)


def headroom() -> list[Verdict]:
    """Returns the claims of what an oracle's calls gain, by task."""
    found = []
    for task, learners in dict.fromkeys(
        (row["comparison"], row["arm"]) for row in cells.study("headroom").rows
    ):
        rows = cells.need("headroom", task, learners).rows
        gains = [few_calls(row["measured"], FEW) for row in rows]
        mean = float(np.mean(gains))
        name = task.removeprefix("Foraging-").removesuffix("-v3")
        claim = f"Room for a switch of at most 5% calls, `{name}`, {learners}"
        evidence = f"oracle minus random {mean:+.3f} ({min(gains):+.3f} to {max(gains):+.3f})"
        found.append(decided(claim, mean >= 0.02, evidence, len(gains)))
    return found or [Verdict("Room for a switch of at most 5% calls on foraging", MISSING)]


def switch(words: str, comparison: str, label: str, reference: tuple[str, str]) -> Verdict:
    """Returns the verdict on MANSA's aim for one switch: the return, with few and better calls."""
    claim = f"At least 95% of the return with at most 5% calls, above random: {words}"
    run, best = arm(comparison, f"mansa-{label}"), arm(*reference)
    if run is None or best is None:
        return Verdict(claim, MISSING)
    share, rate, seeds = cells.mean(run) / cells.mean(best), calls_at_the_end(run), len(run.rows)
    parts = [
        decided("return", share >= ENOUGH, f"{100 * share:.0f}%", seeds),
        decided("calls", rate <= FEW, f"{100 * rate:.1f}%", seeds),
        above("random", run, arm(comparison, f"random-{label}")),
    ]
    return all_of(claim, parts)


def against_random() -> Verdict:
    """Returns the verdict on the learned switch against random ones, with the older presets."""
    errors = [
        cells.standard_errors(page.get(comparison, one), page.get(other or comparison, control))
        for comparison, one, other, control, _ in AGAINST_RANDOM
    ]
    ahead, behind = sum(x > 2 for x in errors), sum(x < -2 for x in errors)
    evidence = (
        f"{len(errors)} comparisons: {ahead} above +2 standard errors, {behind} below -2 "
        "([all](../benchmarks/studies/mansa.md))"
    )
    claim = "Calls better than at random, foraging, older presets"
    return decided(claim, True if ahead > len(errors) / 2 else None, evidence, "5 to 15")


def games() -> Sequence[Verdict]:
    """Returns the claims of the games with a known answer."""
    agreement, _ = page.decisions()
    game = "matrix/stages"
    return [
        decided(
            "The switch finds the computed optimum, `matrix/chain-4`",
            min(agreement) >= ENOUGH,
            f"agreement {min(agreement):.2f} to {max(agreement):.2f} at {len(agreement)} costs",
            len({row["seed"] for row in cells.study("mansa_oracle").rows}),
        ),
        above(f"Above IQL, `{game}`", arm(game, "mansa"), arm(game, "iql")),
        above(f"Above QMIX, `{game}`", arm(game, "mansa"), arm(game, "qmix")),
        above(
            f"Calls better than at random, `{game}`, `il_trains_on g0`",
            arm(game, "mansa-g0"),
            arm(game, "random-g0"),
        ),
    ]


def older() -> Sequence[Verdict]:
    """Returns the claims of the older presets on foraging."""
    share, saved = page.preset()
    five, (_, arms, _) = f"{PENALTY}, budget of 5", BUDGETS[1]
    run, best = page.get(five, arms[0]), page.get(five, arms[4])
    kept = cells.mean(run) / cells.mean(best)
    two = page.get("Foraging-8x8-2p-2f-coop-pen-v3, budget of 10", "mansa-budget10")
    board = f"{EIGHT}, IPPO and MAPPO"
    return [
        decided(
            "At least 95% of QMIX's return with fewer calls, foraging, older presets",
            int(share) >= 100 * ENOUGH,
            f"at least {share}% with at least {saved}% fewer calls; a random switch too, and more "
            "gradient updates than QMIX alone",
            "5 to 15",
        ),
        decided(
            "At least 95% of a joint-action Q's return with fewer calls: penalty, budget of five",
            kept >= ENOUGH,
            f"{100 * kept:.0f}% with {page.saved(run, best)}% fewer calls",
            f"{len(run.rows)} and {len(best.rows)}",
        ),
        above("Helps IPPO and MAPPO, 8x8", arm(board, "mansa_ppo-mansa"), arm(board, "ippo")),
        decided(
            "At least 0.95 with a penalty on 8x8 with two foods",
            cells.mean(two) >= ENOUGH,
            cells.greedy(two),
            len(two.rows),
        ),
    ]


def claims() -> list[Verdict]:
    """Returns all claims of the page."""
    return [
        *games(),
        *(one for task in CHAINS for one in chain(task)),
        *headroom(),
        *(switch(*one) for one in SWITCHES),
        against_random(),
        *older(),
    ]
