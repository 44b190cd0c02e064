"""The tables of the speed suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import _cells as cells

from marlx.cli import bench_claims

COUNTS = bench_claims.COUNTS
PPO = (
    ("IPPO, feed-forward", "ippo feed-forward"),
    ("MAPPO, feed-forward", "mappo feed-forward"),
    ("IPPO, recurrent, `trunk: shared`, as JaxMARL's", "ippo recurrent, shared"),
    ("IPPO, recurrent, two networks", "ippo recurrent"),
    ("MAPPO, recurrent", "mappo recurrent"),
    ("MAPPO, recurrent, windows of 16", "mappo recurrent, windows of 16"),
)
LEARNERS = (
    *("iql", "vdn", "qmix", "qplex", "ow_qmix", "cw_qmix", "qtran", "joint_q"),
    *("pqn", "pqn_vdn", "pqn_qmix"),
    *("ippo", "mappo", "ia2c", "maa2c", "happo", "haa2c", "coma", "mat", "sable"),
    *("teamreg", "coachreg", "iddpg", "maddpg", "facmac", "isac", "masac", "hasac"),
    *("mansa", "mansa_ppo", "gmah", "gmah_q", "clam", "liam", "ami", "dynamic_population"),
)
QMIX = (
    ("one seed", "one"),
    ("four seeds on two workers", "four on two workers"),
    ("four seeds on two devices", "four on two devices"),
    ("four seeds under `vmap` on one", "four on one device"),
)


ROOFLINE = (
    ("foraging, a step of 64 environments", "foraging step, 64"),
    ("foraging, a step of 4,096", "foraging step, 4096"),
    ("spread, a step of 64", "spread step, 64"),
    ("spread, a step of 4,096", "spread step, 4096"),
    ("QMIX on foraging, a gradient step", "QMIX update, foraging"),
    ("MAPPO on foraging, an update (3,200 steps, 4 epochs)", "MAPPO update, foraging"),
    ("IPPO on spread, an update (800 steps, 4 epochs)", "IPPO update, spread"),
)
PARTS = (
    *("products", "writes into arrays", "reads by index", "copies", "element-wise"),
    "splitting keys",
)
"""Parts of the time in kernels."""
SCALING = (
    ("environments", (1, 64, 4096, 65536), ""),
    ("agents", (2, 8, 16, 32, 64), ""),
    ("seeds", (1, 16, 256), ""),
    ("replay (steps)", (10_000, 1_000_000, 4_000_000), ""),
    ("devices that share environments", (1, 2), ", data"),
    ("devices with a seed each", (1, 2), ", seeds"),
    ("processes that share environments", (1, 2), ", data"),
    ("processes with a seed each", (1, 2), ", seeds"),
)
"""Label, whose first word is the axis; sizes; end of the arm's name."""
OPPONENTS = (("random", "random"), ("still", "stands still"), ("pretrained", "`pretrained`"))


def targets() -> str:
    """Returns the table of all ratios against other packages with their targets."""
    stored = cells.study("speed").rows
    lines = [
        [*line, _dates(claim)]
        for claim, line in zip(bench_claims.CLAIMS, bench_claims.lines(stored, stored), strict=True)
    ]
    return cells.table([*bench_claims.HEAD, "on"], lines)


def _dates(claim: bench_claims.Claim) -> str:
    """Returns the days on which the cases of a claim were measured."""
    found = [cells.result("speed", claim.comparison, case.arm) for case in claim.cases]
    days = sorted({one.rows[-1]["date"] for one in found if one is not None})
    return ", ".join(days)


def foraging() -> str:
    """Returns the table of foraging's steps per second against jumanji's."""
    cases = ("as played", f"as played{bench_claims.VMAP}", "1 to 23")
    arms = [f"{{}} environments, {case}" for case in cases]
    head = ["`vector_step`", "`vmap(env.step)`", "`vector_step`, ends after 1 to 23"]
    return _environments("speed_foraging", head, arms)


def particles() -> str:
    """Returns the table of particles' steps per second against JaxMARL's."""
    tasks = ("simple_spread", "simple_tag")
    ends = ("", bench_claims.VMAP)
    arms = [f"{task}_v3, {{}} environments{end}" for task in tasks for end in ends]
    head = [f"{task}, {call}" for task in tasks for call in ("`vector_step`", "`vmap(env.step)`")]
    return _environments("speed_mpe", head, arms)


def _environments(comparison: str, head: Sequence[str], arms: Sequence[str]) -> str:
    """Returns a table of steps per second, and of their ratio to another package's.

    Args:
      comparison: of the rows.
      head: of the columns.
      arms: of each column, with `{}` for the number of environments.
    """
    rows = [
        [f"{count:,}", *(_pace(comparison, arm.format(count)) for arm in arms)] for count in COUNTS
    ]
    return cells.table(["environments", *head], rows)


def ppo() -> str:
    """Returns the table of PPO's training steps per second."""
    rows = []
    for label, arm in PPO:
        pace, compile_s = (
            cells.measured("speed_ppo", arm, name) for name in ("steps_per_second", "compile_s")
        )
        rows.append([label, _whole(pace), f"{compile_s} s"])
    return cells.table(["", "steps/s", "compile"], rows)


def jaxmarl() -> str:
    """Returns the table of training in turns with JaxMARL's own scripts."""
    rows = []
    for row in cells.study("speed").rows:
        if row["comparison"] != "speed_jaxmarl":
            continue
        made = row["measured"]
        sides = ("", "jaxmarl_")
        rows.append(
            [
                *(row["arm"], f"**{made['ratio']:.2f}**"),
                " ".join(f"{one:.2f}" for one in made["ratios"]),
                *(_whole(made[f"{side}steps_per_second"]) for side in sides),
                " / ".join(f"{made[f'{side}compile_s']} s" for side in sides),
                " / ".join(f"{made[f'{side}peak_mb'] / 1000:.2f} GB" for side in sides),
                " / ".join(f"{made[f'{side}others']:.2f}" for side in sides),
            ]
        )
    head = ["ratio", "each turn", "steps/s", "JaxMARL's", "compile", "peak memory", "other load"]
    return cells.table(["", *head], rows)


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
    for arm in (one for one in LEARNERS if cells.result("speed", "speed_learners", one)):
        values = [cells.measured("speed_learners", arm, name) for name in names]
        rows.append([arm, *(f"{value:,}" for value in values)])
    head = ["steps/s", "compile (s)", "peak memory (MB)", "of which before the first step"]
    return cells.table(["", *head, "state (MB)"], rows)


def qmix() -> str:
    """Returns the table of QMIX's speed at JaxMARL's sizes, of one seed and of four."""
    rows = []
    for label, arm in QMIX:
        found = cells.result("speed", "speed_qmix", arm)
        if found is None:
            rows.append([label, *[cells.MISSING] * 5])
            continue
        made = found.rows[-1]["measured"]
        times = made.get("times_one_seed")
        rows.append(
            [
                *(label, _whole(made["steps_per_second"])),
                "" if times is None else f"{times:.2f}",
                *(f"{made['compile_s']} s", f"{made['peak_mb'] / 1000:.1f} GB"),
                found.rows[-1]["date"],
            ]
        )
    return cells.table(["", "steps/s", "times one seed", "compile", "peak memory", "on"], rows)


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


def roofline() -> str:
    """Returns the table of the hottest programs against what the machine reaches."""
    rows = []
    for label, arm in ROOFLINE:
        made = cells.need("speed", "roofline", arm).rows[-1]["measured"]
        roof = max(made["operations_us"], made["bytes_us"])
        rows.append(
            [
                *(label, _time(made["measured_us"]), f"{cells.number(made['Mop'])} M"),
                *(f"{made['MB']:.3g} MB", _time(roof), f"{made['of_roof']:.2f}"),
                *(made["limit"], f"{made['kernels']}"),
            ]
        )
    head = ["program", "takes", "operations", "bytes", "roof", "of it", "limit", "kernels"]
    return cells.table(head, rows)


def kernels() -> str:
    """Returns the table of where the time of calls below their target goes."""
    rows = []
    for row in cells.study("speed").rows:
        if row["comparison"] != "kernels":
            continue
        made = row["measured"]
        first = made["longest"][0]
        name = f"`{first['kernel']}`, {first['each_us']:.3g} us, {first['bytes'] / 1e3:,.3g} kB"
        parts = [f"{made['parts'].get(part, 0.0):.0%}" for part in PARTS]
        pace = [_time(made["step_us"]), f"{made['kernels_per_step']:,.3g}"]
        rows.append([row["arm"], *pace, f"{made['in_kernels']:.0%}", *parts, name])
    if not rows:
        return "Not measured."
    head = ["program", "a step takes", "kernels in it", "time in kernels", *PARTS]
    return cells.table([*head, "the longest, each"], rows)


def scaling() -> str:
    """Returns the table of training's speed by environments, agents, seeds, replay, devices."""
    rows = []
    for label, sizes, split in SCALING:
        axis = label.split()[0]
        arms = [f"{axis}, {size}{split}" for size in sizes]
        paces = [cells.measured("speed_scaling", arm, "steps_per_second") for arm in arms]
        rows.append(
            [
                label,
                "; ".join(f"{size:,}" for size in sizes),
                "; ".join(map(_whole, paces)),
                f"{paces[-1] / paces[0]:.2g}",
            ]
        )
    return cells.table(["", "how many", "steps/s", "last over first"], rows)


def opponents() -> str:
    """Returns the table of the trained opponents against simple ones."""
    rows = []
    for task, side in (("simple_tag_v3", "prey"), ("simple_adversary_v3", "adversary")):
        for team in ("trained together", "after_prey"):
            for name, label in OPPONENTS:
                arm = f"{team} against {name}"
                found = cells.result("opponents", f"mpe/{task}", arm)
                if found is None:
                    continue
                made = found.rows[-1]["measured"]
                returns = [cells.number(made[f"{who}_return"]) for who in ("team", "opponent")]
                whose = "trained with it" if team == "trained together" else f"`{team}`"
                rows.append([f"{side}: {label}", whose, *returns])
    return cells.table(["opponent", "team", "the team gets", "the opponent gets"], rows)


def _time(microseconds: float) -> str:
    if microseconds >= 2_000:
        return f"{microseconds / 1000:.1f} ms"
    return f"{microseconds:,.0f} us" if microseconds >= 100 else f"{microseconds:.1f} us"


def _pace(comparison: str, arm: str) -> str:
    """Returns the ratio and the steps per second of a case; a dash where it was not measured."""
    found = cells.result("speed", comparison, arm)
    if found is None:
        return cells.MISSING
    made = found.rows[-1]["measured"]
    return f"{made['ratio']:.1f} x, {_whole(made['marlx'])}/s"


def _whole(value: Any) -> str:
    return cells.MISSING if value is None else f"{value:,}"


TABLES: Mapping[str, Callable[[], str]] = {
    "speed-targets": targets,
    "speed-foraging": foraging,
    "speed-particles": particles,
    "speed-ppo": ppo,
    "speed-jaxmarl": jaxmarl,
    "speed-replay": replay,
    "speed-learners": learners,
    "speed-qmix": qmix,
    "speed-time-to-return": time_to_return,
    "speed-roofline": roofline,
    "speed-kernels": kernels,
    "speed-scaling": scaling,
    "opponents": opponents,
}
