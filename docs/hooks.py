"""What mkdocs does to these pages, whose links go to files so that they also work unbuilt.

The pages next to README become part of the site, links to them follow, links to other files of the
repository become plain text, and comments that are for the tests are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md")
_LINK = re.compile(r"\[([^\]]*)\]\(\.\./([\w./-]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that stand beside `docs/`."""
    for name in BESIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links as they are on the site, without comments."""
    markdown = re.sub(r"<!-- test: .*?-->\n?", "", markdown, flags=re.S)
    if page.file.src_uri in BESIDE:  # they stand at the root, and link into docs/
        return re.sub(r"\]\(docs/", "](", markdown)
    up = "../" * page.file.src_uri.count("/")

    def beside(link: re.Match[str]) -> str:
        if link[2] in BESIDE:
            return f"[{link[1]}]({up}{link[2]})"
        if not (ROOT / link[2]).exists():
            raise FileNotFoundError(f"{page.file.src_uri} links to {link[2]}, which is not there")
        return f"`{link[2]}`" if link[1] == link[2] else f"{link[1]} (`{link[2]}`)"

    return _LINK.sub(beside, markdown)
