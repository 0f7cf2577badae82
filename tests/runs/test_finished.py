"""A run folder is read as one: whatever was changed in it is refused in one line, by every command."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from helpers import make_suite
from misfired import read_answers, run
from misfired.errors import DataError, MisfiredWarning
from misfired.runs.finished import ANSWERS, PAIRS, SUMMARY, open_run
from misfired.runs.folder import read_pairs
from misfired.runs.manifest import MANIFEST
from random_model import make_model

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def whole(small_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    shutil.copy(small_model, folder / "model.gguf")
    run(small_model, make_suite(), out=folder / "run", n_resamples=50)
    run(
        make_model(folder / "other.gguf", "llama", seed=5),
        make_suite(),
        out=folder / "other",
        n_resamples=50,
    )
    run(small_model, make_suite(12), out=folder / "half", n_resamples=50)
    return folder


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy of a finished run, to be damaged."""
    return Path(shutil.copytree(whole / "run", tmp_path / "run"))


def without_hashes(folder: Path, **changes) -> None:
    """Make a folder one of an older version."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest.pop("files", None)
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


def changed(folder: Path, change) -> None:
    """Change the answers' table."""
    change(pl.read_parquet(folder / ANSWERS)).write_parquet(folder / ANSWERS)


def test_a_run_is_read_as_it_was_written(folder) -> None:
    found = open_run(folder)
    assert set(found.manifest.files) == {ANSWERS, SUMMARY, "analyses.json"}
    assert found.manifest.files[ANSWERS].n_rows == len(found.answers) == 48
    assert found.pairs.equals(make_suite())
    (folder / PAIRS).unlink()
    assert open_run(folder).pairs is None, "a folder may be published without its pairs"
    assert read_answers(folder / ANSWERS).equals(found.answers)


#: What is done to the answers, and what an older folder, without hashes, says of it.
DAMAGE = {
    "truncated": (lambda f: f.head(6), "must have 48 rows, as the manifest says, got 6"),
    "reordered": (lambda f: f.reverse(), "must have the prompts of pairs.parquet in their order"),
    "one prompt twice": (lambda f: pl.concat([f.head(1), f.head(47)]), "must have one row, got several"),
    "another outcome": (
        lambda f: f.with_columns(outcome=pl.lit("banana")),
        "row 1: outcome must be one of correct, wrong, .* got 'banana'",
    ),
    "probability above 1": (
        lambda f: f.with_columns(logp_yes=pl.col("logp_yes") + 9.0),
        r"row 1: logp_yes must be within \[-inf, 0.001\]",
    ),
    "no number": (
        lambda f: f.with_columns(logit_diff=pl.lit(float("nan"))),
        "row 1: logit_diff must be within .* got nan",
    ),
    "all right": (
        lambda f: f.with_columns(answer="expected", outcome=pl.lit("correct")),
        "outcomes must be those of the manifest",
    ),
    "right and wrong": (
        lambda f: f.with_columns(outcome=pl.when(pl.col("outcome") == "wrong").then(pl.lit("correct")).otherwise(pl.lit("wrong"))),
        "outcome must be .* where",
    ),
    "another type": (lambda f: f.with_columns(reason=pl.int_range(pl.len())), "'reason' must hold text, got Int64"),
    "a column less": (lambda f: f.drop("outcome"), "'outcome' is missing"),
    "null keys": (lambda f: f.with_columns(priming=pl.lit(None, pl.String)), "priming must be a text, got None"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_changed_answers_are_refused(name, folder) -> None:
    change, said = DAMAGE[name]
    changed(folder, change)
    with pytest.raises(DataError, match=r"answers\.parquet: not the file of this run \(sha256 "):
        read_answers(folder)
    with pytest.raises(DataError, match="not the file of this run"):
        read_answers(folder / ANSWERS)
    without_hashes(folder)
    with pytest.raises(DataError, match=said):
        read_answers(folder)


def test_files_of_another_run_are_refused(whole, folder) -> None:
    shutil.copy(whole / "other" / ANSWERS, folder / ANSWERS)
    with pytest.raises(DataError, match="not the file of this run"):
        open_run(folder)
    shutil.copy(whole / "run" / ANSWERS, folder / ANSWERS)
    shutil.copy(whole / "half" / SUMMARY, folder / SUMMARY)
    with pytest.raises(DataError, match=r"summary\.json: not the file of this run"):
        open_run(folder)
    shutil.copy(whole / "run" / SUMMARY, folder / SUMMARY)
    shutil.copy(whole / "half" / PAIRS, folder / PAIRS)
    for read in (read_answers, read_pairs, open_run):
        with pytest.raises(DataError, match=r"pairs\.parquet: not the pairs of this run"):
            read(folder)


def test_an_older_folder_is_read_with_a_word(folder, misfired) -> None:
    before = read_answers(folder)
    without_hashes(folder)
    with pytest.warns(MisfiredWarning, match="holds no hashes"):
        assert read_answers(folder).equals(before)
    told = misfired("stats", folder, "--n-resamples", 50)
    assert told.code == 0
    assert told.err.startswith(f"note: {folder}: the manifest holds no hashes")
    assert told.err.count("\n") == 1


MANIFESTS = {
    "no object": "[]",
    "no JSON": "{",
    "deep": "[" * 100_000,
    "another format": '{"format": 9}',
    "no settings": '{"format": 1, "status": "running"}',
    "no status": '{"format": 1, "settings": {}}',
    "not whole": '{"format": 1, "status": "complete", "settings": {}}',
    "bytes": "\x00\x01",
    "empty": "",
}
#: Keys of a manifest, with dots, and values that no run writes.
VALUES = {
    "settings": None,
    "settings.n_pairs": -1,
    "settings.n_shard": 10**30,
    "settings.suite_sha256": "abc",
    "settings.primings": [{"name": "none", "sides": []}],
    "settings.protocol": {"name": "logit"},
    "settings.statistics.confidence_level": 1.5,
    "outcomes": {"correct": -48},
    "files": {"answers.parquet": {"sha256": "0" * 64, "n_rows": "many"}},
    "files.n": {"sha256": "0" * 64},
    "times": [],
    "until": {"rule": {}},
    "settings.intervention": {"ablate": 3},
    "settings.server": {"url": 3},
    "settings.annotator": {},
    "template_markers": {"markers": [{}]},
    "cache": {"model": "m"},
    "times.seconds": float("nan"),
    "times.started": 1e300,
    "tokens.in_prompts": -1,
    "model": {"path": 3, "description": ""},
    "held_out": "p",
}


def damage_manifest(folder: Path, name: str) -> None:
    if name in MANIFESTS:
        (folder / MANIFEST).write_text(MANIFESTS[name])
        return
    section = manifest = json.loads((folder / MANIFEST).read_text())
    *above, key = name.split(".")
    for each in above:
        section = section[each]
    section[key] = VALUES[name]
    (folder / MANIFEST).write_text(json.dumps(manifest))


def refused(told, file: str) -> None:
    """One line on stderr, the last, that names the file; nothing on stdout."""
    assert told.code in {1, 2}
    last = told.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert file in last
    assert "Traceback" not in told.err
    assert not told.out


@pytest.mark.parametrize("name", [*MANIFESTS, *VALUES])
def test_a_manifest_that_no_run_writes_ends_in_one_line(name, folder, whole, misfired) -> None:
    damage_manifest(folder, name)
    for arguments in (
        ("stats", folder),
        ("compare", whole / "other", folder),
        ("leaderboard", folder),
    ):
        told = misfired(*arguments)
        refused(told, MANIFEST)
        assert told.err.count("\n") == 1


@pytest.mark.parametrize("name", ["deep", "settings", "files.n"])
@pytest.mark.parametrize("command", ["run", "localise"])
def test_so_it_does_where_a_model_is_loaded(command, name, folder, small_model, misfired) -> None:
    damage_manifest(folder, name)
    make_suite().write_parquet(folder.parent / "suite.parquet")
    if command == "run":
        told = misfired(
            "run", small_model, "--suite", folder.parent / "suite.parquet", "-o", folder
        )
    else:
        told = misfired("localise", small_model, "--run", folder, "-o", folder.parent / "found")
    refused(told, MANIFEST)


@pytest.mark.parametrize("damage", ["pairs", "answers", "status", "summary"])
@pytest.mark.parametrize(
    "command",
    [
        "stats",
        "compare",
        "leaderboard",
        "agreement",
        "report",
        "plot",
        "localise",
        "run",
        "against",
    ],
)
def test_every_command_refuses_what_is_not_of_the_run(
    command, damage, whole, folder, misfired
) -> None:
    if damage == "status":
        without_hashes(folder, status="running")
    else:
        file = {"pairs": PAIRS, "answers": ANSWERS, "summary": SUMMARY}[damage]
        shutil.copy(whole / "half" / file, folder / file)
    make_suite().write_parquet(folder.parent / "suite.parquet")
    model = whole / "model.gguf"
    asked = (model, "--suite", folder.parent / "suite.parquet", "--priming", "none")
    out = folder.parent / "out"
    told = misfired(
        *{
            "stats": ("stats", folder),
            "compare": ("compare", folder, whole / "other"),
            "leaderboard": ("leaderboard", whole / "other", folder),
            "agreement": ("agreement", whole / "other", folder),
            "report": ("report", folder, "-o", out / "page.html"),
            "plot": ("plot", folder, "-o", out),
            "localise": ("localise", model, "--run", folder, "-o", out),
            "run": ("run", *asked, "-o", folder, "--n-resamples", 50),
            "against": ("run", *asked, "-o", out, "--until-decided", 5, "--against", folder),
        }[command]
    )
    if command == "run" and damage == "status":
        assert told.code == 0, "an unfinished run resumes"
        return
    refused(told, "not complete" if damage == "status" else file)
