"""A run grows into a larger one, and then is the same as if it had been asked at once."""

import json

import polars as pl
import pytest

from helpers import final_files, make_suite
from misfired import RunFolderError, read_answers, run, score
from misfired.runs.folder import ANSWERS, JOURNAL, RunFolder
from misfired.runs.manifest import MANIFEST
from misfired.suites.organism import build_organism_suite, models

pytestmark = pytest.mark.model

ORGANISM = {"protocol": "logit-bare", "n_resamples": 200}
#: With an f16 cache prompts do not share batches, as with quantised weights: bits depend on no neighbour.
SOLO = {"cache_type_k": "f16", "cache_type_v": "f16"}


@pytest.fixture(scope="module")
def organism():
    return models()["instruct"], build_organism_suite()


def without_counts(folder):
    """All that a run leaves, but how many tokens were asked for, and which sample was tried."""
    files = final_files(folder)
    for key in ("tokens", "packing", "until"):
        files["manifest"].pop(key, None)
    return files


def test_a_larger_limit_asks_only_what_is_new(organism, tmp_path) -> None:
    model, suite = organism
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    run(model, suite, out=grown, limit=20, priming=["cue"], **ORGANISM)
    n_before = len(read_answers(grown))
    extended = run(model, suite, out=grown, limit=45, priming=["cue"], **ORGANISM)
    run(model, suite, out=whole, limit=45, priming=["cue"], **ORGANISM)
    assert n_before == 20 * 3
    assert extended.scores.manifest["times"]["n_resumed_from"] == n_before
    assert without_counts(grown) == without_counts(whole)


def test_a_smaller_limit_and_other_pairs_are_refused(small_model, tmp_path) -> None:
    score(small_model, make_suite(), out=tmp_path, limit=12)
    with pytest.raises(RunFolderError, match="n_pairs was 12, is 8"):
        score(small_model, make_suite(), out=tmp_path, limit=8)
    with pytest.raises(RunFolderError, match="n_pairs was 12, is 16"):
        score(small_model, make_suite(), out=tmp_path, limit=16, seed=1)
    changed = make_suite().with_columns(contrast=pl.col("contrast") + " ")
    with pytest.raises(RunFolderError, match="suite_sha256 was"):
        score(small_model, changed, out=tmp_path)
    # Nothing was touched.
    assert len(score(small_model, make_suite(), out=tmp_path, limit=12).answers) == 24


def test_fast_answers_are_not_extended(small_model, tmp_path) -> None:
    score(small_model, make_suite(), out=tmp_path, limit=12, mode="fast")
    with pytest.raises(RunFolderError, match="mode must be exact to extend a run, got fast"):
        score(small_model, make_suite(), out=tmp_path, mode="fast")


def test_packed_prompts_keep_the_promise_of_exact(small_model, tmp_path) -> None:
    score(small_model, make_suite(), out=tmp_path, limit=12)
    grown = score(small_model, make_suite(), out=tmp_path)
    whole = score(small_model, make_suite())
    assert grown.manifest["packing"]["packing"] == "packed"
    assert grown.answers["answer"].equals(whole.answers["answer"])
    difference = grown.answers["logit_diff"] - whole.answers["logit_diff"]
    assert difference.abs().max() <= 1e-5


def test_an_interrupted_run_grows_too(small_model, tmp_path) -> None:
    whole = score(small_model, make_suite(), **SOLO, out=tmp_path / "whole")
    part = score(small_model, make_suite(), **SOLO, out=tmp_path / "part", limit=12)
    settings = part.manifest["settings"]
    with RunFolder(tmp_path / "torn", settings) as folder:
        folder.keep_pairs(
            make_suite().filter(make_suite()["id"].is_in(part.answers["id"].to_list()))
        )
        rows = part.answers.drop("id", "category", "scenario", "priming", "condition", "expected")
        ids = part.answers["id"]
        folder.append(((ids[n], n % 2), row) for n, row in enumerate(rows.head(7).to_dicts()))
    done = score(small_model, make_suite(), **SOLO, out=tmp_path / "torn")
    assert done.manifest["times"]["n_resumed_from"] == 7
    assert done.answers.equals(whole.answers)


@pytest.mark.parametrize("stage", ["journal", "manifest"])
def test_killed_while_it_is_reopened_the_run_grows_all_the_same(
    stage, small_model, tmp_path, monkeypatch
) -> None:
    whole = score(small_model, make_suite(), **SOLO, out=tmp_path / "whole")
    part = score(small_model, make_suite(), **SOLO, out=tmp_path / "part", limit=12)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if stage == "journal":
            patched.setattr(RunFolder, "_write_json", die)
        else:
            patched.setattr(RunFolder, "keep_pairs", die)
        with pytest.raises(Killed):
            score(small_model, make_suite(), **SOLO, out=tmp_path / "part")
    assert (tmp_path / "part" / JOURNAL).exists()
    status = json.loads((tmp_path / "part" / MANIFEST).read_text())["status"]
    assert status == ("complete" if stage == "journal" else "running")
    if stage == "journal":
        again = score(small_model, make_suite(), **SOLO, out=tmp_path / "part", limit=12)
        assert again.answers.equals(part.answers)
    assert score(small_model, make_suite(), **SOLO, out=tmp_path / "part").answers.equals(
        whole.answers
    )
    assert (tmp_path / "part" / ANSWERS).read_bytes() == (tmp_path / "whole" / ANSWERS).read_bytes()
