"""The command line: `marlx train`, `marlx eval`, `marlx render`, `marlx list`.

JAX is imported only once a command needs it, so that help and most mistakes are answered at once.
Whatever is wrong with the input is one line on stderr and exit code 2, before anything is compiled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import re
import signal
import sys
import textwrap
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, cast

from marlx import __version__
from marlx.suggest import unknown

if TYPE_CHECKING:
    import numpy as np

    from marlx.config import Experiment, Schema
    from marlx.runs import RunFolder
    from marlx.training import Progress, Run

USAGE = """\
usage: marlx COMMAND ...

Cooperative multi-agent reinforcement learning in JAX.

commands:
  train ALGO ENV [options]   train, several seeds at once, into a run folder
  eval RUN [options]         greedy returns of a trained policy on fresh episodes
  render RUN [options]       an episode of a trained policy as a GIF
  list                       the algorithms and environments there are

  marlx train qmix Foraging-8x8-2p-2f-coop-v3 --seeds 4
  marlx train qmix Foraging-8x8-2p-2f-coop-v3 --help      every setting, with its value
  marlx --version
"""

TRAIN_USAGE = """\
usage: marlx train ALGO ENV [options]
       marlx train --config FILE [options]

Train ALGO in ENV, several seeds at once; `marlx list` shows both. Results go to a run folder.

  marlx train ALGO ENV --help    every setting of that algorithm and that environment, with the
                                 value it would have

options for every ALGO and ENV (and those that --help shows for a pair):
  --seeds N            runs trained at once
  --total-steps N      environment steps per seed
  --learner.NAME X     a setting of the algorithm
  --env.NAME X         a setting of the environment
  --config FILE        settings from a YAML file, below those of the command line
  --out FOLDER         run folder, new or empty (default: runs/ALGO-ENV-DATE-TIME)
  --wandb MODE         off, offline or online (default: off)
  --devices N          CPU devices to lay seeds over (default: auto)
"""

Options = TypeVar("Options")

_INDENT: Any = {"initial_indent": "  ", "subsequent_indent": "      ", "break_on_hyphens": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go and what computes them."""

    config: str | None = None
    """YAML file with settings, below those of the command line."""
    out: str | None = None
    """Run folder, new or empty; runs/ALGO-ENV-DATE-TIME if not given."""
    wandb: Literal["off", "offline", "online"] = "off"
    """Log to Weights & Biases too; `offline` keeps its files in the run folder."""
    wandb_project: str = "marlx"
    """Project there."""
    devices: str = "auto"
    """CPU devices to lay seeds over: a number, or `auto` for a core per seed while they last."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """How to evaluate."""

    episodes: int = 100
    """Fresh episodes."""
    policy_seed: int | None = None
    """Which of the run's seeds acts; the one with the best return if not given."""
    seed: int = 0
    """Seed of the episodes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """What to draw."""

    out: str | None = None
    """GIF file; episode.gif in the run folder if not given."""
    policy_seed: int | None = None
    """Which of the run's seeds acts; the one with the best return if not given."""
    seed: int = 0
    """Seed of the episode."""
    fps: float = 4.0
    """Steps per second."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The `marlx` command; leaves through `SystemExit`."""
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    with _plain_warnings():
        try:
            try:
                done = _command(argv)
            except ValueError as error:
                # every error of ours is raised before anything is compiled, and is a single line
                if os.environ.get("MARLX_DEBUG"):
                    raise
                print(f"marlx: {' '.join(str(error).split())}", file=sys.stderr)
                return 2
            return done if isinstance(done, int) else done()
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        except BrokenPipeError:  # `marlx list | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0


def _command(argv: Sequence[str]) -> int | Callable[[], int]:
    """Run a command; training, whose own errors are no wrong input, is returned to be called."""
    commands: dict[str, Callable[[Sequence[str]], int | Callable[[], int]]] = {
        "train": train_command,
        "eval": eval_command,
        "render": render_command,
        "list": list_command,
    }
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE, end="", file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    if argv[0] in ("--version", "-V"):
        print(f"marlx {__version__}")
        return 0
    if argv[0] not in commands:
        raise unknown("command", argv[0], commands)
    return commands[argv[0]](argv[1:])


def list_command(argv: Sequence[str]) -> int:
    """`marlx list`."""
    if argv and argv[0] in ("-h", "--help"):
        print("usage: marlx list\n\nThe algorithms and environments there are.")
        return 0
    if argv:
        raise ValueError(f"marlx list takes no argument, got {argv[0]!r}")
    from marlx.registry import algorithms, families

    print("algorithms")
    width = max(len(name) for name in algorithms())
    for algo in algorithms().values():
        print(f"  {algo.name:<{width}}  {algo.summary}")
    print("\nenvironments")
    for one in families().values():
        print(textwrap.fill(f"{one.name}: {one.usage}", 88, **_INDENT))
        for example in one.examples[:6]:
            print(f"      {example}")
    print("\n  marlx train ALGO ENV --help shows the settings of both")
    return 0


def train_command(argv: Sequence[str]) -> int | Callable[[], int]:
    """`marlx train ALGO ENV [options]`: everything up to the training, which is returned."""
    names, rest = _positionals(argv)
    if not names and (not rest or rest[0] in ("-h", "--help")):
        print(TRAIN_USAGE, end="", file=sys.stdout if rest else sys.stderr)
        return 0 if rest else 2
    if len(names) > 2 or (len(names) < 2 and _value_of(rest, "config") is None):
        raise ValueError(
            f"marlx train takes ALGO and ENV before its options, got {' '.join(names) or 'neither'}"
            "; for example: marlx train qmix Foraging-8x8-2p-2f-coop-v3"
        )
    _use_compilation_cache()
    experiment, output = parse_train(names, rest)
    _use_cpu_devices(output.devices, experiment.train.seeds)

    from marlx.runs import RunFolder, config_text, default_path, environment_facts
    from marlx.training import Run

    env, params, learner = experiment.build()
    training = Run(env, params, learner, experiment.train)
    _check_memory(sum(training.sizes().values()) * experiment.train.seeds)
    path = output.out or default_path(experiment.algorithm, experiment.environment)
    folder = RunFolder(path, lambda line: print(f"marlx: {line}", file=sys.stderr))
    folder.write("config.yaml", config_text(experiment))
    folder.write_json("environment.json", environment_facts())
    return functools.partial(_train, experiment, training, folder, output)


def eval_command(argv: Sequence[str]) -> int:
    """`marlx eval RUN [options]`."""
    path, options = _run_and_options(argv, "eval", EvalOptions)
    if options.episodes < 1:
        raise ValueError(f"--episodes is {options.episodes}; it must be at least 1")
    _use_compilation_cache()
    import jax
    import numpy as np

    from marlx.evaluation import evaluate, random_learner
    from marlx.runs import load_policy

    policy = load_policy(path, options.policy_seed)
    key_play, key_random = jax.random.split(jax.random.key(options.seed))

    @jax.jit
    def play(key_play: Any, key_random: Any) -> Any:
        args = policy.env, policy.params
        chosen = evaluate(*args, policy.learner, policy.arrays, key_play, options.episodes)
        drawn = evaluate(*args, random_learner(policy.spec), (), key_random, options.episodes)
        return chosen, drawn

    returns, random_returns = (np.asarray(x, float) for x in play(key_play, key_random))
    print(f"{path}, seed {policy.seed}, after {policy.steps:,} environment steps")
    _print_returns(returns[None], random_returns, policy.spec.optimum)
    return 0


def render_command(argv: Sequence[str]) -> int:
    """`marlx render RUN [options]`."""
    path, options = _run_and_options(argv, "render", RenderOptions)
    if not options.fps > 0:
        raise ValueError(f"--fps is {options.fps}; it must be above 0")
    out = Path(options.out or Path(path) / "episode.gif")
    if not out.parent.is_dir():
        raise ValueError(f"cannot write {out}: there is no folder {out.parent}")
    _use_compilation_cache()
    import jax

    from marlx.evaluation import record_episode
    from marlx.runs import load_policy
    from marlx.video import episode_frames, write_gif

    policy = load_policy(path, options.policy_seed)
    states, rewards = record_episode(
        policy.env, policy.params, policy.learner, policy.arrays, jax.random.key(options.seed)
    )
    frames = episode_frames(policy.env, policy.params, states, rewards)
    try:
        write_gif(out, frames, frames_per_second=options.fps)
    except OSError as error:
        raise ValueError(f"cannot write {out}: {error.strerror or error}") from None
    print(f"{out}: {len(rewards)} steps, return {sum(rewards):.3g}")
    return 0


# Training


def _train(experiment: Experiment, training: Run, folder: RunFolder, output: Output) -> int:
    """Train, telling every logger, and write what a run leaves behind."""
    from marlx.loggers import Console, JsonLines, Logger, Wandb
    from marlx.runs import save_policy

    spec = training.env.spec(training.params)
    for line in _describe(experiment, training, folder):
        print(line, flush=True)
    console = Console(experiment.train.seeds, spec.optimum)
    loggers: list[Logger] = [JsonLines(folder), console]
    history: list[Progress] = []
    result: dict[str, Any] | None = None
    stopped = 0
    try:
        with _stoppable():
            console.start()
            random_returns = training.random_returns()
            console.random_return = float(random_returns.mean())
            if output.wandb != "off":
                settings = experiment.settings()
                loggers.append(Wandb(output.wandb, folder.path, settings, output.wandb_project))
            for progress in training.blocks():
                history.append(progress)
                for logger in loggers:
                    logger.log(progress)
                save_policy(folder, experiment, progress.policies(), progress)
            returns = training.final_returns()
        result = _result(experiment, training, history, returns, random_returns, spec.optimum)
        folder.write_json("result.json", result)
    except _Stopped as stop:
        stopped = stop.code
    finally:
        for logger in loggers:
            logger.close(result)
    if history:
        _draw(experiment, training, folder, history, random_returns, spec.optimum, bool(result))
    if stopped:
        steps = history[-1].steps if history else 0
        print(
            f"marlx: stopped; {folder.path} holds what was reached at {steps:,} steps",
            file=sys.stderr,
        )
        return stopped
    steps = history[-1].steps
    print(f"\n{experiment.algorithm} on {experiment.environment}, {steps:,} steps per seed")
    _print_returns(returns, random_returns, spec.optimum)
    _print_times(training.phases, history[-1], experiment.train.seeds)
    _print_files(folder)
    return 1 if folder.failed else 0


def _describe(experiment: Experiment, training: Run, folder: RunFolder) -> Iterator[str]:
    """What is about to run, and the memory it takes."""
    import jax

    train, devices = experiment.train, jax.local_devices()
    seeds = f"{train.seeds} seeds" if train.seeds > 1 else f"seed {train.seed}"
    yield f"{experiment.algorithm} on {experiment.environment}"
    yield (
        f"  {seeds}, {train.total_steps:,} steps each, {train.num_envs} environments, "
        f"{len(devices)} x {devices[0].device_kind}"
    )
    sizes = training.sizes()
    parts = ", ".join(f"{name} {_bytes(size)}" for name, size in sizes.items() if size >= 1e3)
    yield f"  memory per seed: {_bytes(sum(sizes.values()))} ({parts})"
    yield f"  run folder: {folder.path}"


def _bytes(size: float) -> str:
    for unit, letters in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {letters}"
    return f"{size:.0f} B"


def _result(
    experiment: Experiment,
    training: Run,
    history: Sequence[Progress],
    returns: np.ndarray[Any, Any],
    random_returns: np.ndarray[Any, Any],
    optimum: float | None,
) -> dict[str, Any]:
    """What `result.json` holds."""
    from marlx.statistics import bootstrap_interval, iqm, mean

    low, high = bootstrap_interval(returns)
    first = experiment.train.seed
    return {
        "algorithm": experiment.algorithm,
        "environment": experiment.environment,
        "steps": history[-1].steps,
        "seeds": list(range(first, first + experiment.train.seeds)),
        "episodes_per_seed": returns.shape[1],
        "return": {
            "mean": mean(returns),
            "interval_95": [low, high],
            "iqm": iqm(returns),
            "per_seed": returns.mean(1).tolist(),
        },
        "random_return": mean(random_returns),
        "optimum": optimum,
        "seconds": {name: round(seconds, 3) for name, seconds in training.phases.items()},
    }


def _draw(
    experiment: Experiment,
    training: Run,
    folder: RunFolder,
    history: Sequence[Progress],
    random_returns: np.ndarray[Any, Any],
    optimum: float | None,
    finished: bool,
) -> None:
    """The pictures of a run; a stopped one gets its curve only."""
    import jax
    import numpy as np

    from marlx.evaluation import record_episode
    from marlx.plots import learning_curve
    from marlx.video import episode_frames, write_gif

    steps = [progress.steps for progress in history]
    returns = np.array([progress.metrics["return"] for progress in history])
    title = f"{experiment.algorithm} on {experiment.environment}"
    folder.write(
        "curve.png",
        lambda path: learning_curve(
            path,
            steps,
            returns,
            title=title,
            random_return=float(random_returns.mean()),
            optimum=optimum,
        ),
    )
    if not finished:
        return
    best = int(np.argmax(returns[-1]))
    policy = jax.tree.map(lambda x: x[best], jax.device_get(training.policies()))
    key = jax.random.key(experiment.train.seed)
    states, rewards = record_episode(training.env, training.params, training.learner, policy, key)
    try:
        frames = episode_frames(training.env, training.params, states, rewards)
    except ValueError:
        return  # an environment without a picture
    folder.write("episode.gif", lambda path: write_gif(path, frames))


def _print_returns(
    returns: np.ndarray[Any, Any], random_returns: np.ndarray[Any, Any], optimum: float | None
) -> None:
    from marlx.statistics import bootstrap_interval

    low, high = bootstrap_interval(returns)
    seeds, episodes = returns.shape
    over = f"{seeds} seeds x {episodes} episodes" if seeds > 1 else f"{episodes} episodes"
    known = "unknown" if optimum is None else f"{optimum:.3f}"
    print(f"  greedy return   {returns.mean():.3f}   95% interval {low:.3f} to {high:.3f}, {over}")
    if seeds > 1:
        print(f"  by seed         {'  '.join(f'{value:.3f}' for value in returns.mean(1))}")
    print(f"  random policy   {random_returns.mean():.3f}")
    print(f"  optimum         {known}")


def _print_times(phases: Mapping[str, float], last: Progress, seeds: int) -> None:
    total = sum(phases.values())
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in phases.items())
    speed = last.steps * seeds / max(last.seconds, 1e-9)
    print(f"  time            {total:.1f} s: {parts}")
    print(f"  speed           {speed:,.0f} environment steps/s over all seeds, without compiling")


def _print_files(folder: RunFolder) -> None:
    about = {
        "config.yaml": f"every setting; again: marlx train --config {folder.path}/config.yaml",
        "environment.json": "versions and device",
        "metrics.jsonl": "a line per evaluation, every metric per seed",
        "policy": f'marlx.load_policy("{folder.path}")',
        "result.json": "the numbers above",
        "curve.png": "learning curve",
        "episode.gif": "a greedy episode of the best seed",
    }
    print(f"  run folder      {folder.path}")
    for name, text in about.items():
        if (folder.path / name).exists():
            print(f"    {name:<17} {text}")


class _Stopped(Exception):
    """Ctrl-C or SIGTERM."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Raise `_Stopped` on SIGINT and SIGTERM, which the shell's exit codes then tell."""

    def stop(number: int, frame: object) -> None:
        raise _Stopped(128 + number)

    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _use_compilation_cache() -> None:
    """Keep compiled programs between runs; JAX's own variables say where, and whether."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(cache) / "marlx" / "xla"))


def _check_memory(needed: int) -> None:
    """Refuse what cannot fit, before it is compiled.

    Raises:
      ValueError: the state of all seeds is larger than the memory of all devices.
    """
    import jax

    devices = jax.local_devices()
    stats = [device.memory_stats() for device in devices]
    if all(stat and "bytes_limit" in stat for stat in stats):
        there = sum(stat["bytes_limit"] for stat in stats if stat)
    elif devices[0].platform == "cpu" and hasattr(os, "sysconf"):
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        return
    if needed > there:
        raise ValueError(
            f"this run needs {_bytes(needed)} and there are {_bytes(there)}; give it fewer seeds, "
            "fewer environments or a smaller replay"
        )


def _use_cpu_devices(devices: str, seeds: int) -> None:
    """Split the CPU into devices before JAX starts it; accelerators are left as they are."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if devices == "auto":
        count = min(cores or 1, seeds)
    elif devices.isdecimal() and int(devices) > 0:
        count = int(devices)
    else:
        raise ValueError(f"--devices is {devices}; it must be auto or a number from 1 up")
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    import jax

    with contextlib.suppress(RuntimeError):  # JAX has started already, in a program of the user's
        jax.config.update("jax_num_cpu_devices", count)


# Options


def parse_train(names: Sequence[str], argv: Sequence[str]) -> tuple[Experiment, Output]:
    """The experiment and the output options of a command line.

    Args:
      names: ALGO and ENV, or what of them is given.
      argv: the options.

    Raises:
      ValueError: anything unknown, ill-typed or refused, in one line.
    """
    from marlx.config import build, merge, schema, sources
    from marlx.registry import algorithm, make_env, settings_of
    from marlx.training import TrainConfig

    given = [*names, None, None]
    algo, env_id, layers = sources(given[0], given[1], _value_of(argv, "config"))
    known, output_known = schema(algo, env_id), settings_of(Output)
    in_file = {name: hint for name, hint in output_known.items() if name not in ("config", "out")}
    values = merge({**known, **in_file}, layers)
    learner, env = values.pop("learner", {}), values.pop("env", {})
    output = {name: values.pop(name) for name in in_file if name in values}
    parts = {
        "training": (_unchecked(TrainConfig()), values, True),
        "learner": (_unchecked(algorithm(algo).config()), learner, False),
        "env": (_unchecked(make_env(env_id)), env, False),
        "output": (Output(), output, True),
    }
    default = _together({name: (_with(part, v), bare) for name, (part, v, bare) in parts.items()})
    args = _canonical(argv, {**known, **output_known})
    summary = algorithm(algo).summary
    parsed = _tyro(default, args, f"marlx train {algo} {env_id}", f"{algo}: {summary}.")
    settings = {name: getattr(parsed.training, name) for name in settings_of(TrainConfig)}
    for block in ("learner", "env"):
        part = getattr(parsed, block)
        settings[block] = {name: getattr(part, name) for name in known[block]}
    return build(algo, env_id, settings), parsed.output


def _run_and_options(
    argv: Sequence[str], command: str, options: type[Options]
) -> tuple[str, Options]:
    """The run folder and the options of `marlx eval` and `marlx render`."""
    from marlx.registry import settings_of

    names, rest = _positionals(argv)
    wants_help = not names and rest[:1] in (["-h"], ["--help"])
    if len(names) != 1 and not wants_help:
        raise ValueError(f"marlx {command} takes one run folder before its options")
    args = _canonical(rest, settings_of(options))
    parsed = _tyro(options(), args, f"marlx {command} RUN", (options.__doc__ or "").strip())
    return names[0], parsed


def _positionals(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before the first option, and the rest."""
    count = next((i for i, word in enumerate(argv) if word.startswith("-")), len(argv))
    return list(argv[:count]), list(argv[count:])


def _value_of(argv: Sequence[str], option: str) -> str | None:
    """The value of `--option`, looked up before the other options can be known."""
    for i, word in enumerate(argv):
        if word == f"--{option}" and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(f"--{option}="):
            return word.split("=", 1)[1]
    return None


def _canonical(argv: Sequence[str], known: Schema) -> list[str]:
    """`argv` checked, with every value in the form that tyro reads.

    Raises:
      ValueError: an unknown option, a missing value or one of the wrong type, in one line.
    """
    from marlx.config import coerce

    hints = dict(_flat(known))
    out: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            return ["--help"]
        if not word.startswith("--"):
            raise ValueError(f"unexpected {word!r}; options are written --name value")
        given, _, inline = word[2:].partition("=")
        name = given.replace("-", "_")
        block, _, last = name.rpartition(".")
        off = f"{block}.{last[3:]}".lstrip(".") if last.startswith("no_") else ""
        if hints.get(off) is bool and name not in hints:
            out += [f"--{off}", "False"]
            continue
        name = name if name in hints else f"{name}_" if f"{name}_" in hints else name
        if name not in hints:
            raise unknown("option", f"--{given}", [f"--{_dashed(known)}" for known in hints])
        values = [inline] if "=" in word else []
        while not values or _is_list(hints[name]):
            if not words or re.match(r"-[-a-zA-Z]", words[0]):
                break
            values.append(words.pop(0))
        if not values:
            if hints[name] is not bool:
                raise ValueError(f"--{given} needs a value")
            values = ["true"]
        try:
            value = coerce(values if _is_list(hints[name]) else values[0], hints[name])
        except ValueError as error:
            raise ValueError(f"--{given}: {error}") from None
        out += [f"--{name}", *map(str, value if isinstance(value, tuple | list) else [value])]
    return out


def _flat(known: Schema, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and type of every setting."""
    for name, hint in known.items():
        if isinstance(hint, dict):
            yield from _flat(hint, f"{prefix}{name}.")
        else:
            yield prefix + name, hint


def _dashed(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _is_list(hint: Any) -> bool:
    return typing.get_origin(hint) in (tuple, list)


def _unchecked(record: Any) -> Any:
    """`record` as an instance of a class that checks nothing.

    A file may hold settings that only go together with an option: they are checked once, when all
    are known.
    """
    from tyro import conf

    cls, suppress = type(record), cast(Any, conf.Suppress)
    hidden = [
        (field.name, suppress[Any], dataclasses.field(default=None))
        for field in dataclasses.fields(cls)
        if field.name in ("id", "name") or field.name.startswith("_")
    ]
    free = dataclasses.make_dataclass(
        cls.__name__,
        hidden,
        bases=(cls,),
        namespace={
            "__post_init__": lambda self: None,
            "__doc__": (cls.__doc__ or "").split("\n\n")[0],
        },
        frozen=True,
        kw_only=True,
    )
    fields = [field.name for field in dataclasses.fields(cls) if field.init]
    return free(**{name: getattr(record, name) for name in fields})


def _with(record: Any, values: Mapping[str, Any]) -> Any:
    return dataclasses.replace(record, **values)


def _together(parts: Mapping[str, tuple[Any, bool]]) -> Any:
    """One record of several; those marked True have options without their name as prefix."""
    from tyro import conf

    bare_names = cast(Any, conf.OmitArgPrefixes)
    fields = [
        (name, bare_names[type(part)] if bare else type(part), part)
        for name, (part, bare) in parts.items()
    ]
    return dataclasses.make_dataclass("Options", fields, frozen=True)()


def _tyro(default: Any, args: Sequence[str], prog: str, description: str) -> Any:
    """`default` with the options of `args`; whatever tyro has to say becomes one line."""
    import tyro

    said = io.StringIO()
    config = (tyro.conf.FlagConversionOff, tyro.conf.AvoidSubcommands)
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                type(default),
                default=default,
                args=args,
                prog=prog,
                description=description,
                config=config,
            )
    except SystemExit as end:
        if end.code in (0, None):
            raise
        text = re.sub(r"[╭╮╰╯│─]+", " ", said.getvalue().split("───\n│")[0])
        raise ValueError(" ".join(text.split()) or "the options cannot be read") from None


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line each, without the place in the code."""

    def line(message: Warning | str, *_: Any, **__: Any) -> str:
        return f"marlx: warning: {message}\n"

    old, warnings.formatwarning = warnings.formatwarning, line
    try:
        yield
    finally:
        warnings.formatwarning = old
