"""Labels are text wherever they are compared, and a missing one is an error that counts it."""

import math
from functools import partial

import numpy as np
import polars as pl
import pytest

from misfired import stats
from misfired.errors import DataError
from misfired.labels import label_text
from misfired.stats._arrays import as_groups
from misfired.stats.boundary import mar_range
from misfired.stats.outcomes import build_outcomes
from misfired.stats.sharing import shared_pairs
from misfired.stats.wide import rates_by_category
from stats.answerers import answers_of

ANSWERS = answers_of("misfire", 1, n_scenarios=12, size=2).with_columns(
    # As a file may have them: ids and scenarios are whole numbers.
    id=pl.col("id").str.replace("p", "1").str.replace("_no", "000"),
    twin_of=pl.col("twin_of").str.replace("p", "1"),
    scenario=pl.col("scenario").str.replace("q", ""),
    category=pl.col("scenario").str.replace("q", "").str.slice(0, 1),
)
OUTCOMES = build_outcomes(ANSWERS)
FEW = {"n_resamples": 50}
MISSING = [None, "", " \t", math.nan]

#: Functions of one frame, and which.
OF_FRAMES = {
    "build_outcomes": (build_outcomes, ANSWERS),
    "by_expected": (partial(stats.by_expected, **FEW), ANSWERS),
    "compare": (lambda frame: stats.compare(frame, OUTCOMES, **FEW), OUTCOMES),
    "compare, second": (lambda frame: stats.compare(OUTCOMES, frame, **FEW), OUTCOMES),
    "compare_evidence": (lambda frame: stats.compare_evidence(frame, ANSWERS), ANSWERS),
    "compare_variants": (
        lambda frame: stats.compare_variants(frame, OUTCOMES, **FEW).drop("reason"),
        OUTCOMES,
    ),
    "evidence": (stats.evidence, ANSWERS),
    "flips": (lambda frame: stats.flips(frame, ANSWERS), ANSWERS),
    "leaderboard": (lambda frame: stats.leaderboard({"a": frame, "b": OUTCOMES}), OUTCOMES),
    "leaderboard, auc": (
        lambda frame: stats.leaderboard({"a": frame, "b": ANSWERS}, measure="auc_k"),
        ANSWERS,
    ),
    "mar_range": (lambda frame: mar_range(frame, 0.1), ANSWERS),
    "priming_contrasts": (
        partial(stats.priming_contrasts, **FEW),
        pl.concat([OUTCOMES, OUTCOMES.with_columns(priming=pl.lit("cue"))]),
    ),
    "shared_pairs": (lambda frame: shared_pairs(frame, OUTCOMES), OUTCOMES),
    "signal_detection": (partial(stats.signal_detection, **FEW), ANSWERS),
    "study_tests": (
        stats.study_tests,
        OUTCOMES.with_columns(model=pl.lit("7"), protocol=pl.lit("direct")),
    ),
    "summarize": (partial(stats.summarize, **FEW), OUTCOMES),
    "verdict": (partial(stats.verdict, **FEW), ANSWERS),
}
#: Columns that a function does not look at.
UNUSED = {name: {"category"} for name in ("flips", "shared_pairs", "signal_detection")}


def same(one: object, other: object) -> bool:
    return one.equals(other) if isinstance(one, pl.DataFrame) else repr(one) == repr(other)


@pytest.mark.parametrize("name", OF_FRAMES)
def test_typed_labels_give_what_text_gives(name: str) -> None:
    function, frame = OF_FRAMES[name]
    typed = frame.with_columns(
        pl.col("id").cast(pl.Int64), pl.col("scenario").cast(pl.Float64),
        pl.col("category").cast(pl.Categorical),
    )  # fmt: skip
    if "twin_of" in typed.columns:
        typed = typed.with_columns(pl.col("twin_of").cast(pl.Float64).fill_null(math.nan))
    if "model" in typed.columns:
        typed = typed.with_columns(model=7)
    assert same(function(typed), function(frame))


@pytest.mark.parametrize("missing", MISSING, ids=repr)
@pytest.mark.parametrize("column", ["id", "scenario", "category"])
@pytest.mark.parametrize("name", OF_FRAMES)
def test_rows_without_a_label_are_counted(name: str, column: str, missing: object) -> None:
    if column in UNUSED.get(name, ()):
        pytest.skip("the function does not look at it")
    function, frame = OF_FRAMES[name]
    labels = frame[column].to_list()
    if missing is not None and not isinstance(missing, str):
        labels = [float(label) for label in labels]
    labels[2] = labels[5] = missing
    damaged = frame.with_columns(pl.Series(column, labels))
    with pytest.raises(DataError) as caught:
        function(damaged)
    assert f"{column} must be given in each row, got 2 of {len(frame)} without" in str(caught.value)


WRONG = [True, False, True, False]
RIGHT = [True, True, True, True]
OF_LABELS = {
    "bootstrap": lambda labels: stats.bootstrap(WRONG, RIGHT, scenario=labels, **FEW),
    "bootstrap, category": lambda labels: stats.bootstrap(
        WRONG, RIGHT, category=labels, stratified=True, **FEW
    ),
    "permutation_test": lambda labels: stats.permutation_test(WRONG, RIGHT, scenario=labels),
    "clustering": lambda labels: stats.clustering(WRONG, RIGHT, labels),
    "Margins": lambda labels: stats.Margins.of(
        [1.0] * 4, [2.0] * 4, scenario=labels
    ).scenario.tolist(),
    "agreement": lambda labels: stats.agreement([["y", "n"]] * 4, cluster=labels, **FEW),
    "support_of": lambda labels: stats.support_of(np.array([0, 2, 0, 2], np.uint8), labels),
}
FORMS = [list, tuple, partial(np.array, dtype=object), partial(pl.Series, "s", strict=False)]


@pytest.mark.parametrize("form", FORMS, ids=["list", "tuple", "array", "Series"])
@pytest.mark.parametrize("missing", MISSING, ids=repr)
@pytest.mark.parametrize("name", OF_LABELS)
def test_missing_labels_are_counted(name: str, missing: object, form) -> None:
    texts = ["a", missing, "b", missing]
    numbers = [1.0, missing, 2.0, missing]
    # polars makes a text of NaN in a column of texts, before we see it.
    is_text = isinstance(form, partial) and isinstance(missing, float)
    for labels in [numbers] if is_text else [texts, numbers]:
        with pytest.raises(DataError, match=r"must have a label for each pair, got 2 of 4 without"):
            OF_LABELS[name](form(labels))


@pytest.mark.parametrize("name", OF_LABELS)
def test_labels_of_any_type_are_the_same(name: str) -> None:
    expected = OF_LABELS[name](["1", "1", "2", "true"])
    mixed = [1, 1.0, "2", True]
    for labels in (mixed, np.array(mixed, dtype=object), [np.int8(1), np.float32(1), 2, np.True_]):
        assert OF_LABELS[name](labels) == expected


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        ([10, 9, 10], [1, 0, 1]),
        (["10", "9", "10"], [0, 1, 0]),
        ([0.5, np.nan], None),
        ([1, "1", 1.0], [0, 0, 0]),
        (["007", "7"], [0, 1]),
        ([True, "true", "True"], [1, 1, 0]),
        (np.array(["2020-01-01", "NaT"], "datetime64[D]"), None),
        (pl.Series([1, None]), None),
        (pl.Series(["a", "b"], dtype=pl.Categorical), [0, 1]),
        (range(3), [0, 1, 2]),
    ],
)
def test_groups(labels, groups) -> None:
    if groups is None:
        with pytest.raises(DataError, match="got 1 of 2 without"):
            as_groups(labels, 2, "scenario")
    else:
        assert as_groups(labels, len(groups), "scenario").tolist() == groups


def test_ratings_of_any_type_are_the_same() -> None:
    text = [["1", "1"], ["0", "2"], ["true", "true"], [None, "1"], ["2", "0.5"]]
    typed = [[1.0, 1], [0, "2"], [True, "true"], [math.nan, 1], [np.int64(2), 0.5]]
    empty = [["1", 1], ["0", 2], [np.True_, True], ["", "1"], ["2", np.float32(0.5)]]
    for method in ("krippendorff", "cohen"):
        found = [stats.agreement(each, method=method, **FEW) for each in (text, typed, empty)]
        assert found[0] == found[1] == found[2]
    frame = pl.DataFrame({"ann": [1, 0, None], "bob": ["1", "0", "unsure"]})
    assert stats.agreement(frame).value == 1.0


def test_a_number_is_no_flag() -> None:
    assert label_text(1) != label_text(True)
    assert stats.agreement([[1, True], [0, False]]).value == 0


def test_published_figures_may_be_text_and_a_bad_one_is_named() -> None:
    names = ["mar", "br", "accuracy_stereotyped", "accuracy_contrast"]
    row = dict(zip(names, ["0", "0.0", "98.5", ""], strict=True))
    assert stats.check_published(pl.DataFrame([row]))["reason"][0] == "a figure is missing"
    with pytest.raises(DataError, match="row 2: br must be a number from 0 to 100, got 'about 3'"):
        stats.check_published(pl.DataFrame([row, row | {"br": "about 3"}]))
    figures = pl.DataFrame([row | {"model": "m", "Age": "?"}])
    with pytest.raises(DataError, match=r"row 1: Age must be a number from 0 to 100, got '\?'"):
        rates_by_category({"a": ANSWERS}, published=figures)
