"""Saving and loading of trained policies, in `policy/` of a run folder.

    policy.json           settings and seeds of the run; written once
    arrays.safetensors    all arrays with a leading seed axis; replaced at each evaluation

Both are pure data: nothing in them is executed. The metadata of the arrays has steps, returns and a
digest of both files, so that damaged files, and files of another run, are refused
(`marlx.policy_files`).
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marlx._version import __version__
from marlx.policy_files import FORMAT, digest, read_policy_files, seed_index
from marlx.runs.folder import RunFolder, experiment_of
from marlx.text import printable

if TYPE_CHECKING:
    from marlx.config.layers import Experiment
    from marlx.environment import Environment, EnvParams
    from marlx.learner import Learner
    from marlx.loop.progress import Progress
    from marlx.loop.settings import TrainConfig
    from marlx.types import Array, EnvSpec, Observation, Tree


def save_policy(
    folder: RunFolder, experiment: Experiment, policies: Tree, progress: Progress
) -> None:
    """Writes `policy/` of a run folder.

    `policy.json` does not change during a run. All that changes is in the file of the arrays, which
    is replaced in one step, so that the two files always match.

    Args:
      folder: the run folder.
      experiment: settings of the run.
      policies: arrays with a leading seed axis.
      progress: the run's latest progress, for steps and returns.
    """
    from safetensors.numpy import save

    from marlx.xla.names import named

    path = folder.path / "policy" / "policy.json"
    if not path.is_file():
        first, count = experiment.train.seed, experiment.train.seeds
        content = {
            "format": FORMAT,
            "marlx": __version__,
            "seeds": list(range(first, first + count)),
            "settings": experiment.settings(),
        }
        folder.write_json("policy/policy.json", content)
    described = b""
    with folder.guard("policy/policy.json"):  # if it is not there, the folder has said why
        described = path.read_bytes()
    arrays = {name: np.ascontiguousarray(array) for name, array in named(policies).items()}
    returns = np.asarray(progress.metrics["return"], float)
    metadata = {
        "steps": str(progress.steps),
        "returns": json.dumps([x if np.isfinite(x) else None for x in returns.tolist()]),
    }
    metadata["sha256"] = digest(described, arrays, metadata)
    folder.write("policy/arrays.safetensors", save(arrays, metadata))


class Policy:
    """A trained policy with its environment, from `load_policy`.

    Attributes:
      experiment: settings of the training.
      env: environment that it acts in: that of the training, or the one given to `on`.
      params: parameters of `env`.
      learner: learner with the acting function.
      arrays: parameters, the first argument of `apply` and of `learner.act`.
      seed: training seed.
      steps: environment steps of the training.
      judged: the actions that its return was measured with, and that it takes by default: `drawn`
        from the policy, or `greedy`.

    A policy can be pickled.
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
        *,
        elsewhere: bool = False,
    ) -> None:
        """Use `load_policy`; `elsewhere`: `env` is not the environment of the training."""
        import jax

        from marlx.loop.evaluation import modes_of

        self.experiment, self.env, self.params, self.learner = experiment, env, params, learner
        self.arrays, self.seed, self.steps = arrays, seed, steps
        self.judged = modes_of(learner.judged, experiment.train.eval)[0]
        self._elsewhere = elsewhere
        self._apply = jax.jit(self.apply, static_argnames="explore")

    def __reduce__(self) -> tuple[Any, ...]:
        import jax

        where = (self.env, self.params) if self._elsewhere else None
        leaves = [np.asarray(x) for x in jax.tree.leaves(self.arrays)]
        return _unpickled, (self.experiment.settings(), where, leaves, self.seed, self.steps)

    def _repr_html_(self) -> str:
        """Returns how a notebook shows it: where it comes from, and its arrays by name."""
        from html import escape

        from marlx.xla.names import named

        facts = {
            "algorithm": self.experiment.algorithm,
            "environment": self.spec.id,
            "seed": self.seed,
            "steps": f"{self.steps:,}",
        }
        arrays = named(self.arrays)
        rows = [(name, str(value)) for name, value in facts.items()]
        rows += [(name, f"{x.dtype}[{','.join(map(str, x.shape))}]") for name, x in arrays.items()]
        cells = "".join(
            f"<tr><th>{escape(printable(name))}</th><td>{escape(printable(value))}</td></tr>"
            for name, value in rows
        )
        total = sum(x.size for x in arrays.values())
        return f"<table>{cells}</table><p>{len(arrays)} arrays, {total:,} numbers</p>"

    @property
    def spec(self) -> EnvSpec:
        """Spec of the environment."""
        return self.env.spec(self.params)

    def initial_memory(self, batch: int | None = None) -> Tree:
        """Returns the memory at the start of `batch` episodes, or of one without a batch axis."""
        import jax

        memory = self.learner.memory(1 if batch is None else batch)
        return jax.tree.map(lambda x: x[0], memory) if batch is None else memory

    def act(
        self,
        obs: Observation,
        memory: Tree,
        key: Array | None = None,
        *,
        explore: bool | None = None,
    ) -> tuple[Array, Tree]:
        """Returns actions and the next memory; compiled at the first call.

        Actions are int32 [N], or f32 [N, A] if they are continuous, with a leading batch axis if
        the observation has one.

        Args:
          obs: observation, with or without a leading batch axis.
          memory: memory from `initial_memory` or the previous call.
          key: consumed; only needed to draw actions.
          explore: True draws the actions, False acts greedily; None does what the policy is
            `judged` by.

        Raises:
          ValueError: actions are to be drawn, and there is no key.
        """
        return self._apply(self.arrays, memory, obs, key, explore=explore)  # type: ignore[no-any-return]

    def apply(
        self,
        arrays: Tree,
        memory: Tree,
        obs: Observation,
        key: Array | None = None,
        *,
        explore: bool | None = None,
    ) -> tuple[Array, Tree]:
        """Returns actions and the next memory: `act` as a pure function of its arguments.

        For `jax.jit`, `jax.vmap`, `jax.lax.scan` and gradients of your own. It reads nothing of
        the policy but the structure of its networks.

        Args:
          arrays: the policy's, or others of the same shapes.
          memory: memory from `initial_memory` or the previous call.
          obs: observation, with or without a leading batch axis.
          key: consumed; only needed to draw actions.
          explore: static; True draws the actions, False acts greedily; None does what the policy
            is `judged` by.

        Raises:
          ValueError: actions are to be drawn and there is no key, or an observation of other
            shapes.
        """
        import jax
        import jax.numpy as jnp

        from marlx.learner import acting

        judged = self.judged if explore is None else ("drawn" if explore else "greedy")
        if key is None:
            if judged == "drawn":
                raise ValueError(
                    "actions are drawn, which needs a key: give one, or explore=False for the best "
                    "actions"
                )
            key = jax.random.key(0)
        axes = jnp.ndim(obs.local)
        if axes not in (2, 3):
            raise ValueError(
                f"obs.local has the shape {list(jnp.shape(obs.local))}; it must be [agents, "
                f"{self.spec.obs_size}], or have one more axis in front; for others use jax.vmap"
            )
        if axes == 2:
            memory, obs = jax.tree.map(lambda x: jnp.asarray(x)[None], (memory, obs))
        action, memory, _ = acting(self.learner, judged)(arrays, memory, obs, key, True)
        if axes == 3:
            return action, memory
        return action[0], jax.tree.map(lambda x: x[0], memory)

    def on(self, env: Environment[Any, Any] | str, params: EnvParams | None = None) -> Policy:
        """Returns the same policy for another environment.

        Observations are still divided by the scale of the training environment, so that they have
        the same meaning for the networks.

        Args:
          env: the environment, or its id.
          params: its parameters; the defaults if None.

        Raises:
          ValueError: the networks do not fit; the message names the first difference.
        """
        from marlx.environment import require_environment
        from marlx.registry import algorithm, make_env
        from marlx.xla.names import named

        home = self.experiment
        env = make_env(env) if isinstance(env, str) else env
        require_environment(env)
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
            has, needs = (
                str(tree[name].shape) if name in tree else "missing" for tree in (here, there)
            )
            if has != needs:
                raise ValueError(
                    f"the policy does not fit {spec.id}: {name} is {has}, but must be {needs}"
                )
        return Policy(
            home, env, params, learner, self.arrays, self.seed, self.steps, elsewhere=True
        )

    @property
    def learner_scale(self) -> float:
        """Scale that observations are divided by, which is that of the training environment."""
        env = self.experiment.env
        return env.spec(env.default_params).scale


def _unpickled(
    settings: dict[str, Any],
    where: tuple[Environment[Any, Any], EnvParams] | None,
    leaves: list[np.ndarray[Any, Any]],
    seed: int,
    steps: int,
) -> Policy:
    """Returns the policy that `Policy.__reduce__` took apart."""
    import jax

    experiment = experiment_of(settings, "a pickled policy")
    env, params, learner = experiment.build()
    structure = jax.tree.structure(policy_shape(env.spec(params), learner, experiment.train))
    arrays = jax.tree.unflatten(structure, [jax.numpy.asarray(x) for x in leaves])
    policy = Policy(experiment, env, params, learner, arrays, seed, steps)
    return policy if where is None else policy.on(*where)


def load_policy(path: str | Path, policy_seed: int | None = None) -> Policy:
    """Returns the trained policy of a run.

    Args:
      path: the run folder, or the `policy` folder in it.
      policy_seed: a seed of the run; by default the one with the best return, of the actions that
        the run is judged by. The command line has `--policy-seed`; `seed` is that of episodes
        there and everywhere.

    Raises:
      ValueError: there is no policy or no such seed, a file is damaged, or the policy does not fit
        this version of marlx.
    """
    import jax

    from marlx.xla.names import named

    files = read_policy_files(path)
    index = seed_index(files, path, policy_seed)
    source = str(Path(path) / "policy" / "policy.json")
    try:
        experiment = experiment_of(files.content["settings"], source)
        env, params, learner = experiment.build()
        shape = policy_shape(env.spec(params), learner, experiment.train)
    except Exception as error:  # files of others may lead to any error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the policy in {path} cannot be rebuilt: {reason}") from None
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


def policy_seeds(path: str | Path) -> dict[int, float | None]:
    """Returns the seeds of a run's policies, each with its return; None where it has none.

    Raises:
      ValueError: there is no policy, or a file is damaged.
    """
    files = read_policy_files(path)
    return dict(zip(files.seeds, files.returns, strict=True))


def policy_shape(spec: EnvSpec, learner: Learner, train: TrainConfig) -> Tree:
    """Returns the shapes of one seed's policy, without making arrays or an environment."""
    import jax

    from marlx.learner import example_rollout

    example = example_rollout(spec, learner, train.rollout_length, train.num_envs)
    return jax.eval_shape(lambda: learner.policy(learner.init(jax.random.key(0), example)))
