"""A leaning to yes or no is no circuit: it used to be reported as one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from misfired.errors import DataError
from misfired.localise import Localisation, LocaliseOptions, localise
from misfired.localise.answers import Answers, measure_changes
from misfired.localise.cases import Case
from misfired.localise.probes.heads import head_map
from misfired.localise.probes.lens import lens_figures
from misfired.localise.probes.patch import recovery_curves
from misfired.localise.probes.substitution import substitution_figures
from misfired.report.localise import localisation_report
from misfired.runs.pipeline import run

OPTIONS = LocaliseOptions(n_resamples=200)
N_PAIRS, LAYERS = 24, np.arange(4)


def rows_of(margin: Callable[[str, str], np.ndarray], **columns: object) -> pl.DataFrame:
    """Rows of all pairs and prompts; `margin` gives the margin of yes by story and question."""
    rng = np.random.default_rng(0)
    frames = []
    for i in range(N_PAIRS):
        for question, sign in (("true", 1), ("false", -1)):
            for condition in ("stereotyped", "contrast"):
                yes = margin(condition, question) + rng.normal(0, 0.1, len(LAYERS))
                keys = {
                    "model": "instruct",
                    "id": f"p{i}",
                    "category": "A",
                    "scenario": f"s{i // 2}",
                }
                keys |= {"kind": "failure", "condition": condition, "question": question}
                frames.append(
                    pl.DataFrame({**keys, **columns, "layer": LAYERS, "margin": sign * yes})
                )
    return pl.concat(frames)


def leaning(condition: str, question: str) -> np.ndarray:
    """Leans to yes in the middle and to no at the end of stereotyped stories; reads a little."""
    lean = np.array([0.0, 9.0, 4.0, -9.0 if condition == "stereotyped" else 9.0])
    return lean + np.array([0.0, 1.0, 2.0, 4.0]) * (0.5 if question == "true" else -0.5)


def misfire(condition: str, question: str) -> np.ndarray:
    """Reads in the middle; in stereotyped stories the true question is answered no in the end."""
    if question == "false":
        return np.array([0.0, -3.0, -6.0, -9.0])
    return np.array([0.0, 3.0, 6.0, -5.0 if condition == "stereotyped" else 9.0])


def lens_figure(rows: pl.DataFrame, measure: str) -> float | None:
    return lens_figures(rows, OPTIONS).filter(measure=measure)["value"][0]


def test_curves_of_a_leaning_suppress_nothing() -> None:
    rows = rows_of(leaning)
    alone = rows.filter(question="true")
    # The margin of the right answer alone shows a circuit, as it would be reported without twins.
    assert lens_figure(alone, "rises_then_falls") == 100
    assert lens_figure(alone, "onset_of_suppression") == 3
    assert lens_figure(rows, "rises_then_falls") == 0
    assert lens_figure(rows, "onset_of_suppression") is None
    found = lens_figures(rows, OPTIONS).filter(measure="onset_of_suppression")
    assert found["reason"].to_list() == ["no_suppression"]


def test_curves_of_a_misfire_still_do() -> None:
    rows = rows_of(misfire)
    assert lens_figure(rows, "rises_then_falls") == 100
    assert lens_figure(rows, "onset_of_suppression") == 3


def test_heads_that_lean_are_not_specific() -> None:
    rows = rows_of(lambda _condition, _question: np.zeros(len(LAYERS)), method="zero", noise=0.0)
    yes = pl.when(question="true").then(1.0).otherwise(-1.0)
    own = pl.col("condition") == "stereotyped"
    # Layer 1 gives back a yes to both questions about a stereotyped story, layer 2 to the true one.
    lean = pl.when(own & (pl.col("layer") == 1)).then(5 * yes).otherwise(0.0)
    real = pl.when(own & (pl.col("layer") == 2), question="true").then(5.0).otherwise(0.0)
    before = pl.lit(4.0)
    table = head_map(
        rows.with_columns(
            head=0, before=before, after=before + lean + real + 0.01 * pl.col("margin")
        ),
        OPTIONS,
    ).sort("layer")
    assert table["passes"].to_list() == [False, False, True, False]
    np.testing.assert_allclose(table["true_question"], [0, 5, 5, 0], atol=0.01)
    np.testing.assert_allclose(table["false_question"], [0, 5, 0, 0], atol=0.01)
    assert table["specificity"][1] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("seed", [3, 4])
def test_a_head_of_many_passes_whatever_flips_are_drawn(seed: int) -> None:
    # One head of 400 that helps in each of 15 scenarios: p is 2 ** -15, and q 0.012.
    n, heads = 15, np.arange(400)
    rows = pl.concat(
        pl.DataFrame(
            {
                "model": "instruct", "id": f"p{i}", "scenario": f"s{i}", "kind": "failure",
                "condition": condition, "question": question, "method": "zero", "noise": 0.0,
                "before": 1.0, "layer": 0, "head": heads,
                "after": 1.0 + 5.0 * ((heads == 7) & (condition == "stereotyped")),
            }
        )
        for i in range(n)
        for condition in ("stereotyped", "contrast")
        for question in ("true", "false")
    )  # fmt: skip
    found = head_map(rows, LocaliseOptions(n_resamples=100, seed=seed))
    assert found.filter("passes")["head"].to_list() == [7]


def test_a_patch_that_turns_every_answer_recovers_no_evidence() -> None:
    yes = pl.when(question="true").then(1.0).otherwise(-1.0)
    rows = rows_of(lambda _condition, _question: np.zeros(len(LAYERS)))
    rows = rows.filter(condition="stereotyped").with_columns(
        site=pl.lit("residual"), target=pl.lit("last"), direction=pl.lit("denoising"),
        before=-4 * yes + 0.5, donor=4 * yes + 0.5, patched=4 * yes + pl.col("margin"),
    )  # fmt: skip
    leaning = recovery_curves(rows, OPTIONS)
    assert leaning["value"].null_count() == len(leaning)
    assert set(leaning["reason"]) == {"no_difference"}
    assert set(leaning["flipped"]) == {0.0}
    alone = recovery_curves(rows.filter(question="true"), OPTIONS)
    assert alone["value"].min() > 0.9
    assert set(alone["flipped"]) == {100.0}


@pytest.mark.parametrize(("after_false", "expected"), [(-1.0, 0.0), (1.0, 100.0)])
def test_substitution_flips_only_beside_a_right_no(after_false: float, expected: float) -> None:
    rows = rows_of(lambda _condition, _question: np.zeros(len(LAYERS)), best_layer=0)
    rows = rows.filter(condition="stereotyped").with_columns(
        after=pl.when(question="true").then(1.0).otherwise(after_false)
    )
    found = substitution_figures(rows, OPTIONS).filter(measure="flipped")
    assert found["value"].to_list() == [expected]
    assert found["low"][0] < found["high"][0]


def changes(make_case: Callable[..., Case], after: np.ndarray) -> dict[str, dict[str, object]]:
    cases = [make_case(seed) for seed in range(N_PAIRS)]
    # Half of the pairs misfire; the false questions are answered rightly.
    before = np.full((N_PAIRS, 2, 2), 3.0)
    before[::2, 0, 0] = -3.0
    found = measure_changes(Answers(cases, before), Answers(cases, before + after), OPTIONS)
    return {row["measure"]: row for row in found}


def test_a_cure_that_says_yes_to_everything_recovers_nothing(
    make_case: Callable[..., Case],
) -> None:
    lean = np.zeros((N_PAIRS, 2, 2))
    lean[:, 0], lean[:, 1] = 5, -5
    found = changes(make_case, lean)
    assert (found["mar"]["before"], found["mar"]["after"]) == (50, 0)
    assert (found["yes_rate"]["before"], found["yes_rate"]["after"]) == (37.5, 100)
    assert found["recovery_rate"]["after"] == 0
    assert found["kept"]["after"] == pytest.approx(100 * 36 / 84)
    assert found["choice_accuracy_s"]["before"] == found["choice_accuracy_s"]["after"] == 75


def test_a_cure_that_leaves_the_false_questions_recovers(make_case: Callable[..., Case]) -> None:
    cure = np.zeros((N_PAIRS, 2, 2))
    cure[:, 0, 0] = 5
    found = changes(make_case, cure)
    assert found["recovery_rate"]["after"] == 100
    assert found["kept"]["after"] == 100
    assert found["recovery_rate"]["low"] < 100
    assert (found["choice_accuracy_s"]["before"], found["choice_accuracy_s"]["after"]) == (75, 100)
    assert found["yes_rate"]["change"] == 12.5


@pytest.mark.model
class TestRandomWeights:
    """They read nothing; margins of the right answer alone show a circuit all the same."""

    def test_it_is_refused(self, run_folder: Path, model_file: Callable[..., Path]) -> None:
        message = r"run must read its stories, got choice_accuracy_k .* where 50 is chance"
        with pytest.raises(DataError, match=message):
            localise(model_file("llama"), run_folder, n_resamples=100, n_threads=1)

    @pytest.fixture
    def found(self, run_folder: Path, model_file: Callable[..., Path]) -> Localisation:
        options = {"n_resamples": 100, "n_threads": 1, "n_random": 1, "methods": ["zero"]}
        probes = ["lens", "heads", "substitution"]
        return localise(model_file("llama"), run_folder, anyway=True, probes=probes, **options)

    def test_what_it_says_anyway(self, found: Localisation) -> None:
        assert "may be a leaning" in " ".join(localisation_report(found, Path("out")).split())
        lens, last = found.rows["lens"].filter(kind="failure"), found.rows["substitution"]
        alone = lens_figure(lens.filter(question="true"), "rises_then_falls")
        both = found.tables["figures"].filter(measure="rises_then_falls")
        failures, controls = (
            both.filter(kind=kind).row(0, named=True) for kind in ("failure", "control")
        )
        assert alone > 80
        # Failures do not differ from controls.
        assert failures["low"] < controls["value"] < failures["high"]
        flipped = substitution_figures(last.filter(question="true"), OPTIONS)["value"][0]
        assert flipped > 80
        assert found.figure("flipped", probe="substitution") < 20
        recovered = found.tables["ablation"].filter(set="chosen", measure="recovery_rate")
        assert recovered["after"].to_list() == [0.0]

    def test_without_false_questions_it_may_be_a_leaning(
        self, pairs: pl.DataFrame, model_file: Callable[..., Path], tmp_path: Path
    ) -> None:
        other = pairs.with_columns(pl.col("contrast") + " Well?")
        asked = {"protocol": "logit-bare", "n_resamples": 10, "n_threads": 1}
        run(model_file("llama"), other, out=tmp_path / "r", **asked)
        options = {"n_resamples": 100, "n_threads": 1, "n_random": 1, "methods": ["zero"]}
        found = localise(model_file("llama"), tmp_path / "r", n_pairs=6, **options)
        assert found.manifest["quantity"] == "margin"
        assert found.tables["head_map"]["false_question"].null_count() == 12
        table = found.tables["ablation"].filter(set="chosen", measure="yes_rate")
        assert table["reason"].to_list() == ["no_false_questions"]
        text = " ".join(localisation_report(found, Path("out")).split())
        assert "What follows may be a leaning: margins of the right answer alone" in text
        assert "Unknown whether this model reads its stories" in text
