import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from misfired.stats import bootstrap, study_tests
from reference import families as twin

KEYS = ["family", "model", "category"]


def random_study(seed):
    """Models with and without a cue and reasoning, with unscored prompts, and with few pairs."""
    rng = np.random.default_rng(seed)
    study = {}
    for model in range(int(rng.integers(1, 5))):
        n = int(rng.choice([1, 60, 99, 100, 130, 180]))
        rate, unscored = rng.choice([0.0, 0.05, 0.2, 0.5]), rng.choice([0.0, 0.02, 0.3])

        def flag(right, unscored=unscored):
            return None if rng.random() < unscored else bool(rng.random() < right)

        kinds = ["bbq", *(kind for kind in ("trigger", "cot") if rng.random() < 0.8)]
        category = [str(c) for c in rng.choice(["Age", "Religion", "SES"], n)]
        study[f"m{model}"] = {
            kind: {f"p{i}": (category[i], flag(1 - rate), flag(1 - rate / 3)) for i in range(n)}
            for kind in kinds
        }
        if "trigger" in kinds and rng.random() < 0.5:  # a cue that is put before one side alone
            trigger = study[f"m{model}"]["trigger"]
            study[f"m{model}"]["trigger"] = {k: (c, s, None) for k, (c, s, _) in trigger.items()}
    return study


def as_outcomes(study):
    kinds = {"bbq": ("direct", "none"), "trigger": ("direct", "cue"), "cot": ("cot", "none")}
    rows = [
        (name, category, f"q{name[:2]}", *kinds[kind], model, stereotyped, contrast)
        for model, runs in study.items()
        for kind, run in runs.items()
        for name, (category, stereotyped, contrast) in run.items()
    ]
    names = ["id", "category", "scenario", "protocol", "priming", "model"]
    schema = dict.fromkeys(names, pl.String) | dict.fromkeys(
        ["stereotyped", "contrast"], pl.Boolean
    )
    return pl.DataFrame(rows, schema=schema, orient="row")


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32))
def test_the_papers_families_equal_the_twin(seed):
    study = random_study(seed)
    found = study_tests(as_outcomes(study), options="paper")
    expected = twin.paper_tests(study)
    made = found.filter(pl.col("p_value").is_not_null())
    assert sorted(made.select(KEYS).rows(), key=str) == sorted((t[:3] for t in expected), key=str)
    for family, part in made.group_by("family"):
        tests = {t[1:3]: t[3:] for t in expected if t[0] == family[0]}
        q_values = twin.q_values([p for *_, p in tests.values()])
        for (*counts, p), q, key in zip(tests.values(), q_values, tests, strict=True):
            row = part.filter(pl.col("category").eq_missing(key[1]), model=key[0])
            assert row.select("n_pairs", "n_against", "n_for").row(0) == tuple(counts)
            assert row["p_value"][0] == pytest.approx(p, rel=1e-9)
            assert row["p_adjusted"][0] == pytest.approx(q, rel=1e-9)
            assert (row["p_adjusted"][0] <= 0.05) == (q <= 0.05)
    skipped = found.filter(pl.col("p_value").is_null())
    assert set(skipped["reason"].to_list()) <= {"few_pairs", "no_scored_pair"}


def one_model(n, **sides):
    kinds = {"bbq": [], "trigger": [], "cot": []} | sides
    runs = {
        kind: {f"p{i:03}": ("Age", *flags) for i, flags in enumerate(rows)}
        for kind, rows in kinds.items()
        if rows
    }
    return study_tests(as_outcomes({"m": runs}), options="paper")


def test_reasoning_is_tested_on_both_sides():
    # 25 misfires disappear under reasoning and 2 appear: 2 P(X <= 2), X of 27 fair coins.
    bbq = [(i >= 25, True) for i in range(120)]
    cot = [(i not in {40, 41}, True) for i in range(120)]
    row = one_model(120, bbq=bbq, cot=cot).filter(family="reasoning").row(0, named=True)
    assert (row["alternative"], row["n_for"], row["n_against"]) == ("two-sided", 2, 25)
    assert row["p_value"] == pytest.approx(2 * (1 + 27 + 351) / 2**27)
    assert (row["mar"], row["mar_changed"]) == (pytest.approx(25 / 1.2), pytest.approx(2 / 1.2))
    assert row["statistic"] == pytest.approx(-23 / 1.2)
    assert row["low"] < row["statistic"] < row["high"] < 0


def test_a_test_without_discordant_pairs_counts_in_its_family():
    calm = {"bbq": {f"p{i}": ("Age", True, True) for i in range(120)}}
    wild = {"bbq": {f"p{i}": ("Age", i >= 8, True) for i in range(120)}}
    found = study_tests(as_outcomes({"calm": calm, "wild": wild}), options="paper")
    p, adjusted = found.filter(family="asymmetry").select("p_value", "p_adjusted").to_numpy().T
    np.testing.assert_allclose(p, [1.0, 1 / 2**8])
    np.testing.assert_allclose(adjusted, [1.0, 2 / 2**8])


def test_a_test_of_fewer_than_100_pairs_is_not_made_but_said():
    found = one_model(99, bbq=[(i >= 30, True) for i in range(99)])
    row = found.filter(family="asymmetry").row(0, named=True)
    assert (row["p_value"], row["reason"], row["n_pairs"]) == (None, "few_pairs", 99)
    assert found.filter(family="asymmetry_category")["p_value"][0] == pytest.approx(2.0**-30)


def test_an_unscored_contrast_after_the_cue_is_the_unprimed_one():
    bbq = [(True, True)] * 120
    trigger = [(i >= 10, None if i < 60 else True) for i in range(120)]
    row = one_model(120, bbq=bbq, trigger=trigger).filter(family="priming").row(0, named=True)
    assert (row["n_pairs"], row["n_for"], row["p_value"]) == (120, 10, 2.0**-10)


@pytest.mark.parametrize(("options", "unit", "method"), [
    ("default", "scenario", None), ("paper", "pair", "percentile"),
])  # fmt: skip
def test_intervals_are_those_of_the_bootstrap(options, unit, method):
    outcomes = as_outcomes({"m": random_study(5)["m0"]})
    found = study_tests(outcomes, options=options).filter(family="asymmetry").row(0, named=True)
    plain = outcomes.filter(protocol="direct", priming="none").sort("id")
    expected = bootstrap(plain, unit=unit, method=method, measures=["mar_joint"])["mar_joint"]
    assert (found["mar"], found["low"], found["high"]) == (
        pytest.approx(expected.value), expected.low, expected.high
    )  # fmt: skip
