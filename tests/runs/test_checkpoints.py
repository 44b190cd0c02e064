"""Checkpoints: whole or passed over, fitting or refused; and a run that goes on from one."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import TinyConfig, tiny

from marlx import make, train
from marlx.loop import programs
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig, schedule, with_total_steps
from marlx.runs import array_store, checkpoint_files, checkpoints
from marlx.runs.checkpoints import Checkpoints
from marlx.runs.identity import first_change, stored_form

ENV, PARAMS = make("matrix/climbing", horizon=3)
SPEC = ENV.spec(PARAMS)
SETTINGS = {"total_steps": 80, "num_envs": 2, "rollout_length": 4, "evals": 4, "eval_episodes": 60}
STEPS = [8, 32, 56, 80]


def odd(**settings):
    """A learner whose state holds all that is hard to store: keys, no elements, bits, 16 bits."""
    learner = tiny(SPEC, TinyConfig(**settings))

    def init(key, example):
        state = learner.init(key, example)
        return {
            **state,
            "noise": jax.random.key(7),
            "nothing": jnp.zeros((0, 3)),
            "flags": jnp.zeros(5, bool),
            "half": jnp.zeros(3, jnp.bfloat16),
            "seen": (jnp.zeros((), jnp.int8), {"first": jnp.zeros(2)}),
        }

    def update(state, key):
        noise, key_flags, key_half = jax.random.split(state["noise"], 3)
        logits = state["logits"] + 0.1 * jax.random.normal(key, state["logits"].shape)
        return {
            **state,
            "logits": logits,
            "noise": noise,
            "flags": jax.random.bernoulli(key_flags, shape=(5,)),
            "half": jax.random.normal(key_half, (3,), jnp.bfloat16),
            "seen": (state["seen"][0] + 1, {"first": state["seen"][1]["first"] * 0.5 + 1}),
        }, {"loss": logits.mean(), "never": jnp.float32(jnp.nan)}

    return learner._replace(init=init, update=update)


def bits(tree):
    leaves = jax.tree.leaves(jax.tree.map(stored_form, tree))
    return [(str(x.dtype), x.shape, np.asarray(x).tobytes()) for x in leaves]


def told(history):
    """All that a run says, without its seconds; a NaN has no sign in JSON."""
    return [
        (p.steps, {k: np.where(np.isnan(x), np.nan, x).tobytes() for k, x in p.metrics.items()})
        for p in history
    ]


def train_until(steps, folder, **settings):
    """Train, and be interrupted right after the checkpoint at `steps`."""
    config = TrainConfig(**{**SETTINGS, **settings})
    run, store = Run(ENV, PARAMS, odd(), config), Checkpoints(folder, keep=9, seconds=0)
    history = []
    for progress in run.blocks():
        history.append(progress)
        store.save(run, history)
        if progress.steps >= steps:
            return store
    raise AssertionError(steps)


@pytest.fixture(scope="module")
def alone():
    """Three seeds on two devices, left alone."""
    return train(ENV, odd(), seeds=3, **SETTINGS)


@pytest.fixture(scope="module")
def half_way(tmp_path_factory):
    """A folder with the checkpoints of the same run, up to the third evaluation."""
    folder = tmp_path_factory.mktemp("half_way")
    train_until(56, folder / "c", seeds=3)
    return folder / "c"


@pytest.fixture
def folder(half_way, tmp_path):
    return shutil.copytree(half_way, tmp_path / "c")


def test_a_resumed_run_is_the_run_that_was_left_alone(alone, folder):
    assert sorted(path.name for path in folder.iterdir()) == [f"{n:012d}" for n in STEPS[:3]]
    resumed = train(ENV, odd(), seeds=3, checkpoints=folder, resume=True, **SETTINGS)
    assert bits(resumed.policies) == bits(alone.policies)
    assert (
        told(resumed.history) == told(alone.history) and [p.steps for p in resumed.history] == STEPS
    )
    assert resumed.returns.tobytes() == alone.returns.tobytes()
    # and once more, from its end
    again = train(ENV, odd(), seeds=3, checkpoints=folder, resume=True, **SETTINGS)
    assert bits(again.policies) == bits(alone.policies) and told(again.history) == told(
        alone.history
    )
    assert again.returns.tobytes() == alone.returns.tobytes()


def test_what_is_read_is_what_was_written_to_the_bit(folder):
    config = TrainConfig(seeds=3, **SETTINGS)
    run, other = (Run(ENV, PARAMS, odd(), config) for _ in range(2))
    blocks = run.blocks()
    history = [next(blocks), next(blocks)]
    store = Checkpoints(folder / "new")
    assert store.save(run, history)
    assert told(store.restore(other, store.newest())) == told(history)
    (was, counters), (now, same) = run.snapshot(), other.snapshot()
    assert bits(was) == bits(now) and jax.tree.structure(was) == jax.tree.structure(now)
    assert counters == {**same, "phases": counters["phases"]}
    for x, y in zip(jax.tree.leaves(was), jax.tree.leaves(now), strict=True):
        assert (x.dtype, x.sharding) == (y.dtype, y.sharding)
    assert checkpoint_files.checkpoint_bytes(run) == sum(len(data) for _, _, data in bits(was))


def test_a_longer_run_is_the_run_of_that_length(folder):
    longer = {**SETTINGS, "total_steps": 152, "evals": 6}
    alone = train(ENV, odd(), seeds=3, **longer)
    resumed = train(
        ENV, odd(), seeds=3, checkpoints=folder, resume=True, **{**SETTINGS, "total_steps": 152}
    )
    assert [p.steps for p in resumed.history] == [*STEPS, 104, 128, 152]
    assert bits(resumed.policies) == bits(alone.policies) and told(resumed.history) == told(
        alone.history
    )


@pytest.mark.parametrize("warmup", [0, 90])
def test_more_steps_keep_the_length_of_a_block(warmup):
    learner = odd()._replace(warmup=warmup)
    for evals in range(1, 12):
        config = TrainConfig(total_steps=400, num_envs=2, rollout_length=4, evals=evals)
        before = schedule(learner, config)
        for total in range(120, 1200, 37):
            new = with_total_steps(config, learner, total)
            after = schedule(learner, new)
            assert after[:2] == before[:2]
            reached = (after.warm_up_rollouts + after.block_rollouts * after.blocks) * 8
            assert total <= reached < total + before.block_rollouts * 8 + 8
            assert after.blocks == new.evals
        assert with_total_steps(config, learner, 400).total_steps >= 400


def test_on_another_number_of_devices_a_run_goes_on_and_says_so(alone, folder, monkeypatch, capsys):
    two = jax.local_devices()
    monkeypatch.setattr(jax, "local_devices", lambda: two[:1])
    shutil.rmtree(folder / "000000000056")
    store = Checkpoints(folder)
    run = Run(ENV, PARAMS, odd(), TrainConfig(seeds=3, **SETTINGS))
    history = store.restore(run, store.newest())
    assert "devices 2 (now 1)" in capsys.readouterr().err
    blocks = run.blocks()
    history.append(next(blocks))
    assert store.save(run, history), "three replicas, where there were four"
    monkeypatch.setattr(jax, "local_devices", lambda: two)
    resumed = train(ENV, odd(), seeds=3, checkpoints=folder, resume=True, **SETTINGS)
    assert "devices 1 (now 2)" in capsys.readouterr().err
    assert told(resumed.history) == told(alone.history), "no sum here depends on the devices"
    assert bits(resumed.policies) == bits(alone.policies)


# What is refused


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seeds": 4}, "seeds is 4; the run has 3"),
        ({"seed": 1}, "seed is 1; the run has 0"),
        ({"evals": 2}, "evals is 2; the run has 4"),
        ({"eval_episodes": 61}, "eval_episodes is 61; the run has 60"),
        ({"total_steps": 24}, "total_steps is 32; the run is at 56 already"),
        ({"total_steps": 200, "evals": 2}, "total_steps is 200; the run has 80"),
    ],
)
def test_other_settings_are_refused_before_anything_compiles(settings, words, folder, monkeypatch):
    monkeypatch.setattr(programs, "compile_programs", None)
    with pytest.raises(ValueError, match=words):
        train(ENV, odd(), checkpoints=folder, resume=True, **{**SETTINGS, "seeds": 3, **settings})


@pytest.mark.parametrize(
    ("env", "learner", "words"),
    [
        (ENV, odd(lr=0.25), "learner.lr is 0.25; the run has 0.5"),
        (dataclasses.replace(ENV, horizon=4), odd(), "env.horizon is 4; the run has 3"),
        (ENV, None, r"learner/half was bfloat16\[3\] and is bfloat16\[4\]"),
    ],
)
def test_another_environment_or_learner_is_refused(env, learner, words, folder, monkeypatch):
    if learner is None:  # its state has another form
        init = odd().init
        learner = odd()._replace(
            init=lambda key, example: {**init(key, example), "half": jnp.zeros(4, jnp.bfloat16)}
        )
    monkeypatch.setattr(programs, "compile_programs", None)
    with pytest.raises(ValueError, match=words):
        train(env, learner, checkpoints=folder, resume=True, seeds=3, **SETTINGS)


def test_runs_do_not_mix_their_checkpoints(folder):
    with pytest.raises(ValueError, match="holds checkpoints already"):
        train(ENV, odd(), checkpoints=folder, **SETTINGS)
    with pytest.raises(ValueError, match="name the folder"):
        train(ENV, odd(), resume=True, **SETTINGS)


@pytest.mark.parametrize("settings", [{"keep": 0}, {"seconds": -1.0}, {"seconds": float("nan")}])
def test_settings_that_make_no_sense(settings, tmp_path):
    with pytest.raises(ValueError, match="must be at least"):
        Checkpoints(tmp_path, **settings)


def test_the_first_change_is_named():
    assert first_change({"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 2]}}) is None
    assert first_change({"b": {"c": 1}}, {"b": {"c": 2}}) == "b.c is 2; the run has 1"
    assert first_change({"a": float("nan")}, {"a": float("nan")}) is None
    assert first_change({}, {"new": 3}) == "new is 3; the run has None"


# What is damaged


def every_file(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_deleted_run_folder_is_not_made_again(started, tmp_path):
    run, history = started[:2]
    said = []
    store = Checkpoints(tmp_path / "gone" / "c", complain=said.append, parents=False)
    assert not store.save(run, history) and not (tmp_path / "gone").exists() and len(said) == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "empty"])
def test_a_damaged_checkpoint_is_passed_over_whatever_is_damaged(damage, folder):
    last = folder / "000000000056"
    for file in every_file(last):
        content = file.read_bytes()
        if damage == "flip":
            at = len(content) // 2
            file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        elif damage == "cut":
            file.write_bytes(content[:-1])
        elif damage == "empty":
            file.write_bytes(b"")
        else:
            file.unlink()
        said = []
        saved = Checkpoints(folder, complain=said.append).newest()
        if content or damage == "remove":
            assert saved.steps == 32, file
            assert len(said) == 1 and str(last) in said[0] and "\n" not in said[0]
        file.write_bytes(content)
    assert Checkpoints(folder).newest().steps == 56


def test_damaged_checkpoints_are_one_line(folder):
    for steps in (32, 56):
        (folder / f"{steps:012}" / "state.json").write_text("{}")
    said = []
    assert Checkpoints(folder, complain=said.append).newest().steps == 8
    assert len(said) == 1 and all(f"{steps:012}" in said[0] for steps in (32, 56))


def test_half_a_checkpoint_is_never_looked_at(folder):
    (folder / "000000000056").rename(folder / ".000000000056.partial")
    store = Checkpoints(folder)
    assert store.newest().steps == 32
    train(ENV, odd(), seeds=3, checkpoints=folder, resume=True, **SETTINGS)
    assert sorted(path.name for path in folder.iterdir()) == ["000000000032", "000000000080"]


def test_damaged_ones_go_once_there_is_a_new_one(folder, capsys):
    (folder / "000000000056" / "state.json").write_text("{}")
    train(ENV, odd(), seeds=3, checkpoints=folder, resume=True, **SETTINGS)
    assert "is damaged and left out: state.json is not as it was written" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["000000000032", "000000000080"]


def test_if_none_is_whole_nothing_begins_again_by_itself(folder):
    for path in folder.iterdir():
        (path / "manifest.json").unlink()
    with pytest.raises(ValueError, match="none of the 3 checkpoints"):
        train(ENV, odd(), seeds=3, checkpoints=folder, resume=True, **SETTINGS)


WRONG = [None, 3.5, "x", [], [None], {"a": 1}, -1, 10**400, "\x1b[31m", [[["x"]]]]
DEEP = "[" * 20_000


def rewritten(path, text):
    """Replaces a checkpoint's state.json, with its checksum, so that only its content is wrong."""
    (path / "state.json").write_text(text)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["state.json"] = array_store.checksum(path / "state.json")
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_a_state_of_the_wrong_types_is_a_damaged_checkpoint(folder):
    """Whatever a file of others holds, the one before is taken, in one line."""
    last = folder / "000000000056"
    good = json.loads((last / "state.json").read_text())
    texts = [DEEP, "[]", "{}", json.dumps({**good, "history": [{}]})]
    for key in good:
        texts += [json.dumps({**good, key: wrong}) for wrong in WRONG]
        texts += [json.dumps({name: good[name] for name in good if name != key})]
    harmless = 0
    for text in texts:
        rewritten(last, text)
        said = []
        if Checkpoints(folder, complain=said.append).newest().path == last:
            harmless += 1  # such as an empty history, or one fact alone
        else:
            assert len(said) == 1 and str(last) in said[0] and said[0].isprintable()
    assert harmless < 8
    for text in (DEEP, "[]", '{"state.json": "x"}', '{"../x": [1, 2], "state.json": [1, 2]}'):
        (last / "manifest.json").write_text(text)
        assert Checkpoints(folder, complain=said.append).newest().steps == 32


def test_a_format_of_the_future_is_named(folder):
    for path in folder.iterdir():
        state = json.loads((path / "state.json").read_text())
        (path / "state.json").write_text(json.dumps({**state, "format": 99}))
        manifest = json.loads((path / "manifest.json").read_text())
        manifest["state.json"] = array_store.checksum(path / "state.json")
        (path / "manifest.json").write_text(json.dumps(manifest))
    said = []
    with pytest.raises(ValueError, match=r"none of the 3.*it has format 99; this marlx reads 1"):
        Checkpoints(folder, complain=said.append).newest()
    assert not said, "one line says it all"


def test_other_versions_are_named(folder):
    said = []
    store = Checkpoints(folder, complain=said.append)
    saved = store.newest()
    saved.state["facts"]["jax"] = "0.1"
    store.restore(Run(ENV, PARAMS, odd(), TrainConfig(seeds=3, **SETTINGS)), saved)
    (line,) = said
    assert f"jax 0.1 (now {jax.__version__}); the last bits may differ from here on" in line


# When one is taken, and when it cannot be


@pytest.fixture
def started():
    run = Run(ENV, PARAMS, odd(), TrainConfig(**SETTINGS))
    blocks = run.blocks()
    return run, [next(blocks)], blocks


def test_a_full_disk_costs_a_line_and_leaves_the_one_before(started, tmp_path, monkeypatch):
    run, history, blocks = started
    said = []
    store = Checkpoints(tmp_path / "c", seconds=0, complain=said.append)
    store.step(run, history)
    fsync, full = os.fsync, OSError(28, "No space left on device")

    def fail(*_):
        raise full

    monkeypatch.setattr(os, "fsync", fail)
    for _ in range(2):
        history.append(next(blocks))
        store.step(run, history, now=True)
    assert store.failed and store.steps == 8
    (line,) = said
    assert "No space left on device; the one at 8 steps stays" in line
    assert [path.name for path in store.path.iterdir()] == ["000000000008"]
    assert Checkpoints(store.path).newest().steps == 8
    monkeypatch.setattr(os, "fsync", fsync)  # there is space again
    store.step(run, history, now=True)
    assert not store.failed and Checkpoints(store.path).newest().steps == 56


def test_whatever_orbax_raises_is_one_line(started, tmp_path, monkeypatch, capfd):
    run, history, _ = started
    (tmp_path / "c").write_text("a file, where a folder is wanted")
    store = Checkpoints(tmp_path / "c")
    assert not store.save(run, history)

    def refuse(*_, **__):
        raise ValueError("RESOURCE_EXHAUSTED: " + "no space\n" * 100)

    monkeypatch.setattr(checkpoint_files, "save_arrays", refuse)
    store = Checkpoints(tmp_path / "d")
    assert not store.save(run, history) and not list((tmp_path / "d").iterdir())
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2 and all(len(line) < 400 for line in lines)
    assert "RESOURCE_EXHAUSTED" in lines[1] and "there is none yet" in lines[1]


def test_checkpoints_are_apart_and_the_oldest_go(started, tmp_path, monkeypatch):
    run, history, blocks = started
    clock = [0.0]
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: clock[0])
    store = Checkpoints(tmp_path / "c", keep=2, seconds=60)
    there = lambda: sorted(int(path.name) for path in store.path.iterdir())  # noqa: E731
    store.step(run, history)
    assert there() == [8]
    clock[0] = 59
    history.append(next(blocks))
    store.step(run, history)
    assert there() == [8]
    clock[0] = 60
    store.step(run, history)
    store.step(run, history)
    assert there() == [8, 32]
    clock[0] = 61
    history.append(next(blocks))
    store.step(run, history, now=True)  # stopped
    assert there() == [32, 56]
    history.append(next(blocks))
    store.step(run, history)  # the last
    assert there() == [56, 80]
    store.finish()
    assert there() == [80]


def test_a_slow_disk_takes_no_more_than_its_share(started, tmp_path, monkeypatch):
    run, history, blocks = started
    clock = [0.0]
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: clock[0])
    write = checkpoint_files.write_checkpoint

    def slow(*args):
        write(*args)
        clock[0] += 10

    monkeypatch.setattr(checkpoint_files, "write_checkpoint", slow)
    store = Checkpoints(tmp_path / "c", seconds=60)
    store.step(run, history)
    assert run.phases["checkpoint"] == 10
    history.append(next(blocks))
    clock[0] = 209
    store.step(run, history)
    assert store.steps == 8, "20 times the 10 seconds are not over"
    clock[0] = 210
    store.step(run, history)
    assert store.steps == 32


def test_what_a_failed_write_leaves_running_stays_silent(monkeypatch, caplog):
    import logging

    from marlx.runs import array_store

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda about: seen.append(about.exc_value))
    with pytest.raises(OSError), array_store._quiet():
        raise OSError("disk full")
    for error in (
        RuntimeError("Event loop is closed"),
        AttributeError("'_UnixSelectorEventLoop' object has no attribute '_ssock'"),
        RuntimeError("other"),
        KeyError("x"),
    ):
        sys.unraisablehook(SimpleNamespace(exc_value=error))
    assert [str(error) for error in seen] == ["other", "'x'"]
    log = logging.getLogger("asyncio")
    log.error("Task exception was never retrieved\nfuture: <Task defined at orbax/x.py:1>")
    log.error("Task exception was never retrieved\nfuture: <Task defined at my.py:1>")
    log = logging.getLogger("absl")
    for path in ("/lib/orbax/checkpoint/x.py", "/lib/other/x.py"):
        log.handle(logging.LogRecord("absl", logging.ERROR, path, 1, path, (), None))
    assert [one.pathname for one in caplog.records[1:]] == ["/lib/other/x.py"]


def test_a_write_that_orbax_gives_up_is_one_plain_error(tmp_path, monkeypatch, recwarn):
    import orbax.checkpoint as ocp

    from marlx.runs import array_store

    async def write():
        pass

    def gives_up(self, *args, **kwargs):
        left = write()  # noqa: F841
        raise ValueError("RESOURCE_EXHAUSTED: Error writing local file: No space left on device")

    monkeypatch.setattr(ocp.Checkpointer, "save", gives_up)
    with pytest.raises(OSError, match="No space left") as caught:
        array_store.save_arrays(tmp_path / "arrays", {"x": np.ones(3)})
    assert caught.value.__context__ is None and not recwarn.list
