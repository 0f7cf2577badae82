"""Every key of a manifest is described, and a manifest that is not one is refused by the key's name."""

import json

import pytest

from helpers import make_suite
from loopback_server import serving
from misfired import DataError, run, score
from misfired.runs.folder import ANALYSES
from misfired.runs.manifest import MANIFEST, MANIFEST_KEYS, Manifest, read_manifest

#: Sections whose keys are free, or described where their content is.
FREE = {
    "settings.primings", "settings.protocol", "settings.shots.demonstrations", "settings.kv_cache",
    "settings.intervention", "settings.server.extra_body", "model.metadata", "answer_tokens.scored",
    "packing.differences", "files", "fingerprints", "example_request", "outcomes",
}  # fmt: skip


def keys(content, before=""):
    for key, value in content.items():
        name = before + key
        yield name
        if isinstance(value, dict) and name not in FREE:
            yield from keys(value, f"{name}.")


@pytest.mark.model
def test_every_key_of_a_local_run_is_described(small_model, tmp_path) -> None:
    options = {"n_shots": 1, "cache": tmp_path / "cache", "priming": ["cue", "neutral"]}
    scores = run(small_model, make_suite(), n_resamples=50, **options).scores
    assert set(keys(scores.manifest)) <= set(MANIFEST_KEYS)
    assert len(scores.manifest) > 12


def test_every_key_of_a_servers_run_is_described(tmp_path) -> None:
    with serving() as server:
        scores = score(server.url, make_suite(8), cache=tmp_path)
    assert set(keys(scores.manifest)) <= set(MANIFEST_KEYS)
    assert Manifest.of(scores.manifest).settings.server["model"] == "small"


def test_descriptions_are_one_line_each() -> None:
    assert len(MANIFEST_KEYS) > 90
    for key, said in MANIFEST_KEYS.items():
        assert said[0].isupper() or said[0] == "`", key
        assert said.endswith("."), key
        assert "\n" not in said, key


@pytest.mark.model
def test_a_damaged_manifest_is_refused_by_the_keys_name(small_model, tmp_path) -> None:
    score(small_model, make_suite(8), out=tmp_path)
    read = read_manifest(tmp_path)
    assert read.settings.n_pairs == 8
    assert read.settings.protocol.name == "logit"
    content = json.loads((tmp_path / MANIFEST).read_text())
    content["settings"]["n_pairs"] = "many"
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(
        DataError, match=r"manifest\.json: settings\.n_pairs must be a whole number, got 'many'"
    ):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps(content | {"status": "running"}))
    with pytest.raises(DataError, match="not complete; run its command again to resume"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_text('{"format": 2}')
    with pytest.raises(DataError, match="not a manifest of format 1"):
        read_manifest(tmp_path)


@pytest.mark.model
def test_a_run_keeps_what_its_design_allows(small_model, tmp_path, misfired) -> None:
    suite = make_suite()
    mixed = suite.with_columns(
        expected_stereotyped=suite["expected_contrast"].set(suite["id"].str.ends_with("1"), "no"),
        expected_contrast=suite["expected_contrast"].set(suite["id"].str.ends_with("1"), "no"),
    )
    options = {"priming": ["cue_both", "neutral_both"], "n_resamples": 100, "seed": 3}
    done = run(small_model, mixed, out=tmp_path, **options)
    kept = json.loads((tmp_path / ANALYSES).read_text())
    assert list(kept) == ["contrasts", "detection", "expected"]
    for name, rows in kept.items():
        arguments = ("--table", name, "--n-resamples", 100, "--seed", 3, "--json")
        shown = misfired("stats", tmp_path, *arguments).out.splitlines()
        assert rows == [
            {k: v for k, v in json.loads(line).items() if k != "source"} for line in shown
        ]
        assert rows == getattr(done.analyses, name).to_dicts()
        assert rows
    again = run(small_model, mixed, out=tmp_path, **options)
    assert again.analyses.to_json() == kept


@pytest.mark.model
def test_a_plain_design_allows_nothing_more(small_model, tmp_path) -> None:
    run(small_model, make_suite(8), out=tmp_path, n_resamples=50)
    assert json.loads((tmp_path / ANALYSES).read_text()) == {
        "contrasts": [], "detection": [], "expected": [],
    }  # fmt: skip
