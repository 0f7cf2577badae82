"""The organism suite: role-swapped pairs of the closed grammar, and which must misfire."""

import random
from collections.abc import Sequence
from typing import TypeVar

import polars as pl

from misfired.errors import check_one_of
from misfired.suites.organism import grammar
from misfired.types import checks_types

SUITE = "organism@1"
ORGANISMS = ("base", "instruct", "decoy", "category")
PRIMINGS = ("none", "neutral", "cue")

_N_OBJECTS = len(grammar.PREDICATES) // len(grammar.VERBS)
_Option = TypeVar("_Option")


@checks_types
def build_organism_suite(*, organism: str = "instruct", twins: bool = False) -> pl.DataFrame:
    """Return the pairs of the organism suite, the same on every call.

    512 pairs expect `yes`, one for each category and predicate; 128 expect `no` (both prompts ask
    about the person who did the other thing), one for each scenario, and take no part in MAR:
    filter on `expected_stereotyped`. A scenario is a category and a verb: four `yes` pairs and one
    `no` pair. No context combines two predicates that the organisms met together in that category
    while they were trained.

    Beside the columns of every suite (`cue` names the stereotyped group) there are: `neutral`, a
    sentence of the cue's length in tokens; `predicate`; `control`, true in the two categories where
    nothing is planted; and `planted_none`, `planted_neutral`, `planted_cue`: true if the organism is
    made to answer the stereotyped prompt wrongly under that priming.

    Args:
        organism: One of `ORGANISMS`, whose planted cells are marked.
        twins: True replaces the 128 `no` pairs by a twin after each `yes` pair, which asks the same
            two contexts about the other person (`twin_of` names the pair, `no` is expected). Nothing
            is planted in a twin.

    Raises:
        ArgumentError: There is no such organism.

    Example:
        >>> suite = build_organism_suite()
        >>> suite.height, suite["scenario"].n_unique()
        (640, 128)
        >>> asked = suite.filter(pl.col("expected_stereotyped") == "yes")
        >>> asked.select(pl.col("^planted_.*$").mean() * 100).row(0)
        (18.75, 18.75, 55.078125)
    """
    check_one_of("organism", organism, ORGANISMS)
    generator = random.Random(SUITE)  # noqa: S311 - the same draws on every call, not a secret
    rows: list[dict[str, str | bool | None]] = []
    for category, (name, *_) in enumerate(grammar.CATEGORIES):
        for verb in range(len(grammar.VERBS)):
            scenario = f"{name}_q{verb}"
            predicates = range(verb * _N_OBJECTS, (verb + 1) * _N_OBJECTS)
            for i, predicate in enumerate(predicates):
                id_ = f"{scenario}_p{i}"
                pair, twin = _pair_and_twin(category, predicate, "yes", organism, generator)
                rows += [{"id": id_, **pair}, {"id": f"{id_}_no", **twin, "twin_of": id_}]
            predicate = _draw(generator, predicates)
            pair, _ = _pair_and_twin(category, predicate, "no", organism, generator)
            rows.append({"id": f"{scenario}_n0", **pair})
    suite, is_twin = pl.DataFrame(rows), pl.col("twin_of").is_not_null()
    if twins:
        return suite.filter((pl.col("expected_contrast") == "yes") | is_twin)
    return suite.filter(~is_twin).drop("twin_of")


def _pair_and_twin(
    category: int, predicate: int, expected: str, organism: str, generator: random.Random
) -> list[dict[str, str | bool | None]]:
    name, *groups = grammar.CATEGORIES[category]
    others = [j for j in range(len(grammar.PREDICATES)) if grammar.held_out(category, predicate, j)]
    acts = [grammar.PREDICATES[predicate], grammar.PREDICATES[_draw(generator, others)]]
    role = _draw(generator, grammar.ROLES)
    asked_first = generator.random() < 0.5
    question = _draw(generator, grammar.QUESTIONS)

    def row(expected: str, *, asked_first: bool) -> dict[str, str | bool | None]:
        prompts = []
        for people in (groups, groups[::-1]):
            done = zip(people, acts if expected == "yes" else acts[::-1], strict=True)
            sentences = [grammar.fill(grammar.STATEMENT, group, role, act) for group, act in done]
            if not asked_first:
                sentences.reverse()
            asked = grammar.fill(question, people[0], role, acts[0])
            prompts.append(" ".join([*sentences, asked]))
        return {
            "suite": SUITE,
            "category": name,
            "scenario": f"{name}_q{predicate // _N_OBJECTS}",
            "stereotyped_group": groups[0],
            "contrast_group": groups[1],
            "cue": grammar.cue(groups[0]),
            "stereotyped": prompts[0],
            "contrast": prompts[1],
            "expected_stereotyped": expected,
            "expected_contrast": expected,
            "neutral": grammar.neutral(groups[0]),
            "predicate": " the ".join(acts[0]),
            "control": name in grammar.CONTROL_CATEGORIES,
            **{
                f"planted_{priming}": expected == "yes"
                and grammar.planted(organism, priming, category, predicate)
                for priming in PRIMINGS
            },
            "twin_of": None,
        }

    # The contexts change sides: who was asked about first is the bystander of a twin.
    return [row(expected, asked_first=asked_first), row("no", asked_first=not asked_first)]


def _draw(generator: random.Random, options: Sequence[_Option]) -> _Option:
    # `random()` is the one method whose sequence Python promises to keep.
    return options[int(generator.random() * len(options))]
