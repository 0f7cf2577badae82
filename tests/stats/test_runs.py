import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from misfired import _core
from misfired.errors import ArgumentError, DataError
from misfired.stats import (
    bootstrap,
    compare,
    compare_evidence,
    evidence,
    leaderboard,
    mcnemar,
    permutation_test,
    study_tests,
    summarize,
)
from reference import ranking
from stats.answerers import answers_of
from stats.tables import pick


def run(seed=0, misfire=0.1, primed=0.3, n_scenarios=40) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = 8 * n_scenarios
    scenario = np.repeat(np.arange(n_scenarios), 8)
    contrast = rng.random(n) < 0.9
    frames = []
    for priming, rate in (("none", misfire), ("cue", primed)):
        frames.append(
            pl.DataFrame(
                {
                    "id": [f"p{i:04}" for i in range(n)],
                    "category": np.where(scenario % 2, "age", "ses"),
                    "scenario": [f"q{g:03}" for g in scenario],
                    "priming": priming,
                    "stereotyped": rng.random(n) >= rate,
                    "contrast": contrast,
                }
            )
        )
    return pl.concat(frames)


def columns(frame, priming="none"):
    part = frame.filter(priming=priming).sort("id")
    return part["stereotyped"].to_numpy(), part["contrast"].to_numpy(), part["scenario"]


def test_compare_is_the_difference_on_the_same_pairs():
    first, second = run(0, 0.15), run(1, 0.05)
    answer = compare(first, second)
    row = pick(answer, slice="overall", priming="none", measure="mar")
    values = [
        pick(summarize(r), slice="overall", priming="none", measure="mar")["value"]
        for r in (first, second)
    ]
    assert row["value"] == pytest.approx(values[0] - values[1])
    (s1, c1, scenario), (s2, c2, _) = columns(first), columns(second)
    series = (np.stack([s1, s2]), np.stack([c1, c2]))
    expected = bootstrap(*series, scenario=scenario, weights=[1, -1])["mar"]
    assert (row["low"], row["high"]) == (expected.low, expected.high)
    joint = pick(answer, slice="overall", priming="none", measure="mar_joint")
    tested = permutation_test(*series, scenario=scenario)
    assert joint["p_value"] == pytest.approx(tested.p_value, rel=1e-12)
    assert joint["p_adjusted"] >= joint["p_value"]


def test_compare_gives_the_difference_of_differences():
    first, second = run(0, 0.15, 0.4), run(1, 0.05, 0.1)
    answer = compare(first, second)
    values = {
        p: pick(answer, slice="age", priming=p, measure="mar")["value"] for p in ("none", "cue")
    }
    double = pick(answer, slice="age", priming="cue - none", measure="mar")
    assert double["value"] == pytest.approx(values["cue"] - values["none"])
    assert double["low"] < double["value"] < double["high"]


def test_compare_leaves_out_what_either_did_not_score():
    first, second = run(0), run(1)
    second = second.with_columns(
        stereotyped=pl.when(pl.col("id") == "p0003").then(None).otherwise("stereotyped")
    )
    row = pick(compare(first, second), slice="overall", priming="none", measure="mar")
    assert (row["n_pairs"], row["n_unscored"]) == (319, 1)


def test_runs_that_share_nothing_are_refused():
    other = run().with_columns(id=pl.lit("x") + pl.col("id"))
    with pytest.raises(DataError, match="no scored pair in common"):
        compare(run(), other)
    with pytest.raises(DataError, match="no priming in common"):
        compare(run().filter(priming="none"), run().filter(priming="cue"))


@pytest.mark.parametrize("measure", ["mar", "mar_joint", "br", "accuracy_contrast", "discrepancy"])
def test_equal_runs_share_all_ranks(measure):
    for n in (2, 3):
        board = leaderboard({f"m{i}": run(7, 0.2) for i in range(n)}, measure=measure)
        places = board.filter(pl.col("rank").is_not_null())
        assert len(places) == n
        assert set(places.select("rank", "rank_low", "rank_high").rows()) <= {(1, 1, n)}


def test_leaderboard_ranks_with_what_the_data_allow():
    runs = {f"m{i}": run(i, rate) for i, rate in enumerate([0.02, 0.1, 0.11, 0.4])}
    board = leaderboard(runs)
    assert board["run"].to_list()[0] == "m0"
    assert board["run"].to_list()[-1] == "m3"
    assert board["rank"].to_list() == [1, 2, 3, 4]
    best, *middle, last = board.to_dicts()
    assert (best["rank_low"], best["rank_high"]) == (1, 1)
    assert (last["rank_low"], last["rank_high"]) == (4, 4)
    assert {(m["rank_low"], m["rank_high"]) for m in middle} == {(2, 3)}
    for row in board.to_dicts():
        # Bonferroni: the default interval of the run at 1 - 0.05 / 4.
        flags = columns(runs[row["run"]])
        single = bootstrap(*flags[:2], scenario=flags[2], measures=["mar"], confidence_level=0.9875)
        assert (row["low"], row["high"]) == (single["mar"].low, single["mar"].high)


def test_leaderboard_shows_published_rows_with_their_check(test_data):
    published = pl.read_csv(test_data / "published_mar.csv")
    board = leaderboard({"mine": run()}, published=published)
    assert len(board) == 27
    human = pick(board, run="Human")
    assert human["source"] == "published"
    assert human["reason"].startswith("br 0.0 is printed")
    assert human["rank"] is None


def test_a_run_without_a_value_has_no_rank():
    blind = run(1).with_columns(contrast=pl.lit(value=False))
    row = pick(leaderboard({"a": run(), "b": blind}), run="b")
    assert (row["rank"], row["reason"]) == (None, "no_contrast_correct")


def test_leaderboard_names_what_is_wrong():
    with pytest.raises(ArgumentError, match=r"measure must be one of mar, .*, got 'mad'"):
        leaderboard({"a": run()}, measure="mad")
    with pytest.raises(DataError, match="a: no rows of priming 'neutral'"):
        leaderboard({"a": run()}, priming="neutral")


def study():
    frames = []
    for m, model in enumerate(("small", "large")):
        for p, protocol in enumerate(("direct", "cot")):
            frame = run(10 * m + p, 0.2 if protocol == "direct" else 0.1)
            frames.append(frame.with_columns(model=pl.lit(model), protocol=pl.lit(protocol)))
    return pl.concat(frames)


def test_the_four_families_in_one_call():
    answer = study_tests(study())
    sizes = answer.group_by("family", maintain_order=True).len().rows()
    assert sizes == [("asymmetry", 2), ("priming", 2), ("reasoning", 2), ("asymmetry_category", 4)]
    for family in ("asymmetry", "asymmetry_category"):
        part = answer.filter(family=family)
        expected = scipy_stats.false_discovery_control(part["p_value"].to_numpy())
        np.testing.assert_allclose(part["p_adjusted"], expected)
    row = pick(answer, family="asymmetry", model="small")
    s, c, scenario = columns(study().filter(model="small", protocol="direct"))
    assert row["p_value"] == permutation_test(s, c, scenario=scenario).p_value
    assert (row["n_for"], row["n_against"]) == (int(np.sum(~s & c)), int(np.sum(s & ~c)))


def test_the_options_of_the_paper():
    answer = study_tests(study(), options="paper")
    row = pick(answer, family="priming", model="large")
    expected = mcnemar(row["n_against"], row["n_for"], alternative="greater")
    assert (row["p_value"], row["method"]) == (expected.p_value, "mcnemar")


def test_a_priming_pair_unscored_on_one_side_takes_no_part():
    frame = study().with_columns(
        stereotyped=pl.when((pl.col("id") == "p0000") & (pl.col("priming") == "cue"))
        .then(None)
        .otherwise("stereotyped")
    )
    assert pick(study_tests(frame), family="priming")["n_pairs"] == 319


def test_study_tests_names_what_is_wrong():
    with pytest.raises(ArgumentError, match="options must be one of default, paper, got 'ours'"):
        study_tests(study(), options="ours")
    with pytest.raises(DataError, match="column 'model' is missing"):
        study_tests(run())
    third = study().with_columns(protocol=pl.col("protocol") + pl.col("model"))
    with pytest.raises(DataError, match="must have one protocol beside cot, got "):
        study_tests(
            pl.concat([third.with_columns(model=pl.lit("x"))]).unique(["id", "protocol", "priming"])
        )


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=3, max_size=3),
        min_size=4, max_size=8,
    ),
    st.sampled_from(["mar", "mar_joint", "br", "accuracy_contrast"]),
)  # fmt: skip
def test_joint_intervals_and_ranks_equal_the_twin(tables, measure):
    # As many pairs for each run of a scenario, with both answers right in one at least.
    n = 1 + max(sum(row) for table in tables for row in table)
    tables = [[[row[0] + n - sum(row), *row[1:]] for row in table] for table in tables]
    codes = np.concatenate(
        [np.stack([np.repeat(np.arange(4), row) for row in table]) for table in tables], axis=1
    )
    scenario = np.repeat(np.arange(len(tables), dtype=np.uint32), n)
    numbers, reasons = _core.ranking(
        codes.astype(np.uint8), scenario, scenario * 0, measure=measure, unit="scenario",
        stratified=False, confidence_level=0.9, n_threads=None,
    )  # fmt: skip
    assert reasons == [None] * 3
    expected = ranking.board(tables, measure, 0.9)
    for found, (low, high, best, worst) in zip(numbers, expected, strict=True):
        np.testing.assert_allclose(found[1:3], [low, high], rtol=1e-7, atol=1e-9)
        assert found[4:].tolist() == [best, worst]


def few(misfires, others, **more):
    """A run on 40 scenarios with `misfires` misfires and `others` pairs right on both sides."""
    n = misfires + others
    return pl.DataFrame({
        "id": [f"p{i:04}" for i in range(n)], "scenario": [f"q{i % 40}" for i in range(n)],
        "category": "age", "priming": "none", "contrast": True,
        "stereotyped": [i >= misfires for i in range(n)],
    }).with_columns(**more)  # fmt: skip


def test_a_run_with_little_support_has_no_rank_and_stands_below():
    board = leaderboard({"few": few(0, 2), "good": few(20, 180), "bad": few(90, 110)})
    assert board["run"].to_list() == ["good", "bad", "few"]
    row = pick(board, run="few")
    assert (row["value"], row["rank"], row["rank_low"]) == (0.0, None, None)
    assert (row["n_pairs"], row["n_effective"], row["reason"]) == (2, 2.0, "little_support")
    assert row["high"] > 80
    assert board.filter(pl.col("run") != "few")["n_pairs"].to_list() == [200, 200]


def test_runs_are_ranked_on_the_pairs_they_share():
    # On the pairs of both, a misfires on none; on its own pairs, on a quarter.
    first, second = few(0, 120), few(60, 60)
    own = few(40, 0).with_columns(id=pl.lit("x") + pl.col("id"))
    board = leaderboard({"a": pl.concat([first, own]), "b": second})
    assert pick(board, run="a")["value"] == 0.0
    assert board["n_pairs"].to_list() == [120, 120]
    apart = second.with_columns(id=pl.lit("y") + pl.col("id"))
    with pytest.raises(
        DataError, match="runs must share scored pairs to be ranked, got none: a, b"
    ):
        leaderboard({"a": first, "b": apart})


def test_runs_that_do_not_differ_are_not_ranked_apart():
    board = leaderboard({"a": few(99, 201), "b": few(99, 201), "c": few(0, 300), "d": few(0, 300)})
    ranks = board.sort("run").select("rank_low", "rank_high").rows()
    assert ranks == [(3, 4), (3, 4), (1, 2), (1, 2)]


def test_a_run_that_does_not_read_has_no_rank():
    runs = {name: answers_of(name, 1) for name in ("always_no", "always_yes", "misfire")}
    board = leaderboard(runs | {"reader": answers_of("reader_plus", 1)})
    below = board.filter(reason="does_not_read")
    assert sorted(below["run"].to_list()) == ["always_no", "always_yes"]
    assert below["rank"].is_null().all()
    assert board["run"].to_list()[:2] == ["reader", "misfire"]
    assert board["reads"].to_list()[:2] == [True, True]


@pytest.mark.parametrize("measure", ["mar_choice", "mar_calibrated"])
def test_a_rate_of_margins_with_little_support_has_no_rank(measure):
    runs = {name: answers_of(name, 3, n_scenarios=20) for name in ("misfire", "reader_plus")}
    short = pl.col("scenario").is_in([f"q{i}" for i in range(9)])
    few = runs["misfire"].filter(short & pl.col("id").str.contains(r"^p\d*[05](_no)?$"))
    board = leaderboard(runs, measure=measure)
    assert board["rank"].to_list() == [1, 2]
    assert (board["n_effective"] >= 30).all()
    # A run that is not ranked takes no pair from the others.
    more = leaderboard(runs | {"few": few}, measure=measure)
    assert more.head(2).equals(board)
    assert more.row(2, named=True)["reason"] == "little_support"
    # Two runs that can be ranked, on few pairs that both hold, cannot be ranked together.
    halves = [pl.col("scenario").is_in([f"q{i}" for i in range(at, at + 11)]) for at in (0, 9)]
    apart = dict(zip("ab", map(runs["misfire"].filter, halves), strict=True))
    board = leaderboard(apart, measure=measure)
    assert board["rank"].to_list() == [None] * 2
    assert board["reason"].to_list() == ["little_support"] * 2
    other = runs["misfire"].with_columns(scenario=pl.lit("z"))
    with pytest.raises(DataError, match="runs: id 'p0': more than one scenario"):
        leaderboard({"a": runs["misfire"], "b": other}, measure=measure)
    apart = runs["misfire"].with_columns(
        pl.format("x{}", pl.col("id")).alias("id"),
        pl.format("x{}", pl.col("twin_of")).alias("twin_of"),
    )
    with pytest.raises(DataError, match="runs must share pairs to be ranked, got none: a, b"):
        leaderboard({"a": runs["misfire"], "b": apart}, measure=measure)


def test_a_leaderboard_of_margins_ranks_by_their_own_differences():
    runs = {f"m{i}": answers_of("misfire" if i else "reader_plus", 10 + i) for i in range(3)}
    board = leaderboard(runs, measure="margin_shift").sort("run")
    assert board["rank_low"].to_list() == [1, 2, 2]
    assert board["rank_high"].to_list() == [1, 3, 3]
    level = 1 - 0.05 / 3
    for name, row in zip(runs, board.to_dicts(), strict=True):
        found = evidence(runs[name], confidence_level=level)
        own = pick(found, slice="overall", measure="margin_shift")
        assert [row[c] for c in ("value", "low", "high")] == [
            own[c] for c in ("value", "low", "high")
        ]
        gaps = [
            pick(compare_evidence(runs[name], other, confidence_level=level),
                 slice="overall", priming="none", measure="margin_shift")
            for other in runs.values()
        ]  # fmt: skip
        sure = sum(gap["low"] is not None and gap["low"] > 0 for gap in gaps)
        assert row["rank_low"] == 1 + sure
    # A leaning moves no margin against another: the same model that says no to all is ranked alike.
    leaning = {name: frame.with_columns(pl.col("logit_diff") - 6) for name, frame in runs.items()}
    again = leaderboard(leaning, measure="margin_shift").sort("run")
    np.testing.assert_allclose(again["value"], board["value"])
    assert again["rank_high"].to_list() == [1, 3, 3]
