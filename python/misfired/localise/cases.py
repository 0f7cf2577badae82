"""Which pairs are studied, and where in their prompts the two persons are."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.errors import DataError
from misfired.prompts.neutral import with_neutral
from misfired.prompts.primings import CONDITIONS, Priming
from misfired.prompts.prompt_set import build_prompts
from misfired.scoring.forms import Ids
from misfired.scoring.llama.session import Session
from misfired.stats.means import Floats
from misfired.suites.false_questions import last_difference

#: True for the failures among outcomes.
FAILED = pl.col("contrast") & ~pl.col("stereotyped")

#: What names a case in every table.
KEYS = ("id", "category", "scenario", "kind")

#: The question about a story whose right answer is yes, and the one whose right answer is no.
QUESTIONS = ("true", "false")


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
        other: The same of the other person.
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

    def margin(self, logits: Floats) -> float:
        """Return the best logit (of those `wanted`) of the right answer minus the other's best."""
        yes, no = logits[: len(self.yes)].max(), logits[len(self.yes) :].max()
        return float(yes - no if self.expected == "yes" else no - yes)


@dataclass(frozen=True)
class Case:
    """One pair under study.

    Attributes:
        kind: `failure` (stereotyped prompt wrong, contrast right) or `control` (both right).
        prompts: The stereotyped and the contrast prompt; after them, where there are any, the false
            questions about the stereotyped and about the contrast story.
        unaligned: Why the person's span cannot be aligned, or None.
    """

    id: str
    category: str
    scenario: str
    kind: str
    prompts: tuple[Prompt, ...]
    unaligned: str | None

    @property
    def keys(self) -> dict[str, str]:
        """The fields of `KEYS`."""
        return {name: getattr(self, name) for name in KEYS}

    def rows(self, **columns: Any) -> pl.DataFrame:
        """Return rows that begin with `KEYS`; each column is an array, or one value for all."""
        return pl.DataFrame({**self.keys, **columns})


def choose_cases(
    outcomes: pl.DataFrame,
    *,
    n_pairs: int | None = None,
    seed: int = 0,
    among: Collection[str] | None = None,
) -> pl.DataFrame:
    """Draw failures and, for each, a control of the same category.

    Outcomes are those of one priming (see `build_outcomes`). At most `n_pairs` failures are drawn, by
    default all; categories keep their share, to the nearest pair (largest remainders). With `among`, only these pairs are drawn.

    Returns:
        Columns `id`, `kind`, in the order of `outcomes`. A category with fewer pairs that are right
        on both sides than failures has fewer controls. If none of the failures' categories has any, as
        where whole categories fail, controls are of the others.

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
    allowed = set(
        rows.filter(pl.col("id").is_in(among))["_row"] if among is not None else rows["_row"]
    )
    groups = [group for _, group in failures.group_by("category", maintain_order=True)]
    sizes = np.array([len(allowed.intersection(group["_row"])) for group in groups])
    generator = np.random.default_rng(seed)
    chosen: list[int] = []

    def draw(source: pl.DataFrame, n: int) -> list[int]:
        # All are drawn, so that the draw of one category does not depend on `among` in another.
        drawn = source["_row"].gather(generator.permutation(len(source)))
        return [row for row in drawn if row in allowed][:n]

    for n, group in zip(_shares(sizes, n_pairs, seed), groups, strict=True):
        chosen += draw(group, n)
        chosen += draw(rows.filter(kind="control", category=group["category"][0]), n)
    cases = rows.filter(pl.col("_row").is_in(chosen))
    if "control" not in cases["kind"]:
        chosen += draw(rows.filter(kind="control"), len(cases))
        cases = rows.filter(pl.col("_row").is_in(chosen))
    return cases.select("id", "kind")


def _shares(sizes: npt.NDArray[np.int64], n: int | None, seed: int) -> list[int]:
    """Divide `n` among groups in proportion to their sizes: largest remainders, ties by seed.

    Example:
        >>> _shares(np.array([10, 20, 30]), 5, seed=0), _shares(np.array([1, 2]), None, seed=0)
        ([1, 2, 2], [1, 2])
    """
    total = int(sizes.sum())
    if n is None or n >= total:
        return [int(size) for size in sizes]
    whole, remainders = np.divmod(sizes * n, total)
    lots = np.random.default_rng([seed, n]).permutation(len(sizes))
    largest = np.lexsort((lots, -remainders))[: n - int(whole.sum())]
    whole[largest] += 1
    return [int(share) for share in whole]


def build_cases(
    pairs: pl.DataFrame,
    chosen: pl.DataFrame,
    session: Session,
    priming: Priming,
    asked: pl.DataFrame | None = None,
) -> list[Case]:
    """Render, tokenise and align the chosen pairs of a suite, columns `id` and `kind`.

    A condition without prompts of its own under this priming takes those of `none`. With `asked`, which
    `false_questions` returns, cases also have the false questions about their stories, under the same
    priming as the true one.

    Raises:
        DataError: A chosen pair is not in the suite, or has no text for this priming.
    """
    rows = chosen.join(pairs, on="id", how="left", maintain_order="left")
    lost = rows.filter(pl.col("stereotyped").is_null())
    if len(lost):
        raise DataError(f"pair {lost['id'][0]!r} of the run is not in the suite")
    rows = with_neutral(rows, [priming], session.tokenizer.count_tokens)
    true = _pairs_of_prompts(rows, priming, session)
    false: dict[str, tuple[tuple[Prompt, Prompt], str | None]] = {}
    if asked is not None:
        texts = rows.drop("stereotyped", "contrast").join(
            asked.drop("reason").drop_nulls(), on="id", maintain_order="left"
        )
        no = pl.lit("no")
        texts = texts.with_columns(expected_stereotyped=no, expected_contrast=no)
        false = _pairs_of_prompts(texts, priming, session)
    return [
        Case(
            **keys,
            prompts=tuple(prompt for pair, _ in found for prompt in pair),
            unaligned=next((reason for _, reason in found if reason is not None), None),
        )
        for name, keys in zip(rows["id"], rows.select(KEYS).to_dicts(), strict=True)
        for found in [[each[name] for each in (true, false) if name in each]]
    ]


def _pairs_of_prompts(
    rows: pl.DataFrame, priming: Priming, session: Session
) -> dict[str, tuple[tuple[Prompt, Prompt], str | None]]:
    """Return for each row both prompts, aligned, and the reason why they cannot be."""
    if rows.is_empty():
        return {}
    prompts = build_prompts(rows, [priming])
    sides = []
    for condition in CONDITIONS:
        own, lent = (prompts.filter(condition=condition, priming=p) for p in (priming.name, "none"))
        sides.append(_prompts(own if len(own) else lent, session))
    return {name: align(*pair) for name, *pair in zip(rows["id"], *sides, strict=True)}


def longest(cases: Iterable[Case]) -> int:
    """Return the tokens of the longest prompt."""
    return max(len(prompt.ids) for case in cases for prompt in case.prompts)


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
    a, b = last_difference(stereotyped.ids.tolist(), contrast.ids.tolist())
    if not a and not b:
        return (stereotyped, contrast), "the prompts do not differ"
    if len(a) != len(b):
        reason = f"the person has {len(a)} tokens in one prompt, {len(b)} in the other"
        return (stereotyped, contrast), reason
    names = stereotyped.ids[a].tolist(), contrast.ids[b].tolist()
    return (_with_spans(stereotyped, a, *names), _with_spans(contrast, b, *reversed(names))), None


def _with_spans(prompt: Prompt, span: range, asked: list[int], other: list[int]) -> Prompt:
    mine, theirs = (_mentions(prompt.ids.tolist(), name) for name in (asked, other))
    return replace(prompt, span=span, asked=tuple(sorted(mine)), other=tuple(sorted(theirs - mine)))


def _mentions(ids: list[int], name: list[int]) -> set[int]:
    """Return the positions at which a name's tokens occur."""
    n = len(name)
    starts = (i for i in range(len(ids) - n + 1) if ids[i : i + n] == name)
    return {place for start in starts for place in range(start, start + n)}
