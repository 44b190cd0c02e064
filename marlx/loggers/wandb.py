"""Weights & Biases, in a way that training never waits for and never fails with.

Everything that touches wandb happens on a thread of its own. Before it is asked to go online, its
server is: one that cannot be reached, or that is out of order, makes the run an offline one at
once, where wandb itself would retry for a long time.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from marlx.loggers.base import Background, by_seed, complain, pictures, say
from marlx.runs.files import read_json, replace_file

if TYPE_CHECKING:
    from marlx.loop.progress import Progress

FLUSH = 1.0
"""Seconds that wandb may keep what it was told in memory, where a kill would lose it."""
STATE_FILE = "wandb.json"
"""In the run folder: ids of the runs, and how far they have been told of the training."""


class Wandb:
    """Weights & Biases; whatever goes wrong with it costs a line, never the training.

    A run folder that was logged before holds the ids: the same runs are continued, and steps that
    they know already are left out.
    """

    def __init__(
        self,
        mode: Literal["offline", "online"] | str,
        folder: Path,
        config: Mapping[str, Any],
        project: str | None = None,
        *,
        entity: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        seeds: Sequence[int] = (),
        runs: Literal["one", "seeds"] | str = "one",
        facts: Mapping[str, Any] | None = None,
        patience: float = 20.0,
    ) -> None:
        """Start, without waiting for it.

        Args:
          mode: `offline` writes to the run folder, `online` also sends. Nothing ever prompts:
            `online` without being logged in, or with a server that does not answer, is `offline`,
            with a line that says so.
          folder: the run folder.
          config: every setting, as in `config.yaml`.
          project: of Weights & Biases; what WANDB_PROJECT says, or `marlx`, by default.
          entity: the team or user it belongs to; the default one of the account if None.
          group: what the run is shown together with. One run per seed makes a group of them, named
            after the folder if nothing else is said.
          tags: words to find the run by.
          seeds: the run's seeds; counted from 0 if not given.
          runs: `one` run for all seeds, each under `seed_{i}/`, or one for each of the `seeds`.
          facts: versions and devices, as in `environment.json`.
          patience: seconds that closing may take.
        """
        separate = runs == "seeds" and len(seeds) > 1
        if separate and "WANDB_SWEEP_ID" in os.environ:
            say("wandb", "a sweep asks for a single run, so the seeds share one")
            separate = False
        about = _About(
            mode,
            folder,
            {**config, **({"facts": dict(facts)} if facts else {})},
            project or os.environ.get("WANDB_PROJECT") or "marlx",
            entity,
            group or (folder.name if separate else None),
            tuple(tags),
            tuple(seeds),
            separate,
            patience,
        )
        self._background = Background("wandb", lambda: _Runs(about), patience=patience)

    def log(self, progress: Progress) -> None:
        """Means over seeds under the metric's name, and each seed's under `seed_{i}/`."""
        self._background.log(progress)

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Hand over pictures, table and summary, and wait a while for them to be taken."""
        self._background.close(result)


class _About(NamedTuple):
    """What `Wandb` was given."""

    mode: str
    folder: Path
    config: Mapping[str, Any]
    project: str
    entity: str | None
    group: str | None
    tags: tuple[str, ...]
    seeds: tuple[int, ...]
    separate: bool
    patience: float


class _Runs:
    """The runs there, on the thread that may wait for them."""

    def __init__(self, about: _About) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        logging.getLogger("wandb").setLevel(logging.ERROR)
        import wandb

        self._wandb, self._about = wandb, about
        state = read_json(about.folder / STATE_FILE)
        self._known: int = state.get("steps", -1)
        ids = state.get("ids", {})
        online = about.mode == "online" and _can_send(wandb)
        lanes: list[int | None] = list(range(len(about.seeds))) if about.separate else [None]
        self._runs = {
            lane: self._start(lane, ids.get(_lane(about, lane)), online) for lane in lanes
        }
        self._ids = {_lane(about, lane): run.id for lane, run in self._runs.items()}
        self._steps, self._safe = self._known, self._known
        self._told: list[tuple[float, int]] = []  # when, and of which step, if not safe yet
        self._returns: dict[int, float] = {}
        self._remember()

    def log(self, progress: Progress) -> None:
        if progress.steps <= self._known:  # told before the run was continued
            return
        rows = by_seed(progress)
        alone = len(rows) == 2  # one seed is its own mean
        for lane, run in self._runs.items():
            values: dict[str, float] = {"seconds": progress.seconds}
            for seed, numbers in rows:
                if seed == lane:
                    values |= numbers
                elif lane is None and not alone:
                    values |= {f"seed_{seed}/{name}": x for name, x in numbers.items()}
            run.log(values, step=progress.steps)
        self._returns = {
            seed: numbers["return"]
            for seed, numbers in rows
            if seed is not None and "return" in numbers
        }
        self._steps = progress.steps
        now = monotonic()
        self._told.append((now, progress.steps))
        # a step is written out after the next one has come
        while len(self._told) > 1 and now - self._told[1][0] > 2 * FLUSH:
            self._safe = self._told.pop(0)[1]
        self._remember()

    def close(self, result: Mapping[str, Any] | None) -> None:
        final = dict(enumerate((result or {}).get("return", {}).get("per_seed", [])))
        returns = final or self._returns
        best = max(returns, key=lambda seed: returns[seed], default=None)
        for lane, run in self._runs.items():
            mine = [seed for seed in returns if lane in (None, seed)]
            with _guarded("could not log the result"):
                own = {} if lane is None else {"final/return": returns.get(lane)}
                run.summary.update({**_summary(result), **own})
            for name, make in self._media(mine, returns, lane in (None, best)).items():
                with _guarded(f"could not log {name}"):
                    run.log({name: make()}, step=max(0, self._steps))
        for run in self._runs.values():
            with _guarded("could not finish"):
                run.finish(exit_code=0 if result else 1)
        self._safe = self._steps
        self._remember()

    def _media(
        self, seeds: Sequence[int], returns: Mapping[int, float], whole: bool
    ) -> dict[str, Callable[[], Any]]:
        """Curve and table of these seeds; the episode, which is the best seed's, if `whole`."""
        wandb, files = self._wandb, pictures(self._about.folder)
        named = dict(enumerate(self._about.seeds))
        rows = [[named.get(seed, seed), self._steps, returns[seed]] for seed in seeds]
        media: dict[str, Callable[[], Any]] = {}
        if "curve" in files:
            media["curve"] = lambda: wandb.Image(str(files["curve"]))
        if "episode" in files and whole:
            media["episode"] = lambda: wandb.Video(str(files["episode"]), format="gif")
        # last, for a table asks the server whether it may, and waits for the answer
        media["returns"] = lambda: wandb.Table(columns=["seed", "steps", "return"], data=rows)
        return media

    def _start(self, lane: int | None, run_id: str | None, online: bool) -> Any:
        about = self._about
        name, config = about.folder.name, dict(about.config)
        if lane is not None:
            name, config = f"{name}-seed{about.seeds[lane]}", config | {"seed": about.seeds[lane]}
            config |= {"seeds": 1}

        given = None if about.separate else os.environ.get("WANDB_RUN_ID")

        def start(mode: str) -> Any:
            run = self._wandb.init(
                mode=mode,
                project=about.project,
                entity=about.entity,
                name=name,
                group=about.group,
                tags=about.tags or None,
                job_type="train",
                id=run_id or given or secrets.token_hex(4),
                resume="allow" if run_id else None,
                allow_val_change=bool(run_id),
                dir=str(about.folder),
                config=config,
                reinit="create_new",
                settings=_settings(self._wandb, about.patience),
            )
            if mode == "online":
                say("wandb", run.url)
            return run

        if online:
            try:
                return start("online")
            except Exception as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                say("wandb", f"cannot go online, so this run is kept offline: {reason[:150]}")
        return start("offline")

    def _remember(self) -> None:
        """Writes the ids by which these runs are continued."""
        content = {"project": self._about.project, "ids": self._ids, "steps": self._safe}
        with contextlib.suppress(OSError):  # a full disk: the run folder reports its own files
            replace_file(self._about.folder / STATE_FILE, json.dumps(content) + "\n")


@contextlib.contextmanager
def _guarded(what: str) -> Iterator[None]:
    """A part that may fail without the next one; it costs a line."""
    try:
        yield
    except Exception as error:
        complain("wandb", what, error)


def _lane(about: _About, lane: int | None) -> str:
    """What a run is remembered by: its seed, or `all`."""
    return "all" if lane is None else str(about.seeds[lane])


def _summary(result: Mapping[str, Any] | None) -> dict[str, Any]:
    """The result as single numbers under `final/`, beside the metrics' own last values."""
    if not result:
        return {}
    returns = result["return"]
    low, high = returns["interval_95"]
    numbers = {
        "return": returns["mean"],
        "iqm": returns["iqm"],
        "return_low": low,
        "return_high": high,
        "random_return": result["random_return"],
        "optimum": result["optimum"],
        **{f"seconds_{name}": x for name, x in result["seconds"].items()},
    }
    return {f"final/{name}": x for name, x in numbers.items() if x is not None}


def _settings(wandb: Any, patience: float) -> Any:
    """Settings of a run; those that an older wandb does not have are left out."""
    settings = {
        "silent": True,
        "console": "off",  # its redirection of the terminal does not go with live lines
        "init_timeout": max(5.0, 0.75 * patience),
        "finish_timeout": max(1.0, 0.75 * patience),
        "login_timeout": 1,
        "x_transaction_log_flush_interval": FLUSH,
    }
    known = getattr(wandb.Settings, "model_fields", settings)
    return wandb.Settings(**{name: value for name, value in settings.items() if name in known})


def _can_send(wandb: Any) -> bool:
    """Whether runs can be sent, found out without a prompt; a line says why not."""
    if not _logged_in(wandb.login, lambda: wandb.api.api_key):
        say("wandb", "not logged in, so this run is kept offline")
        return False
    url = os.environ.get("WANDB_BASE_URL") or wandb.setup().settings.base_url
    reason = _unreachable(url)
    if reason:
        say("wandb", f"{url} cannot be reached ({reason}), so this run is kept offline")
    return not reason


def _logged_in(login: Callable[..., Any], old: Callable[[], str | None]) -> bool:
    known = inspect.signature(login).parameters
    if "prompt" in known:
        return bool(login(prompt=False, **({"verify": False} if "verify" in known else {})))
    return bool(old())  # before wandb had the argument


def _unreachable(url: str, seconds: float = 5.0) -> str:
    """Why there is no server in working order at `url`; empty if there is one."""
    try:
        with urllib.request.urlopen(url, timeout=seconds):
            return ""
    except urllib.error.HTTPError as error:  # an answer, if not a page
        return f"error {error.code}" if error.code >= 500 else ""
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))[:80] or type(error).__name__
