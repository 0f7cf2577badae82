"""`build_pairs` against its slow twin, the golden pairs, and bad input."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import BBQ_ROW
from misfired import ArgumentError, DataError, build_pairs
from misfired.suites import BUILT_SUITES, PAIRS_SCHEMA, VETO_CATEGORIES, validate_suite
from reference import veto as twin

COUNTS = {
    "Age": 360,
    "Gender_identity": 520,
    "Religion": 150,
    "Sexual_orientation": 108,
    "SES": 318,
    "Disability_status": 181,
    "Race_ethnicity": 228,
    "Physical_appearance": 163,
}

ROW = BBQ_ROW
PAIR = [ROW, {**ROW, "example_id": 2, "label": 1}]


def write(folder: Path, rows, category="Age"):
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    (folder / f"{category}.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pairs(test_data):
    return build_pairs(test_data / "bbq")


def test_counts_by_category(pairs):
    assert Counter(pairs["category"]) == COUNTS
    assert pairs["id"].n_unique() == len(pairs) == 2028
    assert pairs["scenario"].n_unique() == 199
    assert pairs.columns[: len(PAIRS_SCHEMA)] == list(PAIRS_SCHEMA)
    assert validate_suite(pairs).equals(pairs)


def test_equal_to_the_twin_on_all_categories(pairs, test_data):
    assert pairs.to_dicts() == twin.build_pairs(test_data / "bbq", VETO_CATEGORIES)


def test_equal_to_the_golden_pairs(pairs, test_data):
    built = {pair["id"]: pair for pair in pairs.to_dicts()}
    golden = (test_data / "golden" / "veto_pairs.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(golden) == 1009
    for expected in map(json.loads, golden):
        pair = built[expected["id"]]
        assert pair["cue"] == expected.pop("trigger_sentence")
        assert {name: pair[name] for name in expected} == expected


def test_categories_are_built_in_the_order_asked_for(test_data, pairs):
    some = build_pairs(test_data / "bbq", ["SES", "Age"])
    assert list(dict.fromkeys(some["category"])) == ["SES", "Age"]
    assert some.filter(category="Age").equals(pairs.filter(category="Age"))


VERBS = st.sampled_from(
    [
        *twin.AUXILIARIES,
        *twin.NEGATIVE_CONTRACTIONS,
        *twin.ADVERBS,
        *twin.PAST,
        *["does", "do", "did", "planned", "carried", "passed", "agreed", "wooed", "red", "rred"],
        *["watches", "tries", "pass", "goes", "as", "s", "ed", "Uses", "IS", "forgot"],
    ]
)
LETTERS = st.text("abdeosy'-_É ", min_size=1, max_size=8)
REST = st.sampled_from(
    ["", "a binge drinker", "an absent  father", "A big wretch", "a", "not kind", "the bus", "an y"]
)
VERB_PHRASES = st.builds(
    " ".join, st.lists(st.one_of(VERBS, LETTERS, REST), min_size=1, max_size=4)
)
OPENINGS = st.sampled_from(
    [
        *["Who", "WHO", "Which", "Whose", "What"],
        "Which friend",
        "Which well-known man",
        "Whose job",
        "whose child's",
        "What group of people",
        "what type of PERSON",
        "What kind of people",
        "In which home",
    ]
)
QUESTIONS = st.builds("{} {}{}".format, OPENINGS, VERB_PHRASES, st.sampled_from(["?", " ? ", ""]))
SUBJECTS = st.one_of(
    st.sampled_from(["The man", "tall people", "The WOMEN ", "Jones", "D", "Does", "ones"]),
    LETTERS.filter(str.strip),
)
LABELS = st.sampled_from(
    [
        *["old", "nonOld", "NON_old", "F", "low-SES", "lowSES", "D/deaf", "A", "B_c", "a b"],
        *["Unknown", "Not_answerable", ""],
    ]
)
GROUPS = st.one_of(
    st.lists(LABELS, max_size=3),
    st.sampled_from([group.split(", ") for group in twin.GROUPS]),
)
CONTEXTS = st.builds(
    "{}{}{}".format, LETTERS, st.sampled_from([*".!?", "", '."']), st.sampled_from(["", " \n"])
).filter(str.strip)


@st.composite
def bbq_rows(draw):
    answers = {f"ans{i}": draw(SUBJECTS) for i in range(3)}
    return {
        "example_id": draw(st.integers(0, 50)),
        "question_index": str(draw(st.integers(1, 3))),
        "question_polarity": draw(st.sampled_from(["neg", "neg", "neg", "nonneg"])),
        "context_condition": draw(st.sampled_from(["disambig", "disambig", "disambig", "ambig"])),
        "category": "Physical_appearance",
        "answer_info": {name: ["", draw(LABELS)] for name in answers},
        "additional_metadata": {"stereotyped_groups": draw(GROUPS)},
        "context": draw(CONTEXTS),
        "question": draw(QUESTIONS),
        "label": draw(st.integers(0, 2)),
        **answers,
    }


@settings(deadline=None)
@given(rows=st.lists(bbq_rows(), min_size=1, max_size=12, unique_by=lambda row: row["example_id"]))
def test_equal_to_the_twin_on_generated_rows(tmp_path_factory, rows):
    category = "Physical_appearance"
    folder = write(tmp_path_factory.mktemp("bbq"), rows, category)
    expected = twin.build_pairs(folder, [category])
    if expected:
        assert build_pairs(folder, [category]).to_dicts() == expected
    else:
        with pytest.raises(DataError, match=f"0 pairs from {len(rows)} rows"):
            build_pairs(folder, [category])


@settings(deadline=None)
@given(question=QUESTIONS, subject=SUBJECTS, groups=GROUPS.filter(bool))
def test_equal_to_the_twin_on_generated_questions(tmp_path_factory, question, subject, groups):
    rows = [
        {
            **row,
            "question": question,
            "ans0": subject,
            "answer_info": {**ROW["answer_info"], "ans0": ["", groups[0]], "ans1": ["", "xx"]},
            "additional_metadata": {"stereotyped_groups": groups},
        }
        for row in PAIR
    ]
    folder = write(tmp_path_factory.mktemp("bbq"), rows)
    assert build_pairs(folder, ["Age"]).to_dicts() == twin.build_pairs(folder, ["Age"])


def test_does_not_depend_on_the_number_of_rows_before_a_blank_line(tmp_path):
    folder = write(tmp_path, [PAIR[0], "", PAIR[1]])
    assert build_pairs(folder, ["Age"])["contrast"].to_list() == [
        "The cat drank the tea. Does The dog drank the tea?"
    ]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "Age.jsonl, line 3: broken JSON at column 1"),
        ("[1", "Age.jsonl, line 3: "),
        ({**ROW, "label": 3}, "line 3: label: invalid value: integer `3`, expected 0, 1 or 2"),
        ([ROW], "line 3: a row must be an object, got a list"),
        ({**ROW, "label": "0"}, 'line 3: label: invalid type: string "0", expected 0, 1 or 2'),
        ({**ROW, "label": -1}, "line 3: label: invalid value: integer `-1`, expected 0, 1 or 2"),
        ({**ROW, "context": None}, "line 3: context: invalid type: null, expected a string"),
        ({**ROW, "question": " "}, 'line 3: question must not be blank, got " "'),
        ({**ROW, "category": "SES"}, "line 3: category must be `Age`, got `SES`"),
        ({**ROW, "question_index": "x"}, 'line 3: question_index: invalid value: string "x"'),
        (
            {**ROW, "additional_metadata": {"stereotyped_groups": "old"}},
            'line 3: additional_metadata.stereotyped_groups: invalid type: string "old"',
        ),
        (
            {key: ROW[key] for key in ROW if key != "ans1"},
            "Age.jsonl, line 3: missing field `ans1`",
        ),
    ],
)
def test_a_bad_line_is_named_with_field_value_and_limit(tmp_path, bad, message):
    folder = write(tmp_path, [*PAIR, bad, {**ROW, "label": 9}])
    with pytest.raises(DataError) as caught:
        build_pairs(folder, ["Age"])
    assert message in str(caught.value)
    assert str(folder / "Age.jsonl") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_folder_missing_file_and_empty_file(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        build_pairs(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"Age.jsonl: no such file"):
        build_pairs(tmp_path)
    write(tmp_path, [])
    with pytest.raises(DataError, match=r"Age.jsonl must have at least 1 row, got 0"):
        build_pairs(tmp_path, ["Age"])


def test_a_file_that_is_not_utf8(tmp_path):
    file = write(tmp_path, PAIR) / "Age.jsonl"
    file.write_bytes(file.read_bytes() + b'{"context": "caf\xe9"}\n')
    with pytest.raises(DataError, match=r"Age.jsonl, line 3: byte 17 is not UTF-8; save"):
        build_pairs(tmp_path, ["Age"])


def test_a_row_that_stands_twice_is_named_with_both_lines(tmp_path):
    rows = [PAIR[0], "", PAIR[1], {**ROW, "example_id": 3, "context_condition": "ambig"}]
    for again in (PAIR[1], {**ROW, "example_id": 2, "question_polarity": "nonneg"}):
        folder = write(tmp_path, [*rows, again])
        message = r"Age.jsonl, line 5: example_id 2 must be given once, got it in line 3 too"
        for variant in ("paper", "strict"):
            with pytest.raises(DataError, match=message):
                build_pairs(folder, ["Age"], variant)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_encoding_gives_the_same_pairs(tmp_path, encoding, end):
    expected = build_pairs(write(tmp_path, PAIR), ["Age"])
    text = (tmp_path / "Age.jsonl").read_text(encoding="utf-8").replace("\n", end)
    (tmp_path / "Age.jsonl").write_bytes(text.encode(encoding))
    assert build_pairs(tmp_path, ["Age"]).equals(expected)


def test_a_pipe_in_the_folder_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "Age.jsonl")
    with pytest.raises(DataError, match=r"Age.jsonl: must be a file, got a pipe"):
        build_pairs(tmp_path, ["Age"])


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (["Agee"], "category must be one of Age, "),
        (["Nationality"], "category must be one of Age, "),
        (["Age", "Age"], "category must be named once, got 'Age' twice"),
        ([], "categories must be some of Age, "),
    ],
)
def test_bad_categories(tmp_path, categories, message):
    with pytest.raises(ArgumentError) as caught:
        build_pairs(tmp_path, categories)
    assert str(caught.value).startswith(message)


def test_unknown_variant(tmp_path):
    with pytest.raises(
        ArgumentError, match="variant must be one of paper, strict, organism, got 'papper'"
    ):
        build_pairs(tmp_path, variant="papper")


def test_a_registered_suite_without_bbq_is_built_like_the_others():
    pairs = build_pairs(None, variant="organism")
    assert validate_suite(pairs).columns == pairs.columns
    assert pairs["suite"].unique().to_list() == [BUILT_SUITES["organism"].suite]
    with pytest.raises(ArgumentError, match=r"bbq_dir must be a folder for variant 'paper'"):
        build_pairs(None)
    with pytest.raises(ArgumentError, match="categories must be left out for variant 'organism'"):
        build_pairs(None, ["Age"], variant="organism")
