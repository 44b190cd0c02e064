"""`check_learner`: a conformance suite that any learner must pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment
from marlx.learner import Learner, example_rollout
from marlx.loop.rollout import rollout, start
from marlx.testing.probes import Constant, Leaving, Recall, Unequal
from marlx.types import Array, EnvSpec, Observation, Transition, Tree
from marlx.xla.memory import is_key

NUM_ENVS, LENGTH, ROLLOUTS = 4, 8, 4
"""Environments, steps of a rollout, and rollouts that are learned from."""

PROBES: tuple[Environment[Any, Any], ...] = (Constant(num_agents=1), Unequal())
"""Further environments: one agent; groups with observations and actions of their own."""

ABSENT: Environment[Any, Any] = Leaving()
"""Environment whose agents leave."""

_Sequence: TypeAlias = Callable[[Tree, Observation, Array], Array]
_Train: TypeAlias = Callable[[Tree, Array], tuple[Tree, dict[str, Array]]]

# Everything here runs a few times, so compiling is the cost: half or less without optimising.
_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def check_learner(
    build: Callable[[EnvSpec], Learner],
    env: Environment[Any, Any] | None = None,
    *,
    others: Sequence[Environment[Any, Any]] = PROBES,
    decentralised: bool = True,
    absent: Environment[Any, Any] | None = ABSENT,
    eager: bool = True,
    together: bool = True,
    tolerance: float = 1e-3,
    key: int = 0,
) -> None:
    """Assert that a learner keeps the contract of `marlx.learner`.

    Checked in `env`: shapes and dtypes of memory, actions, extras, state and metrics; the same
    results from the same key, with and without `jit`, with donated states, and for seeds under
    `vmap` as one by one; arguments that stay as they are; illegal actions that are never taken; an
    action that depends on nothing but the agent's own observations and memory; recomputed actions
    and memories that equal those of acting, whatever else is in the batch. In `env` and in
    `others`: numbers that stay finite while it learns. Where agents can be absent: what an inactive
    agent sees, does and is paid changes no parameter, to the last bit.

    Args:
      build: `(spec) -> Learner`; it is called for several environments. Small networks, a small
        batch and a warm-up of at most 32 steps make the check fast and meaningful.
      env: where most is checked; `Recall` by default, which is partially observable, has masks that
        change, true ends and time limits.
      others: environments in which the learner is only trained; one agent, and heterogeneous
        agents by default.
      decentralised: whether each agent acts on its own observations alone. False for learners that
        act centrally, such as a joint-action Q.
      absent: environment with absent agents and three actions, in which they must count for
        nothing. None for learners that were not made for that.
      eager: whether `act` and `update` are also called without `jit`, which takes the most time.
      together: whether seeds are also trained under `vmap`, which compiles training once more.
      tolerance: relative difference that is allowed between seeds under `vmap` and one by one;
        a tenth of it absolutely. Adam makes a whole step of a gradient that is 0 but for rounding,
        as that of a bias before a normalisation: allow for a few steps where a network has one.
      key: seed of everything random.

    Raises:
      AssertionError: one line that says what is wrong.
    """
    env = Recall(num_agents=3) if env is None else env
    case = _case(build, env, key)
    _check_shapes(case)
    train = _jit(case.trained, donate_argnums=0)
    state = _check_training(case, train)
    if together:
        _check_together(case, train, tolerance)
    if eager:
        _check_update(case, state)
    _check_recomputed(case, eager)
    greedy = _sequence(case.learner, False)
    _check_legal(case, greedy)
    if decentralised:
        _check_decentralised(case, greedy)
    if absent is not None:
        _check_absent(_case(build, absent, key))
    for other in others:
        _check_finite(_case(build, other, key))


class _Case(NamedTuple):
    """A learner in an environment.

    The functions of `learner` are under `jit`, so that programs that call them share one trace;
    `plain` is as it was built.
    """

    env: Environment[Any, Any]
    spec: EnvSpec
    learner: Learner
    plain: Learner
    example: Transition
    key: Array

    @property
    def name(self) -> str:
        return f"in {self.spec.id}"

    def expect(self, condition: Any, fault: str) -> None:
        """Raise in one line unless `condition` holds everywhere."""
        if not np.all(condition):
            raise AssertionError(f"{self.name}: {fault}")

    def expect_shapes(self, found: Tree, wanted: Tree, what: str) -> None:
        """Raise in one line unless two pytrees have the same structure, shapes and dtypes."""
        found, wanted = jax.eval_shape(lambda: found), jax.eval_shape(lambda: wanted)
        if str(jax.tree.structure(found)) != str(jax.tree.structure(wanted)):
            raise AssertionError(f"{self.name}: {what} changes its structure")
        for (path, x), y in zip(
            jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True
        ):
            if (x.shape, x.dtype) != (y.shape, y.dtype):
                name = jax.tree_util.keystr(path)
                raise AssertionError(
                    f"{self.name}: {what}{name} is {x.dtype}{list(x.shape)}; it must be "
                    f"{y.dtype}{list(y.shape)}"
                )

    def expect_same(self, found: Tree, wanted: Tree, fault: str, rtol: float = 0.0) -> None:
        """Raise in one line unless two pytrees hold the same numbers; NaN equals NaN."""
        for (path, x), y in zip(
            jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True
        ):
            x, y = (np.asarray(a, float) for a in _numbers((x, y)))
            if not np.allclose(x, y, rtol=rtol, atol=rtol / 10, equal_nan=True):
                name = jax.tree_util.keystr(path)
                worst = float(np.nanmax(np.abs(x - y)))
                raise AssertionError(f"{self.name}: {fault}: {name} differs by {worst:.3g}")

    def initial(self, key: Array) -> Tree:
        """The learner's state at first."""
        return self.learner.init(key, self.example)

    def collect(self, policy: Tree, key: Array, explore: bool = True) -> Transition:
        """A rollout [T, B, ...] from fresh episodes."""
        key_start, key_roll = jax.random.split(key)
        params = self.env.default_params
        actors = start(self.env, params, self.learner, key_start, NUM_ENVS)
        return rollout(
            self.env, params, self.learner, policy, actors, key_roll, LENGTH, explore=explore
        )[1]

    def trained(self, state: Tree, key: Array) -> tuple[Tree, dict[str, Array]]:
        """State and metrics after a few rollouts and updates."""

        def one(state: Tree, key: Array) -> tuple[Tree, dict[str, Array]]:
            key_collect, key_update = jax.random.split(key)
            state = self.learner.observe(
                state, self.collect(self.learner.policy(state), key_collect)
            )
            return self.learner.update(state, key_update)

        state, metrics = jax.lax.scan(one, state, jax.random.split(key, ROLLOUTS))
        return state, metrics


def _case(build: Callable[[EnvSpec], Learner], env: Environment[Any, Any], key: int) -> _Case:
    spec = env.spec(env.default_params)
    plain = build(spec)

    def act(policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool) -> Any:
        return plain.act(policy, memory, obs, key, explore)

    learner = plain._replace(
        act=jax.jit(act, static_argnames="explore"),
        observe=jax.jit(plain.observe),
        update=jax.jit(plain.update),
    )
    example = example_rollout(spec, plain, LENGTH, NUM_ENVS)
    return _Case(env, spec, learner, plain, example, jax.random.key(key))


def _check_shapes(case: _Case) -> None:
    """Memory, actions, extras, state and metrics have the shapes and dtypes of the contract."""
    learner, spec = case.learner, case.spec

    def act(explore: bool) -> Tree:
        memory = learner.memory(NUM_ENVS)
        policy = learner.policy(case.initial(case.key))
        obs = jax.tree.map(lambda x: jnp.ones(x.shape[1:], x.dtype), case.example.obs)
        return memory, learner.act(policy, memory, obs, case.key, explore)

    shape = (NUM_ENVS, spec.num_agents)
    wanted = jax.ShapeDtypeStruct(shape, jnp.int32)
    if spec.continuous:
        wanted = jax.ShapeDtypeStruct((*shape, spec.num_actions), jnp.float32)
    for explore in (True, False):
        memory, (action, after, extras) = jax.eval_shape(functools.partial(act, explore))
        case.expect_shapes(action, wanted, "the action of act")
        case.expect_shapes(after, memory, "the memory that act returns")
        if explore:
            declared = jax.eval_shape(lambda: learner.extras(NUM_ENVS))
            case.expect_shapes(extras, declared, "what act adds, held against Learner.extras,")
    _check_inspect(case)
    for x in jax.tree.leaves((memory, extras)):
        case.expect(x.shape[:1] == (NUM_ENVS,), "memory and extras must begin with the axis [B]")

    def learn() -> Tree:
        state = case.initial(case.key)
        observed = learner.observe(state, jax.tree.map(jnp.zeros_like, _zeros(case.example)))
        updated, metrics = learner.update(observed, case.key)
        totals = {} if learner.totals is None else learner.totals(updated)
        return state, observed, updated, metrics, totals

    state, observed, updated, metrics, totals = jax.eval_shape(learn)
    case.expect_shapes(observed, state, "the state that observe returns")
    case.expect_shapes(updated, state, "the state that update returns")
    for name, x in {**metrics, **totals}.items():
        case.expect(isinstance(name, str) and x.shape == (), f"metric {name} must be one number")


def _check_inspect(case: _Case) -> None:
    """Checks that arrays of `inspect` begin with the axis [B]; known names have known shapes."""
    learner, spec = case.learner, case.spec
    if learner.inspect is None:
        return
    inspect = learner.inspect

    def shown(explore: bool) -> Tree:
        memory, policy = learner.memory(NUM_ENVS), learner.policy(case.initial(case.key))
        obs = jax.tree.map(lambda x: jnp.ones(x.shape[1:], x.dtype), case.example.obs)
        _, _, extras = learner.act(policy, memory, obs, case.key, explore)
        return inspect(policy, memory, obs, extras)

    agents = (NUM_ENVS, spec.num_agents)
    values = (*agents, spec.num_actions)
    known = {"q": values, "probability": values, "subgoal": agents, "called": agents[:1]}
    for explore in (True, False):
        for name, x in jax.eval_shape(functools.partial(shown, explore)).items():
            wanted = known.get(name, x.shape)
            fits = x.shape == wanted and x.shape[:1] == (NUM_ENVS,)
            case.expect(fits, f"inspect shows {name} {list(x.shape)}; it must be {list(wanted)}")


def _check_training(case: _Case, train: _Train) -> Tree:
    """Training from a state that is given for good gives the same numbers again; its state."""
    found = []
    key_init, key = jax.random.split(jax.random.split(case.key)[0])
    for _ in range(2):
        given = case.initial(key_init)  # outside a program, where two leaves may be one array
        try:
            found.append(jax.block_until_ready(train(given, key)))
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            if "donat" not in reason:
                raise
            raise AssertionError(f"{case.name}: the state cannot be donated: {reason}") from error
    case.expect_same(found[1], found[0], "the same key gives other numbers")
    state: Tree = found[0][0]
    _expect_finite(case, state)
    return state


def _check_together(case: _Case, train: _Train, tolerance: float) -> None:
    """Seeds under `vmap` are as one by one."""

    @_jit
    @jax.vmap
    def trained(keys: Array) -> tuple[Tree, dict[str, Array]]:
        return case.trained(case.initial(keys[0]), keys[1])

    seeds, initial = jax.vmap(jax.random.split)(jax.random.split(case.key)), _jit(case.initial)
    together = _numbers(trained(seeds))
    for i, keys in enumerate(seeds):
        found, alone = jax.tree.map(lambda x, i=i: x[i], together), train(initial(keys[0]), keys[1])
        case.expect_same(found, alone, "seeds under vmap are not seeds one by one", tolerance)


def _check_update(case: _Case, state: Tree) -> None:
    """`update` without `jit` changes nothing that it is given, and gives the same numbers."""
    before = jax.tree.map(lambda x: x.copy(), state)
    found = case.plain.update(state, case.key)
    case.expect_same(state, before, "update changes the state that it is given")
    wanted = _jit(case.learner.update)(before, case.key)
    case.expect_same(found, wanted, "update without jit gives other numbers", rtol=1e-3)


def _check_recomputed(case: _Case, eager: bool) -> None:
    """Acting again from stored memories, in another batch, gives what was stored."""
    learner = case.learner
    policy = learner.policy(case.initial(case.key))
    t = _jit(functools.partial(case.collect, explore=False))(policy, case.key)

    @_jit
    def again(policy: Tree, t: Transition, key: Array) -> tuple[Array, Tree]:
        rows = _rows(t)
        return learner.act(policy, rows.memory, rows.obs, key, explore=False)[:2]

    action, after = _numbers(again(policy, t, case.key))
    keys = jax.random.split(case.key, 4)
    if any((np.asarray(again(policy, t, key)[0]) != action).any() for key in keys):
        return  # a greedy choice that is drawn depends on the batch
    case.expect(
        action == np.asarray(t.action).reshape(action.shape),
        "acting again from stored memory takes other actions",
    )
    if eager:
        rows = _rows(t)
        plain = case.plain.act(policy, rows.memory, rows.obs, case.key, False)
        case.expect_same(plain[1], after, "act without jit gives other memories", rtol=1e-3)
    done, fresh = np.asarray(t.done), _numbers(learner.memory(NUM_ENVS))

    def carried(x: Array, first: Array) -> Any:
        ended = done[:-1].reshape(LENGTH - 1, NUM_ENVS, *[1] * (first.ndim - 1))
        return np.where(ended, first, x.reshape(LENGTH, NUM_ENVS, *x.shape[1:])[:-1])

    following = jax.tree.map(lambda x: x[1:], _numbers(t.memory))
    wanted = jax.tree.map(carried, after, fresh)
    case.expect_same(following, wanted, "memory recomputed from the stored one", rtol=1e-4)


def _rows(t: Transition) -> Transition:
    """Steps and environments as one batch: [T * B, ...]."""
    rows: Transition = jax.tree.map(lambda x: x.reshape(LENGTH * NUM_ENVS, *x.shape[2:]), t)
    return rows


def _check_legal(case: _Case, greedy: _Sequence) -> None:
    """No action is taken where the mask forbids it, exploring or not."""
    if case.spec.continuous:
        return
    learner, (policy, observations) = case.learner, _play(case)
    mask = np.asarray(observations.action_mask)
    for how, act in (("exploring", _sequence(learner, True)), ("greedily", greedy)):
        actions = np.asarray(act(policy, observations, case.key))
        legal = np.take_along_axis(mask, actions[..., None], -1)
        case.expect(legal, f"an illegal action is taken {how}")


def _check_decentralised(case: _Case, act: _Sequence) -> None:
    """An agent's actions stay when all that the others see, and the global state, change."""
    policy, first = _play(case)
    second = _observations(case, jax.random.fold_in(case.key, 7))
    wanted = act(policy, first, case.key)
    for agent in range(case.spec.num_agents):
        own = jnp.arange(case.spec.num_agents) == agent
        mixed = Observation(
            jnp.where(own[:, None], first.local, second.local),
            jnp.where(own[:, None], first.action_mask, second.action_mask),
            second.global_state,
        )
        found = act(policy, mixed, case.key)
        case.expect(
            found[..., agent, :] == wanted[..., agent, :]
            if case.spec.continuous
            else found[..., agent] == wanted[..., agent],
            f"agent {agent} acts on more than its own observations",
        )


def _check_finite(case: _Case) -> None:
    """A few updates leave finite numbers."""

    @_jit
    def trained(key: Array) -> Tree:
        return case.trained(case.initial(key), key)[0]

    _expect_finite(case, trained(case.key))


def _check_absent(case: _Case) -> None:
    """Observations, actions and rewards of inactive agents change no parameter in an update."""
    learner = case.learner

    @_jit
    def collected(key: Array) -> Transition:
        return case.collect(learner.policy(case.initial(key)), key)

    @_jit
    def learned(t: Transition) -> Tree:
        def one(state: Tree, key: Array) -> tuple[Tree, None]:
            return learner.update(learner.observe(state, t), key)[0], None

        keys = jax.random.split(case.key, 2)  # what the first leaves behind shows in the second
        return learner.policy(jax.lax.scan(one, case.initial(case.key), keys)[0])

    t = collected(case.key)
    fault = "what inactive agents see, do or are paid is learned from (absent=None: not checked)"
    case.expect_same(learned(_other_absent(t)), learned(t), fault)


def _other_absent(t: Transition) -> Transition:
    """Returns a rollout with other observations, actions and rewards of inactive agents."""
    there = t.obs.active
    assert there is not None

    def seen(obs: Observation) -> Observation:
        assert obs.active is not None
        return obs._replace(local=jnp.where(obs.active[..., None], obs.local, 3.0 - obs.local))

    return t._replace(
        obs=seen(t.obs),
        next_obs=seen(t.next_obs),
        action=jnp.where(there, t.action, (t.action + 1) % 3),
        reward=jnp.where(there, t.reward, -7.0),
    )


def _expect_finite(case: _Case, state: Tree) -> None:
    for path, x in jax.tree_util.tree_leaves_with_path(case.learner.policy(state)):
        if not is_key(x) and jnp.issubdtype(x.dtype, jnp.floating):
            name = jax.tree_util.keystr(path)
            case.expect(
                np.isfinite(np.asarray(x)), f"policy{name} is not finite after {ROLLOUTS} rollouts"
            )


def _play(case: _Case) -> tuple[Tree, Observation]:
    """A policy and a sequence of observations [T, B, ...] of all sizes and masks."""
    return case.learner.policy(case.initial(case.key)), _observations(case, case.key)


def _observations(case: _Case, key: Array) -> Observation:
    """Random observations [T, B, ...], with masks that keep to the agents' own actions."""
    keys = jax.random.split(key, 4)
    spec, axes = case.spec, (LENGTH, NUM_ENVS)
    seen = np.arange(spec.obs_size) < np.array(spec.obs_sizes)[:, None]
    has = np.arange(spec.num_actions) < np.array(spec.action_sizes)[:, None]
    local = jax.random.randint(keys[0], (*axes, *seen.shape), 0, 2) * seen * spec.scale
    drawn = jax.random.bernoulli(keys[1], 0.5, (*axes, *has.shape)) & has
    always = jax.random.randint(keys[2], (*axes, spec.num_agents), 0, 2**30)
    always = always % np.array(spec.action_sizes)
    mask = drawn | (jnp.arange(spec.num_actions) == always[..., None])
    mask = jnp.broadcast_to(has, mask.shape) if spec.continuous else mask
    state = jax.random.randint(keys[3], (*axes, spec.state_size), 0, 2) * spec.scale
    return Observation(local.astype(jnp.float32), mask, state.astype(jnp.float32))


def _sequence(learner: Learner, explore: bool) -> _Sequence:
    """`(policy, observations [T, B, ...], key) -> actions [T, B, N]`, carrying memory along."""

    def run(policy: Tree, observations: Observation, key: Array) -> Array:
        def step(memory: Tree, at: tuple[Observation, Array]) -> tuple[Tree, Array]:
            action, memory, _ = learner.act(policy, memory, *at, explore=explore)
            return memory, action

        keys = jax.random.split(key, LENGTH)
        return jax.lax.scan(step, learner.memory(NUM_ENVS), (observations, keys))[1]

    return _jit(run)


def _zeros(shapes: Tree) -> Tree:
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def _numbers(tree: Tree) -> Tree:
    """NumPy arrays in place of JAX's, whose slices would be compiled; keys as their numbers."""
    return jax.tree.map(lambda x: np.asarray(jax.random.key_data(x) if is_key(x) else x), tree)
