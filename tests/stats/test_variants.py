import numpy as np
import polars as pl
import pytest

from misfired.errors import DataError
from misfired.report.stats import variants_table
from misfired.report.table import text
from misfired.stats import bootstrap, compare_variants, summarize
from misfired.stats.comparison import VARIANTS_SCHEMA
from misfired.stats.measures import MEASURES
from stats.tables import pick

N_SCENARIOS = 40


def variant(seed, misfire, *, n_pairs=8, scenarios=range(N_SCENARIOS), hard=0.0):
    """Outcomes; each odd scenario misfires more often by `hard`, in every variant alike."""
    rng = np.random.default_rng(seed)
    scenario = np.repeat(np.array(scenarios), n_pairs)
    rate = misfire + hard * (scenario % 2)
    return pl.DataFrame(
        {
            "id": [f"p{i}" for i in range(len(scenario))],
            "category": np.where(scenario % 4 < 2, "age", "ses"),
            "scenario": [f"q{g:03}" for g in scenario],
            "priming": "none",
            "stereotyped": rng.random(len(scenario)) >= rate,
            "contrast": rng.random(len(scenario)) < 0.9,
        }
    )


def test_the_values_are_those_of_each_variant_on_the_shared_scenarios():
    first = variant(0, 0.2)
    second = variant(1, 0.1, n_pairs=5, scenarios=range(10, 60))
    found = compare_variants(first, second)
    assert found.schema == VARIANTS_SCHEMA
    assert found["measure"].to_list() == [*MEASURES] * 3
    shared = [f"q{g:03}" for g in range(10, 40)]
    for name in ("overall", "age", "ses"):
        row = pick(found, slice=name, measure="mar")
        values = [
            pick(summarize(f.filter(pl.col("scenario").is_in(shared))), slice=name, measure="mar")
            for f in (first, second)
        ]
        assert [row["first"], row["second"]] == [v["value"] for v in values]
        assert row["value"] == pytest.approx(row["first"] - row["second"])
        assert [row["n_pairs_first"], row["n_pairs_second"]] == [v["n_pairs"] for v in values]
    assert pick(found, slice="overall", measure="mar")["n_scenarios"] == 30


def test_pairing_by_scenario_takes_out_what_both_share():
    first, second = variant(0, 0.05, hard=0.6), variant(1, 0.05, hard=0.6)
    row = pick(compare_variants(first, second), slice="overall", measure="mar")
    alone = [
        bootstrap(f, method="normal", measures=["mar"])["mar"].standard_error
        for f in (first, second)
    ]
    independent = 2 * 1.96 * np.hypot(*alone)
    assert row["high"] - row["low"] < 0.6 * independent
    assert row["low"] < 0 < row["high"]


def test_the_interval_is_the_bootstrap_of_scenarios():
    first, second = variant(0, 0.2), variant(1, 0.1, n_pairs=5)
    row = pick(
        compare_variants(first, second, method="percentile", n_resamples=20_000),
        slice="overall", measure="mar",
    )  # fmt: skip
    counts = np.zeros((N_SCENARIOS, 2, 2))
    for side, frame in enumerate((first, second)):
        right = frame.filter("contrast")
        place = right["scenario"].str.slice(1).cast(pl.Int64).to_numpy()
        np.add.at(counts, (place, side, (~right["stereotyped"]).cast(pl.Int64).to_numpy()), 1)
    drawn = np.random.default_rng(3).integers(0, N_SCENARIOS, (20_000, N_SCENARIOS))
    sums = counts[drawn].sum(1)
    rates = 100 * sums[..., 1] / sums.sum(-1)
    values = rates[:, 0] - rates[:, 1]
    # Four standard errors of the difference of two sampled 2.5 % quantiles.
    slack = 4 * np.sqrt(2) * 2.67 * values.std() / np.sqrt(20_000)
    np.testing.assert_allclose(
        [row["low"], row["high"]], np.quantile(values, [0.025, 0.975]), atol=slack
    )


def test_equal_variants_do_not_differ():
    frame = variant(0, 0.2)
    row = pick(compare_variants(frame, frame), slice="overall", measure="mar")
    assert (row["value"], row["low"], row["reason"]) == (0.0, None, "constant")


def test_a_variant_without_a_scored_pair_has_no_value():
    blind = variant(1, 0.1).with_columns(contrast=pl.lit(None, pl.Boolean))
    row = pick(compare_variants(variant(0, 0.2), blind), slice="overall", measure="mar")
    assert (row["second"], row["value"], row["reason"]) == (None, None, "no_scored_pair")
    assert (row["n_pairs_first"] > 0, row["n_pairs_second"]) == (True, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("scenario"), "second: column 'scenario' is missing"),
        (lambda f: f.drop("contrast"), "second: column 'contrast' is missing"),
        (lambda f: f.with_columns(scenario=pl.lit("x")), "second: no scenario in common"),
        (lambda f: f.with_columns(priming=pl.lit("cue")), "second: no priming in common"),
    ],
)
def test_bad_variants_are_named(change, message):
    with pytest.raises(DataError, match=message):
        compare_variants(variant(0, 0.1), change(variant(1, 0.1)))


def test_the_table_shows_both_and_their_difference_in_80_columns():
    found = compare_variants(variant(0, 0.2), variant(1, 0.1))
    lines = text(variants_table(found, ("paper", "strict"))).splitlines()
    row = pick(found, slice="overall", measure="mar")
    shown = [f"{row[key]:.1f}" for key in ("first", "second")]
    assert lines[2].split()[:5] == ["overall", "none", "40", *shown]
    assert max(map(len, lines)) <= 80
