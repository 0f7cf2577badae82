"""The pages that annotators see, as HTML. Every text that comes from a suite or a file is escaped."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import jinja2

from misfired.annotate.texts import TEMPLATES, blocks

#: The question is the last sentence, after one that has ended.
_LAST = re.compile(r"^(.*[.!?]['\")\u2019\u201d]*)\s+([^.!?]*\?)\s*$", re.DOTALL)


def split_question(text: str) -> tuple[str, str]:
    """Return the story and the question of a prompt; a text without such an end is all question.

    Example:
        >>> split_question("A cat met a dog. The cat ran. Did the cat run?")
        ('A cat met a dog. The cat ran.', 'Did the cat run?')
    """
    found = _LAST.match(text)
    return (found[1], found[2]) if found else ("", text)


def keys_of(answers: Sequence[str]) -> list[str]:
    """Return the key of each answer: its first letter, or where two are equal, its number.

    Example:
        >>> keys_of(["yes", "no", "cannot tell"]), keys_of(["cat", "cow", "cannot tell"])
        (['y', 'n', 'c'], ['1', '2', '3'])
    """
    first = [answer.strip()[:1].lower() for answer in answers]
    if len(set(first)) == len(first) and all(each.isalnum() for each in first):
        return first
    return [str(number) for number in range(1, len(answers) + 1)]


def question_page(
    text: str, answers: Sequence[str], *, where: str, home: str, action: str, csrf: str, **more: Any
) -> str:
    """Return a page that asks one question.

    Args:
        text: The prompt.
        answers: Answers that it allows.
        where: Where in the study it stands, such as "Question 3 of 90".
        home: Address of the annotator's pages.
        action: Address that takes the answer.
        csrf: Signature of the form.
        more: What `question.html` shows beside it.
    """
    story, question = split_question(text)
    labels = [each[:1].upper() + each[1:] for each in answers]
    choices = list(zip(answers, labels, keys_of(answers), strict=True))
    shown: dict[str, Any] = {
        "revision": 0, "given": None, "notice": None, "back": None, "onward": home,
        "n": 0, "n_done": 0,
    }  # fmt: skip
    shown |= {"story": story, "question": question, "choices": choices, "where": where}
    shown |= {"home": home, "action": action, "csrf": csrf} | more
    return _environment().get_template("question.html").render(shown)


def text_page(title: str, text: str, **more: Any) -> str:
    """Return a page of text (see `texts.blocks`).

    Args:
        title: What the browser's tab shows.
        text: The text.
        more: `buttons` (value and label) of a form with `action` and `csrf`, a `link` (address and label),
            and `home`.
    """
    shown: dict[str, Any] = {"buttons": (), "link": None, "home": None, "csrf": "", "action": ""}
    shown |= {"title": title, "blocks": list(blocks(text))} | more
    return _environment().get_template("text.html").render(shown)


def static_text(name: str) -> str:
    """Return the style sheet or the script."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
