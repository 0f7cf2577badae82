"""The texts of a study: written into its folder to be filled in, and read back as plain blocks."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from misfired.annotate.draw import GAP

CONSENT, INSTRUCTIONS, PREREGISTRATION = "consent.md", "instructions.md", "preregistration.md"

TEMPLATES = Path(__file__).with_name("templates")
#: Seconds that a question takes; reading aloud takes about as long.
_SECONDS = 10
_BLANK = re.compile(r"\[[^\]\n]+\]")


class Block(NamedTuple):
    """A part of a text: a heading (`h1`, `h2`), a paragraph (`p`) or a list (`ul`), with its lines."""

    kind: str
    lines: tuple[str, ...]


def study_texts(about: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of a new study by file name; what people must fill in stands in [brackets]."""
    counts = about["counts"]
    low, high = counts["questions_a_person"]
    minutes = max(1, round(high * _SECONDS / 60))
    words = {
        "about": about,
        "counts": counts,
        "low": low,
        "high": high,
        "minutes": f"{minutes} minute{'s' * (minutes > 1)}",
    }
    made = (CONSENT, INSTRUCTIONS, PREREGISTRATION)
    return {name: _plain().get_template(name).render(words, default_gap=GAP) for name in made}


def blocks(text: str) -> Iterator[Block]:
    r"""Yield the blocks of a text in a small part of Markdown: headings, lists of "- ", paragraphs.

    Everything else is text as it stands, which the pages escape.

    Example:
        >>> [block.kind for block in blocks("# Hello\n\nTwo lines,\none paragraph.\n\n- a\n- b")]
        ['h1', 'p', 'ul']
    """
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = part.strip().splitlines()
        if heading := re.match(r"(#{1,2}) (.*)", lines[0] if lines else ""):
            yield Block(f"h{len(heading[1])}", (heading[2],))
            lines = lines[1:]
        if not lines:
            continue
        if lines[0].startswith("- "):
            joined = "\n".join(lines).removeprefix("- ")
            yield Block("ul", tuple(" ".join(item.split()) for item in joined.split("\n- ")))
        else:
            yield Block("p", (" ".join(map(str.strip, lines)),))


def blanks(text: str) -> list[str]:
    """Return what still stands in [brackets].

    Example:
        >>> blanks("Ask [name], or [contact address].")
        ['[name]', '[contact address]']
    """
    return _BLANK.findall(text)


@cache
def _plain() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,  # noqa: S701  Markdown for a file; pages escape what they show of it.
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
