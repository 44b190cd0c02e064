"""The one training loop: collect, store, learn, evaluate, for every learner alike.

One block of iterations is one jitted scan; the host touches nothing inside it. Seeds are a `vmap`
around the block, and devices share the seeds.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from marlx.environment import Environment, EnvParams
from marlx.evaluation import evaluate, random_learner
from marlx.learner import Learner
from marlx.rollout import Actors, Finished, rollout, start
from marlx.types import Array, Transition, Tree

MIN_FINAL_EPISODES = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how wide to train; the learner's own settings are its own."""

    total_steps: int = 500_000
    """Environment steps per seed, warm-up included."""
    num_envs: int = 32
    """Environments stepped at once, per seed."""
    rollout_length: int = 16
    """Steps in each environment between two looks at the learner."""
    seeds: int = 1
    """Runs trained at once, from `seed` upwards."""
    seed: int = 0
    """First seed: run i of several is exactly the single run with seed + i."""
    evals: int = 20
    """Greedy evaluations on the way."""
    eval_episodes: int = 128
    """Fresh episodes in each, per seed; the last one has at least 100."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "seed" else 1
            if not least <= value < 2**31:
                raise ValueError(f"{field.name} is {value}; it must be {least} to {2**31 - 1}")


class Progress(NamedTuple):
    """Where a run stands after a block; handed to `report`.

    Attributes:
      steps: environment steps so far, per seed.
      total_steps: what it will end at.
      seconds: since training began, without compiling.
      metrics: each f64 [seeds]; `return` is the greedy team return, `train_return` and
        `episode_length` are of exploring episodes, the rest are the learner's own.
      phases: seconds so far by `compile`, `rollout`, `update`, `evaluation`.
      policies: what acting needs, leading axis [seeds]; call it before the next block starts.
    """

    steps: int
    total_steps: int
    seconds: float
    metrics: dict[str, np.ndarray[Any, Any]]
    phases: dict[str, float]
    policies: Callable[[], Tree]


class Result(NamedTuple):
    """What training returns.

    Attributes:
      history: one `Progress` per evaluation, the first before any update.
      policies: trained, leading axis [seeds]; `learner.act` takes one of them.
      returns: f64 [seeds, episodes], greedy team returns of fresh episodes at the end.
      random_returns: f64 [episodes], the same of uniform legal actions.
      phases: seconds by `compile`, `rollout`, `update`, `evaluation`.
      learner: as given.
    """

    history: list[Progress]
    policies: Tree
    returns: np.ndarray[Any, Any]
    random_returns: np.ndarray[Any, Any]
    phases: dict[str, float]
    learner: Learner


class RunState(NamedTuple):
    """Everything one seed carries from block to block."""

    learner: Tree
    actors: Actors
    key: Array


class Loop(NamedTuple):
    """The functions of a run, each of one seed, and how often they are called."""

    init: Callable[[Array], RunState]
    warm_up: Callable[[RunState], RunState]
    block: Callable[[RunState], tuple[RunState, dict[str, Array]]]
    evaluate: Callable[[RunState, Array], Array]
    warm_up_rollouts: int
    block_rollouts: int
    blocks: int


def loop(
    env: Environment[Any, Any], params: EnvParams, learner: Learner, config: TrainConfig
) -> Loop:
    """The training loop of one seed, as pure functions."""
    c = config
    per_rollout = c.num_envs * c.rollout_length
    rollouts = math.ceil(c.total_steps / per_rollout)
    warm = max(1, math.ceil(learner.warmup / per_rollout))
    if warm >= rollouts:
        raise ValueError(
            f"total_steps is {c.total_steps}; the learner's warm-up takes {warm * per_rollout} of "
            f"them ({warm} rollouts of {c.num_envs} x {c.rollout_length}), so it must be more"
        )
    per_block = math.ceil((rollouts - warm) / c.evals)

    def collect(run: RunState, key: Array) -> tuple[RunState, Finished]:
        policy = learner.policy(run.learner)
        actors, taken, ended = rollout(
            env, params, learner, policy, run.actors, key, c.rollout_length
        )
        return run._replace(learner=learner.observe(run.learner, taken), actors=actors), ended

    def init(key: Array) -> RunState:
        key, key_learner, key_actors = jax.random.split(key, 3)
        actors = start(env, params, learner, key_actors, c.num_envs)
        example = _example(env, params, learner, actors, c.rollout_length)
        return RunState(learner.init(key_learner, example), actors, key)

    def warm_up(run: RunState) -> RunState:
        key, key_collect = jax.random.split(run.key)
        keys = jax.random.split(key_collect, warm)
        run, _ = jax.lax.scan(collect, run._replace(key=key), keys)
        return run

    def iteration(run: RunState, key: Array) -> tuple[RunState, tuple[Finished, dict[str, Array]]]:
        key_collect, key_update = jax.random.split(key)
        run, ended = collect(run, key_collect)
        state, metrics = learner.update(run.learner, key_update)
        return run._replace(learner=state), (ended, metrics)

    def block(run: RunState) -> tuple[RunState, dict[str, Array]]:
        key, key_block = jax.random.split(run.key)
        keys = jax.random.split(key_block, per_block)
        run, (ended, metrics) = jax.lax.scan(iteration, run._replace(key=key), keys)
        ended = jax.tree.map(jnp.sum, ended)
        return run, {
            **jax.tree.map(jnp.nanmean, metrics),
            "train_return": ended.total_return / ended.episodes,
            "episode_length": ended.total_length / ended.episodes,
        }

    def evaluate_run(run: RunState, key: Array) -> Array:
        return evaluate(env, params, learner, learner.policy(run.learner), key, c.eval_episodes)

    blocks = math.ceil((rollouts - warm) / per_block)
    return Loop(init, warm_up, block, evaluate_run, warm, per_block, blocks)


def _example(
    env: Environment[Any, Any], params: EnvParams, learner: Learner, actors: Actors, length: int
) -> Transition:
    """The shapes `[T, B, ...]` of what `learner.observe` is going to be given.

    What `act` adds to a transition takes a policy to find out, and a policy takes an initialised
    learner: so the learner is first initialised, in shapes only, for transitions without extras.
    """
    key = jax.random.key(0)

    def roll(learner: Learner, policy: Tree, actors: Actors) -> Transition:
        return rollout(env, params, learner, policy, actors, key, length)[1]

    idle = actors._replace(memory=())
    bare = jax.eval_shape(lambda: roll(random_learner(env.spec(params)), (), idle))
    memory = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((length, *x.shape), x.dtype), actors.memory
    )
    bare = bare._replace(memory=memory)
    policy = jax.eval_shape(lambda: learner.policy(learner.init(key, bare)))
    return jax.eval_shape(lambda policy: roll(learner, policy, actors), policy)  # type: ignore[no-any-return]


def train(
    env: Environment[Any, Any],
    learner: Learner,
    params: EnvParams | None = None,
    *,
    config: TrainConfig | None = None,
    report: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Result:
    """Train `learner` in `env`, several seeds at once.

    Args:
      env: the environment.
      learner: built for `env.spec(params)`.
      params: the environment's parameters; its defaults if None.
      config: how long and how wide; defaults if None.
      report: called after every evaluation, on the host.
      **settings: fields of `TrainConfig`, over those of `config`.

    Returns:
      A `Result`.

    Raises:
      ValueError: settings that cannot work, before anything is compiled.
    """
    config = dataclasses.replace(config or TrainConfig(), **settings)
    params = env.default_params if params is None else params
    run = Run(env, params, learner, config)
    history = []
    for progress in run.blocks():
        history.append(progress)
        if report is not None:
            report(progress)
    returns = run.final_returns()
    policies = jax.device_get(run.policies())
    return Result(history, policies, returns, run.random_returns(), run.phases, learner)


class Run:
    """A training run on the host: compiles the loop, steps it block by block and keeps the time."""

    def __init__(
        self,
        env: Environment[Any, Any],
        params: EnvParams,
        learner: Learner,
        config: TrainConfig,
    ) -> None:
        self.env, self.params, self.learner, self.config = env, params, learner, config
        self.loop = loop(env, params, learner, config)
        self.phases = dict.fromkeys(("compile", "rollout", "update", "evaluation"), 0.0)
        self._lanes = _lanes(config.seeds)
        self._seeds = config.seed + jnp.arange(self._lanes.width)
        self._keys = self._placed(jax.vmap(jax.random.key)(self._seeds))
        # every setting that cannot work is found here, before the first compilation
        self.state_shape = jax.eval_shape(self.loop.init, jax.random.key(0))
        self._state: RunState | None = None
        self._evaluations = 0
        self._evaluate: Callable[..., Array] | None = None

    def sizes(self) -> dict[str, int]:
        """Bytes of a seed's state by the learner's fields and `environments`, largest first."""
        learner = self.state_shape.learner
        fields = learner._asdict() if hasattr(learner, "_asdict") else {"learner": learner}
        fields["environments"] = self.state_shape.actors
        sizes = {name: _nbytes(tree) for name, tree in fields.items()}
        return dict(sorted(sizes.items(), key=lambda item: -item[1]))

    def policies(self) -> Tree:
        """What acting needs, leading axis [seeds]."""
        assert self._state is not None, "the run has not started"
        policies = self.learner.policy(self._state.learner)
        return jax.tree.map(lambda x: x[: self.config.seeds], policies)

    def blocks(self) -> Iterator[Progress]:
        """Train, yielding before the first update and after every block."""
        c, loop = self.config, self.loop
        per_rollout = c.num_envs * c.rollout_length
        total = (loop.warm_up_rollouts + loop.blocks * loop.block_rollouts) * per_rollout

        init, warm_up, block, self._evaluate = self._compile()
        state = init(self._keys)
        state, seconds = _timed(warm_up, state)
        self.phases["rollout"] += seconds
        rollout_seconds = seconds / loop.warm_up_rollouts
        for done in range(loop.blocks + 1):
            metrics: dict[str, Array] = {}
            if done:
                (state, metrics), seconds = _timed(block, state)
                # one program, so its parts are told apart by what a rollout took without updates
                rolling = min(seconds, rollout_seconds * loop.block_rollouts)
                self.phases["rollout"] += rolling
                self.phases["update"] += seconds - rolling
            self._state = state
            metrics = {"return": self._evaluated().mean(-1), **metrics}
            yield Progress(
                (loop.warm_up_rollouts + done * loop.block_rollouts) * per_rollout,
                total,
                sum(self.phases.values()) - self.phases["compile"],
                {k: np.asarray(v, float)[: c.seeds] for k, v in metrics.items()},
                dict(self.phases),
                self.policies,
            )

    def final_returns(self) -> np.ndarray[Any, Any]:
        """F64 [seeds, episodes], greedy returns of at least 100 fresh episodes per seed."""
        rounds = math.ceil(MIN_FINAL_EPISODES / self.config.eval_episodes)
        return np.concatenate([self._evaluated() for _ in range(rounds)], axis=-1)

    def random_returns(self) -> np.ndarray[Any, Any]:
        """F64 [episodes], returns of uniform legal actions on at least 100 episodes."""
        episodes = max(MIN_FINAL_EPISODES, self.config.eval_episodes)
        key = jax.random.fold_in(jax.random.key(self.config.seed), 2**31 - 1)
        idle = random_learner(self.env.spec(self.params))
        play = jax.jit(lambda key: evaluate(self.env, self.params, idle, (), key, episodes))
        return np.asarray(play(key), float)

    def _placed(self, keys: Array) -> Array:
        placed: Array = jax.device_put(keys, self._lanes.sharding)
        return placed

    def _eval_keys(self) -> Array:
        """Keys of the next evaluation, apart from those that training uses."""

        def key(seed: Array) -> Array:
            key = jax.random.fold_in(jax.random.key(seed), 2**31 - 2)
            return jax.random.fold_in(key, self._evaluations)

        return self._placed(jax.vmap(key)(self._seeds))

    def _evaluated(self) -> np.ndarray[Any, Any]:
        """F64 [seeds, eval_episodes], greedy returns now."""
        assert self._evaluate is not None, "the run has not started"
        returns, seconds = _timed(self._evaluate, self._state, self._eval_keys())
        self._evaluations += 1
        self.phases["evaluation"] += seconds
        return np.asarray(returns, float)[: self.config.seeds]

    def _compile(self) -> list[Callable[..., Any]]:
        """The loop's init, warm_up, block and evaluate, over all seeds and devices.

        They are compiled ahead of their first calls, and side by side: a compiler keeps one core
        busy, and compiling is most of what a short run costs.
        """
        began = time.perf_counter()
        over, loop = self._lanes.over, self.loop
        state = jax.eval_shape(over(loop.init), self._keys)
        keys = self._eval_keys()
        jit = functools.partial(
            jax.jit, in_shardings=self._lanes.sharding, out_shardings=self._lanes.sharding
        )
        lowered = [
            jit(over(loop.init)).lower(self._keys),
            jit(over(loop.warm_up), donate_argnums=0).lower(state),
            jit(over(loop.block), donate_argnums=0).lower(state),
            jit(over(loop.evaluate)).lower(state, keys),
        ]
        with concurrent.futures.ThreadPoolExecutor(len(lowered)) as pool:
            compiled = list(pool.map(lambda program: program.compile(), lowered))
        self.phases["compile"] += time.perf_counter() - began
        return compiled


class Lanes(NamedTuple):
    """How functions of one seed run over several: `vmap`ped on each device, devices side by side.

    Seeds have nothing to say to each other, so no device waits for another. Where they do not
    divide evenly, the devices with fewer train one more that nobody asked for, and `Run` drops it:
    a device that would otherwise stand idle. A device with one seed runs its function as it is.
    """

    width: int  # seeds that are run, at least as many as were asked for
    over: Callable[[Callable[..., Tree]], Callable[..., Tree]]
    sharding: Sharding


def _lanes(seeds: int) -> Lanes:
    devices = jax.local_devices()[:seeds]
    width = math.ceil(seeds / len(devices)) * len(devices)
    each = jax.vmap if width > len(devices) else _alone
    if len(devices) == 1:
        return Lanes(width, each, SingleDeviceSharding(devices[0]))
    mesh, spec = Mesh(np.array(devices), ("seeds",)), PartitionSpec("seeds")

    def over(function: Callable[..., Tree]) -> Callable[..., Tree]:
        return jax.shard_map(
            each(function), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
        )

    return Lanes(width, over, NamedSharding(mesh, spec))


def _alone(function: Callable[..., Tree]) -> Callable[..., Tree]:
    """`jax.vmap` for an axis of one: under `vmap`, both sides of every branch are computed."""

    def call(*args: Tree) -> Tree:
        result = function(*jax.tree.map(lambda x: x[0], args))
        return jax.tree.map(lambda x: x[None], result)

    return call


def _timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    out = jax.block_until_ready(function(*args))
    return out, time.perf_counter() - began


def _nbytes(tree: Tree) -> int:
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(x.shape) * _itemsize(x) for x in leaves)


def _itemsize(x: Any) -> int:
    return 8 if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else int(np.dtype(x.dtype).itemsize)
