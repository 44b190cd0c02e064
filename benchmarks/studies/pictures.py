"""Draws all pictures of results in `docs/images/` from the stored rows.

    python benchmarks/studies/pictures.py             # all of them
    python benchmarks/studies/pictures.py mansa       # those whose names contain a word

Only pictures that a page shows are drawn; add a line to `PICTURES` for another one.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import _leaderboard
import _plots
import _study
import numpy as np
from matplotlib.ticker import EngFormatter

from marlx.analysis import plots
from marlx.analysis.result_rows import Row, Study


class Picture(NamedTuple):
    """A comparison of a study to draw.

    Attributes:
      name: of the file.
      study: name of the study.
      comparison: the `comparison` column of the rows that are drawn.
    """

    name: str
    study: str
    comparison: str


PICTURES = (
    Picture("learning-foraging", "learning", "Foraging-8x8-2p-2f-coop-v3"),
    Picture("learning-foraging-2s", "learning", "Foraging-2s-8x8-2p-2f-coop-v3"),
    Picture("learning-tag", "learning", "partners/mpe/simple_tag_v3"),
    Picture("learning-adversary", "learning", "partners/mpe/simple_adversary_v3"),
    Picture("gmah-doorkey", "gmah", "doorkey-256-right"),
    Picture("gmah-trashgrid", "gmah", "trashgrid"),
    Picture("gmah-foraging", "gmah", "foraging"),
    Picture("gmah-deepsea", "gmah", "deepsea"),
    Picture("mansa-stages", "mansa", "matrix/stages"),
    Picture("mansa-8x8", "mansa", "Foraging-8x8-2p-2f-coop-v3"),
    Picture("mansa-10x10-2p", "mansa", "Foraging-10x10-2p-2f-coop-v3"),
    Picture("mansa-5x5", "mansa", "Foraging-5x5-2p-1f-coop-v3"),
    Picture("mansa-10x10-3p", "mansa", "Foraging-10x10-3p-3f-coop-v3"),
    Picture("mansa-2s-8x8", "mansa", "Foraging-2s-8x8-2p-2f-coop-v3"),
    Picture("mansa-pen", "mansa", "Foraging-5x5-2p-1f-coop-pen-v3"),
    Picture("mansa-pen-budget-5", "mansa", "Foraging-5x5-2p-1f-coop-pen-v3, budget of 5"),
    Picture("mansa-pen-budget-2", "mansa", "Foraging-5x5-2p-1f-coop-pen-v3, budget of 2"),
    Picture("mansa-pen-8x8-budget-10", "mansa", "Foraging-8x8-2p-2f-coop-pen-v3, budget of 10"),
    Picture("mansa-greedy-8x8", "mansa", "Foraging-8x8-2p-2f-coop-v3, greedy"),
    Picture("mansa-greedy-2s-8x8", "mansa", "Foraging-2s-8x8-2p-2f-coop-v3, greedy"),
    Picture("mansa-greedy-10x10-3p", "mansa", "Foraging-10x10-3p-3f-coop-v3, greedy"),
    Picture("mansa-ppo", "mansa", "Foraging-8x8-2p-2f-coop-v3, IPPO and MAPPO"),
    Picture("mansa-ppo-smax", "mansa", "jaxmarl/smax/3m, IPPO and MAPPO"),
    Picture("scaling", "speed", "speed_scaling"),
)
CALLS_OF = {"iql": 0.0, "ippo": 0.0}
"""Centralised calls per step of algorithms without a switch; 1 for all others."""


def draw_returns(rows: list[Row], study: Study) -> Any:
    """Draws returns by steps, with the random policy and the optimum where they are known."""
    figure, axes = _plots.panels(1, width=6.4, height=4)
    _plots.draw_curves(axes, _plots.arms(rows))
    record = study.settings[rows[-1]["config_hash"]]
    random = record["runs"][-1]["random_return"]
    axes.axhline(random, ls=":", color="gray", label="random policy")
    if record["optimum"] is not None:
        axes.axhline(record["optimum"], ls="--", color="gray", label="optimum")
    axes.set(title=rows[0]["comparison"])
    _plots.legend(axes)
    return figure


def draw_calls(rows: list[Row], study: Study) -> Any:
    """Draws returns by steps, and by centralised calls."""
    del study
    figure, (left, right) = _plots.panels(2, width=10, sharey=True)
    by_arm = _plots.arms(rows)
    _plots.draw_curves(left, by_arm, band=False)
    right.set_prop_cycle(color=[line.get_color() for line in left.lines])
    for pool in by_arm.values():
        right.plot(calls_of(pool), np.mean([row["curve"] for row in pool], 0), lw=2)
    left.set(title=rows[0]["comparison"])
    right.set(xlabel="centralised calls")
    right.xaxis.set_major_formatter(EngFormatter(sep=""))
    _plots.legend(left)
    return figure


def calls_of(pool: list[Row]) -> list[float]:
    """Returns the mean of centralised calls at every evaluation.

    A learner without a switch has no `calls`: a centralised one calls in every step, an
    independent one never.
    """
    steps = pool[0]["steps"]
    if pool[0]["calls"] is None:
        return [CALLS_OF.get(pool[0]["algorithm"], 1.0) * step for step in steps]
    return [float(np.mean([row["calls"][i] or 0.0 for row in pool])) for i, _ in enumerate(steps)]


def draw_scaling(rows: list[Row], study: Study) -> Any:
    """Draws steps per second by size in a panel per axis, and the proportional growth, dotted."""
    cases = [(study.settings[row["config_hash"]]["settings"], row["measured"]) for row in rows]
    axes = list(dict.fromkeys(case["axis"] for case, _ in cases))
    figure, panels = _plots.panels(1, width=11, height=6.2)
    panels.remove()
    for panel, axis in zip(figure.subplots(2, 3).flat, axes, strict=True):
        draw_axis(panel, axis, [(case, row) for case, row in cases if case["axis"] == axis])
    for panel in figure.axes[::3]:
        panel.set_ylabel("environment steps per second")
    figure.suptitle("training; dotted: in proportion")
    return figure


def draw_axis(panel: Any, axis: str, cases: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Draws one axis of `draw_scaling`."""
    splits = sorted({case["split"] or "" for case, _ in cases})
    for split in splits:
        own = [(case, row) for case, row in cases if (case["split"] or "") == split]
        own.sort(key=lambda each: each[0]["size"])
        x = [case["size"] for case, _ in own]
        y = [row["steps_per_second"] for _, row in own]
        panel.plot(x, y, "o-", label=split or None)
        if axis != "replay":
            # n agents take n times as long; n of the others do n times as much
            power = -1 if axis == "agents" else 1
            panel.plot(x, [y[0] * (size / x[0]) ** power for size in x], ":", c="grey", lw=1)
    panel.set(xlabel=axis, xscale="log", yscale="log")
    panel.set_ylim(min(row["steps_per_second"] for _, row in cases) / 2, None)
    ticks = sorted({case["size"] for case, _ in cases})
    labels = [f"{x // 10**6}M" if x % 10**6 == 0 else f"{x:,}" for x in ticks]
    panel.set_xticks(ticks, labels)
    panel.minorticks_off()
    if len(splits) > 1:
        panel.legend(title="each device adds")
    panel.grid(alpha=0.3)


DRAW = {
    "learning": draw_returns,
    "gmah": draw_returns,
    "mansa": draw_calls,
    "speed": draw_scaling,
}


def draw_front_page() -> None:
    """Draws QMIX on foraging as the `curve.png` of its run folder, for README and quickstart."""
    study = _study.read("learning")
    arm = ("Foraging-8x8-2p-2f-coop-v3", "qmix")
    rows = [row for row in study.rows if (row["comparison"], row["arm"]) == arm]
    record = study.settings[rows[0]["config_hash"]]
    plots.learning_curve(
        _plots.IMAGES / "forage-curve.png",
        rows[0]["steps"],
        np.array([row["curve"] for row in rows]).T,
        title=f"{arm[1]} on {arm[0]}",
        random_return=record["runs"][-1]["random_return"],
        optimum=record["optimum"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("words", nargs="*", help="parts of names; all pictures if none")
    words = parser.parse_args().words
    if not words or any(word in "forage-curve" for word in words):
        draw_front_page()
    for name, draw in _leaderboard.PICTURES.items():
        if not words or any(word in name for word in words):
            path = _plots.save(draw(), name)
            print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")
    for picture in PICTURES:
        if words and not any(word in picture.name for word in words):
            continue
        study = _study.read(picture.study)
        rows = [row for row in study.rows if row["comparison"] == picture.comparison]
        path = _plots.save(DRAW[picture.study](rows, study), picture.name)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
