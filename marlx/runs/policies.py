"""Trained policies: `policy/` in a run folder, written, and read back to act.

    policy.json           what the arrays belong to; written once
    arrays.safetensors    every array with a leading seed axis; replaced at each evaluation

Both are data: nothing in them is ever executed. The arrays' header holds what changes during a run
and a digest of everything, so that a file which was damaged, or exchanged for another run's, is
refused instead of acted on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from marlx._version import __version__
from marlx.runs.folder import RunFolder, experiment_of

if TYPE_CHECKING:
    from marlx.config.layers import Experiment
    from marlx.environment import Environment, EnvParams
    from marlx.learner import Learner
    from marlx.loop.progress import Progress
    from marlx.loop.settings import TrainConfig
    from marlx.types import Array, EnvSpec, Observation, Tree

FORMAT = 2


def save_policy(
    folder: RunFolder, experiment: Experiment, policies: Tree, progress: Progress
) -> None:
    """Write `policy/`: arrays with a seed axis, and what is needed to act with them again.

    The JSON does not change while a run lasts; what does change is in the arrays' file itself, so
    that the two never disagree.
    """
    from safetensors.numpy import save

    path = folder.path / "policy" / "policy.json"
    if not path.exists():
        first, count = experiment.train.seed, experiment.train.seeds
        content = {
            "format": FORMAT,
            "marlx": __version__,
            "seeds": list(range(first, first + count)),
            "settings": experiment.settings(),
        }
        folder.write_json("policy/policy.json", content)
    described = path.read_bytes() if path.exists() else b""  # the folder has said why
    arrays = {name: np.ascontiguousarray(array) for name, array in named(policies).items()}
    returns = np.asarray(progress.metrics["return"], float)
    metadata = {
        "steps": str(progress.steps),
        "returns": json.dumps([x if np.isfinite(x) else None for x in returns.tolist()]),
    }
    metadata["sha256"] = _digest(described, arrays, metadata)
    folder.write("policy/arrays.safetensors", save(arrays, metadata))


class Policy:
    """A trained policy, greedy unless told otherwise; made by `load_policy`.

    Attributes:
      experiment: the settings it was trained with.
      env: the environment it acts in: the one it was trained in, unless `on` changed it.
      params: its parameters.
      learner: whose `act` it calls.
      arrays: what that `act` takes as its policy.
      seed: which run of several it is.
      steps: environment steps it was trained for.
    """

    def __init__(
        self,
        experiment: Experiment,
        env: Environment[Any, Any],
        params: EnvParams,
        learner: Learner,
        arrays: Tree,
        seed: int,
        steps: int,
    ) -> None:
        import jax

        self.experiment, self.env, self.params, self.learner = experiment, env, params, learner
        self.arrays, self.seed, self.steps = arrays, seed, steps
        self._act = jax.jit(learner.act, static_argnums=4)

    @property
    def spec(self) -> EnvSpec:
        """Static facts of the environment."""
        return self.env.spec(self.params)

    def initial_memory(self, batch: int | None = None) -> Tree:
        """The acting memory at an episode's start, of `batch` episodes or of a single one."""
        import jax

        memory = self.learner.memory(1 if batch is None else batch)
        return jax.tree.map(lambda x: x[0], memory) if batch is None else memory

    def act(
        self, obs: Observation, memory: Tree, key: Array | None = None, *, explore: bool = False
    ) -> tuple[Array, Tree]:
        """Actions int32 [N] for one observation, or [B, N] for a batch, and the next memory.

        Args:
          obs: as the environment emits it, with or without a leading batch axis.
          memory: from `initial_memory`, or from the call before.
          key: consumed; needed only to explore.
          explore: act as in training instead of greedily.
        """
        import jax

        if key is None:
            if explore:
                raise ValueError("explore needs a key")
            key = jax.random.key(0)
        if np.ndim(obs.local) == 3:
            action, memory, _ = self._act(self.arrays, memory, obs, key, explore)
            return action, memory
        one = jax.tree.map(lambda x: np.asarray(x)[None], (memory, obs))
        action, memory, _ = self._act(self.arrays, *one, key, explore)
        return jax.tree.map(lambda x: x[0], (action, memory))  # type: ignore[no-any-return]

    def on(self, env: Environment[Any, Any], params: EnvParams | None = None) -> Policy:
        """The same policy in another environment, which its networks have to fit.

        Observations are divided by the scale of the environment that the policy was trained in: to
        its networks, a number means what it meant.

        Args:
          env: where it is to act.
          params: of it; its defaults if None.

        Raises:
          ValueError: the networks do not fit; the line names a difference.
        """
        from marlx.registry import algorithm

        home = self.experiment
        env = home.prepared(env)
        params = env.default_params if params is None else params
        spec = env.spec(params)
        if self.spec.continuous != spec.continuous:
            kinds = ("discrete", "continuous")
            raise ValueError(
                f"the policy has {kinds[self.spec.continuous]} actions and {spec.id} takes "
                f"{kinds[spec.continuous]} ones"
            )
        spec = dataclasses.replace(spec, scale=self.learner_scale)
        learner = algorithm(home.algorithm).build(spec, home.learner)
        here, there = named(self.arrays), named(policy_shape(spec, learner, home.train))
        for name in {**here, **there}:
            old, new = (
                str(tree[name].shape) if name in tree else "missing" for tree in (here, there)
            )
            if old != new:
                raise ValueError(
                    f"the policy does not fit {spec.id}: {name} is {old}, there it would be {new}"
                )
        return Policy(home, env, params, learner, self.arrays, self.seed, self.steps)

    @property
    def learner_scale(self) -> float:
        """What the networks' inputs are divided by, wherever the policy acts."""
        env = self.experiment.env
        return env.spec(env.default_params).scale


def load_policy(path: str | Path, seed: int | None = None) -> Policy:
    """The policy of a run.

    Args:
      path: of the run folder, or of the `policy` folder in it.
      seed: which of the run's seeds; the one with the best return by default.

    Raises:
      ValueError: there is no policy, no such seed, it is damaged, or it does not fit this version
        of marlx. In one line, and before anything is made of what the file says.
    """
    import jax

    files = _read(path)
    index = _index(files, path, seed)
    source = str(Path(path) / "policy" / "policy.json")
    try:
        experiment = experiment_of(files.content["settings"], source)
        env, params, learner = experiment.build()
        shape = policy_shape(env.spec(params), learner, experiment.train)
    except Exception as error:  # whatever a file that is not ours may lead to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the policy in {path} cannot be made again: {reason}") from None
    count = len(files.seeds)
    expected = {n: ((count, *x.shape), np.dtype(x.dtype)) for n, x in named(shape).items()}
    if expected != {name: (x.shape, x.dtype) for name, x in files.arrays.items()}:
        raise ValueError(
            f"the policy in {path} does not fit {experiment.algorithm} of marlx "
            f"{__version__}; it was made with {files.content.get('marlx')}"
        )
    leaves = [jax.numpy.asarray(files.arrays[name][index]) for name in expected]
    policy = jax.tree.unflatten(jax.tree.structure(shape), leaves)
    return Policy(experiment, env, params, learner, policy, files.seeds[index], files.steps)


class _Files(NamedTuple):
    """What the two files hold, checked."""

    content: dict[str, Any]
    arrays: dict[str, np.ndarray[Any, Any]]
    seeds: list[int]
    returns: list[float | None]
    steps: int


def _read(path: str | Path) -> _Files:
    from safetensors import safe_open

    folder = Path(path)
    folder = folder / "policy" if (folder / "policy").is_dir() else folder
    try:
        described = (folder / "policy.json").read_bytes()
        content = json.loads(described)
        with safe_open(folder / "arrays.safetensors", framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata() or {}
    except OSError:
        raise ValueError(f"{path} holds no policy; give the folder of a run") from None
    except Exception as error:  # JSON too deep, a dtype that NumPy lacks, a header that lies, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the policy in {path} is damaged: {reason}") from None
    if not isinstance(content, dict):
        raise ValueError(f"the policy in {path} is damaged: policy.json holds no record")
    if content.get("format") != FORMAT:
        raise ValueError(
            f"the policy in {path} has format {content.get('format')!r:.20}; this marlx reads "
            f"{FORMAT}"
        )
    if metadata.get("sha256") != _digest(described, arrays, metadata):
        raise ValueError(
            f"the policy in {path} is damaged: its digest is not that of policy.json and the arrays"
        )
    try:
        seeds, settings = content["seeds"], content["settings"]
        returns, steps = json.loads(metadata["returns"]), int(metadata["steps"])
        sound = isinstance(settings, dict) and len(seeds) == len(returns) > 0
        sound &= all(type(seed) is int for seed in seeds)
        sound &= all(x is None or type(x) in (int, float) for x in returns)
    except (KeyError, TypeError, ValueError, RecursionError):
        sound = False
    if not sound:
        raise ValueError(f"the policy in {path} is damaged: seeds, settings, steps or returns")
    return _Files(content, arrays, seeds, returns, steps)


def _index(files: _Files, path: str | Path, seed: int | None) -> int:
    """Where along the seed axis: `seed`, or the best."""
    if seed is None:
        returns = np.array(files.returns, float)
        return 0 if np.isnan(returns).all() else int(np.nanargmax(returns))
    if seed not in files.seeds:
        raise ValueError(f"{path} has no seed {seed}; it has {', '.join(map(str, files.seeds))}")
    return files.seeds.index(seed)


def _digest(
    described: bytes,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    metadata: Mapping[str, str],
) -> str:
    """SHA-256 of policy.json, the arrays and the rest of the metadata.

    It finds damage and mixed-up files. It is no signature: whoever writes a file can write it too.
    """
    sha = hashlib.sha256(described)
    for name, text in sorted(metadata.items()):
        if name != "sha256":
            sha.update(json.dumps([name, text]).encode())
    for name, array in sorted(arrays.items()):
        sha.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def policy_shape(spec: EnvSpec, learner: Learner, train: TrainConfig) -> Tree:
    """Structure and shapes of one seed's policy; no array and no environment is made."""
    import jax

    from marlx.learner import example_rollout

    example = example_rollout(spec, learner, train.rollout_length, train.num_envs)
    return jax.eval_shape(lambda: learner.policy(learner.init(jax.random.key(0), example)))


def named(tree: Tree) -> dict[str, Any]:
    """Leaves by the path that leads to them, e.g. `params/agents/encoder/kernel`."""
    import jax

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
