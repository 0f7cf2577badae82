"""What the documents print can be typed, and where they point there is something."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from misfired.cli import COMMANDS, load

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *(
        p
        for folder in ("docs", "design", "benches", "tests")
        for p in (ROOT / folder).rglob("*.md")
    ),
]
FENCED = re.compile(r"^ *```(?:sh|console|yaml)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(misfired [^`]+)`")
#: Links of the built site: pages that exist there alone.
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")


def commands(page: str) -> list[str]:
    """Return the commands of misfired that a page prints, each on one line."""
    lines = "\n".join(block.replace("\\\n", " ") for block in FENCED.findall(page)).splitlines()
    typed = [
        line[line.index("misfired ") :]
        for line in lines
        if re.match(r"^[ $]*(- run: |[A-Z_]+=\S+ )?misfired ", line)
    ]
    return [re.split(r" #|\|\||&&|;", line)[0] for line in [*typed, *INLINE.findall(page)]]


def known_words(command) -> set[str]:
    return {
        "--help",
        *(
            word
            for parameter in command.params
            for word in (*parameter.opts, *parameter.secondary_opts)
        ),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_has_its_options(page):
    for line in commands(page.read_text(encoding="utf-8")):
        _, name, *words = shlex.split(line.replace("...", ""))
        if name in ("--help", "--version") or name.isupper():
            continue
        assert name in COMMANDS, line
        command = get_command(load(name))
        if hasattr(command, "commands") and words and not words[0].startswith("-"):
            assert words[0] in command.commands, line
            command = command.commands[words[0]]
        options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert options <= known_words(command), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file(page):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
