import html.parser
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_folders import FORAGING, write_run

from marlx import cli
from marlx.analysis.video import write_gif


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def some_runs(tmp_path):
    """Three methods on two tasks, one of them with an episode, and a stopped run."""
    rng = np.random.default_rng(0)
    steps = tuple(range(100, 1100, 100))
    for i, (algorithm, height) in enumerate((("qmix", 0.9), ("vdn", 0.7), ("iql<&>", 0.4))):
        for env_id in (FORAGING, "matrix/climbing"):
            rise = np.linspace(0, height, 10)[:, None] + rng.normal(0, 0.05, (10, 5))
            folder = tmp_path / "runs" / f"{i}-{env_id.replace('/', '-')}"
            write_run(folder, algorithm, env_id, returns=rise.tolist(), steps=steps)
    write_run(tmp_path / "runs" / "stopped", "qmix", finished=False)
    frames = [np.full((30, 40, 3), shade, np.uint8) for shade in (0, 100, 200)]
    write_gif(tmp_path / "runs" / f"0-{FORAGING}" / "episode.gif", frames)
    return tmp_path / "runs"


class Checked(html.parser.HTMLParser):
    """Parser that checks that elements are closed, and collects references."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self):
        super().__init__()
        self.open, self.refers, self.tags, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        names = ("src", "href", "xlink:href", "data", "action", "srcset", "poster")
        self.refers += [value for name, value in attributes if name in names]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def checked(path):
    """Text and parser of a page, after checking that it is well formed and self-contained."""
    text = Path(path).read_text(encoding="utf-8")
    page = Checked()
    page.feed(text)
    page.close()
    assert page.open == []
    assert all(re.match(r"data:|#", reference) for reference in page.refers), page.refers
    assert not {"script", "iframe", "object", "embed"} & set(page.tags)
    style = re.findall(r"url\(([^)]*)\)", text)
    assert all(reference.startswith("#") for reference in style) and "@import" not in text
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns:xlink="x" ', 1))
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)), "ids of two pictures clash"
    return text, page


def test_a_report_of_many_runs_has_every_section_and_is_self_contained(some_runs, capsys):
    assert cli.run(["report", str(some_runs), "--marl-eval", "m.json"]) == 0
    out = capsys.readouterr().out
    assert "report.html: 7 runs, 4 methods, 2 tasks (1 unfinished)" in out
    text, page = checked("report.html")
    said = " ".join("".join(page.text).split())
    for part in (
        *("Results", "Learning curves", "Over all tasks", "Performance profiles", "IQM"),
        *(
            "Probability of improvement",
            "Sample efficiency",
            "Episodes",
            "Differing settings",
            "Runs",
        ),
        *("Versions and devices", "Definitions", "qmix (unfinished)", "iql<&>", FORAGING),
        *("random policy to optimum", "unfinished stopped or running", "jax 0.10"),
    ):
        assert part in said, part
    assert page.tags.count("svg") == 4 and page.tags.count("img") == 1
    assert "<&>" not in text, "names are escaped"
    # the marl-eval file makes the same report, without settings and episodes
    assert cli.run(["report", "m.json", "--out", "again.html"]) == 0
    _, again = checked("again.html")
    assert again.tags.count("svg") == 4 and again.tags.count("img") == 0


def test_the_numbers_on_the_page_are_those_of_the_runs(some_runs):
    assert cli.run(["report", str(some_runs)]) == 0
    text = Path("report.html").read_text()
    result = json.loads((some_runs / f"0-{FORAGING}" / "result.json").read_text())
    values = np.array(result["return"]["per_seed"])
    row = re.search(r"<tr><th>qmix</th>.*?</tr>", text).group()
    cells = [re.sub(r"<small>.*?</small>|<[^>]*>", "", cell).strip() for cell in row.split("<td")]
    numbers = [cell.split(">")[-1] for cell in cells[1:]]
    iqm = np.sort(values)[1:4].mean()
    expected = [values.mean(), iqm, np.median(values), 1 - np.minimum(values, 1).mean()]
    shown = [f"{value:.3f}" for value in expected]
    assert numbers == ["5", "1k", shown[0], "greedy", *shown[1:]]


def test_a_report_of_one_run_leaves_out_comparisons(some_runs, tmp_path):
    assert cli.run(["report", str(some_runs / f"0-{FORAGING}")]) == 0
    text, page = checked("report.html")
    assert page.tags.count("svg") == 1 and page.tags.count("img") == 1
    for part in ("Probability", "Over all tasks", "Differing settings", "nan"):
        assert part not in text
    one = write_run(tmp_path / "one", returns=((0.0,), (0.5,)))
    assert cli.run(["report", str(one), str(some_runs / "stopped"), "--out", "x.html"]) == 0
    assert "nan" not in checked("x.html")[0]
    single = write_run(tmp_path / "single", returns=((0.5,),), steps=(100,), finished=False)
    assert cli.run(["report", str(single), "--out", "y.html"]) == 0
    assert "nan" not in checked("y.html")[0]


def test_given_bounds_are_used(some_runs):
    Path("bounds.yaml").write_text(f"{FORAGING}: [0, 2]\n")
    assert cli.run(["report", str(some_runs), "--bounds", "bounds.yaml"]) == 0
    assert "<td>given</td>" in Path("report.html").read_text()


@pytest.mark.parametrize("name", ["c.png", "c.svg", "c.pdf"])
def test_plot_writes_the_format_of_its_file_name(name, some_runs, capsys):
    options = ["--x", "seconds", "--statistic", "mean"] if name == "c.png" else []
    assert cli.run(["plot", str(some_runs), "--out", name, *options]) == 0
    assert f"{name}: 7 runs, 4 methods, 2 tasks" in capsys.readouterr().out
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[name[-3:]]
    assert Path(name).read_bytes().startswith(start)
    if name == "c.png":
        with Image.open(name) as image:
            assert image.size[0] > 1000 and len(image.convert("RGB").getcolors(1 << 20)) > 50


BAD = [
    (["plot"], "takes one run folder or more"),
    (["report", "--out", "x.html"], "takes one run folder or more"),
    (["plot", "nowhere"], "nowhere has no run"),
    (["plot", "runs", "--metric", "los"], "no run has the metric los; known: return"),
    (["plot", "runs", "--x", "call"], "no run has the metric call"),
    (["plot", "runs", "--x", "return"], "return decreases in"),
    (["plot", "runs", "--out", "x.gif"], "it must end in .png, .svg, .pdf"),
    (["plot", "runs", "--out", "nowhere/x.png"], "there is no folder nowhere"),
    (["plot", "runs", "--statistic", "max"], "expected iqm or mean or median"),
    (["plot", "runs", "--metrc", "x"], "did you mean --metric"),
    (["report", "runs", "--out", "runs"], "it is a folder"),
    (["report", "runs", "--marl-eval", "nowhere/x"], "there is no folder nowhere"),
    (["report", "runs", "--bounds", "nowhere"], "cannot read nowhere"),
    (["report", "runs", "--bounds", "b.yaml"], "matrix/climbing in b.yaml: expected 2 values"),
    (["report", "runs", "b.yaml"], "b.yaml is not JSON"),
]


@pytest.mark.parametrize(("argv", "answer"), BAD, ids=[" ".join(argv) for argv, _ in BAD])
def test_wrong_input_is_one_line(argv, answer, some_runs, capsys):
    Path("b.yaml").write_text("matrix/climbing: [0]\n")
    before = sorted(Path().rglob("*"))
    assert cli.run(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and answer in err
    assert sorted(Path().rglob("*")) == before, "it left something behind"


LOOK = """<script>window.onload = () => {
  const box = e => e.getBoundingClientRect();
  const seen = {images: [], drawings: [], rows: document.querySelectorAll("tbody tr").length,
    wide: document.documentElement.scrollWidth > window.innerWidth};
  for (const e of document.images) seen.images.push(e.complete && e.naturalWidth > 0);
  for (const e of document.querySelectorAll("svg"))
    seen.drawings.push([...e.querySelectorAll("path")].filter(p => box(p).width > 50).length);
  console.log("LOOKED " + JSON.stringify(seen));
}</script>"""


def test_a_browser_shows_the_page_without_a_network(some_runs, tmp_path):
    """In Chromium, from file://: all pictures are shown, without errors or requests."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    assert cli.run(["report", str(some_runs)]) == 0
    text = Path("report.html").read_text()
    Path("looked.html").write_text(text.replace("</body>", LOOK + "</body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += ["--window-size=1200,900", "--virtual-time-budget=3000", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    done = subprocess.run(
        [*command, (tmp_path / "looked.html").as_uri()], capture_output=True, text=True, timeout=120
    )
    console = re.findall(r"CONSOLE.*?\] (.*)", done.stderr)
    assert len(console) == 1, console
    seen = json.loads(re.search(r"LOOKED (\{.*?\})\"", console[0]).group(1).replace('\\"', '"'))
    assert seen["images"] == [True]
    assert len(seen["drawings"]) == 4 and all(count > 3 for count in seen["drawings"])
    assert seen["rows"] > 20 and not seen["wide"]
