"""The one training loop: collect, store, learn, evaluate, for every learner alike.

One block of iterations is one jitted scan; the host touches nothing inside it. Seeds are a `vmap`
around the block, and devices share the seeds, or the environments of each (`marlx.lanes`).
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx import processes
from marlx.environment import Environment, EnvParams
from marlx.evaluation import evaluate, random_learner
from marlx.lanes import Devices, Layout, Variants, environment_axes, lanes
from marlx.learner import Learner
from marlx.rollout import Actors, Finished, rollout, start
from marlx.types import Array, Transition, Tree

if TYPE_CHECKING:
    from marlx.loggers import Logger

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
    policies: Callable[[RunState], Tree]
    warm_up_rollouts: int
    block_rollouts: int
    blocks: int


def _schedule(learner: Learner, config: TrainConfig) -> tuple[int, int, int]:
    """Rollouts of the warm-up, rollouts of a block, and blocks.

    Raises:
      ValueError: there are no steps left after the warm-up.
    """
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
    return warm, per_block, math.ceil((rollouts - warm) / per_block)


def with_total_steps(config: TrainConfig, learner: Learner, total_steps: int) -> TrainConfig:
    """`config` for other `total_steps`, with evaluations as far apart as they are now.

    What is trained between two evaluations is one compiled block. With blocks as they were, a run
    that goes on to `total_steps` is, to the bit, the run that was given the new config at once.
    """
    _, per_block, _ = _schedule(learner, config)
    longer = dataclasses.replace(config, total_steps=total_steps, evals=1)
    warm, rollouts, _ = _schedule(learner, longer)
    evals = math.ceil(rollouts / per_block)
    if math.ceil(rollouts / evals) != per_block:  # then no number of evaluations fits: fill up
        total_steps = (warm + evals * per_block) * config.num_envs * config.rollout_length
    return dataclasses.replace(config, total_steps=total_steps, evals=evals)


def loop(
    env: Environment[Any, Any], params: EnvParams, learner: Learner, config: TrainConfig
) -> Loop:
    """The training loop of one seed, as pure functions."""
    c = config
    warm, per_block, blocks = _schedule(learner, config)

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
            **({} if learner.totals is None else learner.totals(run.learner)),
            "train_return": ended.total_return / ended.episodes,
            "episode_length": ended.total_length / ended.episodes,
        }

    def evaluate_run(run: RunState, key: Array) -> Array:
        return evaluate(env, params, learner, learner.policy(run.learner), key, c.eval_episodes)

    def policies(run: RunState) -> Tree:
        return learner.policy(run.learner)

    return Loop(init, warm_up, block, evaluate_run, policies, warm, per_block, blocks)


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
    report: Callable[[Progress], None] | Logger | Sequence[Logger] | None = None,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    devices: Devices = "auto",
    **settings: Any,
) -> Result:
    """Train `learner` in `env`, several seeds at once.

    Args:
      env: the environment.
      learner: built for `env.spec(params)`.
      params: the environment's parameters; its defaults if None.
      config: how long and how wide; defaults if None.
      report: called after every evaluation, on the host; a function, or loggers
        (`marlx.loggers`), which are also closed at the end and cannot stop the training.
      checkpoints: a folder to keep checkpoints in, one a minute at most; none if None.
      resume: go on from the newest checkpoint there, if there is one. With other `total_steps` than
        it had, evaluations stay as far apart as they were.
      devices: what computes it: `auto`, a device for each seed while they last; a number of devices
        or `all`, seeds first; or groups and the devices of each, as in `2x4`. The devices of a
        group share the environments of its seeds. Of several processes (`jax.distributed`) all call
        this alike; `report` is called and `checkpoints` are written in the first.
      **settings: fields of `TrainConfig`, over those of `config`.

    Returns:
      A `Result`.

    Raises:
      ValueError: settings that cannot work, or that are not those of the checkpoint, before
        anything is compiled.
    """
    from marlx.loggers.base import together
    from marlx.runs import result_record

    config = dataclasses.replace(config or TrainConfig(), **settings)
    params = env.default_params if params is None else params
    history: list[Progress] = []
    record = None
    if checkpoints is None:
        if resume:
            raise ValueError("resume is True; name the folder of its checkpoints")
        run, keep = Run(env, params, learner, config, devices=devices), None
    else:
        from marlx.checkpoints import resumable  # orbax takes a second to import

        run, keep, history = resumable(env, params, learner, config, checkpoints, resume, devices)
    logger = together(report if processes.is_first() else None)
    try:
        for progress in run.blocks():
            history.append(progress)
            logger.log(progress)
            if keep is not None:
                keep.step(run, history)
        returns, random_returns = run.final_returns(), run.random_returns()
        optimum = env.spec(params).optimum
        record = result_record(config, history[-1], returns, random_returns, optimum, run.phases)
    finally:
        logger.close(record)
    policies = jax.device_get(run.policies())
    return Result(history, policies, returns, random_returns, run.phases, learner)


class Run:
    """A training run on the host: compiles the loop, steps it block by block and keeps the time.

    With `variants`, every variant trains all seeds, and what has a leading axis [seeds] elsewhere
    has [variants x seeds] here, the seeds of a variant side by side. `learner` is one of them.
    `devices` says what computes it, as `marlx.lanes.layout` reads it.
    """

    def __init__(
        self,
        env: Environment[Any, Any],
        params: EnvParams,
        learner: Learner,
        config: TrainConfig,
        variants: Variants | None = None,
        devices: Devices = "auto",
    ) -> None:
        self.env, self.params, self.learner, self.config = env, params, learner, config
        self.loop = loop(env, params, learner, config)
        self.phases = dict.fromkeys(("compile", "rollout", "update", "evaluation"), 0.0)
        self._variants = variants or Variants({}, lambda values: learner, np.array([config.seed]))
        seeds = (self._variants.first_seeds[:, None] + np.arange(config.seeds)).reshape(-1)
        self._count = len(seeds)
        self._lanes = lanes(self._count, config.num_envs, devices)
        self._seeds = jnp.asarray(self._lanes.filled(seeds))
        self._values = {
            name: self._placed(self._lanes.filled(np.repeat(value, config.seeds)))
            for name, value in self._variants.values.items()
        }
        # every setting that cannot work is found here, before the first compilation
        self.state_shape = self._state_of(config.num_envs)
        self._sharding = self._lanes.of_state(self._axes)
        self._keys = self._placed(jax.vmap(jax.random.key)(self._seeds))
        self._state: RunState | None = None
        self._policies: Tree = None
        self._blocks = 0
        self._evaluations = 0
        self._rollout_seconds = 0.0
        self._programs: dict[str, Callable[..., Any]] = {}

    def sizes(self) -> dict[str, int]:
        """Bytes of a seed's state by the learner's fields and `environments`, largest first."""
        learner = self.state_shape.learner
        fields = learner._asdict() if hasattr(learner, "_asdict") else {"learner": learner}
        fields["environments"] = self.state_shape.actors
        sizes = {name: nbytes(tree) for name, tree in fields.items()}
        return dict(sorted(sizes.items(), key=lambda item: -item[1]))

    def policies(self) -> Tree:
        """What acting needs, leading axis [seeds]."""
        assert self._state is not None, "the run has not started"
        if not processes.several():
            policies = self.learner.policy(self._state.learner)
            return jax.tree.map(lambda x: x[: self._count], policies)
        if self._policies is None:
            self._policies = self._programs["policies"](self._state)
        return jax.tree.map(lambda x: np.asarray(x)[: self._count], self._policies)

    @property
    def layout(self) -> Layout:
        """Groups of devices that the seeds are laid over, and the devices of each."""
        return self._lanes.layout

    @property
    def total_steps(self) -> int:
        """Environment steps per seed at the end: whole blocks, so at least those asked for."""
        return self._steps(self.loop.blocks)

    def lanes_shape(self) -> RunState:
        """Shapes of the state of all seeds, leading axis [lanes]; at least `seeds` of them."""
        width = self._lanes.width
        shape: RunState = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((width, *x.shape), x.dtype), self.state_shape
        )
        return shape

    def snapshot(self) -> tuple[RunState, dict[str, Any]]:
        """All that `restore` needs to go on from here: state [lanes], and counters as in JSON.

        Of several processes all must call it, and only the first gets a state, on the host.
        """
        assert self._state is not None, "the run has not started"
        state = processes.to_host(self._state) if processes.several() else self._state
        return state, {
            "blocks": self._blocks,
            "evaluations": self._evaluations,
            "rollout_seconds": self._rollout_seconds,
            "phases": dict(self.phases),
        }

    def restore(self, state: RunState, counters: Mapping[str, Any]) -> None:
        """Stand where a `snapshot` was taken, by a run with the same settings.

        Args:
          state: on the host, with at least the lanes of all seeds; further ones are made up or
            left out, as this run's devices need.
          counters: as they were.
        """
        lanes = np.arange(self._lanes.width)

        def fit(x: Any) -> Any:
            return x if len(x) == len(lanes) else x[np.where(lanes < len(x), lanes, 0)]

        # the arrays are going to be donated, so they must not lie in memory of numpy's
        self._state = processes.laid(jax.tree.map(fit, state), self._sharding)
        self._blocks, self._evaluations = counters["blocks"], counters["evaluations"]
        self._rollout_seconds = counters["rollout_seconds"]
        self.phases.update(counters["phases"])

    def compile(self) -> None:
        """Compile what is going to be called; `blocks` does it where it was not done before."""
        if not self._programs:
            self._programs = self._compile()

    def blocks(self) -> Iterator[Progress]:
        """Train, yielding before the first update and after every block that is still to do."""
        self.compile()
        if self._state is None:
            state = self._programs["init"](self._keys)
            self._state, seconds = _timed(self._programs["warm_up"], state)
            self.phases["rollout"] += seconds
            self._rollout_seconds = seconds / self.loop.warm_up_rollouts
            yield self._progress({})
        while self._blocks < self.loop.blocks:
            (self._state, metrics), seconds = _timed(self._programs["block"], self._state)
            self._blocks += 1
            # one program, so its parts are told apart by what a rollout took without updates
            rolling = min(seconds, self._rollout_seconds * self.loop.block_rollouts)
            self.phases["rollout"] += rolling
            self.phases["update"] += seconds - rolling
            yield self._progress(metrics)

    def _progress(self, metrics: dict[str, Array]) -> Progress:
        """Evaluate, and put it before the learner's `metrics` of the block."""
        metrics = {"return": self._evaluated().mean(-1), **metrics}
        self._policies = None
        if processes.several():
            self.policies()  # now, when all of them do: who asks for it later does so alone
        return Progress(
            self._steps(self._blocks),
            self.total_steps,
            sum(self.phases.values()) - self.phases["compile"],
            {k: np.asarray(v, float)[: self._count] for k, v in metrics.items()},
            dict(self.phases),
            self.policies,
        )

    def _steps(self, blocks: int) -> int:
        rollouts = self.loop.warm_up_rollouts + blocks * self.loop.block_rollouts
        return rollouts * self.config.num_envs * self.config.rollout_length

    def final_returns(self) -> np.ndarray[Any, Any]:
        """F64 [seeds, episodes], greedy returns of at least 100 fresh episodes per seed."""
        rounds = math.ceil(MIN_FINAL_EPISODES / self.config.eval_episodes)
        return np.concatenate([self._evaluated() for _ in range(rounds)], axis=-1)

    def random_returns(self, variant: int = 0) -> np.ndarray[Any, Any]:
        """F64 [episodes], returns of uniform legal actions on at least 100 episodes."""
        first_seed = int(self._variants.first_seeds[variant])
        key = jax.random.fold_in(jax.random.key(first_seed), 2**31 - 1)
        return np.asarray(self._random(key), float)

    @functools.cached_property
    def _random(self) -> Callable[[Array], Array]:
        episodes = max(MIN_FINAL_EPISODES, self.config.eval_episodes)
        idle = random_learner(self.env.spec(self.params))
        return jax.jit(lambda key: evaluate(self.env, self.params, idle, (), key, episodes))

    def _state_of(self, num_envs: int) -> RunState:
        """Shapes of a seed's state with other `num_envs`."""
        if num_envs == self.config.num_envs:
            init = self.loop.init
        else:
            # what it is asked for is shapes: that it would be too short to train does not matter
            config = dataclasses.replace(self.config, num_envs=num_envs, total_steps=2**31 - 1)
            init = loop(self.env, self.params, self.learner, config).init
        shape: RunState = jax.eval_shape(init, jax.random.key(0))
        return shape

    def _axes(self) -> Tree:
        share = self._lanes.layout.share
        return environment_axes(self._state_of, self.config.num_envs, share)

    def _placed(self, x: Any) -> Array:
        placed: Array = processes.laid(x, self._lanes.sharding)
        return placed

    def _eval_keys(self) -> Array:
        """Keys of the next evaluation, apart from those that training uses."""

        def key(seed: Array) -> Array:
            key = jax.random.fold_in(jax.random.key(seed), 2**31 - 2)
            return jax.random.fold_in(key, self._evaluations)

        return self._placed(jax.vmap(key)(self._seeds))

    def _evaluated(self) -> np.ndarray[Any, Any]:
        """F64 [seeds, eval_episodes], greedy returns now."""
        assert self._state is not None, "the run has not started"
        returns, seconds = _timed(self._programs["evaluate"], self._state, self._eval_keys())
        self._evaluations += 1
        self.phases["evaluation"] += seconds
        return np.asarray(returns, float)[: self._count]

    def _compile(self) -> dict[str, Callable[..., Any]]:
        """The loop's functions, over all seeds and devices.

        They are compiled ahead of their first calls, and side by side: a compiler keeps one core
        busy, and compiling is most of what a short run costs.
        """
        began = time.perf_counter()
        over, values = self._over, self._values
        state, keys = self.lanes_shape(), self._eval_keys()
        each, all_, told = self._lanes.sharding, self._sharding, self._lanes.told

        def lower(name: str, given: Any, made: Any, *args: Tree, donate: bool = False) -> Any:
            jit = jax.jit(
                over(name), in_shardings=(each, *given), out_shardings=made,
                donate_argnums=(1,) if donate else (),
            )  # fmt: skip
            return jit.lower(values, *args)

        lowered = {
            "block": lower("block", [all_], (all_, told), state, donate=True),
            "evaluate": lower("evaluate", [all_, each], told, state, keys),
        }
        if self._state is None:  # nothing was restored
            lowered |= {
                "init": lower("init", [each], all_, self._keys),
                "warm_up": lower("warm_up", [all_], all_, state, donate=True),
            }
        if processes.several():
            lowered["policies"] = lower("policies", [all_], told, state)

        def compiled(name: str) -> Callable[..., Any]:
            made: Callable[..., Any]
            made = lowered[name].compile() if name == "block" else _soon(lowered[name])
            return made

        with concurrent.futures.ThreadPoolExecutor(len(lowered)) as pool:
            programs = dict(zip(lowered, pool.map(compiled, lowered), strict=True))
        self.phases["compile"] += time.perf_counter() - began
        return {name: functools.partial(program, values) for name, program in programs.items()}

    def _over(self, name: str) -> Callable[..., Tree]:
        """`(values, ...) -> ...`, the loop's function `name` over all lanes, with their values."""

        def one(values: dict[str, Array], *args: Tree) -> Tree:
            learner = self._variants.learner(values)
            return getattr(loop(self.env, self.params, learner, self.config), name)(*args)

        return self._lanes.over(one)


def _soon(program: Any) -> Any:
    """A lowered program, on a CPU compiled in a third of the time, to take about twice as long.

    For what runs once or seldom. Later versions of XLA (jaxlib 0.11.2) know no other way to write
    loops than the one that is left out here, and say so.
    """
    if jax.default_backend() != "cpu":
        return program.compile()
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    try:
        return program.compile({**options, "xla_cpu_use_fusion_emitters": False})
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return program.compile(options)


def _timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    out = jax.block_until_ready(function(*args))
    return out, time.perf_counter() - began


def nbytes(tree: Tree) -> int:
    """Bytes of all arrays, or shapes of arrays, in `tree`."""
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(x.shape) * _itemsize(x) for x in leaves)


def _itemsize(x: Any) -> int:
    return 8 if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else int(np.dtype(x.dtype).itemsize)
