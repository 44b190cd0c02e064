"""Weights & Biases logger that never delays or stops the training.

wandb is only used in a background thread. Before a run goes online, its server is contacted. If
that fails, the run is kept offline at once, while wandb itself would retry for a long time.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Literal, NamedTuple

from marlx.loggers.base import Background, by_seed, pictures, print_error, print_line
from marlx.loop.progress import Progress
from marlx.runs.files import read_json, replace_file

FLUSH = 1.0
"""Longest time that wandb buffers data in memory, where a kill loses it, in seconds."""
TIMEOUT = 5.0
"""Longest time to wait for an answer of the server, in seconds."""
STATE_FILE = "wandb.json"
"""File in the run folder with the ids of the wandb runs and the last step that is safely logged."""


class Wandb:
    """Weights & Biases logger; errors are printed in one line and never stop the training.

    A run folder that was logged before has the ids of its wandb runs. They are continued, and steps
    that they already have are left out.
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
        """Starts logging in a background thread, and returns at once.

        Args:
          mode: `offline` writes to the run folder, `online` also sends to the server. There are no
            prompts: without a login or a working server, `online` becomes `offline`, and a line
            says so.
          folder: the run folder.
          config: all settings, as in `config.yaml`.
          project: name of the wandb project; WANDB_PROJECT or `marlx` by default.
          entity: team or user; the account's default if None.
          group: group of the wandb runs; with a run per seed, the folder's name by default.
          tags: tags of the wandb runs.
          seeds: the run's seeds; 0, 1, ... if empty.
          runs: `one` wandb run for all seeds, with the metrics of each under `seed_{i}/`, or one
            for each of the `seeds`.
          facts: versions and devices, as in `environment.json`.
          patience: longest time that `close` waits, in seconds.
        """
        _import_here()
        separate = runs == "seeds" and len(seeds) > 1
        if separate and "WANDB_SWEEP_ID" in os.environ:
            print_line("wandb", "a sweep needs a single run, so all seeds share one")
            separate = False
        options = WandbOptions(
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
        self._background = Background("wandb", lambda: WandbRuns(options), patience=patience)

    def log(self, progress: Progress) -> None:
        """Logs means over seeds by metric name, and those of each seed under `seed_{i}/`."""
        self._background.log(progress)

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Logs pictures, table and summary, and waits at most `patience` seconds."""
        self._background.close(result)


class WandbOptions(NamedTuple):
    """Arguments of `Wandb`, with defaults filled in."""

    mode: str
    folder: Path
    config: Mapping[str, Any]
    project: str
    entity: str | None
    group: str | None
    tags: tuple[str, ...]
    seeds: tuple[int, ...]
    separate: bool  # a wandb run per seed
    patience: float


class WandbRuns:
    """Logger of the wandb runs, for a thread that may wait for them.

    There is one run, with key None, or one for each seed, with the seed's index as its key.
    """

    def __init__(self, options: WandbOptions) -> None:
        """Starts the runs, or continues those of the run folder."""
        os.environ.setdefault("WANDB_SILENT", "true")
        logging.getLogger("wandb").setLevel(logging.ERROR)
        import wandb

        self._wandb, self._options = wandb, options
        state = read_json(options.folder / STATE_FILE)
        self._known: int = state.get("steps", -1)
        ids = state.get("ids", {})
        online = options.mode == "online" and _can_send(wandb)
        keys: list[int | None] = [None]
        if options.separate:
            keys = list(range(len(options.seeds)))
        self._runs = {
            key: self._start(key, ids.get(_id_name(options, key)), online) for key in keys
        }
        self._ids = {_id_name(options, key): run.id for key, run in self._runs.items()}
        self._steps, self._safe = self._known, self._known
        self._pending: list[tuple[float, int]] = []  # time and steps of entries not yet safe
        self._returns: dict[int, float] = {}
        self._write_state()

    def log(self, progress: Progress) -> None:
        """Logs an evaluation, unless the runs have it from before they were continued."""
        if progress.steps <= self._known:
            return
        rows = by_seed(progress)
        single = len(rows) == 2  # the mean over one seed is that seed
        for key, run in self._runs.items():
            values: dict[str, float] = {"seconds": progress.seconds}
            for seed, numbers in rows:
                if seed == key:
                    values |= numbers
                elif key is None and not single:
                    values |= {f"seed_{seed}/{name}": x for name, x in numbers.items()}
            run.log(values, step=progress.steps)
        self._returns = {
            seed: numbers["return"]
            for seed, numbers in rows
            if seed is not None and "return" in numbers
        }
        self._steps = progress.steps
        now = monotonic()
        self._pending.append((now, progress.steps))
        # wandb writes a step to disk after it has received the next one
        while len(self._pending) > 1 and now - self._pending[1][0] > 2 * FLUSH:
            self._safe = self._pending.pop(0)[1]
        self._write_state()

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Logs summary, pictures and table, and finishes the runs."""
        final = dict(enumerate((result or {}).get("return", {}).get("per_seed", [])))
        returns = final or self._returns
        best = max(returns, key=lambda seed: returns[seed], default=None)
        for key, run in self._runs.items():
            seeds = [seed for seed in returns if key in (None, seed)]
            with _printed_errors("could not log the result"):
                own = {} if key is None else {"final/return": returns.get(key)}
                run.summary.update({**_summary(result), **own})
            for name, make in self._media(seeds, returns, key in (None, best)).items():
                with _printed_errors(f"could not log {name}"):
                    run.log({name: make()}, step=max(0, self._steps))
        for run in self._runs.values():
            with _printed_errors("could not finish"):
                run.finish(exit_code=0 if result else 1)
        self._safe = self._steps
        self._write_state()

    def _media(
        self, seeds: Sequence[int], returns: Mapping[int, float], episode: bool
    ) -> dict[str, Callable[[], Any]]:
        """Curve, table of final returns and, if `episode`, the GIF of the best seed's episode."""
        wandb, files = self._wandb, pictures(self._options.folder)
        named = dict(enumerate(self._options.seeds))
        rows = [[named.get(seed, seed), self._steps, returns[seed]] for seed in seeds]
        media: dict[str, Callable[[], Any]] = {}
        if "curve" in files:
            media["curve"] = lambda: wandb.Image(str(files["curve"]))
        if "episode" in files and episode:
            media["episode"] = lambda: wandb.Video(str(files["episode"]), format="gif")
        # last, because making a table waits for an answer of the server
        media["returns"] = lambda: wandb.Table(columns=["seed", "steps", "return"], data=rows)
        return media

    def _start(self, key: int | None, run_id: str | None, online: bool) -> Any:
        """Starts the run for a key, or continues the one with `run_id`; offline if need be."""
        if online:
            try:
                run = self._init("online", key, run_id)
                print_line("wandb", run.url)
                return run
            except Exception as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                print_line("wandb", f"cannot go online, so the run is kept offline: {reason[:150]}")
        return self._init("offline", key, run_id)

    def _init(self, mode: Literal["offline", "online"], key: int | None, run_id: str | None) -> Any:
        options = self._options
        name, config = options.folder.name, dict(options.config)
        if key is not None:
            seed = options.seeds[key]
            name, config = f"{name}-seed{seed}", config | {"seed": seed, "seeds": 1}
        given = None if options.separate else os.environ.get("WANDB_RUN_ID")
        return self._wandb.init(
            mode=mode,
            project=options.project,
            entity=options.entity,
            name=name,
            group=options.group,
            tags=options.tags or None,
            job_type="train",
            id=run_id or given or secrets.token_hex(4),
            resume="allow" if run_id else None,
            allow_val_change=bool(run_id),
            dir=str(options.folder.resolve()),  # its process may have another working directory
            config=config,
            reinit="create_new",
            settings=_settings(self._wandb, options.patience),
        )

    def _write_state(self) -> None:
        """Replaces the state file, from which a resumed training continues the runs."""
        content = {"project": self._options.project, "ids": self._ids, "steps": self._safe}
        with contextlib.suppress(OSError):  # a full disk is reported by the run folder
            replace_file(self._options.folder / STATE_FILE, json.dumps(content) + "\n")


def _import_here() -> None:
    """Imports wandb in the calling thread on Python below 3.11.8; later versions do not need it.

    There, two threads that parse Python source at the same time can fail with "AST constructor
    recursion depth mismatch" (gh-106905). wandb's imports parse, and so do those of a training.
    """
    if sys.version_info < (3, 11, 8):
        with contextlib.suppress(ImportError):  # the thread reports it
            import wandb
            import wandb.apis.public  # noqa: F401  # wandb imports it later


@contextlib.contextmanager
def _printed_errors(text: str) -> Iterator[None]:
    """Prints an error instead of raising it."""
    try:
        yield
    except Exception as error:
        print_error("wandb", text, error)


def _id_name(options: WandbOptions, key: int | None) -> str:
    """Name of a run's id in the state file: its seed, or `all`."""
    return "all" if key is None else str(options.seeds[key])


BESIDE = ("greedy_return", "drawn_return")
"""Metrics that an evaluation may have beside `return`."""


def _summary(result: Mapping[str, Any] | None) -> dict[str, Any]:
    """The numbers of a result under `final/`."""
    if not result:
        return {}
    returns = result["return"]
    low, high = returns["interval_95"]
    others = {name: (result.get(name) or {}).get("mean") for name in BESIDE}
    numbers = {
        "return": returns["mean"],
        "judged": result.get("judged"),
        **others,
        "iqm": returns["iqm"],
        "return_low": low,
        "return_high": high,
        "random_return": result["random_return"],
        "optimum": result["optimum"],
        **{f"seconds_{name}": x for name, x in result["seconds"].items()},
    }
    return {f"final/{name}": x for name, x in numbers.items() if x is not None}


def _settings(wandb: Any, patience: float) -> Any:
    """Settings of a run, without those that an older wandb does not have."""
    settings = {
        "silent": True,
        "console": "off",  # redirecting the terminal breaks live lines
        "init_timeout": max(5.0, 0.75 * patience),
        "finish_timeout": max(1.0, 0.75 * patience),
        "login_timeout": 1,
        "x_transaction_log_flush_interval": FLUSH,
    }
    known = getattr(wandb.Settings, "model_fields", settings)
    return wandb.Settings(**{name: value for name, value in settings.items() if name in known})


def _can_send(wandb: Any) -> bool:
    """Whether runs can be sent; if not, prints why. Never prompts."""
    try:
        ready = _logged_in(wandb.login, lambda: wandb.api.api_key)
    except Exception as error:  # for instance a key that cannot be one
        print_error("wandb", "cannot log in, so the run is kept offline", error)
        return False
    if not ready:
        print_line("wandb", "not logged in, so the run is kept offline")
        return False
    url = os.environ.get("WANDB_BASE_URL") or wandb.setup().settings.base_url
    reason = _unreachable(url)
    if reason:
        print_line("wandb", f"{url} cannot be reached ({reason}), so the run is kept offline")
    return not reason


def _logged_in(login: Callable[..., Any], api_key: Callable[[], str | None]) -> bool:
    """Whether there is a login; `api_key` is for versions whose `login` can only prompt."""
    known = inspect.signature(login).parameters
    if "prompt" in known:
        return bool(login(prompt=False, **({"verify": False} if "verify" in known else {})))
    return bool(api_key())


def _unreachable(url: str) -> str:
    """Why the server at `url` does not work; empty if it does."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT):
            return ""
    except urllib.error.HTTPError as error:
        # other status codes are answers of a server that works
        return f"error {error.code}" if error.code >= 500 else ""
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))[:80] or type(error).__name__
