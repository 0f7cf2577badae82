"""`match_pairs` against a plain twin with scipy's assignment, and what it refuses."""

import json
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from misfired import ArgumentError, DataError, match_pairs
from misfired.suites import VETO_CATEGORIES
from reference import matching as twin

PEOPLE = ("target", "other")


def frame(rows):
    columns = ("group", "text", "target", "other")
    data = {name: [row[i] for row in rows] for i, name in enumerate(columns)}
    return pl.DataFrame(data, schema={"group": pl.Int64, **dict.fromkeys(columns[1:], pl.String)})


def check_against_scipy(left, right):
    """Per group: as many pairs as can be, and their weighted total is scipy's least."""
    pairs = match_pairs(frame(left), frame(right), by="group", text="text", people=PEOPLE)
    found = defaultdict(list)
    for pair in pairs.to_dicts():
        found[pair["group"]].append(pair)
    n_exact = 0
    for group in {row[0] for row in left} & {row[0] for row in right}:
        sides = [[i for i, row in enumerate(side) if row[0] == group] for side in (left, right)]
        texts = [
            [(side[i][1], side[i][2:]) for i in places]
            for side, places in zip((left, right), sides, strict=True)
        ]
        plain = twin.costs(*texts)
        weighted = twin.weighted(plain)
        rows, columns = linear_sum_assignment(weighted)
        here = [
            (sides[0].index(pair["left_row"]), sides[1].index(pair["right_row"]))
            for pair in found[group]
        ]
        assert len(set(here)) == len(here) == min(plain.shape)
        assert sum(weighted[i, j] for i, j in here) == weighted[rows, columns].sum()
        for (i, j), pair in zip(here, found[group], strict=True):
            people = [side[place][1] for side, place in zip(texts, (i, j), strict=True)]
            assert pair["distance"] == plain[i, j] - twin.strangers(*people)
            assert pair["exact_swap"] == (plain[i, j] == 0)
            assert pair["exact_swap"] == (not pair["differing_words"])
            n_exact += pair["exact_swap"]
    return n_exact


NAMES = st.sampled_from(["cat", "the cat", "Dog", "old dog", "an ox", "x-ray", "Émile"])
WORDS = st.sampled_from(
    [
        "cat",
        "old",
        "dog",
        "Dog's",
        "an",
        "a",
        "the",
        "ox",
        "x-ray",
        "ran",
        "who's",
        ".",
        "émile",
        "-",
    ]
)
ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.lists(WORDS, max_size=9).map(" ".join), NAMES, NAMES),
    max_size=8,
)


@settings(deadline=None)
@given(left=ROWS, right=ROWS)
def test_equal_to_scipy_on_generated_texts(left, right):
    check_against_scipy(left, right)


def bbq_sides(folder):
    """Every disambiguated row of negative polarity, by whether its answer is a stereotyped group."""
    left, right = [], []
    for category in VETO_CATEGORIES:
        lines = (folder / f"{category}.jsonl").read_text(encoding="utf-8").splitlines()
        for row in map(json.loads, lines):
            if (row["context_condition"], row["question_polarity"]) != ("disambig", "neg"):
                continue
            info = [row["answer_info"][f"ans{i}"] for i in range(3)]
            known = [i for i in range(3) if info[i][1] != "unknown" and i != row["label"]]
            if len(known) != 1:
                continue
            group = VETO_CATEGORIES.index(category) * 1000 + int(row["question_index"])
            text = f"{row['context']} {row['question']}"
            one = (group, text, info[row["label"]][0], info[known[0]][0])
            stereotyped = row["additional_metadata"]["stereotyped_groups"]
            (left if info[row["label"]][1] in stereotyped else right).append(one)
    return left, right


def test_total_cost_equals_scipys_on_every_scenario_of_bbq(test_data):
    left, right = bbq_sides(test_data / "bbq")
    assert len({row[0] for row in left} & {row[0] for row in right}) > 100
    assert check_against_scipy(left, right) > 1000


@pytest.mark.parametrize("n", [1, 40])
def test_rectangular_sides_of_many_distinct_texts(n):
    rng = np.random.default_rng(3)

    def side(count):
        words = rng.choice(list("abcdef"), (count, 80))
        return [(0, " ".join(row), "a", "b") for row in words]

    check_against_scipy(side(n), side(30))


def test_the_kept_pairs_are_the_best_in_order():
    left = frame([(1, "x y z", "", ""), (1, "a b c", "", ""), (2, "a", "", "")])
    right = frame([(1, "x y q", "", ""), (1, "a b c", "", ""), (3, "a", "", "")])
    pairs = match_pairs(left, right, by=["group"], text="text")
    assert pairs.rows() == [(1, 1, 1, 0, True, ""), (1, 0, 0, 1, False, "z -> q")]
    assert match_pairs(left, right, by="group", text="text", max_pairs=1).equals(pairs.head(1))


def test_no_shared_group_gives_no_rows():
    pairs = match_pairs(frame([(1, "a", "", "")]), frame([]), by="group", text="text")
    assert pairs.is_empty()
    assert pairs.columns[-1] == "differing_words"


ONE = frame([(1, "a", "b", "c")])


@pytest.mark.parametrize(
    ("left", "options", "error", "message"),
    [
        (ONE, {"by": []}, ArgumentError, "by must name at least one column, got none"),
        (ONE, {"max_pairs": 0}, ArgumentError, "max_pairs must be at least 1, got 0"),
        (
            ONE,
            {"people": ("target",)},
            ArgumentError,
            r"people must be two columns, got \('target',\)",
        ),
        (ONE.drop("group"), {}, DataError, "left: column group is missing"),
        (ONE.drop("text"), {}, DataError, "left: column text is missing"),
        (ONE.with_columns(text=1), {}, DataError, "left: column text must be String, got Int32"),
        (
            pl.concat([ONE, ONE.with_columns(text=pl.lit(None, pl.String))]),
            {},
            DataError,
            "left, row 2: text must have a value, got null",
        ),
        (
            pl.concat([ONE, ONE.with_columns(group=pl.lit(None, pl.Int64))]),
            {},
            DataError,
            "left, row 2: group must have a value, got null",
        ),
    ],
)
def test_refusals_name_frame_row_and_column(left, options, error, message):
    with pytest.raises(error, match=message):
        match_pairs(left, ONE, **{"by": "group", "text": "text", **options})
