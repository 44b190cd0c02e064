"""Compiled programs kept between commands: where, for which machine, and what refuses them."""

import os

import pytest

from marlx.cli import cache


@pytest.fixture
def environ(monkeypatch, tmp_path):
    """A user without settings of JAX, whose cache is below `tmp_path`."""
    for name in [name for name in os.environ if "CACHE" in name]:
        monkeypatch.delenv(name)
    # what is set by the code under test is taken back too
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return os.environ


def test_programs_are_kept_in_the_users_cache_by_version_and_machine(environ, tmp_path):
    cache.use_compilation_cache()
    folder = environ["JAX_COMPILATION_CACHE_DIR"]
    assert folder == str(cache.cache_folder()) and os.path.isdir(folder)
    assert os.path.dirname(folder) == str(tmp_path / "marlx" / "xla")
    assert os.path.basename(folder).startswith(f"jax-{cache._version('jax')}")


@pytest.mark.parametrize("change", ["_version", "_features"])
def test_another_version_or_machine_has_another_folder(monkeypatch, change):
    before = cache.kind_of_programs()
    assert cache.kind_of_programs() == before
    monkeypatch.setattr(cache, change, lambda *_: "another")
    assert cache.kind_of_programs() != before


@pytest.mark.parametrize("name", ["JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"])
def test_the_users_own_variables_win(environ, monkeypatch, tmp_path, name):
    monkeypatch.setenv(name, "mine")
    cache.use_compilation_cache()
    assert environ[name] == "mine" and not list(tmp_path.iterdir())


def test_no_cache_is_taken_out_of_the_command_line(environ, tmp_path):
    assert cache.without_cache(["qmix", "--no-cache", "--seeds", "2"]) == ["qmix", "--seeds", "2"]
    cache.use_compilation_cache()
    assert environ["JAX_ENABLE_COMPILATION_CACHE"] == "false" and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_line(environ, tmp_path, capsys):
    (tmp_path / "marlx").write_text("a file in its place")
    cache.use_compilation_cache()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("marlx: compiled programs are not kept: cannot write to ")
    assert environ["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    assert "JAX_COMPILATION_CACHE_DIR" not in environ
