"""mkdocs hook: pages that lie outside docs/ become part of the site, and their links keep working.

Links in the files are those that work in the repository, such as `../design/scoring.md`.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(?<=\]\()[^)#\s]+")


def outside_pages() -> dict[str, str]:
    """Return the site's path of each page outside docs/, by its path in the repository."""
    notes = {f"design/{path.name}": f"design/{path.name}" for path in ROOT.glob("design/*.md")}
    return notes | {
        "benches/README.md": "benches.md",
        "tests/README.md": "tests.md",
        "tools/organism/README.md": "organism-builder.md",
        "CONTRIBUTING.md": "contributing.md",
        "CHANGELOG.md": "changelog.md",
    }


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages outside docs/."""
    for source, target in outside_pages().items():
        content = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    target = page.file.src_uri
    sources = {site: source for source, site in outside_pages().items()}
    source = sources.get(target, f"docs/{target}")
    return "".join(_relinked(markdown, posixpath.dirname(source), posixpath.dirname(target)))


def _relinked(markdown: str, source_folder: str, target_folder: str) -> Iterator[str]:
    pages, end = outside_pages(), 0
    for link in _LINK.finditer(markdown):
        yield markdown[end : link.start()]
        end = link.end()
        found = posixpath.normpath(posixpath.join(source_folder, link[0]))
        site = pages.get(found, found.removeprefix("docs/") if found.startswith("docs/") else "")
        yield posixpath.relpath(site, target_folder or ".") if site else link[0]
    yield markdown[end:]
