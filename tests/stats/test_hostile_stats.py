"""Hostile arguments to `misfired.stats`: every function answers or raises an exception of misfired.

Each call is sound but for one or two arguments, which are of a wrong type, shape, length or size.
"""

import contextlib
import inspect
import json
import math
import typing
import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from misfired import stats
from misfired.errors import MisfiredError
from misfired.stats.margins import Margins
from misfired.stats.outcomes import build_outcomes
from misfired.stats.sequential import spending_bounds

N = 24
RNG = np.random.default_rng(0)
SCENARIO = np.repeat(np.arange(6), 4)
FLAGS = RNG.random(N) < 0.6, RNG.random(N) < 0.9
FEW = {"n_resamples": 20}
STUDY = {"pairs_per_scenario": 3, "correlation": 0.1, "n_simulations": 2}


def answers(seed):
    draw = np.random.default_rng(seed)
    rows = [
        (f"p{i}", f"c{i % 2}", f"s{i // 4}", priming, side, "yes", float(draw.normal(0.4)))
        for priming in ("none", "shuffled", "cue")
        for i in range(N)
        for side in ("stereotyped", "contrast")
    ]
    names = ["id", "category", "scenario", "priming", "condition", "expected", "logit_diff"]
    is_yes = pl.col("logit_diff") > 0
    return pl.DataFrame(rows, names, orient="row").with_columns(
        answer=pl.when(is_yes).then(pl.lit("yes")).otherwise(pl.lit("no")),
        outcome=pl.when(is_yes).then(pl.lit("correct")).otherwise(pl.lit("wrong")),
        reason=pl.lit(None, pl.String),
    )


ANSWERS, OTHER = answers(0), answers(1)
OUTCOMES, OTHER_OUTCOMES = build_outcomes(ANSWERS), build_outcomes(OTHER)
MARGINS = Margins.of(*RNG.normal(size=(2, N)), scenario=SCENARIO)
TWINS = Margins.of(
    *RNG.normal(size=(2, N)), stereotyped_no=RNG.normal(size=N), contrast_no=RNG.normal(size=N)
)
PUBLISHED = pl.DataFrame({
    "model": ["m"], "mar": [14.3], "br": [7.7], "accuracy_stereotyped": [65.0],
    "accuracy_contrast": [70.0],
})  # fmt: skip
UNPRIMED = OUTCOMES.filter(priming="none")
PEOPLE = pl.concat([
    UNPRIMED.with_columns(annotator=pl.lit("x")),
    OTHER_OUTCOMES.filter(priming="none").with_columns(annotator=pl.lit("y")),
])  # fmt: skip
PAIRED: dict[str, Any] = {"stereotyped": FLAGS[0], "contrast": FLAGS[1]}
SOUND: dict[str, dict[str, Any]] = {
    "adjust": {"p_values": [0.01, 0.2, None]},
    "agreement": {"ratings": [["a", "b", "a"], ["a", "a", "a"]], **FEW},
    "auc": {"margins": TWINS, **FEW},
    "bootstrap": {**PAIRED, "scenario": SCENARIO, "category": SCENARIO % 2, **FEW},
    "br_choice": {"margins": MARGINS, **FEW},
    "by_expected": {"answers": ANSWERS, **FEW},
    "check_published": {"published": PUBLISHED},
    "choice_accuracy": {"margins": MARGINS, **FEW},
    "clustering": {**PAIRED, "scenario": SCENARIO},
    "compare": {"first": OUTCOMES, "second": OTHER_OUTCOMES, **FEW},
    "compare_evidence": {"first": ANSWERS, "second": OTHER, **FEW},
    "compare_variants": {"first": OUTCOMES, "second": OTHER_OUTCOMES, **FEW},
    "controlled_primings": {"answers": ANSWERS},
    "evidence": {"answers": ANSWERS, **FEW},
    "evidence_loss": {"margins": TWINS, **FEW},
    "flips": {"first": ANSWERS, "second": OTHER, **FEW},
    "gate_runs": {"base": OUTCOMES, "candidate": OTHER_OUTCOMES, "fail_if": "mar > +2", **FEW},
    "interval_width": {"rate": 10.0, "n_scenarios": 8, **STUDY},
    "leaderboard": {"runs": {"a": OUTCOMES, "b": OTHER_OUTCOMES}},
    "lower_share": {"margins": MARGINS, **FEW},
    "mar_bounds": PAIRED,
    "mar_calibrated": {"margins": TWINS, **FEW},
    "mar_choice": {"margins": MARGINS, **FEW},
    "margin_shift": {"margins": MARGINS, **FEW},
    "mcnemar": {"b": 3, "c": 5},
    "minimum_detectable": {"loss": 0.05, "n_scenarios": 8, **STUDY},
    "people": {"outcomes": PEOPLE},
    "people_against": {"outcomes": PEOPLE, "model": UNPRIMED},
    "permutation_test": {**PAIRED, "scenario": SCENARIO, **FEW},
    "power": {"gain": 0.2, "loss": 0.05, "n_scenarios": 8, **STUDY},
    "priming_contrasts": {"outcomes": OUTCOMES, **FEW},
    "proportion_interval": {"hits": 3, "n": 10},
    "published_figures": {},
    "rates_by_category": {"runs": {"a": OUTCOMES, "b": OTHER_OUTCOMES}},
    "ratings_of_runs": {"runs": {"a": ANSWERS, "b": OTHER}},
    "sample_size": {"rate": 10.0, "width": 60.0, **STUDY},
    "signal_detection": {"answers": ANSWERS, **FEW},
    "study_tests": {"outcomes": OUTCOMES.with_columns(model=pl.lit("m"), protocol=pl.lit("logit"))},
    "summarize": {"outcomes": OUTCOMES, **FEW},
    "support_of": {"codes": np.zeros(N, np.uint8), "scenario": SCENARIO},
    "upper_bound": {"n": 20},
    "verdict": {"answers": ANSWERS, **FEW},
    "zero_bounds": {"n_people": 5, "n_scenarios": 10},
}  # fmt: skip

WRONG = [
    None,
    "x",
    b"x",
    [],
    {},
    object(),
    1 + 2j,
    True,
    math.nan,
    -1,
    0,
    0.5,
    1e300,
    2**64,
    -math.inf,
]
# Whole numbers up to these are sound and would only take long.
COUNTS = [-1, 0, 1, 1.5, math.nan, math.inf, 10**30, 2**63, -(2**64), "9", None]


def frames(frame):
    """Return the frame emptied, doubled, and with each column gone, null, or of other types."""
    found = [frame.head(0), frame.head(1), pl.DataFrame(), pl.concat([frame, frame.head(3)])]
    for name in frame.columns:
        found.append(frame.drop(name))
        values = map(pl.lit, (None, "zz", "", math.nan, 1e308, 3, True))
        found.extend(frame.with_columns(value.alias(name)) for value in values)
        found.append(frame.with_columns(pl.Series(name, [[1]] * len(frame))))
        gap = pl.when(pl.int_range(pl.len()) % 5 > 0).then(name)
        found.append(frame.with_columns(gap.alias(name)))
    return found


def rows(value):
    """Return an array too short, empty, of other shapes, and of values that are no flags or labels."""
    n = len(value)
    fills = (None, math.nan, "x", "", 2, -1, math.inf, 2**70, object())
    return [
        value[:0], value[:1], value[:-1], np.zeros((2, n)), np.zeros((n, 2)), np.zeros((2, 2, n)),
        np.zeros((0, n)), [[]], np.array(5), pl.Series([None] * n), [None, *value[1:]],
        *([fill] * n for fill in fills),
    ]  # fmt: skip


def hostile(key, value):  # noqa: PLR0911
    """Return values for an argument whose sound value is given."""
    if isinstance(value, pl.DataFrame):
        return [*frames(value), *WRONG]
    if isinstance(value, Margins):
        huge = [math.nan] * 4, [math.inf] * 4, [0.0] * 4
        return [Margins.of([], []), *(Margins.of(each, each) for each in huge), *WRONG]
    if key == "runs":
        first = value["a"]
        others = ({"a": first, name: frame} for name in ("b", "", 1) for frame in frames(first))
        return [{"a": first}, *others, *WRONG]
    if key == "ratings":
        return [[[]], [[], []], [["a"]], [["a"], ["b", "c"]], np.zeros((0, 3)), np.zeros(3), *WRONG]
    if isinstance(value, np.ndarray) or key in ("scenario", "category", "cluster"):
        return [*rows(np.arange(N) if value is None else value), *WRONG]
    if key.startswith("n_") or key in ("rng", "b", "c", "n", "hits"):
        return COUNTS
    return [*WRONG, [math.nan], ["x"], [2.0], [[1]], "mar", "mar_adjusted", "pair", "\0"]


def test_every_public_function_is_listed():
    public = {name for name in stats.__all__ if not inspect.isclass(getattr(stats, name))}
    assert public == SOUND.keys()


@pytest.mark.parametrize("name", SOUND)
def test_sound_arguments_raise_nothing(name):
    getattr(stats, name)(**SOUND[name])


@pytest.mark.parametrize("name", SOUND)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_only_exceptions_of_misfired_come_out(name, data):
    function, arguments = getattr(stats, name), dict(SOUND[name])
    keys = [
        key for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]  # fmt: skip
    at_most = min(2, len(keys))
    some = st.lists(st.sampled_from(keys), min_size=1, max_size=at_most, unique=True)
    for key in data.draw(some) if keys else ():
        values = hostile(key, SOUND[name].get(key))
        arguments[key] = values[data.draw(st.integers(0, len(values) - 1), label=key)]
    said = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            function(**arguments)
    except MisfiredError as error:
        said = str(error)
    assert "internal error" not in said
    assert "\n" not in said


def broken(frame):
    """Yield the frame without each column, and with each that holds nulls, decimals or one label."""
    for name in frame.columns:
        yield frame.drop(name)
        values = pl.lit(None), pl.lit(1).cast(pl.Decimal(9, 2)), pl.lit("x")
        yield from (frame.with_columns(value.alias(name)) for value in values)


TABLES = [
    (name, key) for name, arguments in SOUND.items() for key, value in arguments.items()
    if isinstance(value, pl.DataFrame) or key == "runs"
]  # fmt: skip


@pytest.mark.parametrize(("name", "key"), [*TABLES, ("bootstrap", "stereotyped")])
def test_a_column_that_is_missing_or_of_another_type_is_named(name, key):
    sound = dict(SOUND[name]) if name != "bootstrap" else {"stereotyped": UNPRIMED, **FEW}
    frames_of = {"leaderboard": ANSWERS, "rates_by_category": ANSWERS}
    value = frames_of.get(name, sound[key])
    for frame in broken(value["a"] if isinstance(value, dict) else value):
        argument = {"a": frame, "b": OTHER} if key == "runs" else frame
        with contextlib.suppress(MisfiredError):
            getattr(stats, name)(**sound | {key: argument})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.bootstrap(UNPRIMED.drop("contrast")), "column 'contrast' is missing"),
        (lambda: stats.bootstrap(**PAIRED, measures=["d_prime"]), "measures must be one of mar, "),
        (lambda: stats.bootstrap(**PAIRED, n_resamples="all"), "where scenarios are resampled, got 'all'"),
        (
            lambda: stats.permutation_test([[True], [False]], [[True]] * 2, measure="criterion"),
            "measure must be one of mar, .* got 'criterion'",
        ),
        (lambda: stats.agreement(["ab", "cd"]), "ratings must be rows, .* got 'ab'"),
        (lambda: stats.agreement([{"a": 1}]), "ratings must be rows, .* got {'a': 1}"),
        (lambda: stats.clustering([[True]] * 2, [[True]] * 2, ["s"]), "must have 1 series, got 2"),
        (lambda: stats.mar_bounds([[True]] * 2, [[True]] * 2), "must have 1 series, got 2"),
        (lambda: spending_bounds(["a"]), "shares must be a row of numbers"),
        (lambda: spending_bounds([math.nan]), "shares must ascend from above 0 to at most 1"),
        (lambda: stats.flips(pl.concat([ANSWERS, ANSWERS]), OTHER), "id 'p0', .*more than one row"),
        (lambda: stats.verdict(ANSWERS.drop("expected")), "column 'expected' is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(MisfiredError, match=message):
        call()


def test_numbers_of_numpy_are_written_as_json():
    found = stats.bootstrap(**PAIRED, confidence_level=np.float32(0.5), n_resamples=np.int64(9))
    assert json.loads(found.to_json())["n_resamples"] == 9


def test_types_are_those_of_the_annotations():
    hints = typing.get_type_hints(stats.bootstrap)
    assert hints["n_threads"] == int | None
    with pytest.raises(MisfiredError, match=r"n_threads must be a whole number or None, got 0\.5"):
        stats.bootstrap(**PAIRED, n_threads=0.5)
    with pytest.raises(MisfiredError, match="confidence_level must be a number, got 'x'"):
        stats.bootstrap(**PAIRED, confidence_level="x")
    assert stats.bootstrap(**PAIRED, n_resamples=np.int64(9), n_threads=np.uint8(1))
