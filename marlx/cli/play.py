"""`marlx eval`, `render` and `export`: a policy in numbers, in pictures and as a file."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.cli.cache import use_compilation_cache
from marlx.cli.options import env_options, parse_play, positionals, run_and_options, with_settings
from marlx.cli.records import EvalOptions, ExportOptions, PlayOptions, RenderOptions
from marlx.cli.shared import like_path, print_returns
from marlx.text import bytes_text, counted, nearest, printable, shortened

if TYPE_CHECKING:
    import numpy as np

    from marlx.environment import Environment, EnvParams
    from marlx.learner import Learner
    from marlx.runs.policies import Policy
    from marlx.viewer.team import Subject

SEE_LIST = "; marlx list shows how ids are formed"
"""End of an error about an environment that nothing is like."""


def eval_command(argv: Sequence[str]) -> int:
    """`marlx eval RUN [options]`."""
    names, rest = positionals(argv)
    other, env_words, rest = env_options(rest)
    path, options = run_and_options([*names, *rest], "eval", EvalOptions)
    use_compilation_cache()
    import jax
    import numpy as np

    from marlx.loop.evaluation import evaluate, evaluate_modes, modes_of, random_learner
    from marlx.registry import make_env
    from marlx.runs.policies import load_policy

    policy = load_policy(path, options.policy_seed)
    if other or env_words:
        policy = policy.on(
            with_settings(make_env(other) if other else policy.env.unwrapped, env_words)
        )
    how = policy.experiment.train.eval if options.eval == "auto" else options.eval
    modes = modes_of(policy.learner.judged, how)
    key_play, key_random = jax.random.split(jax.random.key(options.seed))

    @jax.jit
    def play(key_play: Any, key_random: Any) -> Any:
        args = policy.env, policy.params
        acting = policy.learner, policy.arrays, key_play
        evaluated = evaluate_modes(*args, *acting, options.episodes, modes)
        drawn = evaluate(*args, random_learner(policy.spec), (), key_random, options.episodes)
        return evaluated, drawn

    evaluated, random_returns = jax.tree.map(
        lambda x: np.asarray(x, float), play(key_play, key_random)
    )
    if options.json:
        content = _evaluation(path, policy, modes[0], evaluated, random_returns)
        print(json.dumps(content, default=str))
        return 0
    elsewhere = f", on {' '.join([policy.spec.id, *env_words])}" if other or env_words else ""
    steps = f"after {policy.steps:,} environment steps"
    print(f"{printable(path)}, seed {policy.seed}, {steps}{printable(elsewhere)}")
    by_name = {name: values[None] for name, values in evaluated.items()}
    print_returns(by_name, random_returns, policy.spec.optimum, modes[0])
    return 0


def _evaluation(
    path: str,
    policy: Policy,
    judged: str,
    evaluated: dict[str, np.ndarray[Any, Any]],
    random_returns: np.ndarray[Any, Any],
) -> dict[str, Any]:
    """Returns the content of `marlx eval --json`; metrics are f64 [episodes]."""
    from marlx.registry import settings_of
    from marlx.statistics import bootstrap_interval, iqm, mean

    def numbers(values: np.ndarray[Any, Any]) -> dict[str, Any]:
        return {
            "mean": mean(values),
            "interval_95": list(bootstrap_interval(values[None])),
            "iqm": iqm(values),
            "per_episode": values.tolist(),
        }

    env = policy.env.unwrapped
    return {
        "run": path,
        "seed": policy.seed,
        "steps": policy.steps,
        "environment": policy.spec.id,
        "env": {name: getattr(env, name) for name in settings_of(env)},
        "judged": judged,
        **{name: numbers(values) for name, values in evaluated.items()},
        "random_return": mean(random_returns),
        "optimum": policy.spec.optimum,
    }


def export_command(argv: Sequence[str]) -> int:
    """`marlx export RUN [options]`."""
    path, options = run_and_options(argv, "export", ExportOptions)
    use_compilation_cache()
    from marlx.runs.export import export
    from marlx.runs.onnx_file import export_onnx
    from marlx.runs.policies import load_policy

    policy, folder = load_policy(path, options.policy_seed), options.out or Path(path) / "export"
    files = [export_onnx(policy, folder)] if options.to == "onnx" else export(policy, folder)
    print(f"{printable(path)}, seed {policy.seed}, after {policy.steps:,} environment steps")
    for file in files:
        print(f"  {printable(file)}  {file.stat().st_size:,} bytes")
    return 0


def render_command(argv: Sequence[str]) -> int:
    """`marlx render RUN [options]`, or `marlx render ENV [options]`."""
    names, rest = positionals(argv)
    if len(names) == 1 and not Path(names[0]).is_dir():
        return _render_random(names[0], rest)
    path, options = run_and_options(argv, "render", RenderOptions)
    out = _output(options, Path(path) / "episode.gif")
    use_compilation_cache()
    if is_page(out):
        from marlx.viewer.team import run_subject

        return _write_page(out, run_subject(path, options.policy_seed), options)
    from marlx.runs.policies import load_policy

    policy = load_policy(path, options.policy_seed)
    judged = policy.judged if options.eval == "auto" else options.eval
    acting = policy.learner._replace(judged=judged), policy.arrays
    return _write(out, policy.env, policy.params, acting, options.seed, options.fps)


def _render_random(env_id: str, argv: Sequence[str]) -> int:
    """Write an episode of uniform legal actions."""
    from marlx.registry import families

    if not any(re.fullmatch(one.pattern, env_id) for one in families().values()):
        runs = like_path(env_id)
        near = nearest(env_id, [name for one in families().values() for name in one.examples])
        hint = runs or (f"; did you mean {' or '.join(near)}?" if near else "")
        raise ValueError(
            f"{shortened(env_id)} is neither a run folder nor an environment{hint or SEE_LIST}"
        )
    env, options = parse_play(env_id, argv)
    out = _output(options, f"{env_id.replace('/', '-')}.gif")
    use_compilation_cache()
    from marlx.loop.evaluation import random_learner

    spec = env.spec(env.default_params)
    acting = random_learner(spec), ()
    if is_page(out):
        from marlx.viewer.team import Subject

        subject = Subject(
            env=env,
            params=env.default_params,
            learner=acting[0],
            policies=((None, ()),),
            title=spec.id,
            subtitle="random legal actions",
        )
        return _write_page(out, subject, options)
    return _write(out, env, env.default_params, acting, options.seed, options.fps)


def _output(options: RenderOptions | PlayOptions, usual: str | Path) -> Path:
    """Returns the file that `--to` or `--out` names, after checking that it can be written.

    Raises:
      ValueError: it cannot be written, or both are given.
    """
    if options.to is not None and options.out is not None:
        raise ValueError("--to and --out both name the file to write; give one of them")
    if options.to is None or not is_page(options.to):
        return _video(options.to or options.out or usual, options.fps)
    out = Path(options.to)
    if not out.parent.is_dir():
        raise ValueError(f"cannot write {out}: there is no folder {out.parent}")
    if out.is_dir():
        raise ValueError(f"cannot write {out}: it is a folder")
    return out


def is_page(path: str | Path) -> bool:
    """Returns whether a file of this name is written as a page."""
    return Path(path).suffix.lower() in (".html", ".htm")


def _write_page(out: Path, subject: Subject, options: RenderOptions | PlayOptions) -> int:
    """Play episodes and write the page that shows them."""
    import jax

    from marlx.viewer.team import team_page

    text = team_page(subject, jax.random.key(options.seed), options.episodes)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot write {out}: {error.strerror or error}") from None
    count = counted(options.episodes, "episode")
    seeds = "" if len(subject.policies) == 1 else f" of each of {len(subject.policies)} seeds"
    print(f"{printable(out)}: {count}{seeds}, {bytes_text(len(text))}; open it in a browser")
    return 0


def _video(path: str | Path, fps: float) -> Path:
    """Returns where an episode is written, after checking that it can be written there.

    Raises:
      ValueError: no such folder, or a kind of file that cannot be written here.
    """
    out = Path(path)
    if not 0 < fps < math.inf:
        raise ValueError(f"--fps is {fps}; it must be above 0 and finite")
    if not out.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {out.parent}")
    if out.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder")
    if out.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise ValueError(f"cannot write {path}: MP4 needs ffmpeg, which is not installed; use .gif")
    if out.suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(f"--out is {path}; it must end in .gif, or in .mp4 where ffmpeg is there")
    return out


def _write(
    out: Path,
    env: Environment[Any, Any],
    params: EnvParams,
    acting: tuple[Learner, Any],
    seed: int,
    fps: float,
) -> int:
    """Play one episode and write it."""
    import jax

    from marlx.analysis.video import episode_frames, record_episode, write_gif, write_mp4

    episode = record_episode(env, params, *acting, jax.random.key(seed))
    frames = episode_frames(env, params, episode)
    write = write_mp4 if out.suffix.lower() == ".mp4" else write_gif
    try:
        write(out, frames, frames_per_second=fps)
    except OSError as error:
        raise ValueError(f"cannot write {out}: {error.strerror or error}") from None
    print(f"{printable(out)}: {len(episode.rewards)} steps, return {sum(episode.rewards):.3g}")
    return 0
