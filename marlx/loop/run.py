"""A training run on the host: compiled programs, state, time."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.learner import Learner
from marlx.loop import multihost
from marlx.loop.evaluation import evaluate, random_learner
from marlx.loop.placement import Devices, Layout, Variants, environment_axes, lanes
from marlx.loop.program import RunState, loop
from marlx.loop.progress import Progress
from marlx.loop.settings import MIN_FINAL_EPISODES, TrainConfig
from marlx.types import Array, Tree
from marlx.xla.compiling import compile_fast
from marlx.xla.memory import nbytes


class Run:
    """A training run on the host: compiles the loop, steps it block by block and keeps the time.

    With `variants`, every variant trains all seeds, and what has a leading axis [seeds] elsewhere
    has [variants x seeds] here, the seeds of a variant side by side. `learner` is one of them.
    `devices` says what computes it, as `marlx.loop.placement.layout` reads it.
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
        if not multihost.several():
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
        state = multihost.to_host(self._state) if multihost.several() else self._state
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
        self._state = multihost.laid(jax.tree.map(fit, state), self._sharding)
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
        if multihost.several():
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
        placed: Array = multihost.laid(x, self._lanes.sharding)
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
        if multihost.several():
            lowered["policies"] = lower("policies", [all_], told, state)

        def compiled(name: str) -> Callable[..., Any]:
            made: Callable[..., Any]
            made = lowered[name].compile() if name == "block" else compile_fast(lowered[name])
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


def _timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    out = jax.block_until_ready(function(*args))
    return out, time.perf_counter() - began
