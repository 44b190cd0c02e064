"""Hooks of mkdocs: the pages link to files, so that they also work unbuilt.

The pages next to README become part of the site, links to them follow, links to other files of the
repository become plain text, formulas are typeset, settings become tables, and comments that are
for tools are left out. The build fails on a public name that no page of the API documents.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import markup  # next to this file: mkdocs looks there while it loads a hook
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md")
_LINK = re.compile(r"\[([^\]]*)\]\(\.\./([\w./-]+)(#[\w-]*)?\)")

PUBLIC = (
    "marlx/types.py", "marlx/environment.py", "marlx/learner.py", "marlx/registry.py",
    "marlx/settings.py", "marlx/subgoals.py", "marlx/statistics.py", "marlx/training.py",
    "marlx/data", "marlx/learning", "marlx/nets", "marlx/testing",
)  # fmt: skip
"""Modules and packages whose public names are all documented: what learners are built from.

Modules whose names begin with `_` are left out.
"""


def public_names() -> Iterator[str]:
    """Yield the dotted names of public functions and classes in `PUBLIC`."""
    for entry in PUBLIC:
        for path in sorted((ROOT / entry).rglob("*.py")) or [ROOT / entry]:
            if path.stem.startswith("_") and path.stem != "__init__":
                continue
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.parse(path.read_text("utf-8")).body:
                is_definition = isinstance(node, ast.FunctionDef | ast.ClassDef)
                if is_definition and not node.name.startswith("_"):
                    yield f"{module}.{node.name}"


def undocumented(names: Iterable[str] | None = None) -> list[str]:
    """Return those of `names`, by default `public_names()`, that no API page has an entry for."""
    text = "".join(path.read_text("utf-8") for path in sorted((ROOT / "docs/api").glob("*.md")))
    entries = set(re.findall(r"^::: ([\w.]+)", text, re.M))
    return [
        name
        for name in (public_names() if names is None else names)
        if name not in entries and name.rpartition(".")[0] not in entries
    ]


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that stand beside `docs/`; fail where the API is not documented."""
    if missing := undocumented():
        raise ValueError(f"no page in docs/api documents {', '.join(missing)}")
    for name in BESIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links as they are on the site, formulas and tables of settings, no comments for tools."""
    markdown = markup.made(markdown)
    if page.file.src_uri in BESIDE:  # they stand at the root, and link into docs/
        return re.sub(r"\]\(docs/", "](", markdown)
    up = "../" * page.file.src_uri.count("/")

    def beside(link: re.Match[str]) -> str:
        if link[2] in BESIDE:
            return f"[{link[1]}]({up}{link[2]}{link[3] or ''})"
        if not (ROOT / link[2]).exists():
            raise FileNotFoundError(f"{page.file.src_uri} links to {link[2]}, which is not there")
        return f"`{link[2]}`" if link[1] == link[2] else f"{link[1]} (`{link[2]}`)"

    return _LINK.sub(beside, markdown)
