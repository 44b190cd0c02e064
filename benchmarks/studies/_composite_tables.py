"""The tables of GMAH and of CLAM."""

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

ENCODERS = (
    ("own tokens", "tag, the predators it sees, views apart"),
    ("`--learner.token code`", "tag, the predators and what they did (code), views apart"),
    ("`--learner.token change`", "tag, changes of what it sees, views apart"),
)
"""Label and arm of the encoders of tag's partners, one seed each."""


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


def vault() -> str:
    """Returns the table of the task that needs mixing."""
    rows = []
    for label, arm in VAULT:
        found = cells.result("gmah", "vault", arm)
        opened = cells.MISSING
        if found is not None:
            opened = f"{sum(row['final'] > 0.85 for row in found.rows)} of {len(found.rows)}"
        rows.append([label, _final(found), opened])
    return cells.table(["", "return", "seeds that open the vault"], rows)


def learned_team() -> str:
    """Returns the table of learned subgoals in a team."""
    rows = []
    for label, arm in DEEPSEA:
        found = cells.result("gmah", "learned-team", arm)
        seeds = cells.MISSING if found is None else str(len(found.rows))
        rows.append([label, _final(found), seeds])
    return cells.table(["two agents", "return", "seeds"], rows)


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


def clam_games() -> str:
    """Returns the table of agent models in two repeated games."""
    rows = []
    for label, arm in MODELS:
        found = [cells.need("clam", game, arm) for game in ("coordination", "rps")]
        texts = [text for one in found for text in (cells.greedy(one, 2), _curve_mean(one))]
        rows.append([label, *texts])
    head = ["coordination, five habits", "mean of training"]
    return cells.table(["", *head, "rock-paper-scissors, three habits", "mean of training"], rows)


def clam_coordination() -> str:
    """Returns the table of agent models with the present preset, by drawn actions."""
    rows = []
    for label, arm in MODELS:
        found = cells.need("clam", "coordination, ten seeds", arm)
        greedy = cells.spread(row["measured"]["greedy_return"] for row in found.rows)
        when = [row["measured"]["steps_to_90"] for row in found.rows]
        reached = sorted(x for x in when if x is not None)
        steps = f"{reached[0]:,} to {reached[-1]:,}" if reached else cells.MISSING
        seeds = f"{len(reached)} of {len(when)}"
        rows.append([label, cells.drawn(found, 2), greedy, _curve_mean(found), seeds, steps])
    head = ["drawn", "greedy", "mean of training", "seeds at 90% of the oracle", "after steps"]
    return cells.table(["", *head], rows)


def clam_tasks() -> str:
    """Returns the table of agent models on other tasks."""
    arms = ("oracle", "none", "clam", "random", "liam", "labels")
    rows = []
    for label, comparison in CLAM_TASKS:
        found = [cells.result("clam", comparison, arm) for arm in arms]
        first = cells.known(found[0])
        count, steps = len(first.rows), round(cells.asked_steps(first) / 1e6)
        means = [
            cells.MISSING if x is None else cells.number(_mean_of([r["final"] for r in x.rows]))
            for x in found
        ]
        rows.append([label, f"{count}, {steps}M", *means])
    head = ["oracle", "none", "clam", "random encoder", "liam", "labels"]
    return cells.table(["task", "seeds, steps", *head], rows)


def clam_game_encoder() -> str:
    """Returns the table of an encoder in a game: neighbours of the same partner, step by step."""
    rows = cells.need("clam_encoder", "game", "game, all it sees, views apart").rows
    times = [one["time"] for one in rows[0]["measured"]["trained"]]
    lines = []
    for name in ("trained", "untrained"):
        steps = zip(*(row["measured"][name] for row in rows), strict=True)
        seeds = [[one["accuracy"] for one in step] for step in steps]
        last = _mean_of([row["measured"][name][-1]["silhouette"] for row in rows])
        lines.append([name, *map(_ranged, seeds), f"{last:.2f}"])
    head = ["k-NN at step", *map(str, times), f"silhouette at {times[-1]}"]
    return cells.table(head, lines)


def clam_tag_encoders() -> str:
    """Returns the table of encoders of tag's partners."""
    lines = []
    for label, arm in ENCODERS:
        found = cells.need("clam_encoder", "tag", arm)
        (row,) = found.rows
        trained, untrained = (row["measured"][name][-2:] for name in ("trained", "untrained"))
        steps = str(found.records[0]["settings"]["updates"])
        numbers = (
            row["measured"]["loss"][-1],
            *(one["accuracy"] for one in (*trained, untrained[-1])),
        )
        lines.append([label, steps, *(f"{number:.2f}" for number in numbers)])
    head = ["encoder", "gradient steps", "loss (guessing: 4.84)", "k-NN at step 25", "at step 49"]
    return cells.table([*head, "untrained, at 49"], lines)


def _ranged(values: Sequence[float]) -> str:
    """The mean over seeds with the least and the largest, where they differ in two digits."""
    mean, *ends = (f"{value:.2f}" for value in (_mean_of(values), min(values), max(values)))
    return mean if len({mean, *ends}) == 1 else f"{mean} ({ends[0]} to {ends[1]})"


def _curve_mean(found: cells.Result) -> str:
    """The mean of the evaluations after the first, over seeds."""
    means = [_mean_of(row["curve"][1:]) for row in found.rows]
    return cells.number(_mean_of(means), 2)


def _mean_of(values: Sequence[float]) -> float:
    return sum(values) / len(values)


TABLES: Mapping[str, Callable[[], str]] = {
    "gmah-claims": lambda: _verdicts.table(_gmah_verdicts.claims()),
    "gmah-changing": changing,
    "gmah-vault": vault,
    "gmah-learned-team": learned_team,
    "gmah-doorkey": doorkey,
    "gmah-behind-the-door": behind_the_door,
    "gmah-trashgrid": trashgrid,
    "gmah-foraging": gmah_foraging,
    "gmah-deepsea": deepsea,
    "clam-games": clam_games,
    "clam-coordination": clam_coordination,
    "clam-tasks": clam_tasks,
    "clam-game-encoder": clam_game_encoder,
    "clam-tag-encoders": clam_tag_encoders,
}
