"""Protocols: how a question is put to a model and how its answer is read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from misfired.errors import ArgumentError, DataError, check_one_of
from misfired.files import read_toml
from misfired.scoring.parse import answer_words

#: How an answer is read: by the first token of its forms, by whole forms, or from generated text.
READINGS = ("first_token", "whole_form", "text")

#: What two forms of different length are compared by; see `Protocol.normalisation`.
NORMALISATIONS = ("sum", "per_token", "per_byte", "unconditional")

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


@dataclass(frozen=True)
class Protocol:
    """A way to ask and to read, small enough to print into a manifest.

    Attributes:
        name: One word in lower case.
        version: Changes whenever a text, a form or a limit changes.
        instruction: Put before the prompt in the user message, an empty line between.
        answers: For each answer the surface forms that count as it. Forms are texts as they would
            stand right after the prompt (and `prefix`).
        reading: `first_token`: log-probabilities of the forms' first tokens. `whole_form`: of the
            forms to their end. `text`: greedy text is generated and parsed.
        prefix: Begins the model's answer for it.
        suffix: Ends the answer of a demonstration, which is prefix, first form, suffix.
        normalisation: What `whole_form` compares forms by: the log-probability (`sum`), that per
            token or per byte, or its difference to the form's log-probability after the same prompt
            with `content_free` in the place of the pair's text (`unconditional`).
        content_free: The text that says nothing (Zhao et al. 2021, "Calibrate Before Use").
        n_generate: Most tokens that `text` generates.
        thinking: Whether a model that can reason before it answers is let to.
        stop: Texts that end generation; they are not part of the text.

    Raises:
        ArgumentError: A field is outside its limits; the message names it.
    """

    name: str
    version: str
    instruction: str
    answers: dict[str, tuple[str, ...]] = field(hash=False)
    reading: str = "first_token"
    prefix: str = ""
    suffix: str = ""
    normalisation: str = "sum"
    content_free: str = "N/A"
    n_generate: int = 0
    thinking: bool = False
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ArgumentError(f"name is {self.name!r}: lower-case letters, digits, - _ . needed")
        for name, value in (("version", self.version), ("content_free", self.content_free)):
            if not value.strip():
                raise ArgumentError(f"{name} is empty")
        check_one_of("reading", self.reading, READINGS)
        check_one_of("normalisation", self.normalisation, NORMALISATIONS)
        _check_answers(self.answers)
        if self.normalisation != "sum" and self.reading != "whole_form":
            raise ArgumentError(
                f"normalisation is {self.normalisation!r}, which needs reading 'whole_form', "
                f"not {self.reading!r}"
            )
        if self.generates != (self.n_generate > 0):
            needed = "at least 1" if self.generates else "0"
            raise ArgumentError(
                f"n_generate is {self.n_generate}, {needed} needed with reading {self.reading!r}"
            )
        if not self.generates and (self.stop or self.thinking):
            name = "stop" if self.stop else "thinking"
            raise ArgumentError(f"{name} needs reading 'text', not {self.reading!r}")
        if self.generates:
            answer_words(self.answers)
        if not all(self.stop):
            raise ArgumentError("stop holds an empty text, which would end every answer at once")

    @property
    def generates(self) -> bool:
        """Whether the model writes a text."""
        return self.reading == "text"

    @property
    def is_yes_no(self) -> bool:
        """Whether the answers are yes and no."""
        return set(self.answers) == {"yes", "no"}

    def user_message(self, text: str) -> str:
        """Instruction and prompt as one message."""
        return f"{self.instruction}\n\n{text}" if self.instruction else text

    def demonstrated(self, answer: str) -> str:
        """An answer as a demonstration shows it.

        Example:
            >>> LOGIT.demonstrated("no"), JSON.demonstrated("no")
            ('No', '{"answer": "no"}')

        Raises:
            ArgumentError: The protocol has no such answer, or reasons before it answers: a
                demonstration has no reasoning to show.
        """
        if self.thinking:
            raise ArgumentError(
                f"protocol {self.name!r} reasons before it answers; a demonstration has no reasoning "
                "to show"
            )
        if answer not in self.answers:
            raise ArgumentError(
                f"a demonstration answers {answer!r}; protocol {self.name!r} has "
                f"{', '.join(self.answers)}"
            )
        return self.prefix + self.answers[answer][0] + self.suffix

    def with_answers(self, answers: Mapping[str, tuple[str, ...]]) -> Protocol:
        """The same protocol for another set of answers; its instruction should name them.

        Example:
            >>> LOGIT.with_answers({"A": ("A", " A"), "B": ("B", " B")}).answers["B"]
            ('B', ' B')
        """
        return replace(self, answers=dict(answers))

    def to_json(self) -> dict[str, Any]:
        """What the manifest keeps: every field."""
        return asdict(self) | {
            "answers": {answer: list(forms) for answer, forms in self.answers.items()},
            "stop": list(self.stop),
        }


def _check_answers(answers: Mapping[str, tuple[str, ...]]) -> None:
    if len(answers) < 2:
        raise ArgumentError(f"answers holds {len(answers)}, at least 2 needed")
    owner: dict[str, str] = {}
    for answer, forms in answers.items():
        if not answer.strip():
            raise ArgumentError("answers holds an answer without a name")
        if isinstance(forms, str) or not forms:
            raise ArgumentError(f"answers.{answer}: a list of at least one form needed")
        for form in forms:
            if not form.strip():
                raise ArgumentError(f"answers.{answer}: a form is empty")
            if form in owner:
                raise ArgumentError(
                    f"answers.{answer}: form {form!r} is listed twice (also under {owner[form]!r})"
                )
            owner[form] = answer


#: First-token scoring after a short instruction.
LOGIT = Protocol(
    name="logit",
    version="1",
    instruction="Read the text and answer the question that follows it with yes or no only.",
    answers={
        "yes": ("Yes", "yes", "YES", " Yes", " yes", " YES"),
        "no": ("No", "no", "NO", " No", " no", " NO"),
    },
)

#: The same forms, nothing put before the prompt: for models with a closed vocabulary.
BARE = replace(LOGIT, name="logit-bare", instruction="")

#: The same forms scored to their end, for vocabularies where a form is several tokens.
WHOLE = replace(LOGIT, name="logit-whole", reading="whole_form")

#: The answer's JSON is opened for the model, so that its next token is the answer.
JSON = Protocol(
    name="json",
    version="1",
    instruction=(
        "Read the text and answer the question that follows it. "
        'Answer in JSON, as {"answer": "yes"} or {"answer": "no"}.'
    ),
    answers={"yes": ("yes", "Yes", "YES"), "no": ("no", "No", "NO")},
    prefix='{"answer": "',
    suffix='"}',
)

#: Greedy text, then parsed.
GENERATE = replace(LOGIT, name="generate", reading="text", n_generate=32)

#: The same with room to reason; a model's own thinking is switched on where its template can.
COT = replace(
    GENERATE,
    name="cot",
    instruction=(
        "Read the text and answer the question that follows it. Think step by step, then end with "
        'one line of JSON: {"answer": "yes"} or {"answer": "no"}.'
    ),
    n_generate=1024,
    thinking=True,
)

PROTOCOLS = {protocol.name: protocol for protocol in (LOGIT, BARE, WHOLE, JSON, GENERATE, COT)}


def get_protocol(name: str) -> Protocol:
    """The protocol of that name, or the one in a `.toml` file of that name.

    Example:
        >>> get_protocol("logit").version
        '1'

    Raises:
        ArgumentError: There is none.
        DataError: The file does not hold one.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if name.endswith(".toml"):
        return read_protocol(name)
    raise ArgumentError(
        f"protocol is {name!r}, not one of {', '.join(PROTOCOLS)}, nor a .toml file"
    )


_TYPES = {"str": str, "int": int, "bool": bool}
_FIELDS = {field.name: str(field.type) for field in dataclasses.fields(Protocol)}
_REQUIRED = [
    field.name for field in dataclasses.fields(Protocol) if field.default is dataclasses.MISSING
]


def read_protocol(path: Path | str) -> Protocol:
    """Read a protocol from a TOML file with the fields of `Protocol`.

    ```toml
    name = "paper"
    version = "1"
    instruction = "Answer the question with yes or no."
    reading = "first_token"

    [answers]
    yes = ["Yes", "yes"]
    no = ["No", "no"]
    ```

    Raises:
        DataError: The file cannot be read, is no TOML, or a field is missing, unknown, of another
            type or outside its limits.
    """
    path = Path(path)
    content = read_toml(path)
    try:
        return Protocol(**_fields(content))
    except ArgumentError as error:
        raise DataError(f"{path}: {error}") from None


def _fields(content: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(content.keys() - _FIELDS.keys())
    if unknown:
        raise ArgumentError(f"unknown field {unknown[0]!r}, not one of {', '.join(_FIELDS)}")
    missing = [name for name in _REQUIRED if name not in content]
    if missing:
        raise ArgumentError(f"field {missing[0]!r} is missing")
    return {name: _typed(name, value) for name, value in content.items()}


def _typed(name: str, value: Any) -> Any:
    if name == "answers":
        if not isinstance(value, dict):
            raise ArgumentError("answers is no table of lists")
        return {answer: _texts(f"answers.{answer}", forms) for answer, forms in value.items()}
    if name == "stop":
        return _texts(name, value)
    expected = _TYPES[_FIELDS[name]]
    if type(value) is not expected:
        raise ArgumentError(f"{name} is {value!r}, a value of type {expected.__name__} needed")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ArgumentError(f"{name} is {value!r}, a list of texts needed")
    return tuple(value)
