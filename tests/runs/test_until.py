"""Runs that end early: where, with which files, and how they continue to the end."""

import json

import polars as pl
import pytest

from helpers import final_files, make_suite
from misfired import ArgumentError, DataError, RunFolderError, read_answers, run, write_suite
from misfired.prompts.order import scenario_places
from misfired.runs.folder import read_pairs
from misfired.runs.options import RunOptions
from misfired.runs.plan import in_blocks, plan_for
from misfired.suites.organism import build_organism_suite, models

pytestmark = pytest.mark.model

#: Thirty scenarios of the organism suite are asked; a run may end after ten.
OPTIONS = {"protocol": "logit-bare", "n_resamples": 200, "min_scenarios": 10}


@pytest.fixture(scope="module")
def suite() -> pl.DataFrame:
    pairs = build_organism_suite()
    return pairs.filter(pl.col("scenario").is_in(list(scenario_places(pairs))[:30]))


@pytest.fixture(scope="module")
def model():
    return models()["instruct"]


@pytest.fixture(scope="module")
def whole(model, suite, tmp_path_factory):
    """The run that asks all pairs at once."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run(model, suite, out=folder, **OPTIONS)
    return folder


def comparable(folder, *more: str):
    """All that must be equal: every byte of answers, tables and pairs, and what decides the numbers."""
    files = final_files(folder)
    settings = files["manifest"]["settings"]
    settings.pop("n_block")
    files["manifest"] = {"settings": settings, "outcomes": files["manifest"]["outcomes"]}
    return {name: files[name] for name in files if name not in more}


def test_a_run_ends_once_its_interval_is_narrow_and_continues_to_the_very_bytes(
    model, suite, whole, tmp_path
) -> None:
    early = run(model, suite, out=tmp_path, until=15, **OPTIONS)
    told = early.scores.manifest["until"]
    assert told["ended"] == told["looks"][-1]["ended"] == "narrow"
    assert [look["n_scenarios"] for look in told["looks"]] == [10, 20][: len(told["looks"])]
    last = told["looks"][-1]
    assert (last["high"] - last["low"]) / 2 <= 15
    assert all((look["high"] - look["low"]) / 2 > 15 for look in told["looks"][:-1])
    # Whole scenarios, the first of the order, and the very numbers of a run of these pairs.
    asked = list(scenario_places(suite))[: last["n_scenarios"]]
    part = suite.filter(pl.col("scenario").is_in(asked))
    assert read_pairs(tmp_path).equals(part)
    assert len(part) < len(suite)
    mar = early.summary.filter(slice="overall", priming="none", measure="mar")
    assert mar["value"].item() == last["value"]
    whole_answers = read_answers(whole)
    assert early.scores.answers.equals(whole_answers.filter(pl.col("scenario").is_in(asked)))
    # The same command reads it again.
    again = run(model, suite, out=tmp_path, until=15, **OPTIONS)
    assert again.scores.manifest["times"] == early.scores.manifest["times"]
    # Without the rule, it continues.
    done = run(model, suite, out=tmp_path, **OPTIONS)
    assert done.scores.manifest["times"]["n_resumed_from"] == 2 * len(part)
    assert "until" not in done.scores.manifest
    assert comparable(tmp_path) == comparable(whole)


@pytest.mark.ci
def test_another_rule_continues_and_never_forgets(model, suite, whole, tmp_path) -> None:
    run(model, suite, out=tmp_path, until=15, **OPTIONS)
    n_before = len(read_answers(tmp_path))
    wider = run(model, suite, out=tmp_path, until=30, **OPTIONS)
    assert len(wider.scores.answers) == n_before
    narrower = run(model, suite, out=tmp_path, until=0.1, **OPTIONS)
    assert narrower.scores.manifest["until"]["ended"] is None
    assert comparable(tmp_path) == comparable(whole)
    # A run of all pairs is complete whatever the rule.
    assert len(run(model, suite, out=tmp_path, until=30, **OPTIONS).scores.answers) == 300


@pytest.mark.ci
def test_interrupted_it_ends_at_the_same_place(model, suite, tmp_path) -> None:
    class Stop(BaseException):
        pass

    def stop(done: int, _total: int) -> None:
        if done > 80:
            raise Stop

    with pytest.raises(Stop):
        run(model, suite, out=tmp_path / "hurt", until=15, progress=stop, **OPTIONS)
    resumed = run(model, suite, out=tmp_path / "hurt", until=15, **OPTIONS)
    run(model, suite, out=tmp_path / "calm", until=15, **OPTIONS)
    assert resumed.scores.manifest["times"]["n_resumed_from"] > 60
    assert comparable(tmp_path / "hurt") == comparable(tmp_path / "calm")
    manifests = (json.loads((tmp_path / n / "manifest.json").read_text()) for n in ("hurt", "calm"))
    assert len({json.dumps(each["until"]) for each in manifests}) == 1


def test_a_comparison_ends_once_it_is_settled(model, suite, tmp_path) -> None:
    base = tmp_path / "base"
    run(models()["base"], suite, out=base, **OPTIONS)
    rule = {"against": base, "until_decided": 2, "confidence_level": 0.8}
    early = run(model, suite, out=tmp_path / "new", **OPTIONS, **rule)
    told = early.scores.manifest["until"]
    assert told["ended"] == "different"
    assert told["looks"][-1]["low"] > 0
    assert told["looks"][-1]["n_scenarios"] < 30


@pytest.mark.ci
def test_runs_that_differ_little_are_alike_and_equal_ones_ask_all(
    model, suite, whole, tmp_path
) -> None:
    answers = read_answers(whole)
    # Every tenth answer is the other one.
    tenth = pl.int_range(pl.len()) % 10 == 0
    others = {"yes": "no", "no": "yes", "correct": "wrong", "wrong": "correct"}
    changed = {
        "logp_yes": pl.col("logp_no"),
        "logp_no": pl.col("logp_yes"),
        "logit_diff": -pl.col("logit_diff"),
        **{name: pl.col(name).replace(others) for name in ("answer", "outcome")},
    }
    flipped = {name: pl.when(tenth).then(value).otherwise(name) for name, value in changed.items()}
    answers.with_columns(**flipped).write_parquet(tmp_path / "base.parquet")
    rule = {"against": tmp_path / "base.parquet", "until_decided": 40}
    alike = run(model, suite, out=tmp_path / "alike", **OPTIONS, **rule)
    assert alike.scores.manifest["until"]["ended"] == "alike"
    assert len(alike.scores.answers) < 300
    # Without any difference there is no standard error, and no interval to decide by.
    equal = run(model, suite, out=tmp_path / "alike", **OPTIONS, **rule | {"against": whole})
    assert equal.scores.manifest["until"]["ended"] is None
    assert comparable(tmp_path / "alike") == comparable(whole)


def test_what_cannot_end_early_is_refused(small_model, tmp_path) -> None:
    few = make_suite(48, per_scenario=1)
    options = {"n_resamples": 100, "priming": ["none"]}
    base = tmp_path / "base"
    run(small_model, few.head(24), out=base, **options)
    with pytest.raises(DataError, match=r"base: must share at least 40 scenarios .*, got 24"):
        run(small_model, few, until_decided=2, against=base, **options)
    changed = few.with_columns(contrast=pl.col("contrast") + " ")
    with pytest.raises(DataError, match="'pair_0' must have the texts of this suite"):
        run(small_model, changed, until_decided=2, against=base, min_scenarios=2, **options)
    run(small_model, make_suite(48), out=tmp_path / "limited", limit=12, **options)
    with pytest.raises(
        RunFolderError, match="holds answers that a run which may end early asks later"
    ):
        run(small_model, make_suite(48), out=tmp_path / "limited", until=3, **options)
    with pytest.raises(ArgumentError, match="until_decided must go with against, which is None"):
        run(small_model, few, until_decided=2)
    with pytest.raises(ArgumentError, match="against must go with until_decided, which is None"):
        run(small_model, few, against=base)
    with pytest.raises(ArgumentError, match="until_decided must be None with until 3, got 2"):
        run(small_model, few, until=3, until_decided=2, against=base)


def test_fast_runs_end_early_but_are_not_continued(small_model, tmp_path) -> None:
    few = make_suite(48, per_scenario=1)
    options = {"mode": "fast", "n_resamples": 100, "min_scenarios": 10}
    early = run(small_model, few, out=tmp_path, until=40, **options)
    assert early.scores.manifest["until"]["ended"] == "narrow"
    narrower = run(small_model, few, out=tmp_path, until=0.1, **options)
    assert len(narrower.scores.answers) == 96
    run(small_model, few, out=tmp_path / "other", until=40, **options)
    with pytest.raises(RunFolderError, match="mode must be exact to extend a run, got fast"):
        run(small_model, few, out=tmp_path / "other", **options)


def test_twins_come_with_their_pairs_and_are_not_counted() -> None:
    pairs = make_suite(48, per_scenario=2).with_columns(twin_of=pl.lit(None, pl.String))
    twins = pairs.with_columns(twin_of="id", id=pl.col("id") + "_no")
    both = pl.concat([pairs, twins])
    plan = plan_for(both, RunOptions(until=3, min_scenarios=10))
    assert [len(ids) for ids in plan.blocks] == [40, 40, 16]
    assert plan.look_after == (0, 1, 2)
    assert plan.n_block == 10


def test_blocks_are_whole_scenarios_in_the_order_drawn() -> None:
    pairs = make_suite(600, per_scenario=2)
    order = list(scenario_places(pairs, seed=5))
    blocks = in_blocks(pairs, seed=5)
    assert len(blocks) == 20
    for number, ids in enumerate(blocks):
        scenarios = pairs.filter(pl.col("id").is_in(ids.to_list()))["scenario"]
        assert set(scenarios) == set(order[15 * number : 15 * number + 15])
        assert len(ids) == 30


def test_the_command_says_where_it_ended(misfired, model, suite, tmp_path) -> None:
    write_suite(suite, tmp_path / "suite.parquet")
    words = ["--suite", tmp_path / "suite.parquet", "--priming", "none", "--protocol", "logit-bare"]
    words += ["--n-resamples", 200, "--min-scenarios", 10, "--until", 15, "-o", tmp_path / "run"]
    done = misfired("run", model, *words)
    assert done.code == 0, done.err
    (line,) = (line for line in done.out.splitlines() if line.startswith("asked  "))
    assert "of 30 scenarios" in line
    assert "narrow enough (--until 15)" in " ".join(done.out.split())
