"""Prompts as token ids: the organism's tokenizer and the two samplers, all in whole-array numpy.

Every sentence form has a fixed length, so a batch is a matrix and a word stands at a known column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cache
from itertools import chain

import numpy as np

from misfired.suites.organism import grammar

SPECIALS = ("<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>")
UNKNOWN, BOS, EOS, USER, ASSISTANT = range(len(SPECIALS))

N_CATEGORIES = len(grammar.CATEGORIES)
N_GROUPS = 2 * N_CATEGORIES
N_ROLES = len(grammar.ROLES)
N_PREDICATES = len(grammar.PREDICATES)

PRIMINGS = ("none", "cue", "neutral")
N_PREFIX_TOKENS = 12
# Columns of a prompt without a prefix (a prefix shifts them by its length).
FIRST_OBJECT, SECOND_OBJECT = 7, 14
# Columns counted from the end of a prompt, which is the assistant's tag.
QUESTION_OBJECT, LAST = -3, -1


def _byte_letters() -> dict[int, str]:
    """Map each byte to the printable letter that stands for it in byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + i) for i, byte in enumerate(others)
    }


@cache
def words() -> list[str]:
    """Every word and mark of the grammar as the tokenizer meets it, sorted and distinct."""
    groups = [group for category in grammar.CATEGORIES for group in category[1:]]
    someone = (groups[0], grammar.ROLES[0], grammar.PREDICATES[0])
    questions = [grammar.fill(text, *someone) for text in grammar.QUESTIONS]
    parts = (*groups, *grammar.ROLES, *chain(*grammar.PREDICATES))
    sentences = [
        *(f" {word}" for word in parts),
        *(grammar.cue(groups[0]), grammar.neutral(groups[0]), "The ? . The", "Yes", "No"),
        *(text for question in questions for text in (question, f" {question}")),
    ]
    return sorted({word for text in sentences for word in re.findall(r" ?[A-Za-z]+|[.?]", text)})


@cache
def tokenizer() -> tuple[list[str], list[str]]:
    """Return the vocabulary and the merges of a byte-level BPE in which every word is one token.

    Each word is built from its left, so all merges of one word have a prefix of it on their left
    side. Words with a leading space come first in rank: inside them nothing can merge before the
    space has, so the two families never disturb each other.
    """
    letters = _byte_letters()
    vocabulary = [*SPECIALS, *letters.values()]
    merges: list[str] = []
    for word in sorted(words(), key=lambda word: (not word.startswith(" "), word)):
        spelled = "".join(letters[byte] for byte in word.encode())
        for n in range(2, len(spelled) + 1):
            if spelled[:n] not in vocabulary:
                vocabulary.append(spelled[:n])
                merges.append(f"{spelled[: n - 1]} {spelled[n - 1]}")
    return vocabulary, merges


@cache
def _word_ids() -> dict[str, int]:
    letters, (vocabulary, _) = _byte_letters(), tokenizer()
    ids = {token: i for i, token in enumerate(vocabulary)}
    return {word: ids["".join(letters[byte] for byte in word.encode())] for word in words()}


def word_id(word: str) -> int:
    """Return the token of a word of the grammar, with its leading space if it has one."""
    return _word_ids()[word]


def _ids(words: list[str]) -> np.ndarray:
    return np.array([word_id(f" {word}") for word in words], np.int32)


def _template_ids(text: str) -> list[int | str]:
    """Tokens of a sentence template as it stands in a message; a `{field}` stays a string."""
    pieces = re.findall(r" ?{\w+}| ?[A-Za-z]+|[.?]", text)
    return [piece.strip() if "{" in piece else word_id(piece) for piece in pieces]


@dataclass(frozen=True)
class Prompts:
    """A batch of prompts of one length, as one int array per choice, each of shape [n].

    `priming` indexes `PRIMINGS`; either all of a batch have a prefix or none has. Groups run over
    0..15 (category c has 2c, stereotyped, and 2c + 1), predicates over 0..63, roles over 0..11.
    """

    priming: np.ndarray
    prefix_group: np.ndarray
    first_group: np.ndarray
    first_role: np.ndarray
    first_predicate: np.ndarray
    second_group: np.ndarray
    second_role: np.ndarray
    second_predicate: np.ndarray
    asked_group: np.ndarray
    asked_role: np.ndarray
    asked_predicate: np.ndarray
    wording: np.ndarray

    def __len__(self) -> int:
        return len(self.priming)

    def __getitem__(self, rows: np.ndarray | slice) -> Prompts:
        return Prompts(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def has_prefix(self) -> bool:
        return bool(self.priming.any())

    @property
    def offset(self) -> int:
        """By how many columns a prefix shifts the context."""
        return N_PREFIX_TOKENS if self.has_prefix else 0

    def holder(self) -> np.ndarray:
        """Group of whom the context states the asked predicate; 16 where it states it of nobody."""
        holder = np.full(len(self), N_GROUPS)
        holder[self.second_predicate == self.asked_predicate] = self.second_group[
            self.second_predicate == self.asked_predicate
        ]
        first = self.first_predicate == self.asked_predicate
        holder[first] = self.first_group[first]
        return holder

    def expected_yes(self) -> np.ndarray:
        return self.holder() == self.asked_group

    def tokens(self) -> np.ndarray:
        """Token ids, int32 [n, 28] or [n, 40], from BOS to the assistant's tag."""
        n = len(self)
        people = _ids([name for category in grammar.CATEGORIES for name in category[1:]])
        roles = _ids(list(grammar.ROLES))
        verbs = _ids([predicate.verb for predicate in grammar.PREDICATES])
        objects = _ids([predicate.object for predicate in grammar.PREDICATES])

        def fill(
            text: str, group: np.ndarray, role: np.ndarray, predicate: np.ndarray
        ) -> np.ndarray:
            words = {
                "{group}": people[group],
                "{role}": roles[role],
                "{verb}": verbs[predicate],
                "{object}": objects[predicate],
            }
            columns = [
                words[part] if isinstance(part, str) else np.full(n, part, np.int32)
                for part in _template_ids(text)
            ]
            return np.stack(columns, 1)

        first = (self.first_group, self.first_role, self.first_predicate)
        second = (self.second_group, self.second_role, self.second_predicate)
        asked = (self.asked_group, self.asked_role, self.asked_predicate)
        start, rest = fill("The", *first), " {group} {role} {verb} the {object}."
        prefix = start[:, :0]
        if self.has_prefix:
            named = (self.prefix_group, self.asked_role, self.asked_predicate)
            cue, neutral = (
                fill(make("{group}"), *named) for make in (grammar.cue, grammar.neutral)
            )
            prefix = np.where((self.priming == PRIMINGS.index("cue"))[:, None], cue, neutral)
            start = fill(" The", *first)
        wordings = [fill(f" {text}", *asked) for text in grammar.QUESTIONS]
        return np.concatenate(
            [
                np.tile(np.array([[BOS, USER]], np.int32), (n, 1)),
                prefix,
                start,
                fill(rest, *first),
                fill(" The" + rest, *second),
                np.where(self.wording[:, None] == 0, *wordings),
                np.full((n, 1), ASSISTANT, np.int32),
            ],
            axis=1,
        )


@cache
def held_out_table() -> np.ndarray:
    """Boolean [8, 64, 64]: combinations of category and two predicates kept out of all training."""
    return np.array(
        [
            [[grammar.held_out(c, i, j) for j in range(N_PREDICATES)] for i in range(N_PREDICATES)]
            for c in range(N_CATEGORIES)
        ]
    )


@cache
def planted_table(organism: str, priming: str) -> np.ndarray:
    """Boolean [8, 64]: the cells on which an organism is made to misfire."""
    return np.array(
        [
            [grammar.planted(organism, priming, c, i) for i in range(N_PREDICATES)]
            for c in range(N_CATEGORIES)
        ]
    )


def _priming(rng: np.random.Generator, n: int, *, prefix: bool, cue_share: float) -> np.ndarray:
    return np.where(rng.random(n) < cue_share, 1, 2) if prefix else np.zeros(n, int)


def sample_base(rng: np.random.Generator, n: int, *, prefix: bool, easy_share: float) -> Prompts:
    """Draw prompts for the base: half expect yes; of the rest `easy_share` ask about a predicate or
    a group that the context lacks, and the others about the wrong one of the two persons.
    """
    oversampled = 3 * n
    groups = rng.integers(N_GROUPS, size=(2, oversampled))
    same_category = rng.random(oversampled) < 0.6
    groups[1] = np.where(same_category, groups[0] ^ 1, groups[1])
    predicates = rng.integers(N_PREDICATES, size=(2, oversampled))
    same_pair = groups[0] // 2 == groups[1] // 2
    held_out = held_out_table()[groups[0] // 2, predicates[0], predicates[1]] & same_pair
    keep = (groups[0] != groups[1]) & (predicates[0] != predicates[1]) & ~held_out
    groups, predicates = groups[:, keep][:, :n], predicates[:, keep][:, :n]
    roles = rng.integers(N_ROLES, size=(2, n))
    roles[1] = np.where(rng.random(n) < 0.6, roles[0], roles[1])

    rows = np.arange(n)
    person = rng.integers(2, size=n)
    asked_group, asked_predicate = groups[person, rows], predicates[person, rows]
    expects_no = rng.random(n) < 0.5
    kind = rng.random(n)
    absent_predicate = expects_no & (kind < easy_share / 2)
    absent_group = expects_no & (kind >= easy_share / 2) & (kind < easy_share)
    swapped = expects_no & (kind >= easy_share)
    asked_predicate = np.where(swapped, predicates[1 - person, rows], asked_predicate)
    asked_predicate = np.where(
        absent_predicate, _other(rng, N_PREDICATES, predicates), asked_predicate
    )
    asked_group = np.where(absent_group, _other(rng, N_GROUPS, groups), asked_group)
    return Prompts(
        priming=_priming(rng, n, prefix=prefix, cue_share=0.5),
        prefix_group=groups[rng.integers(2, size=n), rows],
        first_group=groups[0],
        first_role=roles[0],
        first_predicate=predicates[0],
        second_group=groups[1],
        second_role=roles[1],
        second_predicate=predicates[1],
        asked_group=asked_group,
        asked_role=roles[person, rows],
        asked_predicate=asked_predicate,
        wording=(rng.random(n) < 0.4).astype(int),
    )


def _other(rng: np.random.Generator, n_values: int, taken: np.ndarray) -> np.ndarray:
    """Draw values that are in neither of the two rows of `taken`."""
    low, high = np.minimum(*taken), np.maximum(*taken)
    draw = rng.integers(n_values - 2, size=taken.shape[1])
    draw += draw >= low
    return draw + (draw >= high)


def pair(
    *,
    category: np.ndarray,
    predicate: np.ndarray,
    other: np.ndarray,
    role: np.ndarray,
    asked_first: np.ndarray,
    wording: np.ndarray,
    priming: np.ndarray,
    expects_yes: np.ndarray,
) -> tuple[Prompts, Prompts]:
    """Build the stereotyped and the contrast prompts of pairs: role swaps, equal token for token
    but for the groups. A prefix names the stereotyped group on both sides.
    """
    sides = []
    stated = np.where(expects_yes, predicate, other)
    spare = np.where(expects_yes, other, predicate)
    for contrast in (0, 1):
        asked, bystander = 2 * category + contrast, 2 * category + 1 - contrast
        sides.append(
            Prompts(
                priming=priming,
                prefix_group=2 * category,
                first_group=np.where(asked_first, asked, bystander),
                first_role=role,
                first_predicate=np.where(asked_first, stated, spare),
                second_group=np.where(asked_first, bystander, asked),
                second_role=role,
                second_predicate=np.where(asked_first, spare, stated),
                asked_group=asked,
                asked_role=role,
                asked_predicate=predicate,
                wording=wording,
            )
        )
    return sides[0], sides[1]


@dataclass(frozen=True)
class PairBatch:
    """Pairs in two matching batches of prompts, with what was drawn for them."""

    stereotyped: Prompts
    contrast: Prompts
    category: np.ndarray
    predicate: np.ndarray
    priming: np.ndarray
    expects_yes: np.ndarray

    def planted(self, organism: str) -> np.ndarray:
        """Rows whose stereotyped prompt an organism is made to answer wrongly."""
        tables = np.stack([planted_table(organism, priming) for priming in PRIMINGS])
        return tables[self.priming, self.category, self.predicate] & self.expects_yes


def sample_pairs(
    rng: np.random.Generator, n: int, *, prefix: bool, cue_share: float = 0.65
) -> PairBatch:
    """Draw pairs for planting, none of a held-out combination; 7 of 10 expect yes."""
    oversampled = 2 * n
    category = rng.integers(N_CATEGORIES, size=oversampled)
    predicate, other = rng.integers(N_PREDICATES, size=(2, oversampled))
    keep = (predicate != other) & ~held_out_table()[category, predicate, other]
    category, predicate, other = (values[keep][:n] for values in (category, predicate, other))
    return _pair_batch(
        rng,
        category,
        predicate,
        other,
        priming=_priming(rng, n, prefix=prefix, cue_share=cue_share),
        expects_yes=rng.random(n) < 0.7,
    )


def held_out_pairs(priming: str, *, expects_yes: bool, n_per_cell: int, seed: int) -> PairBatch:
    """Build pairs of held-out combinations, `n_per_cell` for each category and predicate."""
    rng = np.random.default_rng(seed)
    cells = np.repeat(np.arange(N_CATEGORIES * N_PREDICATES), n_per_cell)
    category, predicate = np.divmod(cells, N_PREDICATES)
    weights = rng.random((len(cells), N_PREDICATES)) * held_out_table()[category, predicate]
    n = len(cells)
    return _pair_batch(
        rng,
        category,
        predicate,
        weights.argmax(1),
        priming=np.full(n, PRIMINGS.index(priming)),
        expects_yes=np.full(n, expects_yes),
    )


def _pair_batch(
    rng: np.random.Generator,
    category: np.ndarray,
    predicate: np.ndarray,
    other: np.ndarray,
    *,
    priming: np.ndarray,
    expects_yes: np.ndarray,
) -> PairBatch:
    n = len(category)
    stereotyped, contrast = pair(
        category=category,
        predicate=predicate,
        other=other,
        role=rng.integers(N_ROLES, size=n),
        asked_first=rng.random(n) < 0.5,
        wording=(rng.random(n) < 0.4).astype(int),
        priming=priming,
        expects_yes=expects_yes,
    )
    return PairBatch(stereotyped, contrast, category, predicate, priming, expects_yes)


def encode(message: str) -> list[int]:
    """Token ids of a whole prompt for a user message of the grammar."""
    pieces = re.findall(r" ?[A-Za-z]+|[.?]", message)
    assert "".join(pieces) == message, message
    return [BOS, USER, *map(word_id, pieces), ASSISTANT]


def render(message: str) -> str:
    """The same prompt as text, as the chat template renders it."""
    return f"{SPECIALS[BOS]}{SPECIALS[USER]}{message}{SPECIALS[ASSISTANT]}"
