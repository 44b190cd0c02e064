"""What a learner's embeddings say of whom it plays with: numbers and a picture.

The embeddings are of fresh episodes; half of them are the reference, the other half is asked about.
Nothing here is trained, apart from the axes of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.learner import Learner
from marlx.loop.vector import vector_reset, vector_step
from marlx.types import Array, Tree

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Ints = np.ndarray[Any, np.dtype[np.integer[Any]]]


class Embedded(NamedTuple):
    """Embeddings of whole episodes."""

    vector: Array  # f32 [T, episodes, N, E], what was acted with at each step
    alive: Array  # bool [T, episodes], the episode had not ended before
    partner: Array  # int32 [episodes]


def embed(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    policy: Tree,
    key: Array,
    episodes: int,
) -> Embedded:
    """Greedy episodes and the vectors in them.

    Args:
      env: one that draws partners: `info` says which (`partner`).
      params: its parameters.
      learner: one with an `embedding` in its extras.
      policy: what `act` takes.
      key: consumed.
      episodes: number of episodes, all at once.

    Raises:
      ValueError: the environment draws no partners, or the learner has no embeddings.
    """
    spec = env.spec(params)
    if not hasattr(env, "partner_names"):
        raise ValueError(f"{spec.id} draws no partners; give a run in a partners/... environment")
    key_start, key = jax.random.split(key)
    obs, state = vector_reset(env, params, key_start, episodes)

    def step(carry: Tree, key: Array) -> tuple[Tree, tuple[Array, Array, Array]]:
        obs, state, memory, alive = carry
        key_act, key_step = jax.random.split(key)
        action, memory, extras = learner.act(policy, memory, obs, key_act, False)
        if not hasattr(extras, "embedding"):
            raise ValueError("this learner has no embeddings; give a run of clam")
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
    """The share of queries [m, E] whose nearest references [n, E] mostly bear the wanted label.

    Of labels with as many neighbours, the smallest wins.
    """
    if not len(reference) or not len(query):
        return float("nan")
    distance = ((query**2).sum(-1)[:, None] + (reference**2).sum(-1)) - 2 * query @ reference.T
    nearest = np.argsort(distance, axis=-1, kind="stable")[:, :neighbours]
    classes = int(max(label.max(), wanted.max())) + 1
    votes = np.stack([np.bincount(row, minlength=classes) for row in label[nearest]])
    return float((votes.argmax(-1) == wanted).mean())


def silhouette(x: Floats, label: Ints) -> float:
    """How much closer points [n, E] are to those of their own label than to others, -1 to 1.

    The mean over points of (b - a) / max(a, b), where a is the mean distance to the other points of
    its label and b that to the closest other label's; a label's only point counts 0.

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
    """The mean [E] and the two directions [2, E] of largest variance of points [n, E]."""
    centre = x.mean(0)
    _, _, axes = np.linalg.svd(x - centre, full_matrices=False)
    return centre, axes[:2]


def scores(found: Embedded, times: Sequence[int], agent: int = 0) -> list[dict[str, float]]:
    """k-NN accuracy and silhouette at each time, with how many episodes were still going on.

    Args:
      found: embeddings; the first half of the episodes is the reference.
      times: steps, from 0.
      agent: whose embeddings.
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


def moments_of(horizon: int) -> list[int]:
    """The steps that are reported: 5, 10, 25, 50 of those there are, and the last one."""
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
    """Draw the embeddings by partner at each time of `rows`, and how well they tell partners apart.

    The axes are the two principal ones of the last time, the same in all panels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window system

    vector, alive, partner = (np.asarray(x) for x in found)
    times = [int(row["time"]) for row in rows]
    centre, axes_of = principal_axes(vector[times[-1], alive[times[-1]], agent])
    figure = Figure(figsize=(3.0 * (len(times) + 1), 3.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels: Any = figure.subplots(1, len(times) + 1)
    for panel, row, t in zip(panels, rows, times, strict=False):
        place = (vector[t, :, agent] - centre) @ axes_of.T
        for k, name in enumerate(names):
            chosen = alive[t] & (partner == k)
            panel.scatter(*place[chosen][:150].T, s=7, alpha=0.7, lw=0, label=name, color=f"C{k}")
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
    figure.suptitle(title, fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(names), fontsize=8)
    figure.savefig(path, format="png")
