"""Protocols: how a question is put to a model and how its answer is read."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from misfired.errors import ArgumentError, check_one_of
from misfired.files import read_struct
from misfired.scoring.parse import answer_words

#: How an answer is read: by the first token of its forms, by whole forms, or from generated text.
READINGS = ("first_token", "whole_form", "text")
#: How forms of different length are compared; see `Protocol.normalisation`.
NORMALISATIONS = ("sum", "per_token", "per_byte", "unconditional")

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


@dataclass(frozen=True)
class Protocol:
    """A way to ask and to read, small enough to print into a manifest.

    Attributes:
        name: One word in lower case.
        version: Changes whenever a text, a form or a limit changes.
        instruction: Put before the prompt in the user message, after it an empty line.
        system: A system message; that of a priming follows it, after an empty line.
        tail: Put after the prompt in the user message, after a space: the request for an answer, where it
            comes last.
        demonstration: How a demonstration shows an answer, the word `{answer}` in its place; empty:
            prefix, first form, suffix.
        answers: For each answer the surface forms that count as it. A form is written as it would
            stand right after the prompt (and `prefix`).
        reading: `first_token`: log-probabilities of the forms' first tokens. `whole_form`: of the
            forms to their end. `text`: greedy text is generated and parsed.
        prefix: The beginning of the model's answer, written for it.
        suffix: The end of the answer in a demonstration, which is prefix, first form, suffix.
        normalisation: How `whole_form` compares forms: by log-probability (`sum`), by that per token
            or per byte, or by its difference to the form's log-probability after the same prompt
            with `content_free` instead of the pair's text (`unconditional`).
        content_free: A text that says nothing (Zhao et al. 2021, "Calibrate Before Use").
        n_generate: Most tokens that `text` generates.
        n_extended: Most tokens of a text that `n_generate` tokens left undecided: such a text is
            written again up to here. 0 leaves it undecided.
        thinking: True lets a model reason before it answers.
        stop: Texts that end generation; they are not part of the text.

    Raises:
        ArgumentError: A field is outside its limits; the message names field, rule and value.
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
    n_extended: int = 0
    thinking: bool = False
    stop: tuple[str, ...] = ()
    system: str = ""
    tail: str = ""
    demonstration: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            rule = "lower-case letters, digits, - _ ."
            raise ArgumentError(f"name must be {rule}, got {self.name!r}")
        for name in ("version", "content_free"):
            if not getattr(self, name).strip():
                raise ArgumentError(f"{name} must not be empty, got {getattr(self, name)!r}")
        check_one_of("reading", self.reading, READINGS)
        check_one_of("normalisation", self.normalisation, NORMALISATIONS)
        _check_answers(self.answers)
        reading = f"reading {self.reading!r}"
        if self.normalisation != "sum" and self.reading != "whole_form":
            got = repr(self.normalisation)
            raise ArgumentError(f"normalisation must be sum with {reading}, got {got}")
        if self.generates != (self.n_generate > 0):
            rule = "at least 1" if self.generates else "0"
            raise ArgumentError(f"n_generate must be {rule} with {reading}, got {self.n_generate}")
        if self.n_extended and self.n_extended <= self.n_generate:
            rule = f"0 or more than n_generate {self.n_generate}"
            raise ArgumentError(f"n_extended must be {rule}, got {self.n_extended}")
        for name in ("n_extended", "stop", "thinking"):
            if getattr(self, name) and not self.generates:
                raise ArgumentError(f"{name} must go with reading 'text', got {self.reading!r}")
        if self.generates:
            answer_words(self.answers)
        if self.demonstration and "{answer}" not in self.demonstration:
            rule = "hold {answer}, where the answer stands"
            raise ArgumentError(f"demonstration must {rule}, got {self.demonstration!r}")
        if not all(self.stop):
            raise ArgumentError("stop must hold no empty text, which ends every answer at once")

    @property
    def generates(self) -> bool:
        """True if the model writes a text."""
        return self.reading == "text"

    @property
    def n_longest(self) -> int:
        """Most tokens that a text may have."""
        return max(self.n_generate, self.n_extended)

    def leaves_undecided(self, answer: Mapping[str, Any]) -> bool:
        """True if a text, measured as in `measured_columns`, is to be written again, longer.

        Example:
            >>> cut = {"stop": "length", "outcome": "unparseable"}
            >>> GENERATE.leaves_undecided(cut), BARE.leaves_undecided(cut)
            (True, False)
        """
        if not self.n_extended:
            return False
        return bool(answer["stop"] == "length" and answer["outcome"] == "unparseable")

    @property
    def is_yes_no(self) -> bool:
        """True if the answers are yes and no."""
        return set(self.answers) == {"yes", "no"}

    def user_message(self, text: str) -> str:
        """Return instruction, prompt and tail as one message."""
        asked = f"{text} {self.tail}" if self.tail else text
        return f"{self.instruction}\n\n{asked}" if self.instruction else asked

    def system_message(self, priming: str | None = None) -> str | None:
        """Return the protocol's system message with that of a priming below it; None if there is neither."""
        return "\n\n".join(filter(None, (self.system, priming))) or None

    def demonstrated(self, answer: str) -> str:
        """Return an answer as a demonstration shows it.

        Example:
            >>> LOGIT.demonstrated("no"), JSON.demonstrated("no")
            ('No', '{"answer": "no"}')

        Raises:
            ArgumentError: The protocol has no such answer, or reasons before it answers.
        """
        name = f"protocol {self.name!r}"
        if self.thinking:
            rule = "reasons before it answers; a demonstration has no reasoning to show"
            raise ArgumentError(f"{name} {rule}")
        check_one_of(f"answer of a demonstration, {name},", answer, self.answers)
        if self.demonstration:
            return self.demonstration.replace("{answer}", answer)
        return self.prefix + self.answers[answer][0] + self.suffix

    def with_answers(self, answers: Mapping[str, tuple[str, ...]]) -> "Protocol":
        """Return the protocol for another set of answers, which its instruction should name."""
        return replace(self, answers=dict(answers))

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest keeps: every field, but texts that are not there."""
        answers = {answer: list(forms) for answer, forms in self.answers.items()}
        told = asdict(self) | {"answers": answers, "stop": list(self.stop)}
        return {k: v for k, v in told.items() if v or k not in {"system", "tail", "demonstration"}}

    def with_budget(self, n_generate: int) -> "Protocol":
        """Return the protocol with another limit of tokens, and no longer attempt after it.

        Example:
            >>> COT.with_budget(8192).n_longest
            8192

        Raises:
            ArgumentError: It writes no text.
        """
        if not self.generates:
            raise ArgumentError(
                f"n_generate must go with a protocol that writes a text, got {self.name!r}"
            )
        return replace(self, n_generate=n_generate, n_extended=0)


def _check_answers(answers: Mapping[str, tuple[str, ...]]) -> None:
    if len(answers) < 2:
        raise ArgumentError(f"answers must be at least 2, got {len(answers)}")
    owner: dict[str, str] = {}
    for answer, forms in answers.items():
        name = f"answers.{answer}"
        if not answer.strip():
            raise ArgumentError(f"answers must have names, got {answer!r}")
        if isinstance(forms, str) or not forms:
            raise ArgumentError(f"{name} must be a list of at least one form, got {forms!r}")
        for form in forms:
            if not form.strip():
                raise ArgumentError(f"{name} must hold no empty form, got {form!r}")
            if owner.setdefault(form, answer) != answer or forms.count(form) > 1:
                got = f"{form!r} (also under {owner[form]!r})"
                raise ArgumentError(f"{name} must hold forms listed once, got {got}")


#: First-token scoring after a short instruction.
LOGIT = Protocol(
    "logit",
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
GENERATE = replace(
    LOGIT, name="generate", version="2", reading="text", n_generate=32, n_extended=128
)
#: The same with room to reason; a model's own thinking is switched on where its template can.
COT = replace(
    GENERATE,
    name="cot",
    version="1",
    instruction=(
        "Read the text and answer the question that follows it. Think step by step, then end with "
        'one line of JSON: {"answer": "yes"} or {"answer": "no"}.'
    ),
    n_generate=1024,
    n_extended=0,
    thinking=True,
)

#: As the paper asks: a system instruction, the request for JSON in place of the prompt's tail, and the text
#: that the model writes is parsed. The wording is ours.
PAPER_JSON = replace(
    GENERATE,
    name="paper-json",
    version="1",
    instruction="",
    system=(
        "You answer questions about short texts. Reply with one JSON object and nothing else: "
        '{"answer": "yes"} or {"answer": "no"}.'
    ),
    tail='Answer in JSON: {"answer": "yes"} or {"answer": "no"}.',
    demonstration='{"answer": "{answer}"}',
)

_BUILT_IN = (LOGIT, BARE, WHOLE, JSON, GENERATE, COT, PAPER_JSON)
PROTOCOLS = {protocol.name: protocol for protocol in _BUILT_IN}


def is_cot(name: str) -> bool:
    """True if a protocol is `cot` or a form of it by its name, as `cot-short`; `cotton` is not.

    Example:
        >>> [is_cot(name) for name in ("cot", "cot-short", "cot2", "cotton", "logit")]
        [True, True, True, False, False]
    """
    return name.startswith(COT.name) and not name[len(COT.name) :][:1].isalpha()


def get_protocol(name: str) -> Protocol:
    """Return the built-in protocol of that name, or read it from a `.toml` file.

    Example:
        >>> get_protocol("logit").version
        '1'

    Raises:
        ArgumentError: No built-in protocol has that name, and it is no `.toml` file.
        DataError: As `read_protocol`.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if name.endswith(".toml"):
        return read_protocol(name)
    raise ArgumentError(f"protocol must be {', '.join(PROTOCOLS)} or a .toml file, got {name!r}")


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
        DataError: As `misfired.files.read_struct`.
    """
    return read_struct(Path(path), Protocol)
