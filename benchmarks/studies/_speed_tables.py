"""The tables of the speed suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import _cells as cells

COUNTS = (1, 64, 1024, 4096)
"""Environments side by side."""
PPO = (
    ("IPPO, feed-forward", "ippo feed-forward"),
    ("MAPPO, feed-forward", "mappo feed-forward"),
    ("IPPO, recurrent, `trunk: shared`, as JaxMARL's", "ippo recurrent, shared"),
    ("IPPO, recurrent, two networks", "ippo recurrent"),
    ("MAPPO, recurrent", "mappo recurrent"),
    ("MAPPO, recurrent, windows of 16", "mappo recurrent, windows of 16"),
)
LEARNERS = (
    *("iql", "vdn", "qmix", "qplex", "joint_q", "ippo", "mappo", "ia2c", "maa2c"),
    *("mansa", "mansa_ppo", "gmah", "gmah_q", "clam", "liam"),
)
QMIX = (
    ("one seed", "one"),
    ("four seeds on two devices", "four on two devices"),
    ("four seeds under `vmap` on one", "four on one device"),
)


def foraging() -> str:
    """Returns the table of foraging's steps per second against jumanji's."""
    rows = []
    for count in COUNTS:
        arms = [f"{count} environments, {ends}" for ends in ("as played", "1 to 23")]
        rows.append(
            [f"{count:,}", *(text for arm in arms for text in _pace("speed_foraging", arm))]
        )
    return cells.table(
        ["environments", "as played", "steps/s", "ends after 1 to 23", "steps/s"], rows
    )


def particles() -> str:
    """Returns the table of particles' steps per second against JaxMARL's."""
    tasks = ("simple_spread", "simple_tag")
    rows = []
    for count in COUNTS:
        arms = [f"{task}_v3, {count} environments" for task in tasks]
        rows.append([f"{count:,}", *(text for arm in arms for text in _pace("speed_mpe", arm))])
    return cells.table(["environments", tasks[0], "steps/s", tasks[1], "steps/s"], rows)


def ppo() -> str:
    """Returns the table of PPO's training steps per second."""
    rows = []
    for label, arm in PPO:
        names = ("steps_per_second", "jaxmarl", "ratio", "compile_s")
        pace, theirs, ratio, compile_s = (cells.measured("speed_ppo", arm, n) for n in names)
        rows.append([label, _whole(pace), _whole(theirs), _tenths(ratio), f"{compile_s} s"])
    return cells.table(["", "steps/s", "JaxMARL's", "ratio", "compile"], rows)


def replay() -> str:
    """Returns the table of flashbax's times divided by ours."""
    kinds = (
        *("uniform add", "uniform sample"),
        *("prioritised add", "prioritised sample", "prioritised update"),
    )
    rows = []
    for count in COUNTS:
        arms = [f"{kind}, {count} environments" for kind in kinds]
        ratios = [cells.measured("speed_replay", arm, "loop_ratio") for arm in arms]
        rows.append([f"{count:,}", *(f"{ratio:.2f}" for ratio in ratios)])
    return cells.table(["environments", *kinds], rows)


def learners() -> str:
    """Returns the table of every learner's speed and memory."""
    names = ("steps_per_second", "compile_s", "peak_mb", "compile_peak_mb", "state_mb")
    rows = []
    for arm in LEARNERS:
        values = [cells.measured("speed_learners", arm, name) for name in names]
        rows.append([arm, *(f"{value:,}" for value in values)])
    head = ["steps/s", "compile (s)", "peak memory (MB)", "of which before the first step"]
    return cells.table(["", *head, "state (MB)"], rows)


def qmix() -> str:
    """Returns the table of QMIX's speed against JaxMARL's."""
    rows = []
    for label, arm in QMIX:
        names = ("with_evaluation", "ratio", "compile_s", "peak_mb")
        pace, ratio, compile_s, peak = (cells.measured("speed_qmix", arm, n) for n in names)
        share = "" if ratio is None else f"{ratio}"
        rows.append([label, _whole(pace), share, f"{compile_s} s", f"{peak / 1000:.1f} GB"])
    names = ("steps_per_second", "compile_s", "peak_mb")
    pace, compile_s, peak = (cells.measured("speed_qmix", "JaxMARL", n) for n in names)
    rows.append(["JaxMARL", _whole(pace), "", f"{compile_s} s", f"{peak / 1000:.2f} GB"])
    return cells.table(["", "steps/s", "of JaxMARL's", "compile", "peak memory"], rows)


def time_to_return() -> str:
    """Returns the table of the time that QMIX takes for a return of -40 on spread."""
    rows = cells.need("speed", "speed_qmix", "time to return").rows
    return cells.table(
        ["seed", *(str(row["seed"]) for row in rows)],
        [
            ["seconds", *(str(row["measured"]["seconds"]) for row in rows)],
            ["environment steps", *(f"{row['measured']['steps']:,}" for row in rows)],
        ],
    )


def _pace(comparison: str, arm: str) -> list[str]:
    ratio, pace = (cells.measured(comparison, arm, name) for name in ("ratio", "marlx"))
    return [f"{ratio:.1f} x", _whole(pace)]


def _whole(value: Any) -> str:
    return cells.MISSING if value is None else f"{value:,}"


def _tenths(value: Any) -> str:
    return cells.MISSING if value is None else f"{value:.1f}"


TABLES: Mapping[str, Callable[[], str]] = {
    "speed-foraging": foraging,
    "speed-particles": particles,
    "speed-ppo": ppo,
    "speed-replay": replay,
    "speed-learners": learners,
    "speed-qmix": qmix,
    "speed-time-to-return": time_to_return,
}
