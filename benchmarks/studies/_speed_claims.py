"""The numbers of timings in the sentences of pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import _cells as cells
from _prose import Claim

from marlx.cli import bench_claims


def values(comparison: str, name: str, *, least: int = 0, word: str = "") -> list[float]:
    """Returns a measurement of all cases of a comparison.

    Args:
      comparison: of the study `speed`.
      name: of the measurement.
      least: environments that a case has to have, where its arm says how many.
      word: that the arm has to have.
    """
    found = []
    for row in cells.study("speed").rows:
        words = row["arm"].replace(",", "").split()
        if row["comparison"] != comparison or not all(one in row["arm"] for one in word.split("+")):
            continue
        if least and int(words[words.index("environments") - 1]) < least:
            continue
        found.append(float(row["measured"][name]))
    return found


def ends(numbers: Sequence[float], decimals: int = 1) -> tuple[str, str]:
    """Returns the least and the largest number."""
    return f"{min(numbers):.{decimals}f}", f"{max(numbers):.{decimals}f}"


def foraging(least: int) -> tuple[str, str]:
    """Returns the least and largest speed against jumanji from a number of environments up."""
    return ends(values("speed_foraging", "ratio", least=least, word="as played"))


def particles(least: int, word: str = "simple_") -> tuple[str, str]:
    """Returns the least and largest speed against JaxMARL from a number of environments up."""
    return ends(values("speed_mpe", "ratio", least=least, word=word))


def targets() -> tuple[str, ...]:
    """Returns how many targets against other packages are reached, missed and not measured."""
    stored = cells.study("speed").rows
    aimed = [one for one in bench_claims.all_judged(stored, stored) if one.target is not None]
    verdicts = [one.verdict for one in aimed]
    states = ("reached", "not reached", "not measured")
    return (str(len(verdicts)), *(str(verdicts.count(state)) for state in states))


def against() -> tuple[str, str]:
    """Returns the least and largest speed over JaxMARL's scripts in training."""
    return ends(values("speed_jaxmarl", "ratio"), 2)


def replay(word: str, decimals: int, least: int = 1) -> tuple[str, str]:
    """Returns the least and largest speed of an operation against flashbax."""
    numbers = [
        row["measured"]["loop_ratio"]
        for row in cells.study("speed").rows
        if row["comparison"] == "speed_replay"
        and row["arm"].startswith(word)
        and "cycle" not in row["arm"]
        and int(row["arm"].split(", ")[1].split()[0]) >= least
    ]
    return ends(numbers, decimals)


def times(comparison: str, arm: str, ours: str, theirs: str) -> str:
    """Returns how many times as large one measurement of a row is as another."""
    one, other = (cells.measured(comparison, arm, name) for name in (ours, theirs))
    return f"{one / other:.0f}"


def updates_of_priorities() -> tuple[str, str]:
    """Returns the microseconds of an update of priorities, least and largest."""
    return ends(values("speed_replay", "loop_marlx", word="prioritised update"), 0)


def cycles() -> tuple[str, str]:
    """Returns the microseconds of a cycle of add, sample and update, over all capacities."""
    numbers = [
        value
        for row in cells.study("speed").rows
        if row["comparison"] == "speed_replay" and "cycle" in row["arm"]
        for name, value in row["measured"].items()
        if name.isdecimal()
    ]
    return tuple(str(round(value / 5) * 5) for value in (min(numbers), max(numbers)))


def results() -> list[Claim]:
    """Returns the claims of speed on the page of results."""
    return [
        Claim("times those of jumanji, from 64 up | {} to {} |", *foraging(64)),
        Claim("times those of JaxMARL, from 64 up | {} to {} |", *particles(64)),
        Claim("times JaxMARL's scripts | {} to {} |", *against()),
        Claim("of {} targets {} are reached, {} are not, {} are not measured", *targets()),
        Claim("updates of priorities ({} to {} from 64", *replay("prioritised update", 2, 64)),
        Claim(
            "One environment is {} times as fast as lbforaging's",
            times("speed_foraging", "1 environments, as played", "marlx", "lbforaging"),
        ),
        Claim(
            "One environment of spread is {} times as fast as mpe2's",
            times("speed_mpe", "simple_spread_v3, 1 environments", "marlx", "mpe2"),
        ),
        Claim("({} to {} microseconds per update here)", *updates_of_priorities()),
        Claim("takes {} to {} microseconds at any capacity", *cycles()),
    ]


def readme() -> list[Claim]:
    """Returns the claims of the README."""
    uniform, board = replay("uniform", 1), "Foraging-8x8-2p-2f-coop-v3"
    runs = (cells.need("learning", board, "qmix"), cells.need("mansa", board, "qmix-800k"))
    return [
        Claim("A random team gets {},", cells.number(runs[0].runs[0]["random_return"], 2)),
        Claim(
            "were at {} and {} on the way, after some 500,000",
            *(cells.at(one, 500_000) for one in runs),
        ),
        Claim("| foraging 8x8, 2 players | jumanji | {} to {} |", *foraging(1)),
        Claim("`simple_spread_v3` | JaxMARL | {} to {} |", *particles(1, "simple_spread")),
        Claim("`simple_tag_v3` | JaxMARL | {} to {} |", *particles(1, "simple_tag")),
        Claim("| uniform replay, add and sample | flashbax | {} to {} |", *uniform),
        Claim("update of priorities | flashbax | **{}** to {} |", *replay("prioritised update", 1)),
        Claim("training in turns with its scripts | JaxMARL | {} to {} |", *against()),
    ]


def benchmarks() -> list[Claim]:
    """Returns the claims of the page on benchmarks."""
    machine = cells.need("speed", "roofline", "machine").rows[-1]["measured"]
    names = ("product", "multiply_add", "cache", "memory")
    return [
        Claim(
            "(products {} thousand million operations a second, multiply-adds {}, cache {} "
            "thousand million bytes a second, memory {})",
            *(f"{machine[name]:.0f}" for name in names),
        ),
    ]


def scaling() -> list[Claim]:
    """Returns the claims of the page on scaling."""

    def pace(arm: str) -> float:
        return float(cells.measured("speed_scaling", arm, "steps_per_second"))

    shares = [
        f"{cells.measured('speed_scaling', arm, 'efficiency'):.2f}"
        for arm in (
            "devices, 2, data",
            "devices, 2, seeds",
            "processes, 2, data",
            "processes, 2, seeds",
        )
    ]
    return [
        Claim(
            "32 times as many take {} times as long; the last doubling alone takes {} times.",
            f"{pace('agents, 2') / pace('agents, 64'):.0f}",
            f"{pace('agents, 32') / pace('agents, 64'):.1f}",
        ),
        Claim(
            "a core each: {} (environments) and {} (seeds) of twice one. Two processes: {} and {},",
            *shares,
        ),
    ]


def sweeps() -> list[Claim]:
    """Returns the claims of the page on sweeps."""
    (row,) = cells.need("speed", "sweep_vmap", "one program against separate runs").rows
    together, separate, share = (
        row["measured"][name] for name in ("seconds_together", "seconds_separate", "share")
    )
    return [
        Claim(
            f"{label} | {{}} | {{}} | {{}}% |",
            f"{together[name]:,.0f}",
            f"{separate[name]:,.0f}",
            f"{100 * share[name]:.0f}",
        )
        for name, label in (("cpu", "tracing included"), ("wall", "seconds by the clock"))
    ]


def tracking() -> list[Claim]:
    """Returns the claims of the page on tracking."""

    def of(arm: str, name: str) -> float:
        return float(cells.measured("logging_overhead", arm, name))

    waits = [of(f"log of {name}", "milliseconds") for name in ("wandb", "jsonl", "tensorboard")]
    alone = of("wandb alone", "processor_s")
    names = ("none", "wandb offline", "wandb, server down", "tensorboard")
    return [
        Claim(
            "| wandb {} ms, `metrics.jsonl` {} ms, TensorBoard {} ms |",
            f"{waits[0]:.2f}",
            *(f"{wait:.1f}" for wait in waits[1:]),
        ),
        Claim(
            "| {} seconds of one core (start, 20 evaluations, finish): {}% of the CPU time of a "
            "`make train` |",
            f"{alone:.1f}",
            f"{100 * alone / of('none', 'processor_s'):.1f}",
        ),
        Claim(
            "without {}; wandb offline {}; server down {}; TensorBoard {} |",
            *(f"{of(name, 'wall_s'):.1f}" for name in names),
        ),
    ]


def accelerators() -> list[Claim]:
    """Returns the claims of the page on accelerators."""
    rows = cells.need("speed", "speed_clam", "clam against ppo").rows
    return [
        Claim(
            "CLAM trains {} times as long as plain PPO on one NVIDIA H200 ({} on two CPU cores)",
            *(f"{one:.2f}" for one in sorted(row["measured"]["ratio"] for row in rows)),
        )
    ]


PAGES: dict[str, Callable[[], list[Claim]]] = {
    "README.md": readme,
    "docs/accelerators.md": accelerators,
    "docs/benchmarks.md": benchmarks,
    "docs/scaling.md": scaling,
    "docs/sweeps.md": sweeps,
    "docs/tracking.md": tracking,
}
"""The claims of a page, by its path."""
