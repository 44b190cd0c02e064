"""`marlx embeddings`, `marlx crossplay` and `marlx pool`: who plays with whom, and is it told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marlx.cli.options import run_and_options
from marlx.cli.shared import use_compilation_cache

if TYPE_CHECKING:
    from marlx.types import Array, Tree


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingsOptions:
    """What a run's embeddings tell of its partners, as a picture and in numbers."""

    episodes: int = 1000
    """Fresh episodes; half of them are what the other half is compared with."""
    policy_seed: int | None = None
    """Which of the run's seeds acts; the one with the best return if not given."""
    seed: int = 0
    """Seed of the episodes."""
    out: str | None = None
    """Folder for embeddings.png and embeddings.json; the run folder if not given."""


def embeddings_command(argv: Sequence[str]) -> int:
    """`marlx embeddings RUN [options]`."""
    path, options = run_and_options(argv, "embeddings", EmbeddingsOptions)
    if options.episodes < 4:
        raise ValueError(f"--episodes is {options.episodes}; it must be at least 4")
    folder = Path(options.out or path)
    if not folder.is_dir():
        raise ValueError(f"cannot write to {folder}: there is no such folder")
    use_compilation_cache()
    import jax

    from marlx.embeddings import Embedded, embed, moments_of, picture, scores
    from marlx.runs import load_policy

    policy = load_policy(path, options.policy_seed)
    acting = policy.env, policy.params, policy.learner

    @jax.jit
    def play(arrays: Tree, key: Array) -> Embedded:
        return embed(*acting, arrays, key, options.episodes)

    found = play(policy.arrays, jax.random.key(options.seed))
    rows = scores(found, moments_of(policy.spec.horizon))
    names = policy.env.partner_names  # type: ignore[attr-defined]
    title = f"{path}, seed {policy.seed}, {policy.steps:,} environment steps"
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
