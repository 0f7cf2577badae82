"""The measures of the margin against their plain twins, and against values from outside."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from misfired.errors import DataError
from misfired.stats import Margins, compare_evidence, evidence, leaderboard, verdict
from misfired.stats.evidence import EVIDENCE_MEASURES, estimate
from misfired.stats.margins import margins_of_answers
from reference import evidence as plain
from stats.answerers import answers_of

#: Halves, so that ties are many.
_MARGIN = st.one_of(st.none(), st.integers(-6, 6).map(lambda whole: whole / 2))
_PAIRS = st.lists(st.tuples(*[_MARGIN] * 4, st.integers(0, 6)), min_size=1, max_size=30)


def _margins(pairs: list[tuple[float | None, ...]]) -> Margins:
    s, k, s_no, k_no, scenario = (list(column) for column in zip(*pairs, strict=True))
    cells = [np.array(each, np.float64) for each in (s, k, s_no, k_no)]
    return Margins.of(*cells[:2], stereotyped_no=cells[2], contrast_no=cells[3], scenario=scenario)


def _same(value: float | None, expected: float) -> bool:
    return math.isnan(expected) if value is None else math.isclose(value, expected, abs_tol=1e-9)


@given(_PAIRS)
@settings(max_examples=60, deadline=None)
def test_values_are_those_of_the_plain_twins(rows: list[tuple[float | None, ...]]) -> None:
    pairs = [row[:4] for row in rows]
    scenario = np.unique([row[4] for row in rows], return_inverse=True)[1].tolist()
    margins = _margins(rows)
    shift, loss, sd = (
        f(pairs) for f in (plain.margin_shift, plain.evidence_loss, plain.contrast_sd)
    )
    expected = {
        "margin_shift": shift,
        "margin_shift_standardised": shift / sd,
        "lower_share": plain.lower_share(pairs),
        "evidence_loss": loss,
        "evidence_loss_standardised": loss / sd,
        "auc_s": plain.auc(pairs, plain.S, plain.SN),
        "auc_k": plain.auc(pairs, plain.K, plain.KN),
        "auc_difference": plain.auc(pairs, plain.K, plain.KN) - plain.auc(pairs, plain.S, plain.SN),
        "choice_accuracy_s": plain.choice_accuracy(pairs, 0),
        "choice_accuracy_k": plain.choice_accuracy(pairs, 1),
        "mar_choice": plain.mar_choice(pairs),
        "br_choice": plain.br_choice(pairs),
        "mar_calibrated": plain.mar_calibrated(pairs, scenario),
        "mar_calibrated_apart": plain.mar_calibrated(pairs, scenario, apart=True),
    }
    assert list(expected) == list(EVIDENCE_MEASURES)
    for name, value in expected.items():
        found = estimate(margins, name)
        assert _same(found.value, value), name
        assert (found.value is None) <= (found.reason is not None), name


def _drawn(seed: int, n: int = 60) -> list[tuple[float, ...]]:
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 1, 12)
    scenario = rng.permutation(np.arange(n) % 12)
    noise = rng.normal(0, 1, (n, 4)) + shared[scenario, None] + np.array([1.0, 2.0, -1.0, -1.5])
    return [(*line, int(g)) for line, g in zip(noise.tolist(), scenario, strict=True)]


@pytest.mark.parametrize("seed", range(3))
def test_errors_are_the_jackknife_and_obuchowskis(seed: int) -> None:
    rows = _drawn(seed)
    pairs, scenario = [row[:4] for row in rows], [row[4] for row in rows]
    margins = _margins(rows)
    for name in ("margin_shift", "evidence_loss"):
        error = plain.jackknife_error(getattr(plain, name), pairs, scenario)
        assert estimate(margins, name).standard_error == pytest.approx(error, rel=1e-9)
    for name, cells in {"auc_s": (0, 2), "auc_k": (1, 3)}.items():
        error = plain.obuchowski_error(pairs, scenario, *cells)
        assert estimate(margins, name).standard_error == pytest.approx(error, rel=1e-9)


def test_values_from_outside() -> None:
    rows = _drawn(9)
    s, k, _, k_no, _ = (np.array(column) for column in zip(*rows, strict=True))
    single = Margins.of(s, k)
    found = estimate(single, "margin_shift")
    other = scipy_stats.ttest_1samp(k - s, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((other.low, other.high))
    statistic = scipy_stats.mannwhitneyu(k, k_no).statistic
    area = estimate(_margins(rows), "auc_k").value
    assert area == pytest.approx(statistic / len(k) / len(k_no))


@pytest.mark.parametrize("bias", [-6.0, 5.0])
def test_a_bias_changes_no_measure(bias: float) -> None:
    rows = _drawn(4)
    moved = [(*(margin + bias for margin in row[:4]), row[4]) for row in rows]
    for name in EVIDENCE_MEASURES:
        one, two = (estimate(_margins(each), name) for each in (rows, moved))
        assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high)), name


def test_a_leaning_of_one_condition_changes_only_what_may() -> None:
    rows = _drawn(5)
    leaning = [(s - 3, k, s_no - 3, k_no, g) for s, k, s_no, k_no, g in rows]
    for name in ("evidence_loss", "auc_s", "auc_k", "auc_difference", "mar_calibrated_apart"):
        one, two = (estimate(_margins(each), name) for each in (rows, leaning))
        assert one.value == pytest.approx(two.value), name
    assert estimate(_margins(leaning), "margin_shift").value > 3


def test_changes_and_comparisons_are_differences_of_values() -> None:
    bare = answers_of("misfire", 1, n_scenarios=20, size=3)
    cue = answers_of("reader_plus", 2, n_scenarios=20, size=3).with_columns(priming=pl.lit("cue"))
    rows = evidence(pl.concat([bare, cue]), n_resamples=500)
    values = {
        priming: dict(part.select("measure", "value").rows())
        for (priming,), part in rows.filter(slice="overall").group_by("priming")
    }
    compared = compare_evidence(
        cue.with_columns(priming=pl.lit("none")), bare, n_resamples=500
    ).filter(slice="overall")
    between = dict(compared.select("measure", "value").rows())
    for name in EVIDENCE_MEASURES:
        change = values["cue"][name] - values["none"][name]
        assert values["cue - none"][f"{name}_change"] == pytest.approx(change), name
        assert between[name] == pytest.approx(change), name
    assert rows.filter(pl.col("value").is_null() & pl.col("reason").is_null()).is_empty()


@pytest.mark.parametrize(
    ("first", "second", "n_scenarios", "choice", "calibrated"),
    [
        ("misfire", "reader_plus", 20, None, None),
        ("misfire", "random", 20, "little_support", "auc_k_at_chance"),
        ("random", "random", 20, "little_support", "auc_k_at_chance"),
        ("misfire", "reader_plus", 8, "little_support", "little_support"),
    ],
)
def test_a_difference_is_withheld_where_a_run_of_it_is(
    first: str, second: str, n_scenarios: int, choice: str | None, calibrated: str | None
) -> None:
    runs = [
        answers_of(name, i, n_scenarios=n_scenarios, size=3)
        for i, name in enumerate((first, second))
    ]
    rows = compare_evidence(*runs, n_resamples=50).filter(total=True)
    withheld = dict(rows.select("measure", "withheld").rows())
    assert (withheld["mar_choice"], withheld["mar_calibrated"]) == (choice, calibrated)
    assert {withheld[name] for name in ("margin_shift", "auc_k", "choice_accuracy_k")} == {None}


def test_a_cue_on_one_side_leaves_no_choice() -> None:
    bare = answers_of("misfire", 1, n_scenarios=8, size=3)
    cue = bare.filter(condition="stereotyped").with_columns(priming=pl.lit("cue"))
    rows = evidence(pl.concat([bare, cue]), n_resamples=200).filter(slice="overall")
    reasons = dict(rows.filter(priming="cue").select("measure", "reason").rows())
    assert reasons["mar_choice"] == reasons["choice_accuracy_k"] == "primed_on_one_side"
    changes = rows.filter(priming="cue - none", measure="margin_shift_change")
    assert changes["value"].to_list() == [0.0]
    assert changes["reason"].to_list() == ["constant"]


def test_what_cannot_be_computed_has_a_reason() -> None:
    answers = answers_of("misfire", 0, n_scenarios=6, size=2, twins=False)
    rows = evidence(answers).filter(slice="overall")
    reasons = dict(rows.select("measure", "reason").rows())
    assert reasons["margin_shift"] is None
    assert reasons["lower_share"] is None
    assert reasons["auc_k"] == "no_expected_no"
    assert {reasons[name] for name in ("evidence_loss", "mar_choice", "mar_calibrated")} == {
        "no_twin"
    }
    texts = evidence(answers.drop("logit_diff"))
    assert set(texts["reason"]) == {"no_margin"}
    assert texts["value"].null_count() == len(texts)


def test_a_protocol_that_names_no_first_has_the_other_sign() -> None:
    answers = answers_of("misfire", 0, n_scenarios=2, size=2)
    turned = answers.with_columns(
        logp_no=pl.lit(0.0), logp_yes=pl.lit(0.0), logit_diff=-pl.col("logit_diff")
    )
    one, two = (margins_of_answers(each).series["none"].cells for each in (answers, turned))
    assert np.array_equal(one, two)


def test_a_prompt_that_is_there_twice_is_refused() -> None:
    answers = answers_of("misfire", 0, n_scenarios=2, size=2)
    with pytest.raises(DataError, match="answers: id 'p0': more than one row"):
        evidence(pl.concat([answers, answers.head(1)]))


def test_what_is_the_same_in_every_scenario_has_no_error() -> None:
    # In binary, k - (k - 0.1) is 0.1 but for rounding.
    contrast = np.random.default_rng(0).normal(size=40).round(2)
    scenario = np.arange(40) // 4
    margins = Margins.of(
        contrast - 0.1, contrast, stereotyped_no=contrast - 1.1, contrast_no=contrast - 1, scenario=scenario
    )  # fmt: skip
    for measure, value in (("margin_shift", 0.1), ("evidence_loss", 0.0)):
        found = estimate(margins, measure)
        assert found.value == pytest.approx(value, abs=1e-12)
        assert (found.low, found.high, found.reason) == (None, None, "constant"), measure
    flat = Margins.of([0.1 + 0.2] * 9, [0.3] * 3 + [0.1 + 0.2] * 6)
    assert estimate(flat, "margin_shift_standardised").reason == "constant"


@pytest.mark.parametrize("measure", EVIDENCE_MEASURES)
def test_runs_that_differ_by_a_bias_share_all_ranks(measure: str) -> None:
    run = answers_of("misfire", 3)
    biased = run.with_columns(logit_diff=pl.col("logit_diff") + 0.1)
    board = leaderboard({"a": run, "b": biased.reverse()}, measure=measure)
    assert board.select("rank", "rank_low", "rank_high").rows() == [(1, 1, 2)] * 2


def test_pairs_whose_prompts_expect_different_answers_have_no_margin() -> None:
    run = answers_of("misfire", 3)
    uneven = run.with_columns(
        expected=pl.when(condition="contrast").then(pl.lit("no")).otherwise(pl.lit("yes"))
    )
    found = verdict(uneven)
    assert (found.reads, found.reads_reason) == (None, "no_answer")
    assert evidence(uneven).is_empty()


def test_pairs_as_units_widen_nothing_by_ties() -> None:
    rows = [(*row[:4], i) for i, row in enumerate(_drawn(6))]
    one = estimate(_margins(rows), "choice_accuracy_k")
    two = estimate(_margins(_drawn(6)), "choice_accuracy_k", unit="pair")
    assert (one.value, one.low, one.high) == (two.value, two.low, two.high)
