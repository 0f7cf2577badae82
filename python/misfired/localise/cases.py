"""Which pairs are studied, and where in their prompts the two persons are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.errors import DataError
from misfired.prompts.neutral import with_neutral
from misfired.prompts.primings import CONDITIONS, PRIMINGS, Priming
from misfired.prompts.prompt_set import build_prompts
from misfired.scoring.forms import Ids
from misfired.scoring.llama.session import Session

#: True for the failures among outcomes.
FAILED = pl.col("contrast") & ~pl.col("stereotyped")

#: Two prompts agree again where this many tokens in a row are the same.
_N_AGREE = 2


@dataclass(frozen=True)
class Prompt:
    """One prompt as token ids.

    Attributes:
        ids: Token ids up to where the answer is read.
        yes: First-token ids of the answer yes.
        no: The same of no.
        expected: The right answer.
        span: Positions of the last mention of the person asked about, by which the two prompts of a
            pair differ; None where the prompts cannot be aligned.
        asked: Positions of every mention of the person asked about.
        other: Positions of every mention of the other person.
    """

    ids: Ids
    yes: tuple[int, ...]
    no: tuple[int, ...]
    expected: str
    span: range | None = None
    asked: tuple[int, ...] = ()
    other: tuple[int, ...] = ()

    @property
    def last(self) -> int:
        """Position of the last token."""
        return len(self.ids) - 1

    @property
    def wanted(self) -> Ids:
        """Ids whose logits decide the answer."""
        return np.array([*self.yes, *self.no], np.int32)

    def margin(self, logits: npt.NDArray[np.float64]) -> float:
        """Return how far the right answer is ahead, from logits of `wanted`; above 0 it is right.

        This is the best form of the right answer minus the best form of the other.
        """
        yes, no = logits[: len(self.yes)].max(), logits[len(self.yes) :].max()
        return float(yes - no if self.expected == "yes" else no - yes)


@dataclass(frozen=True)
class Case:
    """One pair under study.

    Attributes:
        kind: `failure` (stereotyped prompt wrong, contrast right) or `control` (both right).
        prompts: The stereotyped and the contrast prompt.
        unaligned: Why the person's span cannot be aligned, or None.
    """

    id: str
    category: str
    scenario: str
    kind: str
    prompts: tuple[Prompt, Prompt]
    unaligned: str | None


def choose_cases(
    outcomes: pl.DataFrame, *, n_pairs: int | None = None, seed: int = 0
) -> pl.DataFrame:
    """Draw failures and, for each, a control of the same category.

    Args:
        outcomes: Columns `id`, `category`, `stereotyped`, `contrast` (see `build_outcomes`), of one
            priming.
        n_pairs: Most failures; all by default. Categories keep their share.
        seed: Seed of the draw.

    Returns:
        Columns `id`, `kind`, in the order of `outcomes`. A category with fewer pairs that are right
        on both sides than failures has fewer controls.

    Raises:
        DataError: There is no failure to study.

    Example:
        >>> outcomes = pl.DataFrame({
        ...     "id": ["a", "b", "c"], "category": ["Age"] * 3,
        ...     "stereotyped": [False, True, True], "contrast": [True, True, False],
        ... })
        >>> choose_cases(outcomes).rows()
        [('a', 'failure'), ('b', 'control')]
    """
    right = pl.col("contrast") & pl.col("stereotyped")
    rows = outcomes.with_row_index("_row").with_columns(
        pl.when(FAILED).then(pl.lit("failure")).when(right).then(pl.lit("control")).alias("kind")
    )
    failures = rows.filter(kind="failure")
    if failures.is_empty():
        raise DataError(
            f"no failures to study: of {len(outcomes)} pairs none is wrong on the stereotyped and "
            "right on the contrast prompt"
        )
    generator = np.random.default_rng(seed)
    share = 1.0 if n_pairs is None else min(1.0, n_pairs / len(failures))
    chosen: list[int] = []
    for category, group in failures.group_by("category", maintain_order=True):
        n = max(1, round(share * len(group)))
        controls = rows.filter(kind="control", category=category[0])
        for source in (group, controls):
            order = generator.permutation(len(source))[:n]
            chosen.extend(source["_row"].gather(order).to_list())
    return rows.filter(pl.col("_row").is_in(chosen)).select("id", "kind")


def build_cases(
    pairs: pl.DataFrame,
    chosen: pl.DataFrame,
    session: Session,
    *,
    priming: Priming = PRIMINGS["none"],
) -> list[Case]:
    """Render, tokenise and align the chosen pairs.

    Args:
        pairs: The suite.
        chosen: Columns `id`, `kind`.
        session: The model with the run's template and protocol.
        priming: The priming under study; a condition without prompts of its own takes those of `none`.

    Raises:
        DataError: A chosen pair is not in the suite, or has no text for this priming.
    """
    rows = chosen.join(pairs, on="id", how="left", maintain_order="left")
    lost = rows.filter(pl.col("stereotyped").is_null())
    if len(lost):
        raise DataError(f"pair {lost['id'][0]!r} of the run is not in the suite")
    rows = with_neutral(rows, [priming], session.tokenizer.count_tokens)
    prompts = build_prompts(rows, [priming])
    sides = []
    for condition in CONDITIONS:
        own, lent = (prompts.filter(condition=condition, priming=p) for p in (priming.name, "none"))
        sides.append(list(_prompts(own if len(own) else lent, session)))
    cases = []
    for row, stereotyped, contrast in zip(rows.iter_rows(named=True), *sides, strict=True):
        aligned, reason = align(stereotyped, contrast)
        cases.append(
            Case(row["id"], row["category"], row["scenario"], row["kind"], aligned, reason)
        )
    return cases


def _prompts(side: pl.DataFrame, session: Session) -> Iterator[Prompt]:
    job = session.prepare(side)
    if job.without_text:
        name = side["id"][job.without_text[0]]
        raise DataError(f"pair {name!r} must have a text for this priming, got none")
    for prompt in job.prompts.values():
        found = prompt.answers.ids
        yield Prompt(prompt.ids, tuple(found["yes"]), tuple(found["no"]), prompt.expected)


def align(stereotyped: Prompt, contrast: Prompt) -> tuple[tuple[Prompt, Prompt], str | None]:
    """Find the two persons in both prompts of a pair.

    The last stretch by which the prompts differ is the question's mention of the person asked about;
    what stands there in the other prompt is the other person. Other mentions are the places where the
    same tokens occur.

    Returns:
        The prompts with their spans, and the reason why they cannot be aligned, or None.

    Example:
        >>> ids = lambda *tokens: Prompt(np.array(tokens, np.int32), (8,), (9,), "yes")
        >>> (left, right), reason = align(ids(1, 6, 2, 3, 4, 5, 7, 1, 0), ids(2, 6, 1, 3, 4, 5, 7, 2, 0))
        >>> left.span, left.asked, left.other, reason
        (range(7, 8), (0, 7), (2,), None)
    """
    a, b = stereotyped.ids.tolist(), contrast.ids.tolist()
    if a == b:
        return (stereotyped, contrast), "the prompts do not differ"
    spans = _last_difference(a, b)
    lengths = [len(span) for span in spans]
    if lengths[0] != lengths[1]:
        reason = f"the person has {lengths[0]} tokens in one prompt, {lengths[1]} in the other"
        return (stereotyped, contrast), reason
    persons = [[ids[i] for i in span] for ids, span in zip((a, b), spans, strict=True)]
    return (
        _with_spans(stereotyped, spans[0], *persons),
        _with_spans(contrast, spans[1], *reversed(persons)),
    ), None


def _last_difference(a: list[int], b: list[int]) -> tuple[range, range]:
    """Return the last stretch by which two texts differ.

    It is the shortest one before which they agree again.
    """
    n_same = 0
    while n_same < min(len(a), len(b)) and a[-1 - n_same] == b[-1 - n_same]:
        n_same += 1
    a_stop, b_stop = len(a) - n_same, len(b) - n_same
    for total in range(1, a_stop + b_stop + 1):
        # Of equal totals the most even: a name for a name.
        for short in range(total // 2, -1, -1):
            for i, j in {(short, total - short), (total - short, short)}:
                if i <= a_stop and j <= b_stop and _agree(a[: a_stop - i], b[: b_stop - j]):
                    return range(a_stop - i, a_stop), range(b_stop - j, b_stop)
    return range(a_stop), range(b_stop)


def _agree(a: list[int], b: list[int]) -> bool:
    n = min(_N_AGREE, max(len(a), len(b)))
    return a[len(a) - n :] == b[len(b) - n :] if n <= min(len(a), len(b)) else False


def _with_spans(prompt: Prompt, span: range, asked: list[int], other: list[int]) -> Prompt:
    ids = prompt.ids.tolist()
    mentions = _occurrences(ids, asked)
    others = [place for place in _occurrences(ids, other) if place not in mentions]
    return replace(prompt, span=span, asked=tuple(mentions), other=tuple(others))


def _occurrences(ids: Sequence[int], wanted: Sequence[int]) -> list[int]:
    n = len(wanted)
    starts = (i for i in range(len(ids) - n + 1) if ids[i : i + n] == wanted)
    return sorted({place for start in starts for place in range(start, start + n)})
