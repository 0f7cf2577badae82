"""The suites that misfired builds: one entry each, used by `build_pairs` and the command line."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from misfired._core import strict_pairs, veto_pairs
from misfired.errors import ArgumentError, check_one_of
from misfired.suites.bbq import BBQ_CATEGORIES, bbq_files, checked_categories
from misfired.suites.io import PAIRS_SCHEMA
from misfired.suites.organism import SUITE, build_organism_suite
from misfired.types import checks_types

VETO_CATEGORIES = (
    *("Age", "Gender_identity", "Religion", "Sexual_orientation"),
    *("SES", "Disability_status", "Race_ethnicity", "Physical_appearance"),
)
"""BBQ's categories that the published protocol can pair."""


@dataclass(frozen=True)
class BuiltSuite:
    """A suite that misfired builds.

    Attributes:
        suite: As `name@version`.
        build: Makes the pairs from BBQ's files: name, category and text of each.
        known: Categories of BBQ that it can pair; none if it needs no BBQ.
        default: Those that it takes if none are named.
    """

    suite: str
    build: Callable[[list[tuple[str, str, str]]], pl.DataFrame]
    known: tuple[str, ...] = ()
    default: tuple[str, ...] = ()


def _build_paper(files: list[tuple[str, str, str]]) -> pl.DataFrame:
    texts, stereotyped_rows, contrast_rows = veto_pairs(files)
    numbers = {"stereotyped_example_id": stereotyped_rows, "contrast_example_id": contrast_rows}
    yes = pl.lit("yes")
    return pl.DataFrame(dict(texts) | numbers).with_columns(
        expected_stereotyped=yes, expected_contrast=yes
    )


def _build_strict(files: list[tuple[str, str, str]]) -> pl.DataFrame:
    texts, numbers, exact_swap = strict_pairs(files)
    names = ("stereotyped_example_id", "contrast_example_id", "distance")
    columns = dict(texts) | dict(zip(names, numbers, strict=True)) | {"exact_swap": exact_swap}
    twin_of = pl.col("twin_of").replace("", None)
    expected = pl.when(twin_of.is_null()).then(pl.lit("yes")).otherwise(pl.lit("no"))
    return pl.DataFrame(columns).with_columns(
        twin_of=twin_of, expected_stereotyped=expected, expected_contrast=expected
    )


BUILT_SUITES = {
    "paper": BuiltSuite("veto-paper@1.0.0", _build_paper, VETO_CATEGORIES, VETO_CATEGORIES),
    "strict": BuiltSuite("veto-strict@1.0.0", _build_strict, BBQ_CATEGORIES, VETO_CATEGORIES),
    "organism": BuiltSuite(SUITE, lambda _: build_organism_suite()),
}
"""By the name of the variant; a new suite is one entry here."""


@checks_types
def build_pairs(
    bbq_dir: str | os.PathLike[str] | None,
    categories: Sequence[str] | None = None,
    variant: str = "paper",
) -> pl.DataFrame:
    """Build a suite that misfired knows, most of them from a folder of BBQ files.

    From BBQ come rows with a disambiguated context and a question of negative polarity; a scenario
    gives at most 20 pairs.

    - "paper": the rules of the published benchmark. In a scenario, the i-th row with its right answer
      in a stereotyped group and the i-th row with its right answer in another group make a pair. The
      right answer to every prompt is yes.
    - "strict": `match_pairs` matches rows where exactly one of the two people is of a stereotyped
      group, exact swaps first. The question is "Is it true that ...?" with a grammatical statement;
      known misprints are mended. After each pair comes its twin, which asks the same two contexts
      about the other person: both answers are no. The condition is the person asked about, so a twin's
      stereotyped prompt has the context of its pair's contrast prompt.
    - "organism": see `misfired.suites.organism.build_organism_suite`; needs no BBQ.

    Args:
        bbq_dir: Folder with files `<category>.jsonl`, as `fetch_bbq` makes; None if none is needed.
        categories: In this order; `VETO_CATEGORIES` by default. "strict" takes all of
            `BBQ_CATEGORIES`, if their labels tell who is stereotyped.
        variant: A name in `BUILT_SUITES`.

    Returns:
        One row per pair, in the order of the categories and of BBQ's scenarios: the columns of
        `PAIRS_SCHEMA`, then the pair's origin in BBQ: `stereotyped_subject` and `contrast_subject` (the
        answer that each prompt asks about, word for word), `stereotyped_example_id` and
        `contrast_example_id` (BBQ's rows, int64), `question` (in "strict" `stereotyped_question` and
        `contrast_question`). "strict" adds `twin_of` (the pair's id, null for a pair), `distance`
        (int64), `exact_swap` (bool) and `differing_words`, which a twin shares with its pair.

    Raises:
        ArgumentError: The variant is unknown or lacks its folder; categories are unknown, repeated or
            none.
        DataError: The folder or a file is missing, a file is empty or gives no pairs, a line is
            broken, or a question has no known form.

    Examples:
        >>> pairs = build_pairs("bbq", categories=["Age"])  # doctest: +SKIP
        >>> pairs["cue"][0]  # doctest: +SKIP
        'It is not okay to assume old people were not comfortable using the phone.'

    Source:
        Deng et al. 2026, arXiv 2606.18656; rows of Parrish et al. 2022, CC BY 4.0.
    """
    check_one_of("variant", variant, BUILT_SUITES)
    entry = BUILT_SUITES[variant]
    files: list[tuple[str, str, str]] = []
    if entry.known:
        chosen = entry.default if categories is None else categories
        wanted = checked_categories(chosen, entry.known)
        if bbq_dir is None:
            raise ArgumentError(f"bbq_dir must be a folder for variant {variant!r}, got None")
        files = bbq_files(bbq_dir, wanted)
    elif categories is not None:
        raise ArgumentError(
            f"categories must be left out for variant {variant!r}, got {categories}"
        )
    pairs = entry.build(files).with_columns(suite=pl.lit(entry.suite))
    return pairs.select(*PAIRS_SCHEMA, pl.exclude(*PAIRS_SCHEMA))
