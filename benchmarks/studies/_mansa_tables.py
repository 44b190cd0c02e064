"""The tables of MANSA."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import _cells as cells
import numpy as np

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
CHAIN = (
    ("MANSA, explored longer", "mansa-explored"),
    ("its control: random", "random-explored"),
    ("MANSA, one exploratory choice in five", "mansa-explored-02"),
    ("its control: random", "random-explored-02"),
    ("MANSA", "mansa"),
    ("its control: random", "random"),
    ("its control: first", "first"),
    ("MANSA, cost 0.1", "mansa-cost-01"),
    ("its control: random", "random-cost-01"),
    ("MANSA, cost 2", "mansa-cost-2"),
    ("its control: random", "random-cost-2"),
    ("always called", "mansa-always"),
    ("disagreement", "disagreement"),
    ("joint-action Q (calls always)", "joint_q"),
    ("IQL (never calls)", "iql"),
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
DISAGREEMENT = {
    "Foraging-8x8-2p-2f-coop-v3": ("QMIX (calls always)", "qmix-800k"),
    PENALTY: ("joint-action Q (calls always)", "joint_q"),
}
"""Tasks, and the centralised learner alone."""
_ON = "Foraging-{}-v3".format
AGAINST_RANDOM = (
    (_ON("8x8-2p-2f-coop"), "mansa-800k", "", "random-800k", "the preset"),
    (_ON("8x8-2p-2f-coop"), "mansa-t01-800k", "", "random-t01-800k", "temperature 0.1"),
    (_ON("8x8-2p-2f-coop"), "mansa-1x-800k", "", "random-1x-800k", "one update per call"),
    (_ON("8x8-2p-2f-coop") + ", greedy", "mansa-greedy", "", "random-greedy", "greedy"),
    (
        _ON("8x8-2p-2f-coop") + ", greedy",
        "mansa-greedy-paced",
        "",
        "random-greedy-paced",
        "greedy, `cl_trains_on paced`",
    ),
    (_ON("2s-8x8-2p-2f-coop"), "mansa", "", "random", "the preset"),
    (
        _ON("2s-8x8-2p-2f-coop"),
        "mansa-1x",
        _ON("2s-8x8-2p-2f-coop") + ", greedy",
        "random-greedy",
        "one update per call",
    ),
    (_ON("2s-8x8-2p-2f-coop") + ", greedy", "mansa-greedy", "", "random-greedy", "greedy"),
    (_ON("10x10-2p-2f-coop"), "mansa", "", "random-t01", "the preset"),
    (_ON("10x10-2p-2f-coop"), "mansa-t01", "", "random-t01", "temperature 0.1"),
    (_ON("10x10-2p-2f-coop"), "mansa-t03", "", "random-t01", "shorter exploration"),
    (
        _ON("10x10-3p-3f-coop"),
        "mansa-1x-4m",
        _ON("10x10-3p-3f-coop") + ", greedy",
        "random-greedy-4m",
        "one update per call",
    ),
    (_ON("10x10-3p-3f-coop") + ", greedy", "mansa-greedy", "", "random-greedy", "greedy"),
    (_ON("10x10-3p-3f-coop") + ", greedy", "mansa-greedy-4m", "", "random-greedy-4m", "greedy"),
    (_ON("5x5-2p-1f-coop"), "mansa", "", "random", "the preset"),
    (PENALTY, "mansa", "", "random-t01", "the preset"),
    (PENALTY, "mansa-t01", "", "random-t01", "temperature 0.1"),
    (f"{PENALTY}, budget of 5", "mansa-budget", "", "random-budget", "budget of five"),
    (f"{PENALTY}, budget of 2", "mansa-budget2", "", "random-budget2", "budget of two"),
    (
        _ON("8x8-2p-2f-coop-pen") + ", budget of 10",
        "mansa-budget10",
        "",
        "random-budget10",
        "budget of ten",
    ),
    (
        _ON("8x8-2p-2f-coop") + ", IPPO and MAPPO",
        "mansa_ppo-mansa",
        "",
        "mansa_ppo-random",
        "`mansa_ppo`",
    ),
)
"""All stored comparisons of a learned switch with a random one of as many calls, on foraging.

Comparison and arm of the run; comparison (where it is another one) and arm of the random switch;
what the run is.
"""


def stages() -> str:
    """Returns the table of the games in turn."""
    rows = []
    for label, arm in STAGES:
        found = cells.need("mansa", "matrix/stages", arm)
        steps = "0" if arm == "iql" else cells.calls(found)
        rows.append([label, cells.greedy(found), steps])
    return cells.table(["", "greedy return", "centralised steps"], rows)


def chain(task: str) -> str:
    """Returns the table of a chain of stages, one of which needs coordination."""
    rows = []
    for label, arm in CHAIN:
        found = cells.result("mansa", task, arm)
        if found is None:
            continue
        final, best = [row["final"] for row in found.rows], found.records[0]["optimum"]
        solved = f"{sum(x >= best - 1e-3 for x in final)} of {len(final)}"
        calls = [cells.MISSING] * 4
        if found.rows[0]["calls"]:
            share = cells.total_calls(found) / found.rows[0]["steps"][-1]
            last = np.mean([row["measured"]["call_rate"][-1] for row in found.rows])
            greedy = calls_at_the_end(found)
            alone = [row["measured"].get("independent_return") for row in found.rows]
            mean = cells.MISSING if None in alone else f"{np.mean(alone):.1f}"
            calls = [*(f"{100 * x:.1f}%" for x in (share, last, greedy)), mean]
        rows.append([label, cells.greedy(found, 1), solved, *calls])
    if not rows:
        return "Not measured."
    head = ["", "return", "seeds at the optimum", "calls in training", "in its last tenth"]
    return cells.table([*head, "greedy", "independent part alone"], rows)


def headroom() -> str:
    """Returns the table of what an oracle gains over random calls, at most 5% of the steps."""
    rows = []
    for task, learners in dict.fromkeys(
        (row["comparison"], row["arm"]) for row in cells.study("headroom").rows
    ):
        found = [row["measured"] for row in cells.need("headroom", task, learners).rows]
        means = [float(np.mean([one[name] for one in found])) for name in ("alone", "always")]
        gains = [few_calls(one, 0.05) for one in found]
        texts = [*(f"{x:.3f}" for x in means), f"{np.mean(gains):+.3f}"]
        seeds = ", ".join(f"{x:+.3f}" for x in gains)
        name = task.removeprefix("Foraging-").removesuffix("-v3")
        rows.append([f"`{name}`", learners, *texts, seeds])
    if not rows:
        return "Not measured."
    head = ["task", "learners", "never called", "always", "oracle minus random", "by seed"]
    return cells.table(head, rows)


def disagreement() -> str:
    """Returns the table of calls by disagreement on foraging, with as many at random beside it."""
    rows = []
    for task, always in DISAGREEMENT.items():
        if cells.result("mansa", task, "mansa-disagree") is None:
            continue
        name = task.removeprefix("Foraging-").removesuffix("-v3")
        arms = (("disagreement", "mansa-disagree"), ("random", "random-disagree"))
        for label, arm in (*arms, ("IQL (never calls)", "iql"), always):
            found = cells.result("mansa", task, arm)
            if found is None:
                continue
            calls = [cells.MISSING] * 2
            if found.rows[0]["calls"]:
                share = cells.total_calls(found) / found.rows[0]["steps"][-1]
                calls = [f"{100 * x:.1f}%" for x in (share, calls_at_the_end(found))]
            rows.append([f"`{name}`", label, cells.greedy(found), *calls, str(len(found.rows))])
    head = ["task", "", "greedy return", "calls in training", "calls after it", "seeds"]
    return cells.table(head, rows) if rows else "Not measured."


def calls_at_the_end(found: cells.Result) -> float:
    """Returns the share of steps that are calls in greedy episodes after training."""
    return float(np.mean([row["measured"]["greedy_call_rate"] for row in found.rows]))


def few_calls(measured: Mapping[str, list[float]], most: float) -> float:
    """Returns the gain of the best oracle that calls in at most a share `most` of the steps."""
    pairs = zip(measured["rate"], measured["headroom"], strict=True)
    return max(gain for rate, gain in pairs if rate <= most)


def foraging() -> str:
    """Returns the table of MANSA with foraging's preset."""
    labels = ("MANSA", "random", "first", "IQL", "QMIX")
    columns = {
        task: [cells.result("mansa", f"Foraging-{task}-v3", arm) for arm in arms]
        for task, arms in FORAGING.items()
    }
    first = {task: cells.known(found[0]) for task, found in columns.items()}
    rows = [["steps", *(f"{cells.asked_steps(found):,}" for found in first.values())]]
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


def against_random() -> str:
    """Returns the table of all comparisons of a learned switch with a random one on foraging."""
    rows = []
    for comparison, arm, other, control, label in AGAINST_RANDOM:
        run = cells.need("mansa", comparison, arm)
        random = cells.need("mansa", other or comparison, control)
        task = comparison.removeprefix("Foraging-").split("-v3")[0]
        steps = f"{cells.asked_steps(run):,}"
        means = [cells.mean(found) for found in (run, random)]
        gap, errors = means[0] - means[1], cells.standard_errors(run, random)
        texts = [*(f"{mean:.3f}" for mean in means), f"{gap:+.3f}", f"{errors:+.1f}"]
        rows.append([f"`{task}`, {label}", steps, str(len(run.rows)), *texts])
    head = ["run", "steps", "seeds", "learned", "random", "difference", "in standard errors"]
    return cells.table(head, rows)


def penalty() -> str:
    """Returns the table of boards where loading alone is punished."""
    labels = ("MANSA", "random", "first", "IQL", "joint-action Q")
    columns = [
        [cells.need("mansa", comparison, arm) for arm in arms] for comparison, arms, _ in BUDGETS
    ]
    rows = [["steps", *(f"{cells.asked_steps(found[0]):,}" for found in columns)]]
    for i, label in enumerate(labels):
        notes = [texts[i] if i < len(texts) else "" for _, _, texts in BUDGETS]
        texts = [_starred(found[i]) + note for found, note in zip(columns, notes, strict=True)]
        rows.append([label, *texts])
    for i, label in ((0, "MANSA"), (1, "random"), (4, "joint-action Q")):
        rows.append([f"calls of {label}", *(cells.calls(found[i]) for found in columns)])
    head = ["greedy return", "no budget, the preset", "at most five calls", "at most two calls"]
    return cells.table(head, rows)


def _starred(found: cells.Result | None) -> str:
    """The greedy return, with a star where it is of fifteen seeds."""
    return cells.greedy(found) + ("*" if found is not None and len(found.rows) == 15 else "")


TABLES: Mapping[str, Callable[[], str]] = {
    "mansa-stages": stages,
    "mansa-chain": lambda: chain("matrix/chain-50"),
    "mansa-chain-100": lambda: chain("matrix/chain-100"),
    "mansa-headroom": headroom,
    "mansa-disagreement": disagreement,
    "mansa-foraging": foraging,
    "mansa-sharp": sharp,
    "mansa-against-random": against_random,
    "mansa-penalty": penalty,
}
