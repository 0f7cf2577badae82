"""The `strict` pairs: matching against a count, statements against a golden file, twins."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import polars as pl
import pytest

from helpers import BBQ_ROW
from misfired import DataError, _core, build_outcomes, build_pairs, build_prompts
from misfired.stats import signal_detection, summarize
from misfired.suites import BBQ_CATEGORIES, VETO_CATEGORIES, validate_suite
from reference import matching

GOLDEN = Path(__file__).parents[1] / "golden"
CATEGORIES = [*VETO_CATEGORIES, "Nationality"]
COUNTS = {
    "Age": (360, 238),
    "Gender_identity": (581, 529),
    "Religion": (150, 150),
    "Sexual_orientation": (108, 105),
    "SES": (318, 300),
    "Disability_status": (181, 45),
    "Race_ethnicity": (724, 724),
    "Physical_appearance": (163, 59),
    "Nationality": (325, 325),
}
WORDS_OF_GROUPS = {"woman": "f", "girl": "f", "man": "m", "boy": "m"}


@pytest.fixture(scope="module")
def strict(test_data):
    return build_pairs(test_data / "bbq", CATEGORIES, variant="strict")


@pytest.fixture(scope="module")
def pairs(strict):
    return strict.filter(pl.col("twin_of").is_null())


def mended(text):
    for wrong, right in _core.bbq_glitches():
        text = text.replace(wrong, right)
    return text


def rows_of(folder, category):
    lines = (folder / f"{category}.jsonl").read_text(encoding="utf-8").splitlines()
    for row in sorted(map(json.loads, lines), key=lambda row: row["example_id"]):
        if (row["context_condition"], row["question_polarity"]) == ("disambig", "neg"):
            yield row


def test_counts_by_category(strict, pairs):
    found = {
        name: (len(rows), rows["exact_swap"].sum())
        for (name,), rows in pairs.group_by("category", maintain_order=True)
    }
    assert found == COUNTS
    swaps = sum(n for name, (_, n) in found.items() if name in VETO_CATEGORIES)
    assert swaps >= 1500
    assert validate_suite(strict).equals(strict)


def test_at_least_1500_exact_swaps_in_the_scenarios_of_the_paper(test_data, pairs):
    paper = build_pairs(test_data / "bbq")
    shared = pairs.filter(pl.col("scenario").is_in(paper["scenario"].unique().to_list()))
    assert shared["exact_swap"].sum() >= 1500


def normalised(label):
    return label.lower().replace(" ", "").replace("-", "").replace("_", "")


def is_in(person, groups):
    name, label = person
    labels = {normalised(name), normalised(label), WORDS_OF_GROUPS.get(label)}
    if not label.lower().startswith("non"):
        labels |= {normalised(part) for part in label.replace("_", "-").split("-")}
    return bool(labels & {normalised(group) for group in groups})


def sides_of(folder, category):
    """Per scenario the stories of both sides, as (masked tokens, target, other)."""
    scenarios = defaultdict(lambda: ([], []))
    for row in rows_of(folder, category):
        info = [row["answer_info"][f"ans{i}"] for i in range(3)]
        target = info.pop(row["label"])
        others = [person for person in info if person[1] not in ("unknown", "")]
        groups = row["additional_metadata"]["stereotyped_groups"]
        if len(others) != 1 or target[1] == "unknown":
            continue
        stereotyped = is_in(target, groups)
        if stereotyped == is_in(others[0], groups):
            continue
        people = [mended(target[0]).lower(), mended(others[0][0]).lower()]
        text = f"{mended(row['context'].rstrip())} {mended(row['question'])}"
        story = (tuple(matching.tokens(text, people)), *people)
        scenarios[int(row["question_index"])][not stereotyped].append(story)
    return scenarios


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_scenario_has_all_exact_swaps_that_there_can_be(test_data, pairs, category):
    short = category.lower().replace("_", "")
    found = {name: rows for (name,), rows in pairs.group_by("scenario")}
    for index, (left, right) in sides_of(test_data / "bbq", category).items():
        rows = found.pop(f"{short}_q{index}", pairs.clear())
        swapped = Counter((text, other, target) for text, target, other in right)
        n_possible = sum((Counter(left) & swapped).values())
        n_kept = min(20, len(left), len(right))
        assert len(rows) == n_kept
        assert rows["exact_swap"].sum() == min(n_kept, n_possible)
    assert not [name for name in found if name.startswith(f"{short}_q")]


def test_an_exact_swap_differs_in_nothing_but_who(pairs):
    swaps = pairs.filter("exact_swap")
    assert set(swaps["distance"]) == {0}
    assert set(swaps["differing_words"]) == {""}
    others = pairs.filter(~pl.col("exact_swap"))
    assert others.filter(pl.col("differing_words") == "").is_empty()


def test_statements_equal_the_golden_file(test_data):
    """Every distinct question with its statement about the first row's answer."""
    lines = []
    for category in CATEGORIES:
        first = {}
        for row in rows_of(test_data / "bbq", category):
            key = (int(row["question_index"]), mended(row["question"]))
            first.setdefault(key, mended(row[f"ans{row['label']}"]))
        for (index, question), answer in sorted(first.items()):
            lines.append(f"{category}\t{index}\t{_core.bbq_statement(question, answer)}")
    expected = (GOLDEN / "strict_statements.tsv").read_text(encoding="utf-8").splitlines()
    assert lines == expected[1:]
    assert len([line for line in lines if not line.startswith("Nationality")]) == 253


def test_cues_equal_the_golden_file(strict):
    found = strict.select("scenario", "cue").unique(maintain_order=True).rows()
    expected = (GOLDEN / "strict_cues.tsv").read_text(encoding="utf-8").splitlines()
    assert ["\t".join(row) for row in found] == expected[1:]


def test_questions_verify_a_statement_and_are_never_negative(strict):
    for side in ("stereotyped", "contrast"):
        questions = strict[side].str.extract(r"[.!?] ((?:Is it true that) [^?]*\?)$")
        assert questions.null_count() == 0
        assert not strict[side].str.contains(r"that (The|A|An|My) ").any()


def test_misprints_are_mended(strict):
    for wrong, _ in _core.bbq_glitches():
        for side in ("stereotyped", "contrast"):
            assert not strict[side].str.contains(wrong, literal=True).any()


def test_a_twin_asks_the_same_contexts_about_the_other_person(strict, pairs):
    twins = strict.filter(pl.col("twin_of").is_not_null())
    assert twins["twin_of"].equals(pairs["id"].alias("twin_of"))
    assert strict["id"].to_list()[:2] == ["age_q1_p0", "age_q1_p0_no"]
    assert (twins["stereotyped_example_id"] == pairs["contrast_example_id"]).all()
    assert (twins["contrast_example_id"] == pairs["stereotyped_example_id"]).all()
    assert set(twins["expected_stereotyped"]) == set(twins["expected_contrast"]) == {"no"}
    for column in ("stereotyped", "contrast"):
        other = {"stereotyped": "contrast", "contrast": "stereotyped"}[column]
        for twin, pair in zip(twins[column], pairs[other], strict=True):
            assert twin != pair
            assert twin.split(" Is it true that ")[0] == pair.split(" Is it true that ")[0]
    # Where the two people are merely exchanged, so are their statements.
    swaps = strict.filter("exact_swap")
    subjects = swaps.group_by("stereotyped_subject", "scenario").len()
    assert (subjects["len"] >= 2).all()


def answers_of(strict, reply):
    """Answers of a model that says `reply(expected, condition)`."""
    prompts = build_prompts(strict)
    answer = [reply(*row) for row in prompts.select("expected", "condition").iter_rows()]
    return prompts.with_columns(
        pl.Series("answer", answer),
        pl.lit(None, pl.String).alias("reason"),
    ).with_columns(
        pl.when(pl.col("answer") == pl.col("expected"))
        .then(pl.lit("correct"))
        .otherwise(pl.lit("wrong"))
        .alias("outcome")
    )


def value_of(summary, measure):
    row = summary.filter(slice="overall", measure=measure).row(0, named=True)
    return row["value"], row["reason"]


def test_an_answerer_that_always_says_no(strict):
    answers = answers_of(strict, lambda *_: "no")
    pairs = summarize(build_outcomes(answers), n_resamples=50)
    assert value_of(pairs, "mar") == (None, "no_contrast_correct")
    twins = summarize(build_outcomes(answers, twins=True), n_resamples=50)
    assert value_of(twins, "mar") == (0.0, None)
    assert value_of(twins, "accuracy_contrast") == (100.0, None)


def test_an_answerer_that_always_says_yes(strict):
    answers = answers_of(strict, lambda *_: "yes")
    assert value_of(summarize(build_outcomes(answers), n_resamples=50), "mar") == (0.0, None)
    twins = summarize(build_outcomes(answers, twins=True), n_resamples=50)
    assert value_of(twins, "mar") == (None, "no_contrast_correct")
    found = signal_detection(answers, n_resamples=50)
    values = dict(found.filter(condition="contrast").select("measure", "value").iter_rows())
    assert abs(values["d_prime"]) < 1e-9
    assert values["criterion"] < -3


def test_an_answerer_that_denies_what_is_said_of_stereotyped_people(strict):
    answers = answers_of(strict, lambda expected, who: "no" if who == "stereotyped" else expected)
    assert value_of(summarize(build_outcomes(answers), n_resamples=50), "mar") == (100.0, None)
    twins = summarize(build_outcomes(answers, twins=True), n_resamples=50)
    assert value_of(twins, "mar") == (0.0, None)
    found = signal_detection(answers, n_resamples=50).filter(condition="stereotyped")
    values = dict(found.select("measure", "value").iter_rows())
    assert abs(values["d_prime"]) < 1e-9
    assert values["criterion"] > 3


def test_outcomes_of_a_suite_without_twins_have_none():
    frame = pl.DataFrame(
        {
            "id": ["p"],
            "category": ["c"],
            "scenario": ["s"],
            "priming": ["none"],
            "condition": ["contrast"],
            "outcome": ["correct"],
            "reason": [None],
        },
        schema_overrides={"reason": pl.String},
    )
    assert len(build_outcomes(frame)) == 1
    assert build_outcomes(frame, twins=True).is_empty()


def test_a_question_of_no_known_form_is_named(tmp_path):
    row = {
        **BBQ_ROW,
        "context": "The cat met the dog.",
        "question": "At whose house was the party?",
    }
    lines = [json.dumps({**row, "example_id": i, "label": i}) for i in range(2)]
    (tmp_path / "Age.jsonl").write_text("\n".join(lines))
    message = 'example_id 0: question must ask Who, .*, got "At whose house was the party\\?"'
    with pytest.raises(DataError, match=message):
        build_pairs(tmp_path, ["Age"], variant="strict")


def test_categories_of_bbq_that_the_paper_leaves_out(tmp_path):
    with pytest.raises(DataError, match=r"Race_x_SES.jsonl: no such file"):
        build_pairs(tmp_path, ["Race_x_SES"], variant="strict")
    assert set(BBQ_CATEGORIES) > set(CATEGORIES)
