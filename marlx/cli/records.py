"""Options of every command, as records: a field's docstring is its help."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go and what computes them."""

    config: str | None = None
    """YAML file with settings, below those of the command line."""
    out: str | None = None
    """Run folder, new or empty; runs/ALGO-ENV-DATE-TIME if not given."""
    wandb: Literal["off", "offline", "online"] = "off"
    """Log to Weights & Biases too; `offline` keeps its files in the run folder."""
    wandb_project: str | None = None
    """Project there; what WANDB_PROJECT says, or `marlx`, if not given."""
    wandb_entity: str | None = None
    """Team or user there; the account's own if not given."""
    wandb_group: str | None = None
    """Show it there together with the other runs of this group."""
    wandb_tags: tuple[str, ...] = ()
    """Words to find it by."""
    wandb_runs: Literal["one", "seeds"] = "one"
    """`one` run with all seeds, or one for each of the `seeds`, as a group."""
    tensorboard: bool = False
    """Write event files for TensorBoard into the run folder too."""
    devices: str = "auto"
    """What computes it: `auto`, a device per seed while they last; a number of devices or `all`,
    seeds first; or groups and the devices of each (2x4), which share the environments of a seed."""
    distributed: bool = False
    """Train together with other processes, each started by this command on devices of its own."""
    coordinator: str | None = None
    """HOST:PORT of process 0, the same for all; what the cluster says if not given."""
    num_processes: int | None = None
    """How many there are; what the cluster says if not given."""
    process_id: int | None = None
    """Which one this is, from 0 up; what the cluster says if not given."""
    resume: str | None = None
    """Run folder to go on with; only total_steps and these options may be given with it."""
    checkpoints: bool = True
    """Keep checkpoints in the run folder, from which the run can be resumed."""
    checkpoint_seconds: float = 60.0
    """Least time between two; the first and the last evaluation always have one."""
    keep_checkpoints: int = 2
    """How many of the newest are kept while the run lasts; afterwards the last one is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """Returns of a trained policy on fresh episodes.

    --env ID plays another environment, --env.NAME X changes a setting of it or of the run's own.
    """

    episodes: int = 100
    """Fresh episodes."""
    explore: bool = False
    """Act as in training instead of greedily: policy gradients draw their actions."""
    json: bool = False
    """Print JSON, with every episode's return."""
    policy_seed: int | None = None
    """Which of the run's seeds acts; the one with the best return if not given."""
    seed: int = 0
    """Seed of the episodes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """What looks wrong with a run, and the settings to look at."""

    strict: bool = False
    """Leave with exit code 1 if anything does."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """A trained policy as StableHLO, with its arrays and a description of both."""

    out: str | None = None
    """Folder to write to; `export` in the run folder if not given."""
    policy_seed: int | None = None
    """Which of the run's seeds; the one with the best return if not given."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlotOptions:
    """Learning curves of runs: a panel per task, a line and a band per method.

    RUN is a run folder, a folder of them, or a file in marl-eval's format.
    """

    out: str = "curves.png"
    """Picture to write: .png, .svg or .pdf."""
    metric: str = "return"
    """What to draw, a name in metrics.jsonl."""
    x: str = "steps"
    """Against what: `steps`, `seconds` or any metric that grows along a run."""
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
    """What to draw of random play."""

    out: str | None = None
    """GIF file; named after the environment, in this folder, if not given."""
    seed: int = 0
    """Seed of the episode."""
    fps: float = 4.0
    """Steps per second."""


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """How to run a sweep, or where to find what came out of it."""

    trials: int | None = None
    """How many, over all processes; `run_cap` of the file or the whole grid if not given."""
    vmap: int = 1
    """Trials trained at once in one compiled program, where they fit in memory."""
    out: str | None = None
    """Sweep folder; runs/sweep-NAME if not given."""
    storage: str | None = None
    """Optuna storage URL, for several machines; study.db in the sweep folder if not given."""
    study: str | None = None
    """Name of the sweep in that storage; the folder's if not given."""
    seed: int = 0
    """Of the search."""
    devices: str = "auto"
    """Devices to lay trials and seeds over: a number, `all`, or `auto`; for CPUs only."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """Run a stored result again and say whether the new interval overlaps the stored one."""

    seeds: int | None = None
    """The first of the stored seeds; all if not given."""
    total_steps: int | None = None
    """End there, and compare with the stored curve; the stored steps if not given."""
    devices: str = "auto"
    """CPU devices to lay seeds over: a number, or `auto` for a core per seed while they last."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Time marlx on this machine, against other packages where they are installed."""

    quick: bool = False
    """Fewer sizes and repeats: whether it works, and roughly how fast."""
    out: str = "bench"
    """Folder for the results, a JSON per script."""


CLUSTER_OPTIONS = ("coordinator", "num_processes", "process_id")
