"""`marlx reproduce`: trains a stored result again and tests whether the two agree."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from marlx.cli.cache import use_compilation_cache
from marlx.cli.options import parse_train, positionals, run_and_options
from marlx.cli.records import ReproduceOptions
from marlx.loop.cpu_devices import cpu_devices, use_cpu_devices
from marlx.text import counted

if TYPE_CHECKING:
    from marlx.analysis.reproduction import Agreement, Reference
    from marlx.config.layers import Experiment

REPRODUCE_USAGE = """\
usage: marlx reproduce --list [WORD]
       marlx reproduce ID [options]

  marlx reproduce --list        the stored results: id, seeds, return, steps, time it took
  marlx reproduce --list WORD   the results whose id contains WORD
  marlx reproduce ID            run one again, with the stored settings, seeds and steps

options:
  --seeds N            the first N of the stored seeds
  --total-steps N      stop after N steps, and compare with the stored curve there
  --devices N          CPU devices to shard seeds over (default: auto)

Two results agree if their 95% bootstrap intervals of the mean return, over seeds and
episodes, overlap. Actions are drawn or greedy, as in the stored result. Exit code 0: they do;
1: they do not; 2: wrong input.
"""
SHOWN = 4
"""Number of changed settings that are named."""


def reproduce_command(argv: Sequence[str]) -> int | Callable[[], int]:
    """Runs `marlx reproduce ID [options]` up to the training, which is returned as a function."""
    if not argv or argv[0] in ("-h", "--help"):
        print(REPRODUCE_USAGE, end="", file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    if argv[0] == "--list":
        if len(argv) > 2:
            raise ValueError(f"marlx reproduce --list takes one word at most, got {argv[2]!r} too")
        return _list(argv[1] if len(argv) > 1 else "")
    name, options = run_and_options(argv, "reproduce", ReproduceOptions, "id of a result", "ID")
    from marlx.analysis import reproduction

    stored = reproduction.reference(name)
    use_compilation_cache()
    made = reproduction.stored_experiment(
        stored, seeds=options.seeds, total_steps=options.total_steps
    )
    use_cpu_devices(cpu_devices(options.devices, made.train.seeds))
    made.build()  # finds settings that contradict each other before anything is compiled
    return functools.partial(_reproduce, stored, made)


def _reproduce(stored: Reference, made: Experiment) -> int:
    from marlx.analysis.reproduction import compare
    from marlx.loggers import Console
    from marlx.training import train

    for line in _about(stored):
        print(line, flush=True)
    console = Console(made.train.seeds, stored.optimum)
    console.random_return = stored.random_return
    began = time.perf_counter()
    env, params, learner = made.build()
    try:
        console.start()
        result = train(env, learner, params, config=made.train, report=console)
    finally:
        console.close(None)
    took = time.perf_counter() - began
    agreement = compare(stored, result.returns, result.history[-1].steps)
    for line in _outcome(agreement, took, stored.wall_seconds):
        print(line)
    return 0 if agreement.agree else 1


def _about(stored: Reference) -> list[str]:
    """Returns lines about the stored result, and a note where today's preset differs."""
    jax, count = stored.versions.get("jax", "?"), stored.device["count"]
    command = stored.command or "the command was not stored, its settings were"
    lines = [
        f"{stored.id}: {stored.algorithm} on {stored.environment}, {stored.judged} actions",
        f"  stored {stored.date} with jax {jax} on {count} x {stored.device['kind']}",
        f"  {command}",
    ]
    note = _changed(stored)
    return [*lines, f"  note: {note}"] if note else lines


def _changed(stored: Reference) -> str:
    """Returns a line if the stored command would run something else today, else an empty one."""
    from marlx.analysis.reproduction import changes, stored_experiment
    from marlx.analysis.result_rows import config_hash
    from marlx.loop.evaluation import modes_of

    if stored.command is None:
        return ""
    try:
        names, options = positionals(stored.command.split()[2:])
        today = parse_train(names, options)[0].settings()
    except ValueError as error:
        return f"the stored command is not accepted any more ({error}); its settings are run"
    now = config_hash(today)
    if now == stored.config_hash:
        return ""
    hashes = f"config hash {stored.config_hash} is now {now}"
    # settings that are newer than the result have their defaults
    then = stored_experiment(stored)
    run, judged = then.settings(), then.build()[2].judged
    if modes_of(judged, run["eval"]) == modes_of(judged, today["eval"]):
        run["eval"] = today["eval"]
    differing = changes(run, today)
    if not differing:
        return f"settings were added since, {hashes}; they have their defaults and change nothing"
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return (
        f"the preset has changed since, {hashes}: {', '.join(differing[:SHOWN])}{more}; "
        "the stored settings are run"
    )


def _outcome(agreement: Agreement, took: float, stored_seconds: float | None) -> list[str]:
    """Returns lines with the two results and the verdict."""
    lines = []
    rows = (("here", agreement.here, took), ("stored", agreement.there, stored_seconds))
    for i, (name, (mean, low, high), seconds) in enumerate(rows):
        time_text = "time not stored" if seconds is None else f"{seconds:.0f} s"
        if name == "stored" and agreement.partial and seconds is not None:
            time_text += " in all"
        seeds = agreement.seeds[i]
        lines.append(
            f"  {name:<7} {mean:.4g} [{low:.4g}, {high:.4g}]  {counted(seeds, 'seed')}, "
            f"{agreement.steps[i]:,} steps, {time_text}"
        )
    verdict = "the intervals overlap" if agreement.agree else "the intervals do not overlap"
    if agreement.partial:
        verdict += "; a partial comparison, with fewer seeds or steps than are stored"
    return [*lines, f"  {verdict}"]


def _list(word: str) -> int:
    from marlx.analysis.reproduction import references

    found = [stored for name, stored in references().items() if word.lower() in name.lower()]
    if not found:
        raise ValueError(f"no stored result has {word!r} in its id; see marlx reproduce --list")
    head = "id", "environment", "algorithm", "seeds", "actions", "return", "95% interval", "steps"
    rows: list[tuple[str, ...]] = [(*head, "time")]
    for stored in found:
        seconds = stored.wall_seconds
        rows.append(
            (
                stored.id,
                stored.environment,
                stored.algorithm,
                str(len(stored.seeds)),
                stored.judged,
                f"{stored.mean:.4g}",
                "{:.4g} to {:.4g}".format(*stored.interval),
                f"{stored.total_steps:,}",
                "-" if seconds is None else f"{seconds:,.0f} s",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    return 0
