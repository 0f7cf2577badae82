"""The order of scenarios, and limits: nested, in proportion, with twins."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from misfired.prompts.order import limit_pairs, scenario_places


def suite(sizes: list[tuple[str, int]], *, twins: bool = False) -> pl.DataFrame:
    """A suite of scenarios, each of a category and a number of pairs."""
    rows = [
        {"id": f"s{n}p{k}{twin}", "category": category, "scenario": f"s{n}",
         "twin_of": f"s{n}p{k}" if twin else None}
        for n, (category, size) in enumerate(sizes)
        for k in range(size)
        for twin in (("", "_no") if twins else ("",))
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"twin_of": pl.String})


SIZES = st.lists(st.tuples(st.sampled_from("xyz"), st.integers(1, 6)), min_size=1, max_size=12)


@settings(max_examples=30)
@given(SIZES, st.integers(0, 50), st.booleans(), st.randoms())
def test_limits_are_nested_exact_and_do_not_depend_on_the_order_of_rows(
    sizes, seed, twins, random
) -> None:
    pairs = suite(sizes, twins=twins)
    n = len(pairs) // (2 if twins else 1)
    before: set[str] = set()
    for limit in range(1, n + 1):
        taken = limit_pairs(pairs, limit, seed=seed)
        heads = taken.filter(pl.col("twin_of").is_null())["id"].to_list()
        assert len(heads) == limit
        assert len(taken) == limit * (2 if twins else 1)
        assert taken["id"].to_list() == [each for each in pairs["id"] if each in set(taken["id"])]
        assert before <= set(heads)
        before = set(heads)
    shuffled = pairs.sample(fraction=1, shuffle=True, seed=random.randrange(1000))
    some = n // 2 + 1
    assert set(limit_pairs(shuffled, some, seed=seed)["id"]) == set(
        limit_pairs(pairs, some, seed=seed)["id"]
    )
    assert limit_pairs(pairs, None).equals(pairs)
    assert limit_pairs(pairs, 10**6).equals(pairs)


@settings(max_examples=30)
@given(SIZES, st.integers(0, 50))
def test_every_limit_takes_each_scenario_in_proportion(sizes, seed) -> None:
    pairs = suite(sizes)
    for limit in range(1, len(pairs)):
        taken = Counter(limit_pairs(pairs, limit, seed=seed)["scenario"])
        for n, (_, size) in enumerate(sizes):
            # A scenario has given floor or ceiling of its share, at one threshold for all.
            others = [
                (taken[f"s{m}"] - 1) / other < (taken[f"s{n}"] + 1) / size
                for m, (_, other) in enumerate(sizes)
            ]
            assert all(others)


def test_few_pairs_come_from_as_many_scenarios_and_categories() -> None:
    pairs = suite([("x", 10)] * 20 + [("y", 10)] * 20)
    taken = limit_pairs(pairs, 16)
    assert taken["scenario"].n_unique() == 16
    assert dict(taken["category"].value_counts().iter_rows()) == {"x": 8, "y": 8}


@given(SIZES, st.integers(0, 50))
def test_the_first_scenarios_hold_every_category_in_proportion(sizes, seed) -> None:
    category = {f"s{n}": name for n, (name, _) in enumerate(sizes)}
    whole = Counter(category.values())
    order = list(scenario_places(suite(sizes), seed=seed))
    assert sorted(order) == sorted(category)
    for n in range(len(order) + 1):
        seen = Counter(category[name] for name in order[:n])
        for name, total in whole.items():
            assert abs(seen[name] - total * n / len(order)) <= 1.5


def test_the_seed_decides_the_order() -> None:
    pairs = suite([("x", 2)] * 30)
    orders = {tuple(scenario_places(pairs, seed=seed)) for seed in range(5)}
    assert len(orders) == 5


@pytest.mark.parametrize("limit", [3, 7])
def test_pairs_of_a_scenario_are_drawn(limit) -> None:
    pairs = suite([("x", 40)])
    first = [f"s0p{k}" for k in range(limit)]
    assert limit_pairs(pairs, limit)["id"].to_list() != first
