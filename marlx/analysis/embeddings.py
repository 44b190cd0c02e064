"""How well a learner's embeddings identify its partners: k-NN accuracy, silhouette, a figure.

Embeddings are collected in fresh episodes. The first half of the episodes is the reference set of
the k-NN classifier, the second half is classified. Nothing is trained; the axes of the figure are
principal components.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.analysis.plots import figure, plain_label
from marlx.environment import Environment, EnvParams
from marlx.learner import Learner, acting
from marlx.loop.vector import vector_reset, vector_step
from marlx.types import Array, Tree

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Ints = np.ndarray[Any, np.dtype[np.integer[Any]]]


class Embedded(NamedTuple):
    """Embeddings of whole episodes."""

    vector: Array  # f32 [T, episodes, N, E], embedding that each action was based on
    alive: Array  # bool [T, episodes], True until the episode has ended
    partner: Array  # int32 [episodes], index of the partner


def embed(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    policy: Tree,
    key: Array,
    episodes: int,
) -> Embedded:
    """Returns the embeddings of episodes with the actions that the learner is judged by.

    Args:
      env: an environment that samples partners and has their index as `info["partner"]`.
      params: its parameters.
      learner: one whose `act` returns extras with an `embedding`.
      policy: parameters for `learner.act`.
      key: consumed.
      episodes: number of episodes, run in parallel.

    Raises:
      ValueError: the environment has no partners, or the learner has no embeddings.
    """
    spec, act = env.spec(params), acting(learner, learner.judged)
    if not hasattr(env, "partner_names"):
        raise ValueError(f"{spec.id} has no partners; give a run in a partners/... environment")
    key_start, key = jax.random.split(key)
    obs, state = vector_reset(env, params, key_start, episodes)

    def step(carry: Tree, key: Array) -> tuple[Tree, tuple[Array, Array, Array]]:
        obs, state, memory, alive = carry
        key_act, key_step = jax.random.split(key)
        action, memory, extras = act(policy, memory, obs, key_act, True)
        if not hasattr(extras, "embedding"):
            raise ValueError("this learner has no embeddings; give a run of clam or liam")
        obs, state, _, terminated, truncated, info = vector_step(
            env, params, key_step, state, action
        )
        out = extras.embedding, alive, info["partner"]
        return (obs, state, memory, alive & ~(terminated | truncated)), out

    start = obs, state, learner.memory(episodes), jnp.ones(episodes, bool)
    keys = jax.random.split(key, spec.horizon)
    _, (vector, alive, partner) = jax.lax.scan(step, start, keys)
    return Embedded(vector, alive, partner[0])


def neighbours_agree(
    reference: Floats, label: Ints, query: Floats, wanted: Ints, neighbours: int = 5
) -> float:
    """Returns the accuracy of k-NN classification by majority vote, 0 to 1; NaN without points.

    On a tie the smallest label wins.

    Args:
      reference: [n, E], labelled points.
      label: [n], their labels.
      query: [m, E], points to classify.
      wanted: [m], their true labels.
      neighbours: how many of the nearest reference points vote.
    """
    if not len(reference) or not len(query):
        return float("nan")
    distance = ((query**2).sum(-1)[:, None] + (reference**2).sum(-1)) - 2 * query @ reference.T
    nearest = np.argsort(distance, axis=-1, kind="stable")[:, :neighbours]
    classes = int(max(label.max(), wanted.max())) + 1
    votes = np.stack([np.bincount(row, minlength=classes) for row in label[nearest]])
    return float((votes.argmax(-1) == wanted).mean())


def silhouette(x: Floats, label: Ints) -> float:
    """Returns the mean silhouette of points [n, E] with labels [n], -1 to 1.

    The silhouette of a point is (b - a) / max(a, b), where a is its mean distance to the other
    points of its label and b the smallest mean distance to the points of another label. It is 0 for
    the only point of a label. NaN if there are fewer than two labels.

    Source: Rousseeuw 1987.
    """
    distance = np.sqrt(np.maximum(((x[:, None] - x[None]) ** 2).sum(-1), 0.0))
    groups = {value: np.flatnonzero(label == value) for value in np.unique(label)}
    if len(groups) < 2:
        return float("nan")
    each = np.zeros(len(x))
    for i in range(len(x)):
        own = groups[label[i]]
        if len(own) < 2:
            continue
        a = distance[i, own].sum() / (len(own) - 1)
        b = min(distance[i, group].mean() for value, group in groups.items() if value != label[i])
        each[i] = (b - a) / max(a, b, 1e-12)
    return float(each.mean())


def principal_axes(x: Floats) -> tuple[Floats, Floats]:
    """Returns the mean [E] and the first two principal components [2, E] of points [n, E]."""
    centre = x.mean(0)
    _, _, axes = np.linalg.svd(x - centre, full_matrices=False)
    return centre, axes[:2]


def scores(found: Embedded, times: Sequence[int], agent: int = 0) -> list[dict[str, float]]:
    """Returns k-NN accuracy, silhouette and number of running episodes at each time.

    Args:
      found: embeddings; the first half of the episodes is the reference set.
      times: steps, from 0.
      agent: index of the agent whose embeddings are scored.
    """
    vector, alive, partner = (np.asarray(x) for x in found)
    half, rows = len(partner) // 2, []
    first = np.arange(len(partner)) < half
    for t in times:
        here, there = alive[t] & first, alive[t] & ~first
        x, y = vector[t, :, agent], partner
        some = np.flatnonzero(there)[:300]  # distances are quadratic
        rows.append(
            {
                "time": t,
                "accuracy": neighbours_agree(x[here], y[here], x[there], y[there]),
                "silhouette": silhouette(x[some], y[some]),
                "episodes": int(there.sum()),
            }
        )
    return rows


def time_points(horizon: int) -> list[int]:
    """Returns the steps to report: 1, 5, 10, 25 and 50 if below `horizon`, and the last one."""
    return sorted({*(t for t in (1, 5, 10, 25, 50) if t < horizon), horizon - 1})


def picture(
    path: str | Path,
    found: Embedded,
    names: Sequence[str],
    rows: Sequence[dict[str, float]],
    *,
    title: str = "",
    agent: int = 0,
) -> None:
    """Writes a PNG with the embeddings by partner at each time of `rows`, and the scores over time.

    All panels have the same axes: the first two principal components at the last time.

    Args:
      path: the file.
      found: embeddings.
      names: names of the partners.
      rows: result of `scores`.
      title: title of the figure.
      agent: index of the agent whose embeddings are shown.
    """
    vector, alive, partner = (np.asarray(x) for x in found)
    times = [int(row["time"]) for row in rows]
    centre, axes_of = principal_axes(vector[times[-1], alive[times[-1]], agent])
    drawn = figure(3.0 * (len(times) + 1), 3.4)
    panels: Any = drawn.subplots(1, len(times) + 1)
    for panel, row, t in zip(panels, rows, times, strict=False):
        place = (vector[t, :, agent] - centre) @ axes_of.T
        for k, name in enumerate(names):
            chosen = alive[t] & (partner == k)
            panel.scatter(
                *place[chosen][:150].T, s=7, alpha=0.7, lw=0, label=plain_label(name), color=f"C{k}"
            )
        panel.set_title(f"step {t}: k-NN {row['accuracy']:.0%}", fontsize=10)
        panel.set_xticks([])
        panel.set_yticks([])
    last = panels[-1]
    last.plot(times, [row["accuracy"] for row in rows], marker="o", label="k-NN accuracy")
    last.plot(times, [row["silhouette"] for row in rows], marker=".", label="silhouette")
    common = np.bincount(partner).max() / len(partner)
    last.axhline(common, ls="--", color="gray", label=f"chance ({common:.0%})")
    last.set(xlabel="step of the episode", ylim=(min(0, *last.get_ylim()), 1))
    last.legend(frameon=False, fontsize=8)
    drawn.suptitle(plain_label(title), fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=len(names), fontsize=8)
    drawn.savefig(path, format="png")
