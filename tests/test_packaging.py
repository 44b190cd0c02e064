import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
CACHES = shutil.ignore_patterns(".*cache", ".venv", "__pycache__", "*.egg-info", "build")


def packaged() -> set[str]:
    """Every file that an installed marlx has, as a path in site-packages."""
    files = {"marlx/py.typed"}
    for package, folder in SETUPTOOLS["package-dir"].items():
        data = SETUPTOOLS["package-data"].get(package, [])
        for pattern in ("*.py", *(name for name in data if "/" not in name)):
            for path in (ROOT / folder).glob(pattern):
                files.add(f"{package.replace('.', '/')}/{path.name}")
    trained = ROOT / "envs/partners/pretrained"
    files |= {f"marlx/envs/partners/{p.relative_to(trained.parent)}" for p in trained.glob("*/*")}
    return files


def test_every_package_is_listed():
    """A folder that is forgotten in pyproject.toml would be missing from the wheel, silently."""
    found = set()
    for package, folder in SETUPTOOLS["package-dir"].items():
        found.add(package)
        for path in (ROOT / folder).iterdir():
            if path.is_dir() and not path.is_symlink() and any(path.glob("*.py")):
                found.add(f"{package}.{path.name}")
    assert found == set(SETUPTOOLS["packages"]) == set(SETUPTOOLS["package-dir"])


@pytest.mark.parametrize("name", ["envs", "algos", "configs", "protocols", "reference"])
def test_links_show_type_checkers_the_same_tree(name):
    link = ROOT / "marlx" / name
    if link.is_symlink():  # a checkout without links loses only type checking inside the repository
        assert os.readlink(link) == f"../{SETUPTOOLS['package-dir'][f'marlx.{name}']}"


def test_the_base_installation_has_only_what_the_design_lists():
    """Each dependency takes disk of everyone; those of a single feature are extras."""
    project = PYPROJECT["project"]
    base = {Requirement(one).name for one in project["dependencies"]}
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    table = design.split("## Dependencies")[1].split("| not used |")[0]
    listed = {
        name.split(" (")[0].strip()
        for row in re.findall(r"^\| ([A-Za-z].*?) \|", table, re.M)
        if "(extra" not in row
        for name in row.split(", ")
    }
    assert base | {"pytest-xdist"} == listed - {"package", "not used"}
    extras = {
        Requirement(one).name for some in project["optional-dependencies"].values() for one in some
    }
    assert not base & (extras - {"jax", "gymnax"})


def test_version_is_one():
    import marlx

    assert marlx.__version__ == PYPROJECT["project"]["version"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A wheel, built from the sdist, which was built from a copy of the tree."""
    pytest.importorskip("build")
    pytest.importorskip("setuptools", minversion="77")
    pytest.importorskip("wheel")
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=CACHES)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "tree"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    return wheel, sdist


def test_wheel_holds_everything_and_no_other_top_level_name(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = set(wheel.namelist())
        info = f"marlx-{PYPROJECT['project']['version']}.dist-info"
        entry_points = wheel.read(f"{info}/entry_points.txt").decode()
        license_text = wheel.read(f"{info}/licenses/LICENSE").decode()
    assert {name for name in names if not name.startswith(info)} == packaged()
    assert {name.split("/")[0] for name in names} == {"marlx", info}
    assert "marlx = marlx.cli:main" in entry_points
    assert "Apache License" in license_text


def test_sdist_holds_everything(built):
    with tarfile.open(built[1]) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}
    folders = {
        package.replace(".", "/"): folder for package, folder in SETUPTOOLS["package-dir"].items()
    }
    for file in packaged():
        package = max((p for p in folders if file.startswith(f"{p}/")), key=len)
        assert f"{folders[package]}{file.removeprefix(package)}" in names
    for name in ("LICENSE", "README.md", "pyproject.toml", "CHANGELOG.md", "tests/conftest.py"):
        assert name in names


def test_wheel_works_away_from_the_tree(built, tmp_path):
    """Installed into an empty folder and imported from elsewhere, it is that copy that runs."""
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--disable-pip-version-check", "--target", str(target), str(built[0])]
    subprocess.run(pip, check=True, cwd=tmp_path)
    code = (
        f"ROOT = {str(ROOT)!r}\n"
        "import marlx, marlx.cli\n"
        "from marlx.config import experiment, layers\n"
        "print(marlx.__file__)\n"
        "env, params = marlx.make('matrix/climbing')\n"
        "print(experiment('qmix', 'Foraging-8x8-2p-2f-coop-v3').algorithm)\n"
        "print(len(layers.preset_layers('qmix', 'matrix/climbing')) > 0)\n"
        "pool = {'pool': ('pretrained',), 'ego': (0, 1, 2)}\n"
        "print(marlx.make('partners/mpe/simple_tag_v3', **pool)[0].cast.names[0])\n"
        "from marlx.analysis import reproduction\n"
        "print(reproduction.reference('qmix-matrix-two_step').optimum)\n"
        "import importlib.util, sys\n"
        "sys.path[:] = [path for path in sys.path if path != ROOT]\n"  # `make setup` adds it
        "for name in ('envs', 'algos', 'configs', 'tests'):\n"
        "    if importlib.util.find_spec(name): raise SystemExit(f'{name} is importable')\n"
    )
    run = [sys.executable, "-c", code]
    environ = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        run, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    where = str(target / "marlx" / "__init__.py")
    assert done.stdout.split() == [where, "qmix", "True", "pretrained", "8.0"]
