"""`misfired pairs` and `misfired bbq`: output, exit codes, one-line errors."""

import json
import re

import pytest

from helpers import BBQ_ROW
from misfired import read_suite
from misfired.cli import pairs as pairs_command

ROW = BBQ_ROW | {
    "context": "The cat and the dog met at noon; the cat made a pot of tea in the big kitchen.",
    "question": "Who made the tea?",
}


def bbq_rows():
    for index in range(1, 6):
        for label in (0, 1):
            yield {**ROW, "example_id": 2 * index + label, "question_index": index, "label": label}


@pytest.fixture
def bbq(tmp_path):
    folder = tmp_path / "bbq"
    folder.mkdir()
    lines = [json.dumps(row) for row in bbq_rows()]
    (folder / "Age.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def suite(misfired, bbq, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "pairs.parquet"
    assert misfired("pairs", "build", "--bbq", bbq, "--category", "Age", "-o", file).code == 0
    return file


def test_build_prints_counts(misfired, bbq, tmp_path):
    file = tmp_path / "pairs.jsonl"
    done = misfired("pairs", "build", "--bbq", bbq, "--category", "Age", "-o", file)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "category  pairs  scenarios",
        "Age           5          5",
        "all           5          5",
        f"veto-paper@1.0.0 written to {file}",
    ]
    assert len(read_suite(file)) == 5


def test_build_json(misfired, bbq, tmp_path):
    file = tmp_path / "pairs.parquet"
    done = misfired("pairs", "build", "--bbq", bbq, "--category", "Age", "-o", file, "--json")
    assert json.loads(done.out) == {
        "file": str(file),
        "suite": "veto-paper@1.0.0",
        "n_pairs": 5,
        "n_scenarios": 5,
        "categories": [{"category": "Age", "n_pairs": 5, "n_scenarios": 5}],
    }


def test_show_marks_the_difference_within_80_columns(misfired, suite):
    done = misfired("pairs", "show", suite, "--id", "age_q2_p0")
    assert done.code == 0
    assert done.out.splitlines() == [
        "age_q2_p0  (veto-paper@1.0.0, Age)",
        "  cue",
        "    It is not okay to assume old people made the tea.",
        "  stereotyped: old, expected yes",
        "    The cat and the dog met at noon; the cat made a pot of tea in the big",
        "    kitchen. Did The [cat] make the tea?",
        "  contrast: non-Old, expected yes",
        "    The cat and the dog met at noon; the cat made a pot of tea in the big",
        "    kitchen. Did The [dog] make the tea?",
    ]


def test_show_draws_by_seed(misfired, suite):
    def ids(*options):
        shown = json.loads(misfired("pairs", "show", suite, "--json", *options).out)
        return [pair["id"] for pair in shown]

    assert len(ids()) == 3
    assert ids("--seed", 1) == ids("--seed", 1)
    assert len({tuple(ids("--seed", seed)) for seed in range(8)}) > 1
    assert ids("--n", 9, "--category", "Age") == [f"age_q{i}_p0" for i in range(1, 6)]


def test_show_json_lists_the_difference(misfired, suite):
    [pair] = json.loads(misfired("pairs", "show", suite, "--n", 1, "--json").out)
    assert pair["difference"] == [["cat", "dog"]]
    assert pair["suite"] == "veto-paper@1.0.0"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("build --bbq nowhere -o p.parquet", 2, "nowhere: no such folder"),
        ("build --bbq bbq -o p.parquet", 2, "Gender_identity.jsonl: no such file"),
        ("build --bbq bbq --category Agee -o p.parquet", 2, "category must be one of Age, "),
        ("build --bbq bbq --category Age -o p.txt", 2, "p.txt: suffix must be one of"),
        ("build --bbq bbq --category Age -o no/p.parquet", 1, "no/p.parquet: No such file"),
        ("show nowhere.parquet", 2, "nowhere.parquet: No such file"),
        ("show pairs.parquet --id x", 2, "no pair with id 'x'"),
        ("show pairs.parquet --n 0", 2, "n must be at least 1, got 0"),
    ],
)
@pytest.mark.usefixtures("suite")
def test_errors_are_one_line(misfired, arguments, code, message):
    done = misfired("pairs", *arguments.split())
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("error: ")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_broken_line_is_named(misfired, bbq, tmp_path):
    file = bbq / "Age.jsonl"
    file.write_text(file.read_text() + "\n{'single': quotes}")
    done = misfired("pairs", "build", "--bbq", bbq, "--category", "Age", "-o", tmp_path / "p.jsonl")
    assert done.code == 2
    assert done.err.startswith(f"error: {file}, line 11: broken JSON at column 2: ")
    assert not (tmp_path / "p.jsonl").exists()


def test_interruption_exits_with_130(misfired, suite, monkeypatch):
    def interrupt(_file):
        raise KeyboardInterrupt

    monkeypatch.setattr(pairs_command, "read_suite", interrupt)
    done = misfired("pairs", "show", suite)
    assert done.code == 130
    assert "Traceback" not in done.err


def test_fetch_lists_what_is_there(misfired, test_data, tmp_path):
    folder = tmp_path / "bbq"
    folder.mkdir()
    (folder / "Age.jsonl").symlink_to(test_data / "bbq" / "Age.jsonl")
    done = misfired("bbq", "fetch", folder, "--category", "Age", "--json")
    assert done.code == 0
    assert json.loads(done.out) == {"files": [str(folder / "Age.jsonl")]}


def test_fetch_fails_in_one_line(misfired, tmp_path):
    done = misfired("bbq", "fetch", tmp_path, "--base-url", "ftp://mirror")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: base_url must be http:// or https://, got 'ftp://mirror'\n"


@pytest.mark.parametrize(
    "command", [["pairs", "build"], ["pairs", "check"], ["pairs", "show"], ["bbq", "fetch"]]
)
def test_help_has_an_example(misfired, command):
    done = misfired(*command, "--help")
    assert done.code == 0
    assert f"Examples:\n   misfired {' '.join(command)}" in re.sub(" +\n", "\n", done.out)
    assert max(map(len, done.out.splitlines())) <= 80


def test_usage_errors_exit_with_2(misfired):
    done = misfired("pairs", "build")
    assert done.code == 2
    assert "Traceback" not in done.err
