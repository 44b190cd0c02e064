"""Results of an attack on a run: `attack.json`, as text, as a picture, and in a report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marlx.analysis.plots import figure, plain_label, style, write_figure
from marlx.files import NUMBER, TEXT, WHOLE, Kind, Record, read_json
from marlx.statistics import bootstrap_interval
from marlx.text import counted, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "attack.json"
"""Name of the file in a run folder."""
AXES = {
    "sticky": "actions repeated, probability",
    "dropped": "agents that stand still, share",
    "erratic": "agents that act at random, share",
    "noise": "noise on observations, deviations",
}
"""What the strength of each perturbation is."""
YES_OR_NO = Kind("true or false", lambda value: isinstance(value, bool))
INTERVAL = {"mean": NUMBER, "low": NUMBER, "high": NUMBER}
ATTACK = Record(
    {"kind": TEXT, "label": TEXT, "trained": YES_OR_NO, **INTERVAL},
    {"returns": [[NUMBER]], "steps": [WHOLE], "curve": [NUMBER]},
)
POINT = Record({"strength": NUMBER, **INTERVAL}, {"returns": [NUMBER]})
SCHEMA = Record(
    {
        "environment": TEXT,
        "agents": [WHOLE],
        "judged": TEXT,
        "victims": [WHOLE],
        "attackers": WHOLE,
        "total_steps": WHOLE,
        "episodes": WHOLE,
        "attacks": [ATTACK],
        "perturbations": [Record({"kind": TEXT, "points": [POINT]})],
    },
    {"format": WHOLE, "run": TEXT, "seed": WHOLE},
)
"""What is in the file."""


def interval(returns: np.ndarray) -> dict[str, float]:
    """Returns mean and 95% bootstrap interval of returns f64 [V, K] or [V, E].

    With one victim the interval is over what stands on the other axis.
    """
    low, high = bootstrap_interval(returns.T if len(returns) == 1 else returns)
    return {"mean": float(returns.mean()), "low": low, "high": high}


def attack_record(kind: str, label: str, returns: np.ndarray, **more: Any) -> dict[str, Any]:
    """Returns the record of one kind of attack.

    Args:
      kind: its name.
      label: for people.
      returns: f64 [V, E] without trained attackers, or [V, K, E] of K attackers.
      **more: further entries, as JSON has them.
    """
    trained = returns.ndim == 3
    each = returns.mean(-1) if trained else returns
    stored = each if trained else returns.mean(-1, keepdims=True)
    return {
        "kind": kind,
        "label": label,
        "trained": trained,
        **interval(each),
        "returns": np.round(stored, 5).tolist(),
        **more,
    }


def perturbation_record(
    kind: str, strengths: Sequence[float], returns: np.ndarray
) -> dict[str, Any]:
    """Returns the record of a perturbation, from returns f64 [strengths, V, E]."""
    points = [
        {"strength": strength, **interval(one), "returns": np.round(one.mean(-1), 5).tolist()}
        for strength, one in zip(strengths, returns, strict=True)
    ]
    return {"kind": kind, "points": points}


def read_attack(path: str | Path) -> dict[str, Any]:
    """Returns the content of an `attack.json`, whose text is made printable.

    Raises:
      ValueError: it is damaged.
    """
    content: dict[str, Any] = read_json(path, SCHEMA)
    for record in (*content["attacks"], *content["perturbations"]):
        record |= {name: printable(record[name]) for name in ("kind", "label") if name in record}
    return content


def write_attack(folder: Path, content: dict[str, Any]) -> tuple[Path, Path]:
    """Writes `attack.json` and `attack.png`, and returns their paths."""
    paths = folder / FILE, folder / "attack.png"
    paths[0].write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    write_figure(paths[1], attack_picture(content))
    return paths


def summary(content: dict[str, Any]) -> str:
    """Returns in one line what was attacked and how often."""
    victims, agents = len(content["victims"]), " and ".join(map(str, content["agents"]))
    s = "s" * (len(content["agents"]) > 1)
    text = (
        f"agent{s} {agents} attacked; {counted(victims, 'seed')} of the team, "
        f"{printable(content['judged'])} actions"
    )
    if any(one["trained"] for one in content["attacks"]):
        count = content["attackers"]
        steps = f"{content['total_steps']:,}"
        text += f"; {counted(count, 'attacker')} of each kind against each, {steps} steps"
    return f"{text}; {content['episodes']:,} episodes each"


def lines(content: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of the table of an attack."""
    if content["attacks"]:
        yield "  the attacked     return of the others   95% interval"
    for one in content["attacks"]:
        ends = f"{one['low']:.3f} to {one['high']:.3f}"
        yield f"  {one['label']:<17} {one['mean']:20.3f}   {ends}"
    for one in content["perturbations"]:
        yield f"  {AXES.get(one['kind'], one['kind'])}: the team's return"
        for point in one["points"]:
            ends = f"{point['low']:.3f} to {point['high']:.3f}"
            yield f"  {point['strength']:17.2f} {point['mean']:20.3f}   {ends}"


def attack_picture(content: dict[str, Any]) -> Figure:
    """Returns a figure: a bar for each attack, and return against strength of perturbations."""
    attacks, curves = content["attacks"], content["perturbations"]
    sides = [bool(attacks), bool(curves)]
    drawn = figure(0.6 + 4.2 * max(1, sum(sides)), 2.9)
    if attacks:
        axes: Any = drawn.add_subplot(1, sum(sides), 1)
        for row, one in enumerate(attacks):
            color = style([a["kind"] for a in attacks], one["kind"])["color"]
            axes.barh(row, one["mean"], 0.6, color=color, alpha=0.55)
            axes.plot([one["low"], one["high"]], [row, row], color=color, lw=2.4)
        axes.set_yticks(range(len(attacks)), [plain_label(one["label"]) for one in attacks])
        axes.invert_yaxis()
        axes.set_xlabel("return of the others")
        axes.axvline(0, color="#808080", lw=0.8)
    if curves:
        axes = drawn.add_subplot(1, sum(sides), sum(sides))
        names = [one["kind"] for one in curves]
        for one in curves:
            look = style(names, one["kind"])
            x, low, high, mean = (
                [point[name] for point in one["points"]]
                for name in ("strength", "low", "high", "mean")
            )
            axes.plot(x, mean, label=plain_label(AXES.get(one["kind"], one["kind"])), **look)
            axes.fill_between(x, low, high, color=look["color"], alpha=0.2, lw=0)
        axes.set(xlabel="strength", ylabel="return of the team")
        axes.legend(frameon=False, fontsize=8)
    for axes in drawn.axes:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return drawn
