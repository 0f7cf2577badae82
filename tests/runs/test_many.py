"""Several models: a run folder each, the same as alone; one that fails does not stop the others."""

import shutil

import pytest

from helpers import make_suite
from misfired import ArgumentError, ModelError, run, run_many, write_suite
from misfired.runs.names import run_names

pytestmark = pytest.mark.model


@pytest.fixture
def two_models(small_model, tmp_path):
    (tmp_path / "models").mkdir()
    return [shutil.copy(small_model, tmp_path / "models" / f"{name}.gguf") for name in "ab"]


@pytest.fixture
def suite_file(tmp_path):
    file = tmp_path / "suite.parquet"
    write_suite(make_suite(), file)
    return file


def test_each_run_is_the_one_that_the_model_has_alone(two_models, tmp_path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    done = run_many([*two_models, broken], make_suite(), out=tmp_path / "runs", n_resamples=100)
    assert list(done) == ["a", "b", "broken"]
    assert isinstance(done["broken"], ModelError)
    alone = run(two_models[1], make_suite(), n_resamples=100)
    assert done["b"].scores.answers.equals(alone.scores.answers)
    assert (tmp_path / "runs" / "b" / "manifest.json").exists()


def test_suites_have_folders_within_the_models(two_models, tmp_path) -> None:
    suites = {"few": make_suite(8), "more": make_suite(12)}
    done = run_many(two_models[:1], suites, out=tmp_path / "runs", n_resamples=100)
    assert {name: len(each.scores.answers) for name, each in done.items()} == {
        "a/few": 16,
        "a/more": 24,
    }


def test_names_tell_models_apart(tmp_path) -> None:
    assert run_names(["x/m.gguf", "y/m.gguf", "y/n.gguf"]) == ["x-m", "y-m", "n"]
    named = ["a/base.gguf", "b/base.gguf", "b/chat.gguf", "http://127.0.0.1:8000/v1"]
    assert run_names(named) == ["a-base", "b-base", "chat", "127.0.0.1-8000"]
    with pytest.raises(ArgumentError, match="'x-m' is named twice"):
        run_names(["x/m.gguf", "x/m.gguf"])
    with pytest.raises(ArgumentError, match="no model"):
        run_many([], make_suite(), out=tmp_path)


def test_the_command_prints_one_table_and_names_what_failed(misfired, two_models, suite_file):
    runs = suite_file.parent / "runs"
    missing = two_models[0].with_name("missing.gguf")
    options = ["--suite", suite_file, "-o", runs, "--n-resamples", 100, "--priming", "none"]
    done = misfired("run", *two_models, missing, *options)
    assert done.code == 1
    assert "missing.gguf: no such model file" in done.err
    table = done.out.splitlines()
    assert table[0].strip() == "MAR, priming none"
    assert [line.split()[0] for line in table if line.startswith(("a ", "b "))] == ["a", "b"]


@pytest.mark.slow
def test_a_cluster_gives_the_same_bits_although_a_node_is_lost(two_models, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    # Small shards, so that both nodes have work when one of them goes.
    monkeypatch.setattr("misfired.prompts.prompt_set.N_SHARD", 8)
    suite = make_suite(320)
    alone = run_many(two_models, suite, out=tmp_path / "alone", n_threads=1, n_resamples=100)
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    lost = cluster.add_node(num_cpus=1)
    try:
        ray.init(address=cluster.address)
        n_done = 0

        def progress(_name):
            def tell(done, _total):
                nonlocal n_done, lost
                n_done = max(n_done, done)
                if lost is not None and n_done > 100:
                    node, lost = lost, None
                    cluster.remove_node(node, allow_graceful=False)

            return tell

        together = run_many(
            two_models, suite, out=tmp_path / "together", ray=cluster.address,
            n_threads=1, n_resamples=100, progress=progress,
        )  # fmt: skip
        assert lost is None, "the runs were over before a node was lost"
    finally:
        ray.shutdown()
        cluster.shutdown()
    for name, each in alone.items():
        assert together[name].scores.answers.equals(each.scores.answers)
        for file in ("answers.parquet", "summary.json"):
            here, there = (tmp_path / place / name / file for place in ("alone", "together"))
            assert here.read_bytes() == there.read_bytes()
