import json

import polars as pl
import pytest

import misfired
from misfired.errors import ArgumentError, DataError
from misfired.report.stats import publication_table, summary_tables
from misfired.report.table import latex
from misfired.stats import check_published, summarize
from misfired.stats.measures import MEASURES
from misfired.stats.summary import SUMMARY_SCHEMA


def outcomes(n_scenarios=6, n_pairs=5, primings=("none", "cue")) -> pl.DataFrame:
    rows = []
    for priming in primings:
        for scenario in range(n_scenarios):
            category = "age" if scenario % 2 else "religion"
            for pair in range(n_pairs):
                index = scenario * n_pairs + pair
                wrong = index % 7 == 0 or (priming == "cue" and index % 3 == 0)
                rows.append(
                    {
                        "id": f"{category}_q{scenario}_p{pair}",
                        "category": category,
                        "scenario": f"{category}_q{scenario}",
                        "priming": priming,
                        "stereotyped": not wrong,
                        "contrast": index % 11 != 0,
                    }
                )
    return pl.DataFrame(rows)


def value(summary, measure, slice_="overall", priming="none"):
    return summary.row(
        by_predicate=(pl.col("slice") == slice_)
        & (pl.col("priming") == priming)
        & (pl.col("measure") == measure),
        named=True,
    )


def test_rows_come_in_a_fixed_order():
    summary = summarize(outcomes())
    assert summary.schema == SUMMARY_SCHEMA
    slices = summary["slice"].unique(maintain_order=True).to_list()
    assert slices == ["overall", "age", "religion"]
    overall = summary.filter(pl.col("slice") == "overall")
    primings = overall["priming"].unique(maintain_order=True).to_list()
    assert primings == ["none", "cue", "cue - none"]
    measures = overall.filter(pl.col("priming") == "none")["measure"].to_list()
    assert measures == ["n", "a", "b", "c", "d", *MEASURES]


def test_the_order_of_rows_does_not_matter():
    frame = outcomes()
    assert summarize(frame).equals(summarize(frame.sample(fraction=1, shuffle=True, seed=1)))


def test_values_are_the_formulas():
    # 30 pairs; stereotyped wrong at 0 7 14 21 28, contrast wrong at 0 11 22.
    summary = summarize(outcomes())
    counts = [value(summary, name)["value"] for name in ("n", "a", "b", "c", "d")]
    assert counts == [30, 23, 2, 4, 1]
    assert value(summary, "mar")["value"] == pytest.approx(100 * 4 / 27)
    row = value(summary, "mar")
    assert row["low"] <= row["value"] <= row["high"]
    assert (row["method"], row["unit"], row["n_scenarios"]) == ("clopper_pearson", "scenario", 6)


def test_the_change_is_primed_minus_unprimed_on_the_same_pairs():
    frame = outcomes().with_columns(
        stereotyped=pl.when((pl.col("id") == "religion_q0_p0") & (pl.col("priming") == "cue"))
        .then(None)
        .otherwise("stereotyped")
    )
    summary = summarize(frame)
    change = value(summary, "mar_change", priming="cue - none")
    both = frame.filter(pl.col("id") != "religion_q0_p0")
    alone = summarize(both)
    expected = value(alone, "mar", priming="cue")["value"] - value(alone, "mar")["value"]
    assert change["value"] == pytest.approx(expected)
    assert (change["n_pairs"], change["n_unscored"]) == (29, 1)
    assert change["low"] <= change["value"] <= change["high"]


def test_a_pair_without_a_row_counts_as_unscored():
    frame = outcomes().filter((pl.col("priming") == "none") | (pl.col("category") == "age"))
    summary = summarize(frame)
    assert value(summary, "mar", priming="cue")["n_unscored"] == 15
    row = value(summary, "mar", "religion", "cue")
    assert (row["value"], row["low"], row["reason"]) == (None, None, "no_scored_pair")


def test_a_zero_denominator_is_null_with_its_reason():
    frame = outcomes(primings=("none",)).with_columns(contrast=pl.lit(value=False))
    summary = summarize(frame)
    for measure, reason in (("mar", "no_contrast_correct"), ("br", None)):
        row = value(summary, measure)
        assert row["reason"] == reason
        assert (row["value"] is None) == (reason is not None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("contrast"), "column 'contrast' is missing"),
        (
            lambda f: f.with_columns(contrast=pl.lit("yes")),
            "'contrast' must be Boolean, got String",
        ),
        (
            lambda f: f.with_columns(scenario=pl.lit(None, pl.String)),
            r"scenario must be given in each row, got 60 of 60 without \(first row 1\)",
        ),
        (
            lambda f: pl.concat([f, f.head(1)]),
            "'religion_q0_p0', priming 'none': more than one row",
        ),
        (lambda f: f.head(0), "outcomes must have at least 1 row, got 0"),
        (
            lambda f: f.with_columns(
                category=pl.when(pl.col("priming") == "cue").then(pl.lit("x")).otherwise("category")
            ),
            "more than one category or scenario",
        ),
    ],
)
def test_a_bad_frame_is_refused_with_row_and_column(change, message):
    with pytest.raises(DataError, match=message):
        summarize(change(outcomes()))


def test_a_seed_out_of_range_is_refused():
    with pytest.raises(ArgumentError, match="rng must be from 0 to 18446744073709551615, got -1"):
        summarize(outcomes(), rng=-1)


def test_tables_show_every_slice_and_priming():
    summary = summarize(outcomes())
    tables = summary_tables(summary)
    titles = ["priming: none", "priming: cue", "change by priming: cue - none"]
    assert [table.title for table in tables] == titles
    assert [len(table.rows) for table in tables] == [3, 3, 3]
    tabular = latex(publication_table(summary))
    assert tabular.count("\\\\") == 7
    assert "religion & cue & 15" in tabular


def test_published_rows_are_consistent_but_for_the_human_one(test_data):
    checked = check_published(pl.read_csv(test_data / "published_mar.csv"))
    assert checked["consistent"].to_list() == [True] * 25 + [False]
    flagged = checked.filter(~pl.col("consistent")).row(0, named=True)
    assert flagged["model"] == "Human"
    assert flagged["reason"].startswith("br 0.0 is printed, but mar 0.0")


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ((None, 1.0, 90.0, 80.0), "a figure is missing"),
        # 45 + 45 + 45 pairs of 100 have one or both answers right.
        ((50.0, 50.0, 90.0, 90.0), "mar 50.0 and accuracies 90.0, 90.0 leave -35.0 % of pairs with both wrong"),
        ((100.0, 1.0, 0.0, 50.0), "br has no value at an accuracy_stereotyped of 0"),
        ((50.0, 40.0, 75.0, 90.0), "mar 50.0 and accuracies 75.0, 90.0 leave -20.0 % of pairs with both wrong"),
        ((50.0, 10.0, 50.0, 90.0), None),
    ],
)  # fmt: skip
def test_published_figures_that_no_pairs_can_have_are_told(figures, reason):
    names = ["mar", "br", "accuracy_stereotyped", "accuracy_contrast"]
    row = check_published(pl.DataFrame([figures], names, orient="row")).row(0, named=True)
    assert row["reason"] == reason
    assert row["consistent"] is (None if reason and "leave" not in reason else not reason)


def test_the_package_offers_it():
    assert misfired.summarize is summarize
    assert json.loads(summarize(outcomes()).write_json())[0]["measure"] == "n"
