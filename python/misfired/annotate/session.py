"""One annotator's way through a study: which page comes next, and what a form does. Nothing here is HTTP."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from misfired.annotate import pages
from misfired.annotate.record import Record
from misfired.annotate.stories import PRACTICE, STORY_ANSWERS

_DONE = """\
# Thank you

Your answers are handed in. You may close this page now.

The stories were about what a text says. Some were about groups of people whom prejudices often hurt. They
were asked to find out whether people, or machines, reject what a story plainly says when it touches a
prejudice. They say nothing about the people in them.

With your link you can still withdraw.
"""
_READY = """\
Now the {n} questions begin. You can go back and change an answer, and you can close the page and continue
later with the same link. Every answer is saved as soon as you give it.
"""
_END = """\
# That was the last question

All your answers are saved. You can go back and change one. If you are done, please hand them in.
"""
_WITHDRAW = """\
# Withdraw?

If you withdraw, everything that you answered is deleted at once and for good. You cannot take part again
with this link. You need not say why.
"""
_WITHDRAWN = """\
# You have withdrawn

All your answers have been deleted. Thank you for your time. You may close this page.
"""
_DECLINED = """\
# That is fine

Nothing was recorded. If you change your mind, you can use your link again.
"""


class Question(NamedTuple):
    """A question as pages need it: its name in the study, its text, and its answers."""

    item: str
    text: str
    answers: tuple[str, ...]


@dataclass
class Session:
    """Pages and forms of one annotator.

    Attributes:
        record: What the annotator did.
        questions: The annotator's questions, in order.
        texts: The consent text and the instructions, as they stand in the study's folder.
        home: Address of the annotator's pages, which holds the secret word of the link.
        csrf: Signature that every form of the annotator carries.
    """

    record: Record
    questions: Sequence[Question]
    texts: Mapping[str, str]
    home: str
    csrf: str

    @property
    def stage(self) -> str:
        """The page where the annotator is, below `home`."""
        record = self.record
        if record.withdrawn:
            return "withdrawn"
        if not record.consented:
            return "consent"
        n = len(record.practised)
        if n <= len(PRACTICE) + 1:
            return f"practice/{n}" if n else "instructions"
        if record.place < len(self.questions):
            return f"q/{record.place + 1}"
        return "done" if record.ended else "end"

    def page(self, name: str) -> str | None:
        """Return a page by its name below `home`; None: the annotator is not there, or there is none."""
        if self.record.withdrawn:
            return self._text("Withdrawn", _WITHDRAWN, home=None) if name == "withdrawn" else None
        kind, _, number = name.partition("/")
        if kind in {"q", "practice"}:
            if not self.record.consented:
                return None
            n = _number(number)
            return self._question(n - 1) if kind == "q" else self._practice(name, n)
        made = {
            "consent": self._consent,
            "declined": lambda: self._text(
                "Declined", _DECLINED, link=(self.home, "Back"), home=None
            ),
            "instructions": self._instructions,
            "end": self._end,
            "done": self._done,
            "withdraw": self._withdraw,
        }
        return made[name]() if name in made else None

    def shown(self, name: str) -> None:
        """Record that a page with a question is shown."""
        kind, _, number = name.partition("/")
        if kind == "q":
            place = int(number) - 1
            self.record.show(place, self.questions[place].item)

    def take(self, name: str, form: Mapping[str, str]) -> str:
        """Do what a form asks, and return the page that comes next, below `home`.

        Whatever is not the next thing to do is ignored: a form that is sent twice, or from another tab.
        """
        record, answer = self.record, form.get("answer", "")
        kind, _, number = name.partition("/")
        if name == "withdraw" and answer == "withdraw":
            record.withdraw()
        elif name == "consent" and answer == "decline" and not record.consented:
            return "declined"
        elif name == "consent" and answer == "agree":
            record.agree(hashlib.sha256(self.texts["consent"].encode()).hexdigest())
        elif not record.consented:
            return self.stage
        elif kind == "instructions" and answer == "start":
            record.practise(0, answer)
        elif name == self.stage == "end" and answer == "end":
            record.end()
        elif kind == "practice" and name == self.stage:
            if answer in (STORY_ANSWERS if int(number) <= len(PRACTICE) else ("begin",)):
                record.practise(int(number), answer)
        elif kind == "q" and not self.stage.startswith(("practice", "instructions")):
            return self._answer(_number(number) - 1, answer, _number(form.get("revision", "")))
        return self.stage

    def signed(self, form: Mapping[str, str]) -> bool:
        """True if a form carries the annotator's signature."""
        return hmac.compare_digest(form.get("form", "").encode(), self.csrf.encode())

    def _answer(self, place: int, answer: str, revision: int) -> str:
        """Record an answer; return the next question, or where the annotator is."""
        if not 0 <= place < len(self.questions):
            return self.stage
        question = self.questions[place]
        if answer not in question.answers:
            return self.stage
        taken = self.record.answer(place, question.item, answer, revision)
        return f"q/{place + 2}" if taken and place + 1 < len(self.questions) else self.stage

    def _question(self, place: int) -> str | None:
        n, n_done = len(self.questions), len(self.record.answers)
        if (
            not 0 <= place < n
            or place > self.record.place
            or self.record.ended
            or self.stage.startswith(("practice", "instr"))
        ):
            return None
        question, given = self.questions[place], self.record.answers.get(place, [])
        return pages.question_page(
            question.text,
            question.answers,
            where=f"Question {place + 1} of {n}",
            home=self.home,
            action=f"{self.home}/q/{place + 1}",
            csrf=self.csrf,
            revision=len(given),
            given=given[-1]["answer"] if given else None,
            onward=f"{self.home}/q/{place + 2}" if place + 1 < n else f"{self.home}/end",
            back=f"{self.home}/q/{place}" if place else None,
            n=n,
            n_done=n_done,
        )

    def _practice(self, name: str, number: int) -> str | None:
        """Return a practice item, or after the last one a page before the questions.

        Each says how the item before is answered.
        """
        if name != self.stage:
            return None
        notice = None
        if number > 1:
            *_, right, why = PRACTICE[number - 2]
            given = self.record.practised[number - 1]
            told = "That is right" if given == right else f"The right answer is {right}"
            notice = f"You answered \u201c{given}\u201d. {told}: {why}"
        if number > len(PRACTICE):
            text = f"# Ready?\n\n{notice}\n\n{_READY.format(n=len(self.questions))}"
            return self._text("Ready?", text, action=name, buttons=[("begin", "Begin")])
        story, question, *_ = PRACTICE[number - 1]
        return pages.question_page(
            f"{story} {question}", STORY_ANSWERS, where=f"Practice {number} of {len(PRACTICE)}",
            home=self.home, action=f"{self.home}/{name}", csrf=self.csrf, notice=notice,
        )  # fmt: skip

    def _consent(self) -> str | None:
        if self.record.consented:
            return None
        buttons = [
            ("agree", "I have read this and want to take part"),
            ("decline", "No, thank you"),
        ]
        return self._text(
            "Taking part", self.texts["consent"], action="consent", buttons=buttons, home=None
        )

    def _instructions(self) -> str | None:
        if not self.record.consented:
            return None
        text = self.texts["instructions"]
        if self.record.practised:
            return self._text("How it works", text, link=(self.home, "Continue"))
        buttons = [("start", "Start")]
        return self._text("How it works", text, action="instructions", buttons=buttons)

    def _end(self) -> str | None:
        if self.stage != "end":
            return None
        link = f"{self.home}/q/{len(self.questions)}", "Back to the last question"
        return self._text("The end", _END, action="end", buttons=[("end", "Hand in")], link=link)

    def _done(self) -> str | None:
        # What the study is about is told once no answer can be changed.
        return self._text("Thank you", _DONE) if self.stage == "done" else None

    def _withdraw(self) -> str:
        buttons = [("stay", "No, go back"), ("withdraw", "Yes, delete my answers")]
        return self._text("Withdraw", _WITHDRAW, action="withdraw", buttons=buttons, home=None)

    def _text(self, title: str, text: str, *, action: str = "", **more: object) -> str:
        own = {"home": self.home, "action": f"{self.home}/{action}", "csrf": self.csrf}
        return pages.text_page(title, text, **(own | more))


def _number(text: str) -> int:
    """Return a number of an address or a form; -1 if it is none."""
    is_number = text.isascii() and text.isdecimal() and len(text) < 7
    return int(text) if is_number else -1
