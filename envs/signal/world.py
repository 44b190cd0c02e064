"""The signalling game: mouths speak, then the listener chooses."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, EnvState
from marlx.envs.checks import at_least, one_of
from marlx.envs.signal.languages import Language, compositional
from marlx.types import Array, EnvSpec, Observation

MOST_OBJECTS = 1_000_000
TEST_SHARE = 5
"""One object in so many is a test object."""


@flax.struct.dataclass
class SignalState(EnvState):
    """State of one episode; objects are numbers in 0..V^P - 1, the first property counts most."""

    target: Array  # int32 [], an object
    candidates: Array  # int32 [C], objects, of which one is the target; [0] where all are
    message: Array  # int32 [M], symbols; `vocabulary`, not spoken yet
    last_message: Array  # int32 [M], of the round before; `vocabulary` in the first round
    last_target: Array  # int32 [], of the round before; V^P in the first round
    last_choice: Array  # int32 [], object that the listener chose in the round before; V^P at first
    hits: Array  # int32 [], rounds that were won


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signal(Environment[SignalState, EnvParams]):
    """A speaker tells a listener which object is meant; both earn 1 where the listener finds it.

    The speaker is M agents, the mouths, each of which says one symbol of the message. A round has
    two steps: all mouths speak at once and the listener waits; then it chooses a candidate and the
    mouths wait. With `order` "sequence" the mouths speak one step after another and hear those
    before. The last action of a mouth and of the listener is to wait. A true end comes after
    `rounds` rounds.

    Observation of a mouth: the target (one-hot, property by property), which mouth it is, whether
    it speaks now, and with `order` "sequence" the symbols that were said. Of the listener: whether
    it chooses now, the message, the candidates; with `feedback` the message and the target of the
    round before. The global state has the parts `target`, `listener` and `said`.

    Attributes:
      properties: P of an object.
      values: V of each property.
      length: M, symbols of a message.
      vocabulary: W, symbols to choose from.
      candidates: C, distinct objects drawn for each round, the target among them. 0: all objects,
        always in the same order, which the listener then does not need to see.
      rounds: R of an episode.
      feedback: the listener sees the target after its choice.
      order: mouths speak `parallel`, or one after another in `sequence`.
      split: objects that are targets and candidates: `all`, a fifth of them (`test`), or the rest
        (`train`). Which ones is the same for all games of a size.
      lessons: of so many `train` objects it is known what language 0 (`compositional`) says of
        them. Then the global state, for training only, also has `answer`, the right choice
        (one-hot), `lesson`, what language 0 says of the target (one-hot symbol by symbol), and
        `taught`, whether the target is one of those objects. 0: there is no such language.
      name: the id in `spec`.

    Raises:
      ValueError: a setting is out of bounds, or there are fewer objects than candidates.
    """

    properties: int = 1
    values: int = 5
    length: int = 1
    vocabulary: int = 5
    candidates: int = 0
    rounds: int = 1
    feedback: bool = False
    order: Literal["parallel", "sequence"] = "parallel"
    split: Literal["all", "train", "test"] = "all"
    lessons: int = 0
    name: str = "signal/lewis-5"

    def __post_init__(self) -> None:
        at_least(self, properties=1, values=2, length=1, vocabulary=1, candidates=0, rounds=1)
        at_least(self, lessons=0)
        one_of(self, order=("parallel", "sequence"), split=("all", "train", "test"))
        for name, most in (("properties", 16), ("length", 64), ("values", 1000), ("rounds", 10_000),
                           ("vocabulary", 10_000), ("candidates", 1000)):  # fmt: skip
            if getattr(self, name) > most:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at most {most}")
        if self.objects > MOST_OBJECTS:
            raise ValueError(
                f"{self.values} values of {self.properties} properties make {self.objects} "
                f"objects; there must be at most {MOST_OBJECTS}"
            )
        if self.candidates == 1:
            raise ValueError("candidates is 1; it must be 0 (all objects), or 2 or more")
        if self.candidates == 0 and self.objects > 1000:
            raise ValueError(
                f"candidates is 0, which makes all {self.objects} objects candidates; there must "
                "be at most 1000: give a number of candidates"
            )
        have = len(self.members)
        if have < max(2, self.candidates):
            raise ValueError(
                f"the split {self.split!r} has {have} objects; it must have "
                f"{max(2, self.candidates)} or more"
            )
        if self.lessons:
            self._check_lessons()

    def _check_lessons(self) -> None:
        """Checks that there is a language to teach, and objects to teach it of.

        Raises:
          ValueError: there is none, or there are fewer objects.
        """
        most = len(_members(self.objects, "train"))
        if self.lessons > most:
            raise ValueError(f"lessons is {self.lessons}; there are {most} train objects")
        if self.length != self.properties:
            raise ValueError(
                f"length is {self.length}; with lessons it must be {self.properties}, a symbol for "
                "each property"
            )
        compositional(0, self.properties, self.values, self.vocabulary)  # raises if it cannot be

    @property
    def objects(self) -> int:
        """V^P, all objects, of which `split` may use some."""
        return int(self.values**self.properties)

    @functools.cached_property
    def members(self) -> np.ndarray:
        """int32 [K], the objects of the split, ascending."""
        return _members(self.objects, self.split)

    @functools.cached_property
    def taught(self) -> np.ndarray:
        """Bool [V^P], of which objects language 0 is taught: drawn, and as `split` is, fixed."""
        known = np.zeros(self.objects, bool)
        train = _members(self.objects, "train")
        known[np.random.default_rng((2, self.objects)).permutation(train)[: self.lessons]] = True
        return known

    @functools.cached_property
    def language(self) -> Language:
        """Language 0, which is taught where there are `lessons`."""
        return compositional(0, self.properties, self.values, self.vocabulary)

    @property
    def speaking(self) -> int:
        """Steps of a round in which mouths speak."""
        return self.length if self.order == "sequence" else 1

    @property
    def choices(self) -> int:
        """Objects that the listener chooses among."""
        return self.candidates or self.objects

    @property
    def horizon(self) -> int:
        """Steps of an episode."""
        return self.rounds * (self.speaking + 1)

    @property
    def default_params(self) -> EnvParams:
        """The time limit `horizon`, which is a true end as well."""
        return EnvParams(max_steps_in_episode=self.horizon)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Returns static facts; `optimum` is the number of rounds, for a pair that learns both."""
        limit = int((self.default_params if params is None else params).max_steps_in_episode)
        heard = self.length * self.vocabulary
        target = self.properties * self.values
        sequence = heard if self.order == "sequence" else 0
        mouth = target + self.length + 1 + sequence
        listener = 1 + heard + self.candidates * target + self.feedback * (heard + target)
        mouths = tuple(range(self.length))
        lessons = (("answer", self.choices), ("lesson", heard), ("taught", 1))
        private = lessons if self.lessons else ()
        return EnvSpec(
            id=self.name,
            num_agents=self.length + 1,
            num_actions=max(self.vocabulary, self.choices) + 1,
            obs_size=max(mouth, listener),
            state_size=target + listener + heard + sum(size for _, size in private),
            horizon=limit,
            reward_aggregation="mean",
            groups=(("speaker", mouths), ("listener", (self.length,))),
            obs_sizes=(mouth,) * self.length + (listener,),
            action_sizes=(self.vocabulary + 1,) * self.length + (self.choices + 1,),
            storage="int8",
            state_parts=(("target", target), ("listener", listener), ("said", heard), *private),
            optimum=float(self.rounds) if limit >= self.horizon else None,
            common_reward=True,
            outcomes=("success_rate",),
        )

    def reset_env(self, key: Array, params: EnvParams) -> SignalState:
        """Returns the first state; `key` draws the target and the candidates."""
        del params
        target, candidates = self._draw(key)
        silent = jnp.full(self.length, self.vocabulary, jnp.int32)
        nothing = jnp.int32(self.objects)
        return SignalState(
            time=jnp.int32(0),
            target=target,
            candidates=candidates,
            message=silent,
            last_message=silent,
            last_target=nothing,
            last_choice=nothing,
            hits=jnp.int32(0),
        )

    def step_env(
        self, key: Array, state: SignalState, action: Array, params: EnvParams
    ) -> tuple[SignalState, Array, Array, dict[str, Any]]:
        """Plays one step; `key` draws the next round after a choice."""
        del params
        place = state.time % (self.speaking + 1)
        chooses = place == self.speaking
        speaks = self._speaks(place)
        message = jnp.where(speaks, jnp.minimum(action[:-1], self.vocabulary), state.message)
        index = jnp.clip(action[-1], 0, self.choices - 1)
        chosen = state.candidates[index] if self.candidates else index.astype(jnp.int32)
        hit = chooses & (chosen == state.target) & (action[-1] < self.choices)
        hits = state.hits + hit
        target, candidates = self._draw(key)
        time = state.time + 1
        silent = jnp.full_like(state.message, self.vocabulary)
        after = SignalState(
            time=time,
            target=jnp.where(chooses, target, state.target),
            candidates=jnp.where(chooses, candidates, state.candidates),
            message=jnp.where(chooses, silent, message.astype(jnp.int32)),
            last_message=jnp.where(chooses, state.message, state.last_message),
            last_target=jnp.where(chooses, state.target, state.last_target),
            last_choice=jnp.where(chooses, chosen, state.last_choice),
            hits=hits,
        )
        reward = jnp.full(self.length + 1, hit.astype(jnp.float32))
        played = jnp.maximum(time // (self.speaking + 1), 1)
        info = {"success_rate": hits.astype(jnp.float32) / played}
        return after, reward, time >= self.horizon, info

    def observe(self, state: SignalState, params: EnvParams) -> Observation:
        """Returns what mouths and listener see, see the class."""
        del params
        place = state.time % (self.speaking + 1)
        chooses = place == self.speaking
        speaks = self._speaks(place)
        said = self._one_hot(state.message)
        target = self._features(state.target)
        seen = [jnp.where(chooses, said, 0)]
        if self.candidates:
            seen.append(self._features(state.candidates).ravel())
        if self.feedback:
            seen += [self._one_hot(state.last_message), self._features(state.last_target)]
        listener = jnp.concatenate([chooses[None].astype(jnp.float32), *seen])
        mouths = [
            jnp.broadcast_to(target, (self.length, target.size)),
            jnp.eye(self.length),
            speaks[:, None].astype(jnp.float32),
        ]
        if self.order == "sequence":
            mouths.append(jnp.broadcast_to(said, (self.length, said.size)))
        local = self._padded([jnp.concatenate(mouths, -1), listener[None]])
        actions = jnp.arange(max(self.vocabulary, self.choices) + 1)
        can_say = (actions < self.vocabulary) == speaks[:, None]
        can_say &= actions <= self.vocabulary
        can_choose = ((actions < self.choices) == chooses) & (actions <= self.choices)
        return Observation(
            local=local,
            action_mask=jnp.concatenate([can_say, can_choose[None]]),
            global_state=jnp.concatenate([target, listener, said, *self._lesson(state)]),
        )

    def _lesson(self, state: SignalState) -> list[Array]:
        """Returns the parts `answer`, `lesson` and `taught` of the global state, if there are."""
        if not self.lessons:
            return []
        shown = state.candidates if self.candidates else jnp.arange(self.objects)
        order, words = map(jnp.asarray, self.language)
        named = words[jnp.arange(self.properties), self.values_of(state.target)]
        said = self._one_hot(jnp.zeros_like(named).at[order].set(named))
        known = jnp.asarray(self.taught)[state.target]
        return [(shown == state.target).astype(jnp.float32), said, known[None].astype(jnp.float32)]

    def make_state(
        self,
        target: int,
        *,
        step: int = 0,
        message: Any = None,
        candidates: Any = None,
        last_message: Any = None,
        last_target: int | None = None,
    ) -> SignalState:
        """Returns the state of one (unbatched) episode from numbers.

        Args:
          target: an object.
          step: steps since reset.
          message: M symbols; None: nothing was said.
          candidates: C objects; not given where all objects are candidates.
          last_message: of the round before; None: there was none.
          last_target: of the round before; None: there was none.

        Raises:
          ValueError: there is no such object.
        """
        given = list(range(self.objects))[:0] if candidates is None else list(candidates)
        if len(given) != self.candidates:
            raise ValueError(f"candidates has {len(given)} objects; it must have {self.candidates}")
        for number in (target, *given, target if last_target is None else last_target):
            if not 0 <= number < self.objects:
                raise ValueError(f"there is no object {number}; they are 0 to {self.objects - 1}")
        silent = [self.vocabulary] * self.length
        return SignalState(
            time=jnp.int32(step),
            target=jnp.int32(target),
            candidates=jnp.asarray(given, jnp.int32),
            message=jnp.asarray(silent if message is None else message, jnp.int32),
            last_message=jnp.asarray(silent if last_message is None else last_message, jnp.int32),
            last_target=jnp.int32(self.objects if last_target is None else last_target),
            last_choice=jnp.int32(self.objects),
            hits=jnp.int32(0),
        )

    def values_of(self, objects: Array) -> Array:
        """Returns int32 [..., P], the property values of objects, first property first."""
        weights = self.values ** np.arange(self.properties)[::-1]
        return objects[..., None] // weights.astype(np.int32) % self.values

    def seeded_messages(self, number: int, objects: np.ndarray) -> np.ndarray | None:
        """Returns int32 [K, M], what `language_{number}` says of K objects.

        None: messages are too short, or symbols too few, for such a language.
        """
        needed = self.properties * self.values
        if self.length != self.properties or self.vocabulary < needed:
            return None
        language = compositional(number, self.properties, self.values, self.vocabulary)
        return language.messages(np.asarray(self.values_of(jnp.asarray(objects))))

    def render(self, state: SignalState, params: EnvParams | None = None) -> np.ndarray:
        """Returns uint8 [height, width, 3]: target, message, candidates and the last choice."""
        from marlx.envs.signal import picture  # imported here, since it loads Pillow

        del params
        return picture.draw(self, state)

    def _draw(self, key: Array) -> tuple[Array, Array]:
        """Returns a target and candidates of the split, uniformly: int32 [], int32 [C]."""
        members = jnp.asarray(self.members)
        count = len(self.members)
        key_subset, key_target = jax.random.split(key)
        if not self.candidates:
            return members[jax.random.randint(key_target, (), 0, count)], members[:0]
        # Floyd's algorithm: a uniform subset in C draws, whatever the number of objects
        keys = jax.random.split(key_subset, self.candidates)
        chosen: list[Array] = []
        for i, last in enumerate(range(count - self.candidates, count)):
            drawn = jax.random.randint(keys[i], (), 0, last + 1)
            taken = functools.reduce(jnp.logical_or, [drawn == c for c in chosen], jnp.bool_(False))
            chosen.append(jnp.where(taken, last, drawn))
        candidates = members[jnp.stack(chosen)]
        return candidates[jax.random.randint(key_target, (), 0, self.candidates)], candidates

    def _speaks(self, place: Array) -> Array:
        """Returns bool [M], the mouths that speak at a place of the round."""
        mouths = jnp.arange(self.length)
        if self.order == "sequence":
            return mouths == place
        return jnp.broadcast_to(place == 0, mouths.shape)

    def _one_hot(self, message: Array) -> Array:
        """Returns f32 [M * W]; zeros where nothing was said."""
        return jax.nn.one_hot(message, self.vocabulary).ravel()

    def _features(self, objects: Array) -> Array:
        """Returns f32 [..., P * V], property by property; zeros for no object."""
        found = jax.nn.one_hot(self.values_of(objects), self.values)
        found = jnp.where((objects < self.objects)[..., None, None], found, 0.0)
        return found.reshape(*objects.shape, self.properties * self.values)

    def _padded(self, rows: list[Array]) -> Array:
        """Returns f32 [N, O], observations of different widths with zeros behind them."""
        width = max(row.shape[-1] for row in rows)
        return jnp.concatenate([jnp.pad(r, ((0, 0), (0, width - r.shape[-1]))) for r in rows])


def _members(objects: int, split: str) -> np.ndarray:
    """Returns int32 [K], the objects of a split, ascending."""
    if split == "all":
        return np.arange(objects, dtype=np.int32)
    order = np.random.default_rng(objects).permutation(objects)
    count = max(1, objects // TEST_SHARE)
    chosen = order[:count] if split == "test" else order[count:]
    return np.sort(chosen).astype(np.int32)
