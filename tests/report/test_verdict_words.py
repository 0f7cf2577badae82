"""What the screens say of models that do not read: no bare rate, and no dash without a reason."""

import re

import polars as pl
import pytest

from misfired.report.stats import (
    analyses_tables,
    comparison_table,
    contrasts_table,
    expected_table,
    flips_table,
    summary_tables,
)
from misfired.report.table import text
from misfired.report.verdict import does_not_read, verdict_sentences
from misfired.runs.analyses import analyse
from misfired.stats import (
    by_expected,
    compare,
    flips,
    priming_contrasts,
    signal_detection,
    summarize,
    verdict,
)
from misfired.stats.outcomes import build_outcomes
from stats.answerers import ANSWERERS, answers_of


def _with_cue(answerer: str) -> pl.DataFrame:
    bare = answers_of(answerer, 3, n_scenarios=20, size=3)
    cue = bare.filter(condition="stereotyped").with_columns(priming=pl.lit("cue"))
    return pl.concat([bare, cue])


def _screen(answers: pl.DataFrame) -> str:
    found = verdict(answers)
    before = does_not_read(found)
    tables = summary_tables(summarize(build_outcomes(answers), n_resamples=200), before)
    tables += analyses_tables(analyse(answers, n_resamples=200), before)
    return "\n".join([*verdict_sentences(found), *map(text, tables)])


@pytest.mark.parametrize("answerer", ["always_no", "always_yes", "random"])
def test_no_rate_of_a_model_that_does_not_read_stands_bare(answerer: str) -> None:
    for answers in (_with_cue(answerer), _with_cue(answerer).drop("logit_diff")):
        shown = _screen(answers)
        assert shown.startswith(("Does not read: ", "Not shown to read: "))
        for line in shown.splitlines():
            if "priming: " in line:
                assert line.startswith(("does not read, ", "not shown to read, ")), line
            # The mirror of a constant is 0 too, and has its star.
            assert not re.search(r"\s(0\.0|100\.0)\s+\[", line), line


@pytest.mark.parametrize(
    ("answerer", "words"),
    [
        ("always_no", "Answers no to 100 % of prompts, true or not: MAR has no value."),
        ("always_yes", "Answers yes to 100 % of prompts, true or not: MAR 0.0 says nothing."),
        ("misfire", "Misfires: contrast prompts are right more often, by "),
        ("reader_plus", "MAR 0.0 says nothing; read the measures of the margin."),
    ],
)
def test_the_verdict_says_why(answerer: str, words: str) -> None:
    assert words in " ".join(verdict_sentences(verdict(answers_of(answerer, 0))))


def test_a_yes_that_every_prompt_expects_is_not_called_a_leaning() -> None:
    found = verdict(answers_of("always_yes", 0, twins=False))
    shown = " ".join(verdict_sentences(found))
    assert "Whether it reads is unknown: no prompt expects no." in shown
    assert "a constant yes would look the same" in shown


@pytest.mark.parametrize("answerer", ANSWERERS)
def test_every_dash_has_its_reason(answerer: str) -> None:
    answers = _with_cue(answerer)
    outcomes = build_outcomes(answers)
    other = build_outcomes(_with_cue("random"))
    few = {"n_resamples": 200}
    tables = summary_tables(summarize(outcomes, **few))
    tables += analyses_tables(analyse(answers, **few))
    tables.append(comparison_table(compare(outcomes, other, **few), "one - other"))
    tables.append(comparison_table(compare(outcomes, outcomes, **few), "one - one"))
    tables.append(
        contrasts_table(priming_contrasts(outcomes, control="none", primings=["cue"], **few))
    )
    tables.append(flips_table(flips(answers.drop("logit_diff"), answers, **few)))
    for table in tables:
        dashes = {
            name
            for row in table.rows
            for name, cell in zip(table.header, row, strict=True)
            if cell == "-"
        }
        told = " ".join(table.notes).replace("\n", " ")
        assert not dashes or any(note.startswith("- ") for note in table.notes), text(table)
        assert "p" not in dashes or re.search(r"\bp \(", told), text(table)


def test_mar_adjusted_is_shown_where_both_criteria_can_be_placed() -> None:
    def adjusted(answerer: str) -> str:
        answers = answers_of(answerer, 1)
        rows = signal_detection(answers, n_resamples=200)
        return str(expected_table(by_expected(answers, n_resamples=200), rows).rows[0][5])

    assert adjusted("always_yes") == "-"
    assert adjusted("random") != "-"


def test_flips_count_both_directions() -> None:
    one = answers_of("misfire", 0, n_scenarios=10, size=2)
    other = one.with_columns(
        answer=pl.when(condition="contrast").then(pl.lit("no")).otherwise("answer"),
        logit_diff=pl.col("logit_diff") - 1.5,
    )
    rows = {row["measure"]: row for row in flips(one, other).iter_rows(named=True)}
    n_yes = len(one.filter(condition="contrast", answer="yes"))
    assert (rows["n_yes_to_no"]["value"], rows["n_no_to_yes"]["value"]) == (n_yes, 0)
    assert rows["margin_difference"]["value"] == pytest.approx(1.5)


def test_a_constant_of_few_scenarios_is_not_said_to_be_what_every_prompt_expects():
    few = answers_of("always_no", 3, n_scenarios=2, size=3)
    assert set(few["expected"]) == {"yes", "no"}
    assert verdict(few).leans is None
    said = " ".join(verdict_sentences(verdict(few)))
    assert "Answers no to 100 % of prompts, true or not" in said
    assert "every prompt expects" not in said
