"""Options of every command, as records: a field's docstring is its help."""

from __future__ import annotations

import dataclasses
from typing import Literal

from marlx.settings import LARGEST_SEED, setting

MOST_EPISODES = 2**20
"""Most episodes of an evaluation."""
MOST_SHOWN = 100
"""Most episodes on a page."""
MOST_TRIALS = 100_000
"""Most trials of a sweep."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """Where results are written, and the devices that compute them."""

    config: str | None = None
    """YAML file with settings, below those of the command line."""
    out: str | None = None
    """Run folder, new or empty; runs/ALGO-ENV-DATE-TIME if not given."""
    wandb: Literal["off", "offline", "online"] = "off"
    """Log to Weights & Biases too; `offline` keeps its files in the run folder."""
    wandb_project: str | None = None
    """Project there; WANDB_PROJECT, or `marlx`, if not given."""
    wandb_entity: str | None = None
    """Team or user there; the account's default if not given."""
    wandb_group: str | None = None
    """Group of runs there that this one belongs to."""
    wandb_tags: tuple[str, ...] = ()
    """Tags there."""
    wandb_runs: Literal["one", "seeds"] = "one"
    """Runs there:
    `one`: one run with all seeds.
    `seeds`: one run for each seed, in a group."""
    tensorboard: bool = False
    """Write event files for TensorBoard into the run folder too."""
    devices: str = "auto"
    """Devices that train:
    `auto`: one per seed, as many as there are.
    `all`: all of them, or a number; seeds are split over them first.
    `2x4`: two groups of four, where the environments of a seed are split over a group."""
    workers: int = 1
    """Processes of this machine that share the seeds, each on CPU cores of its own."""
    distributed: bool = False
    """Train together with other processes, each started by this command on devices of its own."""
    coordinator: str | None = None
    """HOST:PORT of process 0, the same for all; the cluster's if not given."""
    num_processes: int | None = None
    """Number of processes; the cluster's if not given."""
    process_id: int | None = None
    """Index of this process, from 0; the cluster's if not given."""
    resume: str | None = None
    """Run folder to continue; of the settings, only total_steps may be given with it."""
    checkpoints: bool = True
    """Keep checkpoints in the run folder, from which the run can be resumed."""
    checkpoint_seconds: float = 60.0
    """Least seconds between two; the first and the last evaluation always have one."""
    keep_checkpoints: int = 2
    """Number of newest checkpoints kept during the run; at its end only the last is kept."""
    check_finite: bool = False
    """Look for NaN and infinity in rewards and observations of every step, not only at the end of a
    block. The program is another one, and so are the last bits of the training."""
    quiet: bool = False
    """Print nothing but errors."""
    dry_run: bool = False
    """Check everything and print the plan; train nothing and make no folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """Returns of a trained policy on fresh episodes.

    --env ID plays another environment, --env.NAME X changes a setting of it or of the run's own.
    """

    episodes: int = setting(100, at_least=1, at_most=MOST_EPISODES)
    """Fresh episodes."""
    eval: Literal["auto", "greedy", "drawn", "both"] = "auto"
    """Actions:
    `auto`: as in the evaluations of the run.
    `drawn`: from the policy, or exploring; `greedy`: the best ones.
    `both`: half of the episodes each."""
    json: bool = False
    """Print JSON, with every episode's return."""
    policy_seed: int | None = setting(None, at_least=0, at_most=LARGEST_SEED)
    """The run's seed that acts; the one with the best return if not given."""
    seed: int = setting(0, at_least=0, at_most=LARGEST_SEED)
    """Seed of the episodes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Likely problems of a run, and the settings to look at."""

    strict: bool = False
    """Exit with code 1 if there are any."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """A trained policy as StableHLO, with its arrays and a description of both, or as ONNX."""

    to: Literal["stablehlo", "onnx"] = "stablehlo"
    """`onnx`: one file, `policy.onnx`, with its inputs and outputs described in it; it needs the
    extra `onnx`."""
    out: str | None = None
    """Folder to write to; `export` in the run folder if not given."""
    policy_seed: int | None = setting(None, at_least=0, at_most=LARGEST_SEED)
    """The run's seed; the one with the best return if not given."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlotOptions:
    """Learning curves of runs: a panel per task, a line and a band per method.

    RUN is a run folder, a folder of them, or a file in marl-eval's format.
    """

    out: str = "curves.png"
    """Picture to write: .png, .svg or .pdf."""
    format: Literal["png", "svg", "pdf"] | None = None
    """Format of the picture, instead of the ending of `out`."""
    width: Literal["screen", "column", "text"] = "screen"
    """Width and sizes: for a `screen`, or a `column` (3.35 inches) or the `text` (6.9 inches) of a
    paper."""
    palette: Literal["marlx", "safe"] = "marlx"
    """Colours; `safe` ones are told apart by colour-blind people, and each method has its own line
    style, for prints without colour."""
    style: str | None = None
    """Style file of matplotlib, whose fonts, sizes and line widths are used."""
    csv: bool = False
    """Write the numbers of the figure beside it, with the ending .csv."""
    metric: str = "return"
    """Metric on the y axis, a name in metrics.jsonl."""
    x: str = "steps"
    """The x axis: `steps`, `seconds` or any metric that grows during a run."""
    statistic: Literal["iqm", "mean", "median"] = "iqm"
    """Over seeds; bands are 95% stratified bootstrap intervals of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """One HTML page about runs, which needs no network.

    RUN is a run folder, a folder of them, or a file in marl-eval's format.
    """

    out: str = "report.html"
    """Page to write."""
    marl_eval: str | None = None
    """Also write the runs to this file, for marl-eval's tools."""
    bounds: str | None = None
    """YAML file with lines `TASK: [LOW, HIGH]`: the returns that score 0 and 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """An episode of random play."""

    to: str | None = None
    """File to write, by its ending: .html is a page to step through episodes; others as `out`."""
    episodes: int = setting(3, at_least=1, at_most=MOST_SHOWN)
    """Episodes on the page."""
    out: str | None = None
    """Picture to write, .gif, or .mp4 where ffmpeg is there; a GIF named after the environment, in
    this folder, if not given."""
    seed: int = setting(0, at_least=0, at_most=LARGEST_SEED)
    """Seed of the episode."""
    fps: float = setting(4.0, above=0, at_most=1000)
    """Steps per second."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """An episode of a trained policy: a GIF, or a page to step through several."""

    to: str | None = None
    """File to write, by its ending: .html is a page to step through episodes of the run's seeds,
    with what the agents value; others as `out`."""
    episodes: int = setting(3, at_least=1, at_most=MOST_SHOWN)
    """Episodes of each seed on the page."""
    out: str | None = None
    """Picture to write, .gif, or .mp4 where ffmpeg is there; episode.gif in the run folder if not
    given."""
    policy_seed: int | None = setting(None, at_least=0, at_most=LARGEST_SEED)
    """The run's seed that acts; the one with the best return if not given."""
    eval: Literal["auto", "greedy", "drawn"] = "auto"
    """Actions: `drawn` from the policy or the best (`greedy`); `auto`: those that the run is judged
    by."""
    seed: int = setting(0, at_least=0, at_most=LARGEST_SEED)
    """Seed of the episode."""
    fps: float = setting(4.0, above=0, at_most=1000)
    """Steps per second."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlayWithOptions:
    """A game in a browser: you take a seat in a trained team, which plays the others.

    A server on this computer steps the environment, or a single file plays by itself (`--to`).
    """

    to: str | None = None
    """Write one file, .html, that needs no server: for foraging and matrix games, with networks of
    Q-learning and PPO."""
    port: int = setting(0, at_least=0, at_most=65_535)
    """Port of the server on this computer; a free one if 0."""
    record: str | None = None
    """File to which finished episodes are added, as JSON lines; played.jsonl in the run folder if
    not given."""
    policy_seed: int | None = setting(None, at_least=0, at_most=LARGEST_SEED)
    """The run's seed that acts; a choice between the best ones if not given."""
    seed: int = setting(0, at_least=0, at_most=LARGEST_SEED)
    """Seed of first states and drawn actions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """All runs under a folder, as they go: `runs` if none is given. Nothing is written.

    In a terminal until Ctrl-C; elsewhere they are printed once.
    """

    web: bool = False
    """Show them on a page in a browser, with their curves, from a server on this computer."""
    port: int = setting(0, at_least=0, at_most=65_535)
    """Port of that server; a free one if 0."""
    every: float = setting(2.0, at_least=0.2, at_most=3600)
    """Seconds between two looks."""
    once: bool = False
    """Print them once and end."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Options of a sweep."""

    trials: int | None = setting(None, at_least=1, at_most=MOST_TRIALS)
    """Trials, over all processes; `run_cap` of the file or the whole grid if not given."""
    vmap: int = setting(1, at_least=1, at_most=MOST_TRIALS)
    """Trials trained at once in one compiled program, where they fit in memory."""
    out: str | None = None
    """Sweep folder; runs/sweep-NAME if not given."""
    storage: str | None = None
    """Optuna storage URL, for several machines; study.db in the sweep folder if not given."""
    study: str | None = None
    """Name of the sweep in that storage; the folder's if not given."""
    seed: int = setting(0, at_least=0, at_most=LARGEST_SEED)
    """Seed of the search."""
    devices: str = "auto"
    """CPU devices to shard trials and seeds over: a number, `all`, or `auto`."""
    wait: bool = True
    """Stay until other processes have finished their trials, to run those of one that dies."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """Run a stored result again and say whether the new interval overlaps the stored one."""

    seeds: int | None = None
    """The first of the stored seeds; all if not given."""
    total_steps: int | None = None
    """End there, and compare with the stored curve; the stored steps if not given."""
    devices: str = "auto"
    """CPU devices to shard seeds over: a number, or `auto` for one per seed, as cores allow."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Time marlx on this machine, against other packages where they are installed."""

    quick: bool = False
    """Shorter and fewer repeats, for a rough measurement."""
    out: str = "bench"
    """Folder for the results, a JSON per script."""
    jaxmarl: str | None = None
    """Clone of JaxMARL's repository, whose scripts are timed in turns with ours."""
    peer_python: str | None = None
    """Python that has what JaxMARL's scripts import; default: this one."""
    only: tuple[str, ...] = ()
    """Of JaxMARL's scripts these cases, such as `qmix` or `ippo feed-forward`; default: all."""


CLUSTER_OPTIONS = ("coordinator", "num_processes", "process_id")
ONCE_OPTIONS = ("config", "out", "resume", "distributed", "quiet", "dry_run", *CLUSTER_OPTIONS)
"""Options of one call: a file of settings has none of them, and a resumed run keeps none."""
