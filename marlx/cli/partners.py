"""`marlx embeddings`, `marlx crossplay` and `marlx pool`: partners, and models of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marlx.cli.cache import use_compilation_cache
from marlx.cli.options import options_under, run_and_options, runs_and_options
from marlx.cli.records import MOST_EPISODES
from marlx.cli.shared import like_path
from marlx.cli.train import train_command
from marlx.settings import LARGEST_SEED, setting
from marlx.text import printable

if TYPE_CHECKING:
    from marlx.types import Array, Tree


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingsOptions:
    """How well a run's embeddings separate its partners, as a picture and in numbers."""

    episodes: int = setting(1000, at_least=4, at_most=MOST_EPISODES)
    """Fresh episodes; one half is the reference set of the nearest neighbours of the other."""
    policy_seed: int | None = setting(None, at_least=0, at_most=LARGEST_SEED)
    """The run's seed that acts; the one with the best return if not given."""
    seed: int = setting(0, at_least=0, at_most=LARGEST_SEED)
    """Seed of the episodes."""
    out: str | None = None
    """Folder for embeddings.png and embeddings.json; the run folder if not given."""


def embeddings_command(argv: Sequence[str]) -> int:
    """`marlx embeddings RUN [options]`."""
    path, options = run_and_options(argv, "embeddings", EmbeddingsOptions)
    if not Path(path).is_dir():
        raise ValueError(f"{path} is not the folder of a run{like_path(path)}")
    folder = Path(options.out or path)
    if not folder.is_dir():
        raise ValueError(f"cannot write to {folder}: there is no such folder")
    use_compilation_cache()
    import jax

    from marlx.analysis.embeddings import Embedded, embed, picture, scores, time_points
    from marlx.runs.policies import load_policy

    policy = load_policy(path, options.policy_seed)
    acting = policy.env, policy.params, policy.learner._replace(judged=policy.judged)

    @jax.jit
    def play(arrays: Tree, key: Array) -> Embedded:
        return embed(*acting, arrays, key, options.episodes)

    found = play(policy.arrays, jax.random.key(options.seed))
    rows = scores(found, time_points(policy.spec.horizon))
    names = policy.env.partner_names  # type: ignore[attr-defined]
    title = f"{printable(path)}, seed {policy.seed}, {policy.steps:,} environment steps"
    picture(folder / "embeddings.png", found, names, rows, title=title)
    content = {"run": str(path), "seed": policy.seed, "partners": list(names), "times": rows}
    (folder / "embeddings.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"{title}; {len(names)} partners, so chance is about {1 / len(names):.2f}")
    print("  step   k-NN accuracy   silhouette   episodes")
    for row in rows:
        print(
            f"  {row['time']:4}   {row['accuracy']:13.3f}   {row['silhouette']:10.3f}"
            f"   {row['episodes']:8}"
        )
    print(f"  {folder / 'embeddings.png'}, {folder / 'embeddings.json'}")
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossplayOptions:
    """Every run's policy with every other's: returns of all pairs, as a table and a heat map."""

    episodes: int = setting(100, at_least=1, at_most=MOST_EPISODES)
    """Fresh episodes for each pair."""
    ego: int = 0
    """Index of the agent that the row's policy plays; the column's plays all others."""
    seed: int = setting(0, at_least=0, at_most=LARGEST_SEED)
    """Seed of the episodes, the same for all pairs."""
    out: str = "."
    """Folder for crossplay.png and crossplay.json."""


def crossplay_command(argv: Sequence[str]) -> int:
    """`marlx crossplay RUN... [options]`."""
    paths, options = runs_and_options(argv, "crossplay", CrossplayOptions)
    folder = Path(options.out)
    if not folder.is_dir():
        raise ValueError(f"cannot write to {folder}: there is no such folder")
    use_compilation_cache()
    from marlx.analysis.cross_play import cross_play, heat_map
    from marlx.runs.policies import load_policy

    policies = [load_policy(path) for path in paths]
    returns = cross_play(policies, options.ego, options.episodes, options.seed)
    names = [printable(Path(path).name) for path in paths]
    heat_map(folder / "crossplay.png", returns, names, title=policies[0].spec.id)
    content = {"runs": list(paths), **dataclasses.asdict(options), "returns": returns.tolist()}
    (folder / "crossplay.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"{policies[0].spec.id}: rows play agent {options.ego}, columns the others")
    for number, (name, row) in enumerate(zip(names, returns, strict=True)):
        print(f"  {number:3} " + " ".join(f"{value:8.3f}" for value in row) + f"   {name}")
    same = returns.diagonal().mean()
    print(f"  with itself {same:.3f}", end="")
    if len(names) > 1:
        others = (returns.sum() - returns.trace()) / (returns.size - len(returns))
        print(f", with others {others:.3f}", end="")
    print(f"\n  {folder / 'crossplay.png'}, {folder / 'crossplay.json'}")
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolOptions:
    """A pool of partners: several algorithms and seeds, some of them held out.

    `--learner.NAME X` and `--env.NAME X` are settings of every run of the pool.
    """

    out: str | None = None
    """Folder, new or empty, for the runs: `train` and `held_out` in it are pools."""
    algorithms: tuple[str, ...] = ("ippo", "mappo", "vdn")
    """Algorithms that train."""
    seeds: int = 2
    """Policies of each algorithm to train with."""
    held_out: int = 1
    """Policies of each algorithm that are kept for evaluation."""
    total_steps: int | None = None
    """Environment steps per policy; each algorithm's preset if not given."""


def pool_command(argv: Sequence[str]) -> int:
    """`marlx pool train ENV --out POOL [options]`."""
    if list(argv[:1]) != ["train"]:
        raise ValueError("marlx pool takes train, ENV and --out before its other options")
    given, words = options_under(("learner", "env"), argv[1:])
    names, options = runs_and_options(words, "pool train", PoolOptions, "ENV", "ENV")
    if len(names) != 1 or options.out is None:
        raise ValueError("marlx pool train takes one ENV, and --out for the pool's folder")
    env_id = names[0].removeprefix("partners/")
    for name in ("seeds", "held_out"):
        if getattr(options, name) < (name == "seeds"):
            raise ValueError(f"--{name} is {getattr(options, name)}; it must be 1 or more")
    folder = Path(options.out)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; give a pool a folder of its own, empty or new")
    jobs = []
    for part, first, count in (
        ("train", 0, options.seeds),
        ("held_out", options.seeds, options.held_out),
    ):
        for algorithm in options.algorithms if count else ():
            words = [algorithm, env_id, "--seeds", str(count), "--seed", str(first)]
            if options.total_steps is not None:
                words += ["--total-steps", str(options.total_steps)]
            jobs.append([*words, "--out", str(folder / part / algorithm), *given])
    prepared = [train_command(words) for words in jobs]  # mistakes show before anything is trained
    for done in prepared:
        code = done if isinstance(done, int) else done()
        if code:
            return code
    print(f"\npool: --env.pool {folder / 'train'} --env.every-seed, and {folder / 'held_out'}")
    return 0
