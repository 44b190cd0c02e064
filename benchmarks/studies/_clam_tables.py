"""The tables of CLAM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import _cells as cells
import _clam_verdicts
import _verdicts

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
MEMORIES = (
    *MODELS[:1],
    ("no model, a GRU whose window is the episode", "recurrent-horizon"),
    *MODELS[1:-1],
)
ACQUAINT = (
    "kept-10",
    "kept-10, own actions too",
    "sparse-50",
    "delay-4",
    "delay-8",
    "delay-16",
    "delay-32",
)
BOUNDS = (
    ("bound: who knows the partner", "knows"),
    ("bound: who remembers all", "remembers_all"),
    ("bound: who remembers a window", "window"),
    ("bound: who forgets after each round", "reset"),
    ("bound: who sees the present", "present_only"),
)
"""Label and name of what a memory is worth at most, computed."""
CLAM_TASKS = (
    ("`simple_spread_v3`, nearest, assigned, stay, random", "spread"),
    ("`liam_speaker_listener`, eight codes", "speakers"),
    ("`simple_tag_v3`, three predators", "tag"),
    ("`liam_predator_prey`, three predators", "liam"),
    ("`Foraging-8x8-2p-2f-v3`, h1, h2, random", "foraging"),
    ("`Foraging-8x8-2p-2f-coop-v3`, six trained partners", "foraging-pool, ten seeds"),
    ("`simple_tag_v3`, the prey against six trained teams", "tag-pool, ten seeds"),
)

ENCODERS = (
    ("own tokens", "tag, the predators it sees, views apart"),
    ("`--learner.token code`", "tag, the predators and what they did (code), views apart"),
    ("`--learner.token change`", "tag, changes of what it sees, views apart"),
)
"""Label and arm of the encoders of tag's partners, one seed each."""


def clam_games() -> str:
    """Returns the table of agent models in two repeated games."""
    rows = []
    for label, arm in MODELS:
        found = [cells.need("clam", game, arm) for game in ("coordination", "rps")]
        texts = [text for one in found for text in (cells.greedy(one, 2), _curve_mean(one))]
        rows.append([label, *texts])
    head = ["coordination, five habits", "mean of training"]
    return cells.table(["", *head, "rock-paper-scissors, three habits", "mean of training"], rows)


def clam_present(game: str) -> str:
    """Returns the table of agent models in a game with the present preset, by drawn actions."""
    rows = []
    for label, arm in MODELS:
        found = cells.result("clam", f"{game}, ten seeds", arm)
        if found is None:
            continue
        greedy = cells.spread(row["measured"]["greedy_return"] for row in found.rows)
        when = [row["measured"]["steps_to_90"] for row in found.rows]
        reached = sorted(x for x in when if x is not None)
        steps = f"{reached[0]:,} to {reached[-1]:,}" if reached else cells.MISSING
        seeds = f"{len(reached)} of {len(when)}"
        rows.append([label, cells.drawn(found, 2), greedy, _curve_mean(found), seeds, steps])
    if not rows:
        return "Not measured."
    head = ["drawn", "greedy", "mean of training", "seeds at 90% of the oracle", "after steps"]
    return cells.table(["", *head], rows)


def clam_acquaint() -> str:
    """Returns the table of the games of getting to know a partner, with their computed bounds."""
    games = [
        game
        for game in ACQUAINT
        if any(cells.result("clam", f"acquaint/{game}", arm) for _, arm in MEMORIES)
    ]
    if not games:
        return "Not measured."
    limits = {game: _bounds(game) for game in games}
    rows = [
        [label, *(f"{limits[game][name]:.2f}" for game in games), cells.MISSING]
        for label, name in BOUNDS
    ]
    for label, arm in MEMORIES:
        found = [cells.result("clam", f"acquaint/{game}", arm) for game in games]
        seeds = dict.fromkeys(str(len(one.rows)) for one in found if one is not None)
        if seeds:
            rows.append([label, *(cells.drawn(one, 2) for one in found), ", ".join(seeds)])
    return cells.table(["", *(f"`{game}`" for game in games), "seeds"], rows)


def _bounds(game: str) -> dict[str, float]:
    """Returns the computed bounds that are stored with the runs of a game."""
    for _, arm in MEMORIES:
        found = cells.result("clam", f"acquaint/{game}", arm)
        if found is not None:
            return dict(found.runs[-1]["extra"]["bounds"])
    raise ValueError(f"acquaint/{game} has no rows")


def clam_tasks() -> str:
    """Returns the table of agent models on other tasks."""
    arms = ("oracle", "none", "recurrent", "clam", "random", "liam", "labels")
    rows = []
    for label, comparison in CLAM_TASKS:
        found = [cells.result("clam", comparison, arm) for arm in arms]
        first = cells.known(found[0])
        count, steps = len(first.rows), round(cells.asked_steps(first) / 1e6, 1)
        means = [
            cells.MISSING if x is None else cells.number(_mean_of([r["final"] for r in x.rows]))
            for x in found
        ]
        rows.append([label, f"{count}, {steps:g}M", *means])
    head = ["oracle", "none", "a GRU", "clam", "random encoder", "liam", "labels"]
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
    "clam-games": clam_games,
    "clam-claims": lambda: _verdicts.table(_clam_verdicts.claims()),
    "clam-coordination": lambda: clam_present("coordination"),
    "clam-rps": lambda: clam_present("rps"),
    "clam-acquaint": clam_acquaint,
    "clam-tasks": clam_tasks,
    "clam-game-encoder": clam_game_encoder,
    "clam-tag-encoders": clam_tag_encoders,
}
