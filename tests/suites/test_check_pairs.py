"""The quality report: figures of the paper's pairs, and each count on a suite made for it."""

import json

import polars as pl
import pytest

from misfired import ArgumentError, build_pairs, write_suite
from misfired.scoring.llama.model import Model
from misfired.suites import check_pairs

ROW = {
    "suite": "drinks@1.0.0",
    "category": "Tea",
    "stereotyped_group": "cats",
    "contrast_group": "dogs",
    "cue": None,
    "expected_stereotyped": "yes",
    "expected_contrast": "yes",
    "stereotyped_subject": "The cat",
    "contrast_subject": "the dog",
}


def suite(*rows):
    """Pairs from (scenario, stereotyped, contrast, further columns)."""
    return pl.DataFrame(
        [
            {**ROW, "id": str(i), "scenario": name, "stereotyped": left, "contrast": right, **more}
            for i, (name, left, right, more) in enumerate(rows)
        ]
    )


MIXED = suite(
    (
        "a",
        "A cat met a dog. Is it true that the cat isn't late?",
        "A dog met a cat. Is it true that the dog isn't late?",
        {},
    ),
    ("a", "A cat met a dog. Isn't the cat late?", "A dog met an old cat. Isn't the dog late?", {}),
    ("a", "Is a cat not late?", "Is a dog not late?", {}),
    ("b", "The on on welfare. Is the cat late?", "A dog. Is the dog late?", {}),
    ("b", "Is a cat not late?", "Is a dog not late?", {"expected_contrast": "no"}),
)


def test_each_count():
    report = check_pairs(MIXED, correlations=[0, 0.5, 1])
    assert (report["n_pairs"], report["n_twins"], report["n_scenarios"]) == (5, 0, 2)
    assert report["expected"] == {"yes/no": 1, "yes/yes": 4}
    assert (report["swaps_from"], report["exact_swaps"]) == ("subjects", 3)
    assert report["distance"]["most"] == 4
    assert report["negative_questions"] == 6
    assert report["negated"] == 8
    assert report["duplicates"] == 1
    assert report["glitches"] == {"on on welfare": 1}
    assert report["length_difference"] == {
        "unit": "words",
        "mean": 0.2,
        "mean_absolute": 0.6,
        "most": 2,
    }
    assert report["scenario_size"] == {"least": 2, "median": 2.5, "most": 3}
    # sum m^2 / n = 13 / 5: 5 / (1 + 1.6 r).
    assert report["n_effective"] == pytest.approx({"0": 5, "0.5": 5 / 1.8, "1": 5 / 2.6})
    json.dumps(report)


def test_twins_count_for_the_balance_alone():
    twin = MIXED.head(1).with_columns(
        id=pl.lit("0_no"), twin_of=pl.lit("0"), expected_stereotyped=pl.lit("no")
    )
    both = pl.concat([MIXED, twin], how="diagonal")
    expected, report = check_pairs(MIXED), check_pairs(both)
    assert (report.pop("n_twins"), expected.pop("n_twins")) == (1, 0)
    assert report.pop("expected") == {"no/yes": 1, "yes/no": 1, "yes/yes": 4}
    expected.pop("expected")
    assert report == expected


def test_swaps_from_columns_and_from_texts():
    columns = MIXED.with_columns(exact_swap=pl.lit(value=True), distance=pl.lit(7))
    report = check_pairs(columns)
    assert (report["swaps_from"], report["exact_swaps"]) == ("columns", 5)
    assert report["distance"] == {"median": 7, "90 %": 7, "most": 7}
    report = check_pairs(MIXED.drop("stereotyped_subject"))
    assert (report["swaps_from"], report["exact_swaps"]) == ("texts", None)


def test_lengths_in_a_models_tokens(small_model):
    with Model(small_model) as model:
        encode = model.tokenizer.encode
        lengths = [
            [len(encode(text, parse_special=False)) for text in MIXED[side]]
            for side in ("stereotyped", "contrast")
        ]
        report = check_pairs(
            MIXED, count_tokens=lambda texts: [len(encode(t, parse_special=False)) for t in texts]
        )
    found = report["length_difference"]
    differences = [a - b for a, b in zip(*lengths, strict=True)]
    assert found["unit"] == "tokens"
    assert found["most"] == max(map(abs, differences)) > 0
    assert found["mean"] == pytest.approx(sum(differences) / len(differences))


def test_the_known_faults_of_the_papers_pairs(test_data):
    report = check_pairs(build_pairs(test_data / "bbq"))
    assert (report["n_pairs"], report["n_scenarios"]) == (2028, 199)
    assert report["expected"] == {"yes/yes": 2028}
    assert report["negative_questions"] / 4056 == pytest.approx(0.09, abs=0.01)
    rounded = {name: round(n) for name, n in report["n_effective"].items()}
    assert rounded == {"0.1": 871, "0.3": 407, "0.5": 265}
    assert report["glitches"]["monther"] > 0


def test_strict_pairs_have_none_of_them(test_data):
    report = check_pairs(build_pairs(test_data / "bbq", variant="strict"))
    assert report["expected"] == {"no/no": 2585, "yes/yes": 2585}
    assert report["negative_questions"] == 0
    assert report["glitches"] == {}
    assert report["exact_swaps"] == 2150


def test_a_correlation_outside_its_limits():
    with pytest.raises(ArgumentError, match=r"correlations must be 0 to 1, got 1\.5"):
        check_pairs(MIXED, correlations=[1.5])


@pytest.mark.parametrize("columns", ["exact_swap", "stereotyped_subject", "cue"])
def test_the_command_fits_80_columns(misfired, tmp_path, columns):
    file = tmp_path / "pairs.parquet"
    kept = MIXED.with_columns(exact_swap=pl.lit(value=True), distance=pl.lit(7))
    if columns != "exact_swap":
        kept = kept.drop("exact_swap")
    if columns == "cue":
        kept = kept.drop("stereotyped_subject")
    write_suite(kept, file)
    done = misfired("pairs", "check", file)
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= 80
    shown = {"exact_swap": "5 of 5", "stereotyped_subject": "at least 3 of 5", "cue": "unknown"}
    assert shown[columns] in done.out
    as_json = json.loads(misfired("pairs", "check", file, "--json").out)
    assert as_json == check_pairs(kept)


def test_build_can_report(misfired, test_data, tmp_path):
    build = ["pairs", "build", "--bbq", test_data / "bbq", "--category", "Age", "--report"]
    done = misfired(*build, "-o", tmp_path / "p.parquet")
    assert done.code == 0
    assert "expected answers    yes/yes 360" in done.out
    as_json = json.loads(misfired(*build, "-o", tmp_path / "p.parquet", "--json").out)
    assert as_json["report"]["n_pairs"] == 360
