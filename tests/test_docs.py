"""Everything that README and docs show is run; links, pictures and the navigation are there."""

import ast
import importlib
import json
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pages
import pytest
import yaml

from marlx import cli, registry

ROOT = pages.ROOT
FOLLOWED = [page for page in pages.PAGES if pages.blocks(page) and not pages.files(page)]
"""Pages that ask their reader to write a package are followed in test_plugin.py."""
SKIPPED = 20
"""Blocks that are not run at all, in all pages; each says why. Raise it with a reason: two need
onnx and onnxruntime, which are extras."""


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """`prepare(run=...)`: a run as a short training leaves it, made once for each kind."""
    made = {}
    folder = tmp_path_factory.mktemp("ready")

    def prepare(run, algorithm="qmix", environment="Foraging-8x8-2p-2f-coop-v3"):
        kind = algorithm, environment
        if kind not in made:
            made[kind] = folder / str(len(made))
            argv = ["train", *kind, "--out", str(made[kind])]
            assert cli.run([*argv, *pages.shorter(argv[1:])]) == 0
        if not Path(run).exists():
            shutil.copytree(made[kind], run)

    return prepare


def follow(page, ready, tmp_path, monkeypatch, capsys, whole):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "page", types.ModuleType("page"))
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    reader = pages.Reader(page, ready, whole=whole)
    with pages.shortened(monkeypatch):
        for block in pages.blocks(page):
            if not block.skip and (whole or not block.slow):
                reader.follow(block, capsys)


@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.name)
def test_a_reader_of_the_page_gets_what_it_says(page, ready, tmp_path, monkeypatch, capsys):
    """Trainings are checked, and made once and short where their results are used."""
    follow(page, ready, tmp_path, monkeypatch, capsys, whole=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.name)
def test_every_training_on_the_page_trains(page, ready, tmp_path, monkeypatch, capsys):
    follow(page, ready, tmp_path, monkeypatch, capsys, whole=True)


def test_few_blocks_are_left_out():
    found = [(page.name, block) for page in pages.PAGES for block in pages.blocks(page)]
    skipped = [(name, block.line, block.skip) for name, block in found if block.skip]
    assert len(skipped) <= SKIPPED, skipped
    assert sum(not block.skip for _, block in found) > 5 * len(skipped)


def test_no_block_hides_from_the_tests():
    """Indented fences and other names of the same languages would not be found."""
    for page in pages.PAGES:
        text = page.read_text()
        fences = re.findall(r"^([ >]*)(```|~~~)([^\n]*)$", text, re.M)
        for indent, fence, info in fences:
            assert not indent and fence == "```", f"{page.name} has an indented block"
            language = info.split(" ")[0]
            assert language not in ("py", "sh", "shell", "pycon"), f"{page.name}: {language}"
        for language, block in re.findall(r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.M | re.S):
            if language not in ("", "text"):
                continue
            for line in block.splitlines():  # a synopsis has words in capitals
                synopsis = re.search(r"[A-Z]{3,}|\[options\]|^marlx (list|completion)", line)
                assert not line.startswith("marlx ") or synopsis, f"{page.name}: {line}"


def imports(code):
    """The names that a piece of code imports from marlx: `(module, name or None)`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)


def test_names_that_code_imports_from_marlx_are_there():
    """Also in blocks that only `make test-slow` runs, and in the notebook."""
    code = [b.text for page in pages.PAGES for b in pages.blocks(page) if b.language == "python"]
    notebook = json.loads((ROOT / "docs" / "quickstart.ipynb").read_text())
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    code += [cell for cell in cells if not cell.startswith("%")]
    wanted = {found for piece in code for found in imports(piece)}
    wanted = {found for found in wanted if found[0].split(".")[0] == "marlx"}
    assert len(wanted) > 30
    for module, name in sorted(wanted, key=str):
        there = importlib.import_module(module)
        if name is not None and not hasattr(there, name):
            importlib.import_module(f"{module}.{name}")


def anchors(page):
    """Anchors of a page's headings, as Markdown makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", words.lower()).strip()))
    return found


def test_every_link_leads_somewhere():
    for page in pages.PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"https?://", target):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            assert path.exists(), f"{page.name} links to {target}"
            if anchor.startswith("marlx."):  # of the API: mkdocs --strict checks it
                assert f"::: {anchor}\n" in path.read_text(), f"{page.name} links to {target}"
            elif anchor:
                assert anchor in anchors(path), f"{page.name} links to {target}"


def test_every_page_is_in_the_navigation_and_every_picture_on_a_page():
    text = re.sub(r"!ENV|!!python\S*", "", (ROOT / "mkdocs.yml").read_text())
    nav = [name for part in yaml.safe_load(text)["nav"] for name in next(iter(part.values()))]
    there = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert len(nav) == len(set(nav))
    assert set(nav) == there | {"CONTRIBUTING.md", "CHANGELOG.md"}
    shown = "".join(page.read_text() for page in pages.PAGES)
    for picture in sorted((ROOT / "docs" / "images").iterdir()):
        assert f"images/{picture.name}" in shown, f"{picture.name} is on no page"
        assert picture.stat().st_size < 160_000, f"{picture.name} is too large"


def test_every_algorithm_and_family_has_a_page():
    algorithms = (ROOT / "docs" / "algorithms.md").read_text()
    environments = (ROOT / "docs" / "environments.md").read_text() + (
        ROOT / "docs" / "bridges.md"
    ).read_text()
    for name in registry.algorithms():
        assert f"`{name}`" in algorithms, name
    for family in registry.families().values():
        assert any(f"`{id.split('/')[0]}" in environments for id in family.examples), family.name


def test_what_a_page_says_is_not_here_is_not():
    """An algorithm that is added leaves the list of what is missing."""
    text = (ROOT / "docs" / "migrating.md").read_text().split("## What is not here")[1].lower()
    words = set(re.findall(r"[a-z0-9]+", re.sub("[-_]", "", text.split("\n## ")[0])))
    names = {name.replace("_", "") for name in registry.algorithms()}
    assert "hanabi" in words and not words & {*names, "weighted"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder of the site, built strictly."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


WIDE = """[...document.querySelectorAll("article table, article pre > code")].filter(one => {
  const most = document.querySelector(".md-content__inner").getBoundingClientRect().right + 1;
  return one.getBoundingClientRect().right > most || one.scrollWidth > one.clientWidth + 1;
}).map(one => one.textContent.trim().slice(0, 90))"""


@pytest.mark.slow
def test_tables_and_code_of_every_page_fit_a_screen_of_1300_pixels(site, tmp_path):
    sys.path.append(str(ROOT / "tests" / "viewer"))
    import browser

    if browser.CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    chrome, wide = browser.Browser(tmp_path), {}
    try:
        for page in sorted({*site.rglob("*.html")} - {*site.glob("images/*")}):
            chrome.open(page.as_uri(), width=1300)
            assert chrome.run("document.querySelectorAll('.md-tabs__item').length") > 3, page
            wide[str(page.relative_to(site))] = chrome.run(WIDE)
    finally:
        chrome.close()
    assert len(wide) > 45 and not {name: cut for name, cut in wide.items() if cut}


@pytest.mark.slow
def test_the_site_is_built_strictly_and_asks_for_nothing_elsewhere(site):
    html = sorted(site.rglob("*.html"))
    assert len(html) > 45
    for page in html:
        text = page.read_text()
        loads = re.findall(r'<(?:script|img|iframe)[^>]+src="([^"]+)"', text)
        loads += re.findall(r'<link[^>]+rel="(?:stylesheet|preload|icon)"[^>]+href="([^"]+)"', text)
        assert not [url for url in loads if "//" in url], page.name
        assert "<!-- test:" not in text and "::: marlx" not in text, page.name


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    """Cells in order, with `Image` as the notebook itself shows it; installing is left out."""
    notebook = json.loads((ROOT / "docs" / "quickstart.ipynb").read_text())
    monkeypatch.chdir(tmp_path)
    shown = []
    display = types.ModuleType("IPython.display")
    display.Image = lambda filename: shown.append(Path(filename).read_bytes()[:4])
    ipython = types.ModuleType("IPython")
    ipython.get_ipython, ipython.version_info = lambda: None, (9, 0)  # matplotlib asks
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    names, left_out = {"__name__": "notebook"}, 0
    with pages.shortened(monkeypatch):
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                continue
            assert not cell["outputs"] and cell["execution_count"] is None, "strip the outputs"
            code = "".join(cell["source"])
            if code.startswith("%pip install"):
                left_out += 1
                continue
            exec(compile(code, "quickstart.ipynb", "exec"), names)
    assert left_out == 1 and shown == [b"\x89PNG", b"GIF8"]
    assert names["episode"].rewards and names["result"].returns.shape == (1, 100)
