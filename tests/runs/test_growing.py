"""Runs with reading twins, of files and of servers: they end early, grow, and equal whole ones."""

import polars as pl
import pytest

from helpers import final_files
from loopback_server import serving
from misfired import read_answers, run
from misfired.suites.twins import READING

pytestmark = pytest.mark.model

OPTIONS = {"n_resamples": 100, "min_scenarios": 10, "protocol": "logit"}
#: With an f16 cache prompts do not share batches, as with quantised weights: bits depend on no neighbour.
SOLO = {"cache_type_k": "f16", "cache_type_v": "f16", "n_threads": 1}
#: What differs between a run at once and one in parts: what it took, and which sample was tried.
TOOK = (
    "tokens",
    "packing",
    "until",
    "batch_invariance",
    "requests",
    "fingerprints",
    "trial",
    "cost",
)


def stories(n: int) -> pl.DataFrame:
    """Pairs whose texts allow reading twins, one in each scenario."""
    rows = [
        {
            "id": f"p{i:02}", "suite": "naps@1", "category": "Naps", "scenario": f"s{i:02}",
            "stereotyped_group": "dogs", "contrast_group": "cats", "cue": None,
            "stereotyped": f"A cat and a dog met at {i}. The dog slept. Did The dog sleep?",
            "contrast": f"A dog and a cat met at {i}. The cat slept. Did The cat sleep?",
            "expected_stereotyped": "yes", "expected_contrast": "yes",
            "stereotyped_subject": "The dog", "contrast_subject": "The cat",
        }
        for i in range(n)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"cue": pl.String})


@pytest.fixture(params=["file", "server"])
def target(request, small_model):
    """A model file or the address of a server, and what else a run of it takes."""
    if request.param == "file":
        yield small_model, SOLO
    else:
        with serving() as server:
            yield server.url, {}


def comparable(folder):
    files = final_files(folder)
    for key in TOOK:
        files["manifest"].pop(key, None)
    return files


def test_a_limited_run_with_twins_grows_into_the_whole(target, tmp_path) -> None:
    model, more = target
    options = {**OPTIONS, **more}
    options.pop("min_scenarios")
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    run(model, stories(40), out=grown, limit=12, **options)
    before = read_answers(grown)
    assert before["id"].str.ends_with(READING).sum() == 24
    found = run(model, stories(40), out=grown, limit=30, **options)
    assert found.scores.manifest["times"]["n_resumed_from"] == len(before)
    run(model, stories(40), out=whole, limit=30, **options)
    assert comparable(grown) == comparable(whole)
    kept = read_answers(grown).join(before, on=["id", "priming", "condition"], how="semi")
    assert sorted(map(str, kept.rows())) == sorted(map(str, before.rows()))


@pytest.mark.ci
def test_a_run_with_twins_ends_early_and_continues_to_the_very_bytes(target, tmp_path) -> None:
    model, more = target
    options = {**OPTIONS, **more}
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    early = run(model, stories(40), out=grown, until=45, **options)
    told = early.scores.manifest["until"]
    assert told["ended"] == "narrow"
    asked = read_answers(grown)
    n_twins = asked["id"].str.ends_with(READING).sum()
    # Twins come with their pairs, and are no scenarios of their own.
    assert 0 < n_twins == len(asked) / 2 < 80
    assert told["looks"][-1]["n_scenarios"] == len(asked) / 4
    done = run(model, stories(40), out=grown, **options)
    assert done.scores.manifest["times"]["n_resumed_from"] == len(asked)
    run(model, stories(40), out=whole, **options)
    ours, other = comparable(grown), comparable(whole)
    for files in (ours, other):
        files["manifest"]["settings"].pop("n_block", None)
    assert ours == other


@pytest.mark.ci
def test_a_comparison_of_runs_with_twins_is_settled(target, tmp_path) -> None:
    model, more = target
    options = {**OPTIONS, **more}
    run(model, stories(60), out=tmp_path / "base", **options)
    same = run(
        model,
        stories(60),
        out=tmp_path / "new",
        against=tmp_path / "base",
        until_decided=30,
        **options,
    )
    assert same.scores.manifest["until"]["ended"] in {"alike", None}
    answers = same.scores.answers
    base = read_answers(tmp_path / "base")
    keys = ["id", "priming", "condition", "answer"]
    assert answers.join(base, on=keys, how="anti", nulls_equal=True).is_empty()
