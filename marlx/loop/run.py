"""A training run on the host: its state, its progress and the time it takes."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.learner import Judged, Learner
from marlx.loop import multihost, programs
from marlx.loop.evaluation import episodes_of_each, modes_of, random_evaluation
from marlx.loop.placement import Devices, Layout, Variants, place
from marlx.loop.program import NOT_FINITE, Loop, RunState, loop, state_shape, state_sizes
from marlx.loop.programs import Programs
from marlx.loop.progress import Progress
from marlx.loop.settings import MIN_FINAL_EPISODES, TrainConfig
from marlx.loop.warm_start import WarmStart, begun, read_warm_start
from marlx.types import Array, Observation, Tree
from marlx.xla.memory import count_operations, nbytes, peak_bytes
from marlx.xla.options import check_options


class MemoryPlan(NamedTuple):
    """Bytes that a run needs on all its devices together; what JAX itself takes is not counted."""

    state: int  # parameters, optimisers, replays, environments, of all seeds
    training: int  # the most that is alive during a block of training, the state included
    evaluation: int  # likewise during an evaluation
    operations: int = 0  # of the traced programs, which compiling them takes memory for

    @property
    def peak(self) -> int:
        """The larger of the two."""
        return max(self.training, self.evaluation)


class Run:
    """A training run: compiles the loop, runs it block by block and measures time.

    With `variants`, every variant trains all seeds, and what has a leading axis [seeds] elsewhere
    has [variants x seeds] here, the seeds of a variant next to each other. `learner` is that of one
    variant. `devices` is read by `marlx.loop.placement.layout`.

    Attributes:
      loop: the training loop of one seed.
      state_shape: shapes of the state of one seed.
      placement: of seeds and environments on devices.
      phases: seconds so far by `compile`, `rollout`, `update`, `evaluation`.
    """

    def __init__(
        self,
        env: Environment[Any, Any],
        params: EnvParams,
        learner: Learner,
        config: TrainConfig,
        variants: Variants | None = None,
        devices: Devices = "auto",
        *,
        check_finite: bool = False,
    ) -> None:
        """Checks all settings; nothing is compiled yet. `check_finite` is that of `loop`.

        Raises:
          ValueError: settings that cannot work.
        """
        check_options()
        self.env, self.params, self.learner, self.config = env, params, learner, config
        self._check_finite = check_finite
        self.loop = loop(env, params, learner, config, check_finite=check_finite)
        self.phases = dict.fromkeys(("compile", "rollout", "update", "evaluation"), 0.0)
        self._has_variants = variants is not None
        self._variants = variants or Variants({}, lambda values: learner, np.array([config.seed]))
        seeds = (self._variants.first_seeds[:, None] + np.arange(config.seeds)).reshape(-1)
        self._count = len(seeds)
        self.placement = place(self._count, config.num_envs, devices)
        self._seeds = jnp.asarray(self.placement.pad(seeds))
        self._values = {
            name: self.placement.put(self.placement.pad(np.repeat(value, config.seeds)))
            for name, value in self._variants.values.items()
        }
        shape = functools.partial(state_shape, env, params, learner, config)
        self.state_shape = shape(config.num_envs)
        self._sharding = self.placement.state_sharding(shape, config.num_envs)
        self._state: RunState | None = None
        self._warm_start: WarmStart | None = None
        self._programs: Programs | None = None
        self._traced: dict[str, Any] = {}
        self._gathered_policies: Tree = None
        self._blocks, self._evaluations, self._rollout_seconds = 0, 0, 0.0
        self.not_finite: dict[str, np.ndarray[Any, Any]] = {}
        """Of the last block: bool [seeds], whether an array of the environment (`NOT_FINITE`) had
        NaN or infinity at any step; empty without `check_finite`, and before the first block."""
        episodes = max(MIN_FINAL_EPISODES, config.eval_episodes)
        self._evaluate_random: Any = random_evaluation(env, params, episodes)
        self._random_returns: dict[int, np.ndarray[Any, Any]] = {}

    @property
    def has_variants(self) -> bool:
        """Whether variants share the program."""
        return self._has_variants

    @property
    def num_seeds(self) -> int:
        """Number of seeds, of all variants together."""
        return self._count

    @property
    def total_steps(self) -> int:
        """Environment steps per seed at the end: whole blocks, so at least those asked for."""
        return self._steps(self.loop.blocks)

    @property
    def started(self) -> bool:
        """Whether there is a state: the run was restored, or has begun."""
        return self._state is not None

    @property
    def state(self) -> RunState:
        """The state of all replicas, leading axis [replicas]; the next block donates it."""
        assert self._state is not None, "the run has not started"
        return self._state

    @property
    def layout(self) -> Layout:
        """Groups of devices that seeds are distributed over."""
        return self.placement.layout

    @property
    def programs(self) -> Programs:
        """The compiled programs."""
        assert self._programs is not None, "the run is not compiled"
        return self._programs

    def sizes(self) -> dict[str, int]:
        """Bytes of a seed's state by the learner's fields and `environments`, largest first."""
        return state_sizes(self.state_shape)

    def replicas_shape(self) -> RunState:
        """Shapes of the state of all replicas, leading axis [replicas]."""
        shape: RunState = self.placement.add_axis(self.state_shape)
        return shape

    def policies(self) -> Tree:
        """The policies (`Learner.policy`) now, leading axis [seeds]."""
        if not multihost.is_multihost():
            policies = self.learner.policy(self.state.learner)
            return jax.tree.map(lambda x: x[: self._count], policies)
        if self._gathered_policies is None:
            assert self.programs.policies is not None
            self._gathered_policies = self.programs.policies(self.state)
        return jax.tree.map(lambda x: np.asarray(x)[: self._count], self._gathered_policies)

    def played(self) -> tuple[Array, Observation]:
        """Running returns and current observations of all environments, leading [replicas]."""
        return self.state.actors.episode_return, self.state.actors.obs

    def close(self) -> None:
        """Ends the processes that the run has started: none here."""

    def snapshot(self) -> tuple[RunState, dict[str, Any]]:
        """Returns the state [replicas] and the counters (as JSON holds them) for `restore`.

        Of several processes all must call it, and only the first gets a state, on the host.
        """
        state = multihost.to_host(self.state) if multihost.is_multihost() else self.state
        return state, {
            "blocks": self._blocks,
            "evaluations": self._evaluations,
            "rollout_seconds": self._rollout_seconds,
            "phases": dict(self.phases),
        }

    def restore(self, state: RunState, counters: Mapping[str, Any]) -> None:
        """Continues from a `snapshot` of a run with the same settings.

        Args:
          state: on the host, with at least one replica for each seed; padding is added or dropped,
            as this run's devices need.
          counters: of the snapshot.
        """
        replicas = np.arange(self.placement.num_replicas)

        def resize(x: Any) -> Any:
            return x if len(x) == len(replicas) else x[np.where(replicas < len(x), replicas, 0)]

        # the arrays are going to be donated, so they must not share memory with NumPy's
        self._state = multihost.device_put(jax.tree.map(resize, state), self._sharding)
        self._blocks, self._evaluations = counters["blocks"], counters["evaluations"]
        self._rollout_seconds = counters["rollout_seconds"]
        self.phases.update(counters["phases"])

    def read_warm_start(self) -> dict[str, Any] | None:
        """Reads what the run begins with, `TrainConfig.warm_start`; `compile` does it otherwise.

        Not for a restored run, which has a state.

        Returns:
          Where it comes from: run, algorithm, environment, seed, steps, return, sha256, arrays.
          None where the run begins with parameters of its own.

        Raises:
          ValueError: there is no such run, or its arrays are not those of this learner.
        """
        if self._warm_start is None:
            self._warm_start = read_warm_start(self.learner, self.state_shape.learner, self.config)
        return self.begins_with

    @property
    def begins_with(self) -> dict[str, Any] | None:
        """The result of `read_warm_start`; None where it was not called, or is not needed."""
        return None if self._warm_start is None else self._warm_start.facts

    def compile(self) -> None:
        """Compiles the programs; `blocks` does it where it was not done before."""
        if self._programs is not None:
            return
        if not self.started:
            self.read_warm_start()
        names = ["block", "evaluate"]
        names += [] if self.started else ["init", "warm_up"]
        names += ["policies"] if multihost.is_multihost() else []
        self._trace(*names)
        began = time.perf_counter()
        traced = {name: self._traced[name] for name in names}
        traced["random"] = self._evaluate_random.trace(jax.eval_shape(jax.random.key, 0))
        self._programs = programs.compile_programs(traced, self._values)
        self._traced.clear()
        self.phases["compile"] += time.perf_counter() - began

    def compile_as(self, other: Run) -> None:
        """Takes the programs of a compiled run, instead of compiling the same.

        Args:
          other: differs in the first seed only, and is restored if this one is.
        """
        if not self.started:
            self.read_warm_start()
        self._programs = other.programs

    def memory_plan(self) -> MemoryPlan:
        """Returns the memory that the run will need, from its traced programs; compiles nothing."""
        self._trace("block", "evaluate")
        programs = [self._traced[name].jaxpr for name in ("block", "evaluate")]
        operations = sum(count_operations(program.jaxpr) for program in programs)
        block, evaluate = map(peak_bytes, programs)
        return MemoryPlan(nbytes(self.replicas_shape()), block, evaluate, operations)

    def allocated(self) -> int:
        """Returns the bytes of the state that the devices hold: none before a run has begun."""
        return 0 if self._state is None else nbytes(self._state)

    def _trace(self, *names: str) -> None:
        """Traces programs, those that are not traced yet."""
        began = time.perf_counter()

        def make_loop(values: dict[str, Array]) -> Loop:
            learner = self._variants.make_learner(values)
            check = self._check_finite
            return loop(self.env, self.params, learner, self.config, check_finite=check)

        self._traced |= programs.trace_programs(
            make_loop,
            self.placement,
            self._sharding,
            self._values,
            self.replicas_shape(),
            evaluation_keys(self._seeds, self._evaluations),
            [name for name in names if name not in self._traced],
        )
        self.phases["compile"] += time.perf_counter() - began

    def blocks(self) -> Iterator[Progress]:
        """Trains, yielding before the first update and after every block that is left."""
        self.compile()
        if self._state is None:
            assert self.programs.init is not None and self.programs.warm_up is not None
            keys = self.placement.put(jax.vmap(jax.random.key)(self._seeds))
            state = self.programs.init(keys)
            if self._warm_start is not None:
                rate = self.config.warm_start_rate
                state = state._replace(learner=begun(self._warm_start, state.learner, rate))
            self._state, seconds = _timed(self.programs.warm_up, state)
            self.phases["rollout"] += seconds
            self._rollout_seconds = seconds / self.loop.warm_up_rollouts
            yield self._progress({})
        rollouts = np.int32(self.loop.block_rollouts)
        while self._blocks < self.loop.blocks:
            (self._state, metrics), seconds = _timed(self.programs.block, self._state, rollouts)
            self._blocks += 1
            # a block is one program: its rollouts are taken to last as long as in the warm-up
            rolling = min(seconds, self._rollout_seconds * self.loop.block_rollouts)
            self.phases["rollout"] += rolling
            self.phases["update"] += seconds - rolling
            yield self._progress(metrics)

    @property
    def modes(self) -> tuple[Judged, ...]:
        """How the run is evaluated; `return` is measured in the first mode."""
        return modes_of(self.learner.judged, self.config.eval)

    def final_evaluation(self) -> dict[str, np.ndarray[Any, Any]]:
        """Metrics f64 [seeds, episodes] of at least 100 fresh episodes per seed and mode."""
        each = episodes_of_each(self.config.eval_episodes, self.modes)
        rounds = [self._evaluate() for _ in range(math.ceil(MIN_FINAL_EPISODES / each))]
        return {name: np.concatenate([one[name] for one in rounds], -1) for name in rounds[0]}

    def random_returns(self, variant: int = 0) -> np.ndarray[Any, Any]:
        """f64 [episodes], returns of the uniform policy on at least 100 episodes.

        Its program is compiled with the others; before that, a call compiles one of its own.
        """
        if variant not in self._random_returns:
            first_seed = int(self._variants.first_seeds[variant])
            key = jax.random.fold_in(jax.random.key(first_seed), 2**31 - 1)
            programs = self._programs
            evaluate = self._evaluate_random if programs is None else programs.random
            self._random_returns[variant] = np.asarray(evaluate(key), float)
        return self._random_returns[variant]

    def _progress(self, metrics: dict[str, Array]) -> Progress:
        """Evaluates, and puts what it finds before the learner's `metrics` of the block."""
        self.not_finite = {
            name: np.asarray(metrics.pop(name))[: self._count] > 0
            for name in NOT_FINITE
            if name in metrics
        }
        evaluated = {name: values.mean(-1) for name, values in self._evaluate().items()}
        metrics = {**evaluated, **metrics}
        self._gathered_policies = None
        if multihost.is_multihost():
            self.policies()  # gathered now by all processes; later a single one may ask for them
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

    def _evaluate(self) -> dict[str, np.ndarray[Any, Any]]:
        """Metrics f64 [seeds, episodes] of the policies now."""
        keys = self.placement.put(evaluation_keys(self._seeds, self._evaluations))
        evaluated, seconds = _timed(self.programs.evaluate, self.state, keys)
        self._evaluations += 1
        self.phases["evaluation"] += seconds
        names = sorted(evaluated, key=lambda name: name != "return")  # it comes first
        return {name: np.asarray(evaluated[name], float)[: self._count] for name in names}


def evaluation_keys(seeds: Array, evaluation: int) -> Array:
    """Keys [replicas] of an evaluation by its number, apart from the keys that training uses."""

    def key(seed: Array) -> Array:
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 2**31 - 2), evaluation)

    keys: Array = jax.vmap(key)(seeds)
    return keys


def _timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    out = jax.block_until_ready(function(*args))
    return out, time.perf_counter() - began
