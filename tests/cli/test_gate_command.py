import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import polars as pl
import pytest

from stats.test_gate import misfiring

RULE = "mar > +2"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    sizes = {"base": 20, "better": 22, "unclear": 15, "worse": 6}
    for name, every in sizes.items():
        misfiring(every, categories=2).write_parquet(folder / f"{name}.parquet")
    misfiring(4, n=20, categories=2).write_parquet(folder / "small.parquet")
    return folder


def gate(runs, candidate, *more, rule=RULE):
    words = [
        "compare",
        runs / "base.parquet",
        runs / f"{candidate}.parquet",
        "--fail-if",
        rule,
        *more,
    ]
    return subprocess.run(
        [sys.executable, "-m", "misfired", *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def parsed(file):
    """Return the test suite of a JUnit file."""
    return ElementTree.parse(file).getroot()[0]  # noqa: S314  our own file


@pytest.mark.parametrize(
    ("candidate", "code", "word"),
    [
        ("better", 0, "PASS: the data exclude the harm."),
        ("worse", 1, "FAIL: the data show the harm: mar > +2 (overall)."),
        ("unclear", 2, "INCONCLUSIVE: the data neither show nor exclude the harm"),
        ("small", 2, "INCONCLUSIVE: the data neither show nor exclude the harm"),
    ],
)
def test_verdicts_are_exit_codes_and_files(runs, tmp_path, candidate, code, word):
    done = gate(runs, candidate, "--junit", tmp_path / "g.xml", "--markdown", tmp_path / "g.md")
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith(word)
    assert max(map(len, done.stdout.splitlines()[4:])) <= 80
    suite = parsed(tmp_path / "g.xml")
    settled = {
        "unclear": "scenarios settle it with a chance of 80 %",
        "small": "scenarios like these would have enough",
    }
    assert settled.get(candidate, "") in " ".join(done.stdout.split())
    counts = {"failures": code == 1, "errors": code == 2}
    assert {name: int(suite.get(name)) for name in counts} == counts
    kinds = [child.tag for child in suite.find("testcase")]
    assert kinds == [("system-out", "failure", "error")[code]]
    assert (
        (tmp_path / "g.md")
        .read_text()
        .startswith(f"**misfired: {word.split('(')[0].split('>')[0][:20]}")
    )


@pytest.mark.parametrize(
    ("candidate", "more", "rule"),
    [
        ("worse", (), "mar > 2"),
        ("worse", (), "mar[Nobody] > +2"),
        ("worse", ("--no-such-option",), RULE),
        ("worse", ("--junit", "/no/such/folder/gate.xml"), RULE),
        ("missing", (), RULE),
    ],
)
def test_what_is_no_verdict_has_an_exit_code_of_its_own(runs, candidate, more, rule):
    done = gate(runs, candidate, *more, rule=rule)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_rows_that_more_scenarios_would_settle_stand_in_one_note(runs):
    shown = " ".join(gate(runs, "unclear", "--fail-if", "mar > +1.5").stdout.split())
    assert shown.count("the interval reaches over the line") == 1
    listed = (
        r"what it is: mar > \+2 \(overall\) about [\d,]+, mar > \+1.5 \(overall\) none up to 20,000"
    )
    assert re.search(listed, shown)


def test_json_and_csv_are_the_rows(runs):
    done = gate(runs, "worse", "--by", "category", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["verdict"], len(found["rows"])) == (1, "fail", 3)
    rows = pl.read_csv(gate(runs, "worse", "--csv").stdout.encode())
    assert rows["verdict"].to_list() == ["fail"]


def test_names_of_others_are_text_in_xml_and_markdown(tmp_path):
    strange = 'A|B <b>"&\x1b[2J\u202e`'
    for name, every in (("base", 20), ("worse", 6)):
        frame = misfiring(every).with_columns(category=pl.lit(strange))
        frame.write_parquet(tmp_path / f"{name}.parquet")
    gate(
        tmp_path,
        "worse",
        "--by",
        "category",
        "--junit",
        tmp_path / "g.xml",
        "--markdown",
        tmp_path / "g.md",
    )
    cases = parsed(tmp_path / "g.xml").findall("testcase")
    assert cases[1].get("name") == 'mar > +2, A|B <b>"&\\x1b[2J\\u202e`'
    row = next(
        line
        for line in (tmp_path / "g.md").read_text().splitlines()
        if "\\<b\\>" in line and line[0] == "|"
    )
    assert row.replace("\\|", "").count("|") == 9


def test_a_gates_options_need_a_rule(runs):
    words = [
        sys.executable,
        "-m",
        "misfired",
        "compare",
        runs / "base.parquet",
        runs / "worse.parquet",
    ]
    done = subprocess.run([*words, "--junit", "x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--junit must stand beside --fail-if" in done.stderr
