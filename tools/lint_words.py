"""Find phrases that are hard to read, and print what to write instead.

`tools/lint_words.txt` lists them. A phrase is also found across line breaks of a paragraph, a docstring or
a comment. Text between lines with `lint-words: off` and `lint-words: on` is skipped, so that a style guide
can quote the list.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "design", "python", "rust"]
SUFFIXES = {".md", ".py", ".pyi", ".rs", ".toml"}
#: What may stand between two words: spaces, line breaks and the marks that begin a comment's next line.
GAP = r"(?:\s|//[/!]?|#:?)+"


def read_phrases() -> list[tuple[re.Pattern[str], str, str]]:
    phrases = []
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            phrase, advice = line.split(" -> ")
            words = GAP.join(map(re.escape, phrase.split()))
            phrases.append((re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE), phrase, advice))
    return phrases


def find(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, phrase, advice); what is switched off keeps its line breaks, so that lines count."""
    text = re.sub(
        r"lint-words: off.*?(lint-words: on|\Z)",
        lambda quoted: "\n" * quoted[0].count("\n"),
        text,
        flags=re.DOTALL,
    )
    for pattern, phrase, advice in read_phrases():
        for found in pattern.finditer(text):
            yield text.count("\n", 0, found.start()) + 1, phrase, advice


def main() -> int:
    files = [
        file
        for place in PLACES
        for file in sorted([ROOT / place, *(ROOT / place).rglob("*")])
        if file.suffix in SUFFIXES and file.is_file()
    ]
    found = [
        f"{file.relative_to(ROOT)}:{line}: {phrase} -> {advice}"
        for file in files
        for line, phrase, advice in sorted(find(file.read_text(encoding="utf-8")))
    ]
    print("\n".join(found) or f"{len(files)} files: no phrase of the list")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
