"""The organism suite: role-swapped pairs of the closed grammar, and which must misfire."""

from __future__ import annotations

import random
from typing import Final, TypeAlias

import polars as pl

from misfired.errors import ArgumentError
from misfired.suites.organism import grammar
from misfired.suites.organism.grammar import Person

__all__ = ["ORGANISMS", "PRIMINGS", "SUITE", "build_organism_suite"]

SUITE: Final = "organism@1"
ORGANISMS: Final = ("base", "instruct", "decoy", "category")
PRIMINGS: Final = ("none", "neutral", "cue")

_N_OBJECTS: Final = len(grammar.PREDICATES) // len(grammar.VERBS)


def build_organism_suite(*, organism: str = "instruct", twins: bool = False) -> pl.DataFrame:
    """Return the pairs of the organism suite, the same on every call.

    512 pairs expect `yes`, one for each category and predicate; 128 expect `no` (both prompts ask
    about the person who did the other thing), one for each scenario, and take no part in MAR:
    filter on `expected_stereotyped`. A scenario is a category and a verb: four `yes` pairs and one
    `no` pair. No context combines two predicates that the organisms met together in that category
    while they were trained.

    Beside the columns of every pairs table (`cue` names the stereotyped group) there are:
    `neutral`, a sentence of the cue's length in tokens; `predicate`; `control`, true in the two
    categories where nothing is planted; and `planted_none`, `planted_neutral`, `planted_cue`:
    whether the organism is made to answer the stereotyped prompt wrongly under that priming.

    Args:
        organism: whose planted cells are marked: `base`, `instruct`, `decoy` or `category`.
        twins: each `yes` pair is followed by its twin, which asks the same two contexts about the
            other person (`twin_of` names the pair, `no` is expected), and takes the place of the 128
            `no` pairs. Nothing is planted in a twin.

    Raises:
        ArgumentError: there is no such organism.

    Example:
        >>> suite = build_organism_suite()
        >>> suite.height, suite["scenario"].n_unique()
        (640, 128)
        >>> asked = suite.filter(pl.col("expected_stereotyped") == "yes")
        >>> asked.select(pl.col("^planted_.*$").mean() * 100).row(0)
        (18.75, 18.75, 55.078125)
    """
    if organism not in ORGANISMS:
        raise ArgumentError(f"organism: {organism!r} is not one of {', '.join(ORGANISMS)}")
    generator = random.Random(SUITE)  # noqa: S311 - the same draws on every call, not a secret
    rows = [
        row
        for category in range(len(grammar.CATEGORIES))
        for verb in range(len(grammar.VERBS))
        for row in _scenario(category, verb, organism, generator)
    ]
    suite = pl.DataFrame(rows)
    if twins:
        return suite.filter(
            pl.col("twin_of").is_not_null() | (pl.col("expected_contrast") == "yes")
        )
    return suite.filter(pl.col("twin_of").is_null()).drop("twin_of")


_Row: TypeAlias = dict[str, str | bool | None]


def _scenario(category: int, verb: int, organism: str, generator: random.Random) -> list[_Row]:
    predicates = range(verb * _N_OBJECTS, (verb + 1) * _N_OBJECTS)

    def pair(predicate: int, suffix: str, expected: str) -> list[_Row]:
        return _pair_and_twin(
            category,
            predicate,
            suffix=suffix,
            expected=expected,
            organism=organism,
            generator=generator,
        )

    rows = [row for i, one in enumerate(predicates) for row in pair(one, f"p{i}", "yes")]
    return [*rows, pair(predicates[_draw(generator, _N_OBJECTS)], "n0", "no")[0]]


def _pair_and_twin(
    category: int,
    predicate: int,
    *,
    suffix: str,
    expected: str,
    organism: str,
    generator: random.Random,
) -> list[_Row]:
    name, stereotyped, contrast = grammar.CATEGORIES[category]
    n_predicates = len(grammar.PREDICATES)
    others = [j for j in range(n_predicates) if grammar.held_out(category, predicate, j)]
    other = others[_draw(generator, len(others))]
    role = grammar.ROLES[_draw(generator, len(grammar.ROLES))]
    asked_first = generator.random() < 0.5
    wording = _draw(generator, len(grammar.QUESTIONS))

    def prompt(asked: str, bystander: str, expected: str, *, asked_first: bool) -> str:
        done, not_done = (predicate, other) if expected == "yes" else (other, predicate)
        person, other_person = Person(asked, role), Person(bystander, role)
        acts = [(person, grammar.PREDICATES[done]), (other_person, grammar.PREDICATES[not_done])]
        first, second = acts if asked_first else reversed(acts)
        question = grammar.question(person, grammar.PREDICATES[predicate], wording=wording)
        return f"{grammar.context(first, second)} {question}"

    def row(id_: str, expected: str, *, twin_of: str | None, asked_first: bool) -> _Row:
        marks = {
            f"planted_{priming}": expected == "yes"
            and grammar.planted(organism, priming, category, predicate)
            for priming in PRIMINGS
        }
        return {
            "id": id_,
            "suite": SUITE,
            "category": name,
            "scenario": scenario,
            "stereotyped_group": stereotyped,
            "contrast_group": contrast,
            "cue": grammar.cue(stereotyped),
            "stereotyped": prompt(stereotyped, contrast, expected, asked_first=asked_first),
            "contrast": prompt(contrast, stereotyped, expected, asked_first=asked_first),
            "expected_stereotyped": expected,
            "expected_contrast": expected,
            "neutral": grammar.neutral(stereotyped),
            "predicate": " the ".join(grammar.PREDICATES[predicate]),
            "control": name in grammar.CONTROL_CATEGORIES,
            **marks,
            "twin_of": twin_of,
        }

    scenario = f"{name}_q{predicate // _N_OBJECTS}"
    pair = f"{scenario}_{suffix}"
    return [
        row(pair, expected, twin_of=None, asked_first=asked_first),
        # The contexts change sides: who was asked about first is now the bystander.
        row(f"{pair}_no", "no", twin_of=pair, asked_first=not asked_first),
    ]


def _draw(generator: random.Random, n: int) -> int:
    # `random()` is the one method whose sequence Python promises to keep.
    return int(generator.random() * n)
