"""A priming design with a known answer: the cue moves MAR as it was planted, the neutral sentence not."""

import json
from statistics import NormalDist

import polars as pl
import pytest

from misfired import build_outcomes, read_answers, run, summarize, write_suite
from misfired.stats import priming_contrasts, signal_detection
from misfired.suites.organism import build_organism_suite, card, models

pytestmark = pytest.mark.model

DESIGNED = card()["organisms"]["instruct"]["designed_mar"]
PRIMINGS = ["cue", "cue_both", "neutral", "neutral_both"]


@pytest.fixture(scope="module")
def found():
    suite = build_organism_suite().filter(expected_stereotyped="yes")
    return run(
        models()["instruct"],
        suite,
        protocol="logit-bare",
        priming=PRIMINGS,
        n_resamples=2000,
        n_threads=1,
    )


@pytest.fixture(scope="module")
def contrasts(found):
    outcomes = build_outcomes(found.scores.answers)
    return priming_contrasts(outcomes, primings=["cue_both"], n_resamples=2000)


def row_of(frame, **where):
    return frame.row(
        by_predicate=pl.all_horizontal(*(pl.col(k) == v for k, v in where.items())), named=True
    )


@pytest.mark.parametrize("priming", ["none", *PRIMINGS])
def test_mar_under_each_priming_is_the_planted_one(found, priming):
    planted = DESIGNED[priming.removesuffix("_both")]
    row = row_of(found.summary, slice="overall", measure="mar", priming=priming)
    assert row["low"] <= planted <= row["high"]
    assert abs(row["value"] - planted) < 1
    assert row["n_unscored"] == 0


def test_the_interaction_covers_the_design(contrasts):
    row = row_of(contrasts, contrast="interaction")
    planted = DESIGNED["cue"] - DESIGNED["neutral"]
    assert row["priming"] == "cue_both - neutral_both"
    assert row["low"] <= planted <= row["high"]
    assert row["low"] > 0
    assert row["p_adjusted"] < 0.01


def test_the_cue_moves_the_stereotyped_side_alone(contrasts):
    moved = row_of(contrasts, contrast="cue", measure="accuracy_stereotyped")
    assert moved["high"] < 0
    still = row_of(contrasts, contrast="cue", measure="accuracy_contrast")
    # One contrast prompt of 512 gives way.
    assert abs(still["value"]) <= 100 / 512
    assert still["p_value"] == 1


def test_the_neutral_sentence_moves_nothing(found):
    outcomes = build_outcomes(found.scores.answers)
    change = priming_contrasts(
        outcomes, control="none", primings=["neutral", "neutral_both"], n_resamples=2000
    ).filter(pl.col("contrast") != "side")
    assert set(change["value"]) == {0}
    assert change["p_value"].min() == 1


@pytest.mark.ci
def test_twins_through_the_command(misfired, tmp_path):
    """MAR on the yes half is the planted one, its mirror on the no half is 0, detection agrees."""
    suite, out = tmp_path / "organism.parquet", tmp_path / "run"
    write_suite(build_organism_suite(twins=True), suite)
    done = misfired(
        *("run", models()["instruct"], "--suite", suite, "-o", out, "--priming", "none"),
        *("--protocol", "logit-bare", "--n-resamples", 500, "--n-threads", 1, "--json"),
    )
    assert done.code == 0
    rows = pl.DataFrame(json.loads(done.out)["summary"], infer_schema_length=None)
    mar = row_of(rows, slice="overall", measure="mar")
    assert (mar["value"], mar["n_pairs"]) == (DESIGNED["none"], 512)
    answers = read_answers(out)
    twins = summarize(build_outcomes(answers, twins=True), n_resamples=50)
    mirror = row_of(twins, slice="overall", measure="mar")
    assert (mirror["value"], mirror["n_pairs"]) == (0, 512)
    detection = signal_detection(answers, n_resamples=500)
    stereotyped, contrast = (
        dict(detection.filter(condition=side).select("measure", "value").iter_rows())
        for side in ("stereotyped", "contrast")
    )
    # 81.25 % hits and no false alarms on one side, all right on the other: the leaning is to no.
    hits, false_alarms = (416 + 0.5) / 513, 0.5 / 513
    z = NormalDist().inv_cdf
    assert stereotyped["d_prime"] == pytest.approx(z(hits) - z(false_alarms), abs=1e-6)
    assert stereotyped["criterion"] == pytest.approx(-(z(hits) + z(false_alarms)) / 2, abs=1e-6)
    assert contrast["criterion"] == pytest.approx(0, abs=1e-6)
