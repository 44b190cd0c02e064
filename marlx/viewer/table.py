"""Games at which a person holds a seat, stepped by JAX, for a page that asks a server."""

from __future__ import annotations

import base64
import io
import itertools
import json
import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.runs.policies import Policy, load_policy
from marlx.text import printable
from marlx.types import Tree
from marlx.viewer import data
from marlx.viewer.page import page
from marlx.viewer.play import PLAYING, common, has_chances
from marlx.viewer.team import best_seeds, title_of

MOST_GAMES = 100
"""Games that are kept; the oldest are forgotten."""


class Table:
    """The team of a run, and the games that are played with it.

    Args:
      path: the run folder.
      policy_seed: whose policy plays; None for the best ones, between which the page chooses.
      seed: of first states and drawn actions.
      record: file to which finished episodes are added, as JSON lines; None for none.

    Raises:
      ValueError: there is no policy, or actions are continuous.
    """

    def __init__(
        self, path: str | Path, policy_seed: int | None, seed: int, record: Path | None
    ) -> None:
        seeds = best_seeds(path) if policy_seed is None else [policy_seed]
        self.policies = [load_policy(path, one) for one in seeds]
        self.path, self.record, self._key = path, record, jax.random.key(seed)
        first = self.policies[0]
        if first.spec.continuous:
            raise ValueError(
                f"{first.spec.id} has continuous actions; a person chooses among discrete ones"
            )
        self._games: dict[int, dict[str, Any]] = {}
        self._numbers, self._lock = itertools.count(1), threading.Lock()
        self._reset = jax.jit(lambda key: first.env.reset_env(key, first.params))
        self._look = jax.jit(self._looked, static_argnums=4)
        self._step = jax.jit(self._stepped)

    def page(self, _: Any = None) -> str:
        """Returns the page, which asks `start` and `act`."""
        first = self.policies[0]
        content = {
            **common(self.path, first),
            "remote": True,
            "networks": [{"seed": policy.seed} for policy in self.policies],
        }
        subtitle = f"{Path(self.path).name}: take a seat, the team plays the others"
        return page(printable(title_of(first)), printable(subtitle), content, PLAYING, asks=True)

    def start(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Returns the first view of a new game, for `{seat, policy, drawn}`.

        Raises:
          ValueError: there is no such seat or policy.
        """
        seat, chosen, drawn = int(asked["seat"]), int(asked["policy"]), bool(asked["drawn"])
        if not (0 <= seat < self._first.spec.num_agents and 0 <= chosen < len(self.policies)):
            raise ValueError("there is no such seat or policy")
        with self._lock:
            number = next(self._numbers)
            key, key_reset = jax.random.split(jax.random.fold_in(self._key, number))
            game = {
                "number": number, "seat": seat, "policy": self.policies[chosen], "drawn": drawn,
                "key": key, "state": self._reset(key_reset), "t": 0, "total": 0.0,
                "ended": False, "last": None, "memory": self._first.learner.memory(1),
                "record": {"observation": [], "legal": [], "action": []},
            }  # fmt: skip
            self._games[number] = game
            if len(self._games) > MOST_GAMES:
                del self._games[min(self._games)]
            return self._view(game)

    def act(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Returns the view after everyone acted, for `{game, action}`.

        Raises:
          ValueError: there is no such game, or the action is not legal.
        """
        with self._lock:
            game = self._games.get(int(asked["game"]))
            if game is None:
                raise ValueError("this game is no longer kept; start another")
            if game["ended"]:
                return self._view(game)
            action, seat = int(asked["action"]), game["seat"]
            if not (0 <= action < self._first.spec.num_actions and game["legal"][seat, action]):
                raise ValueError(f"action {action} is not legal now")
            self._advance(game, action)
            return self._view(game)

    @property
    def _first(self) -> Policy:
        return self.policies[0]

    def _looked(
        self, arrays: Tree, state: Tree, memory: Tree, key: jax.Array, explore: bool
    ) -> tuple[Any, ...]:
        """Returns what everyone sees, and what the team would do."""
        policy = self._first
        obs = jax.tree.map(lambda x: x[None], policy.env.observe(state, policy.params))
        action, after, extras = policy.learner.act(arrays, memory, obs, key, explore)
        inspect, shown = policy.learner.inspect, {}
        if inspect is not None:
            shown = inspect(arrays, memory, obs, extras)
        return jax.tree.map(lambda x: x[0], (obs.local, obs.action_mask, action, shown)), after

    def _stepped(self, key: jax.Array, state: Tree, action: jax.Array) -> tuple[Any, ...]:
        policy = self._first
        active = policy.env.observe(state, policy.params).active
        state, reward, ended, _ = policy.env.step_env(key, state, action, policy.params)
        return state, policy.spec.team_reward(reward, active), ended

    def _advance(self, game: dict[str, Any], action: int) -> None:
        """Play one step."""
        everyone = np.array(game["wants"])
        everyone[game["seat"]] = action
        record, seat = game["record"], game["seat"]
        record["observation"].append(game["local"][seat].astype(float).round(6).tolist())
        record["legal"].append(game["legal"][seat].astype(int).tolist())
        record["action"].append(everyone.tolist())
        game["key"], key = jax.random.split(game["key"])
        game["state"], reward, ended = self._step(key, game["state"], jnp.asarray(everyone))
        game["memory"] = _took(game["after"], everyone, self._first.spec.num_actions)
        game["t"] += 1
        game["total"] += float(reward)
        game["last"] = everyone.tolist()
        game["ended"] = bool(ended) or game["t"] >= self._first.spec.horizon
        if game["ended"]:
            self._write(game)

    def _view(self, game: dict[str, Any]) -> dict[str, Any]:
        """Returns what the page shows."""
        policy = game["policy"]
        game["key"], key = jax.random.split(game["key"])
        explore = game["drawn"] and has_chances(policy)
        seen, game["after"] = self._look(policy.arrays, game["state"], game["memory"], key, explore)
        local, legal, wants, shown = jax.device_get(seen)
        game.update(local=local, legal=legal, wants=wants)
        state = jax.device_get(game["state"])
        scene = data.scene_of(policy.env, policy.params)
        view = {
            "game": game["number"], "t": game["t"], "total": game["total"],
            "ended": game["ended"], "last": game["last"], "legal": data.packed(legal),
            "frame": {name: data.packed(x) for name, x in _as_arrays(scene.frame(state)).items()},
            "shown": {name: data.packed(x, half=True) for name, x in shown.items()},
        }  # fmt: skip
        if scene.kind == "pictures":
            view["picture"] = _picture(policy.env.render(state, policy.params))
        return view

    def _write(self, game: dict[str, Any]) -> None:
        """Add a finished episode to the file."""
        if self.record is None:
            return
        line = {
            "format": 1,
            "environment": self._first.spec.id,
            "run": Path(self.path).name,
            "policy_seed": game["policy"].seed,
            "seat": game["seat"],
            "drawn": game["drawn"],
            "return": game["total"],
            "ended": True,
            **game["record"],
        }
        with self.record.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _took(memory: Tree, action: np.ndarray[Any, Any], num_actions: int) -> Tree:
    """Returns the memory of agents that see their last action: the one that was taken."""
    if not (hasattr(memory, "last") and hasattr(memory, "_replace")):
        return memory
    return memory._replace(last=jax.nn.one_hot(jnp.asarray(action), num_actions)[None])


def _as_arrays(frame: dict[str, Any]) -> dict[str, Any]:
    """Returns fields with at least one axis, as the page reads them."""
    return {name: np.atleast_1d(np.asarray(values)) for name, values in frame.items()}


def _picture(pixels: np.ndarray[Any, Any]) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
