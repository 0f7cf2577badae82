"""The names of users are their own: a total is known by its column, never by what it is called."""

import json

import polars as pl
import pytest

from misfired.errors import DataError
from misfired.report.stats import (
    comparison_table,
    publication_table,
    summary_tables,
    variants_table,
)
from misfired.report.table import latex, text
from misfired.runs.analyses import analyse
from misfired.stats import compare, compare_variants, evidence, leaderboard, study_tests, summarize

#: Names that are words of ours, look like numbers or markup, or cannot be seen.
NAMES = ("overall", "none", "average", "unlabelled", "total", "all", "1e3", "NaN", " x", "a|b")
MARKUP = (
    "[bold]x[/bold]",
    "Tea [/hot]",
    "$x^2_a&%#{}~\\",
    "[0]",
    "*",
    "-",
    "a\nb",
    "\x1b[31m",
    "\u202e",
)


def outcomes(names=NAMES, priming="none", wrong=5) -> pl.DataFrame:
    """40 pairs of the first name, all right; 8 of each other; every fifth of those misfires."""
    rows = [(name, i) for k, name in enumerate(names) for i in range(8 if k else 40)]
    return pl.DataFrame(
        {
            "id": [f"{names.index(name)}-{i}" for name, i in rows],
            "category": [name for name, _ in rows],
            "scenario": [f"{names.index(name)}-{i}" for name, i in rows],
            "priming": priming,
            "stereotyped": [name == names[0] or bool(i % wrong) for name, i in rows],
            "contrast": True,
        }
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_total_counts_all_pairs_whatever_a_category_is_called(name):
    frame = outcomes((name, "Tea"))
    found = summarize(frame)
    total = found.filter(total=True, measure="mar").row(0, named=True)
    own = found.filter(total=False, slice=name, measure="mar").row(0, named=True)
    assert (total["n_pairs"], total["value"]) == (48, pytest.approx(100 * 2 / 48))
    assert (own["n_pairs"], own["value"]) == (40, 0.0)
    renamed = summarize(frame.with_columns(category=pl.col("category").replace(name, "Milk")))
    numbers = ["total", "measure", "value", "low", "high"]
    assert (
        found.filter(total=True).select(numbers).equals(renamed.filter(total=True).select(numbers))
    )


def test_every_table_has_one_line_for_the_total_and_one_for_each_name():
    first, second = outcomes(), outcomes(wrong=3)
    compared = compare(first, second)
    variants = compare_variants(first, second)
    tables = [
        *summary_tables(summarize(first)),
        publication_table(summarize(first)),
        comparison_table(compared, "a - b"),
        variants_table(variants, ("a", "b")),
    ]
    n_pairs = len(first)
    for table in tables:
        names = [row[0] for row in table.rows]
        assert len(names) == len(set(names)) == len(NAMES) + 1
        assert names[0] == "overall"
        assert "'overall'" in names
        assert str(n_pairs) in map(str, table.rows[0])
    for frame in (compared, variants):
        assert frame.filter(total=True).group_by("measure").len()["len"].max() == 1


def test_names_stay_as_they_are_in_rows_and_act_nowhere_in_text():
    names = (*NAMES, *MARKUP)
    found = summarize(outcomes(names))
    back = pl.read_csv(found.write_csv().encode(), schema_overrides={"slice": pl.String})
    for frame in (found, back):
        assert set(frame.filter(~pl.col("total"))["slice"].fill_null("")) == set(names)
    (table,) = summary_tables(found)
    shown = text(table)
    assert all(mark.isprintable() or mark == "\n" for mark in shown)
    for name in ("Tea [/hot]", "[bold]x[/bold]", "a\\nb", "\\x1b[31m", "\\u202e"):
        assert name in shown
    lines = latex(publication_table(found)).splitlines()
    assert (
        "\\$x\\textasciicircum{}2\\_a\\&\\%\\#\\{\\}\\textasciitilde{}\\textbackslash{} & none"
        in ("".join(lines))
    )
    assert not any(line.startswith(("[", "*")) for line in lines)


def test_the_verdict_and_the_margins_are_of_all_pairs():
    rows = [(f"p{i}", side) for i in range(20) for side in ("stereotyped", "contrast")]
    answers = pl.DataFrame(rows, schema=["id", "condition"], orient="row").with_columns(
        category=pl.when(pl.col("id") == "p0").then(pl.lit("overall")).otherwise(pl.lit("Tea")),
        scenario="id", priming=pl.lit("none"), expected=pl.lit("yes"), answer=pl.lit("yes"),
        outcome=pl.lit("correct"), reason=pl.lit(None, pl.String), logit_diff=pl.lit(1.0),
    )  # fmt: skip
    shift = evidence(answers).filter(measure="margin_shift")
    assert shift.select("slice", "total", "n_pairs").rows() == [
        ("overall", True, 20), ("Tea", False, 19), ("overall", False, 1),
    ]  # fmt: skip
    *_, last = analyse(answers).summary_rows(summarize(outcomes()))
    assert (last["total"], last["measure"]) == (True, "verdict")
    json.dumps(last)


def test_primings_and_protocols_may_hold_a_bar():
    both = pl.concat([outcomes(), outcomes(priming="a|b", wrong=3)])
    board = leaderboard({"x|y": both, "y": both}, priming="a|b")
    assert board["run"].to_list() == ["x|y", "y"]
    assert (
        compare(both, both).filter(total=True, priming="a|b - none")["value"].drop_nulls().sum()
        == 0
    )
    tests = study_tests(outcomes().with_columns(model=pl.lit("overall"), protocol=pl.lit("x|y")))
    assert tests.filter(family="asymmetry")["category"].to_list() == [None]
    assert set(tests.filter(family="asymmetry_category")["category"]) == set(NAMES)


def test_a_priming_may_not_have_the_name_of_a_change():
    frames = [outcomes(priming=name) for name in ("none", "cue", "cue - none")]
    alone = summarize(pl.concat([frames[0], frames[2]]))
    assert alone.filter(total=True, priming="cue - none", measure="mar")["n_pairs"][0] == len(
        frames[0]
    )
    for function in (summarize, lambda frame: compare(frame, frame)):
        with pytest.raises(
            DataError, match="priming must not have the name of a change by another"
        ):
            function(pl.concat(frames))


def test_the_line_of_the_total_and_its_rows(tmp_path, misfired):
    parts = [("overall", 10, False), ("Tea", 90, True)]
    frame = pl.concat(
        pl.DataFrame({"id": [f"{name}{i}" for i in range(n)], "scenario": [f"{name}{i}" for i in range(n)]})
        .with_columns(category=pl.lit(name), priming=pl.lit("none"), stereotyped=right, contrast=True)
        for name, n, right in parts
    )  # fmt: skip
    frame.write_parquet(tmp_path / "answers.parquet")
    lines = misfired("stats", tmp_path / "answers.parquet").out.splitlines()
    (total,) = (line.split() for line in lines if line.startswith("overall "))
    assert total[1:3] == ["100", "10.0"]
    (own,) = (line.split() for line in lines if line.startswith("'overall' "))
    assert (own[1], own[5]) == ("10", "100.0*")
    rows = pl.read_csv(misfired("stats", tmp_path / "answers.parquet", "--csv").out.encode())
    mar = rows.filter(measure="mar", slice="overall").select("total", "value", "n_pairs").rows()
    assert mar == [(True, 10.0, 100), (False, 100.0, 10)]
