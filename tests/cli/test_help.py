"""Help, version, wrong words: what every command has, and what is loaded for it."""

import json
import re
import subprocess
import sys

import pytest

from misfired import __version__
from misfired.cli import COMMANDS, load
from options_page import PAGE, page

SUBCOMMANDS = {
    "annotate": ["make", "serve", "collect", "results"],
    "bbq": ["fetch"],
    "pairs": ["build", "check", "show"],
    "plan": ["power", "detect", "size"],
    "suite": ["validate", "describe"],
}
WORDS = [
    [name, *([sub] if sub else [])] for name in COMMANDS for sub in SUBCOMMANDS.get(name, [""])
]

LOADED = """
import json, sys
from misfired.cli import main
try:
    main()
except SystemExit:
    print()
    print(json.dumps(list(sys.modules)))
"""


def modules(*words):
    """Return what is imported once `misfired` has printed its help."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("words", [["--help"], ["--version"], []])
def test_the_first_help_loads_neither_polars_nor_llama_cpp_nor_typer(words):
    heavy = {"polars", "llama_cpp", "misfired.scoring", "typer", "rich", "numpy"}
    assert not heavy & modules(*words)


@pytest.mark.parametrize("name", ["run", "score", "doctor", "demo", "localise"])
def test_the_help_of_a_command_that_asks_models_loads_no_llama_cpp(name):
    assert not {"llama_cpp", "misfired.scoring.llama", "rich.progress"} & modules(name, "--help")


def test_a_report_of_a_run_loads_neither_llama_cpp_nor_urllib3():
    """Every run prints one, of a file and of a server."""
    program = "import sys, misfired.report.run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    assert "misfired.report.run" in loaded
    assert not {"llama_cpp", "urllib3"} & loaded


@pytest.mark.parametrize("name", ["stats", "failures", "suite"])
def test_commands_that_ask_nobody_load_no_http_client(name):
    assert not {"llama_cpp", "urllib3", "ssl"} & modules(name, "--help")


def test_the_first_help_lists_every_command(misfired):
    done = misfired("--help")
    assert (done.code, done.err) == (0, "")
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z]", done.out, re.MULTILINE)
    assert max(map(len, done.out.splitlines())) <= 80
    assert misfired().code == 2
    assert misfired().out == done.out


def test_version(misfired):
    assert misfired("--version").out == f"misfired {__version__}\n"


def help_lines(misfired, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    done = misfired(*words, "--help")
    assert (done.code, done.err) == (0, "")
    assert "\x1b" not in done.out
    return [line.rstrip() for line in done.out.splitlines()]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_help_has_examples_one_a_line_within_80_columns(misfired, monkeypatch, words):
    lines = help_lines(misfired, monkeypatch, words)
    assert max(map(len, lines)) <= 80
    first = lines.index(" Examples:") + 1
    examples = lines[first : lines.index("", first)]
    assert examples
    for line in examples:
        assert line.startswith(f"   misfired {' '.join(words)}")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_table_is_that_of_the_command(misfired, monkeypatch, name):
    lines = help_lines(misfired, monkeypatch, [name])
    assert lines[3].strip() == COMMANDS[name][-1]


def test_run_shows_what_most_people_need_on_the_first_screen(misfired, monkeypatch):
    lines = help_lines(misfired, monkeypatch, ["run"])
    panels = [line.split()[1:-1] for line in lines if line.startswith("╭─")]
    titles = [" ".join(words).strip("─ ") for words in panels]
    assert titles == [
        "Arguments", "Options", "Devices", "Ending early", "Few-shot", "More", "K/V cache", "Server",
        "Statistics",
    ]  # fmt: skip
    start = next(i for i, line in enumerate(lines) if line.startswith("╭─ Options"))
    stop = next(i for i, line in enumerate(lines) if line.startswith("╭─ Devices"))
    assert stop - start <= 32
    first = "\n".join(lines[start:stop])
    for flag in ("--out", "--suite", "--bbq", "--priming", "--protocol", "--template", "--json"):
        assert flag in first
    for flag in ("--cache-type-k", "--price", "--split-mode", "--n-resamples"):
        assert flag not in first


def test_defaults_are_shown_where_they_say_something(misfired, monkeypatch):
    shown = " ".join("\n".join(help_lines(misfired, monkeypatch, ["stats"])).split())
    assert "[default: 10000]" in shown
    assert "[default: False]" not in shown


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_flags_and_arguments_show_no_type(misfired, monkeypatch, words):
    shown = "\n".join(help_lines(misfired, monkeypatch, words))
    assert "<bool>" not in shown
    assert "<list" not in shown


def test_brackets_in_help_are_no_markup(misfired, monkeypatch):
    shown = "\n".join(help_lines(misfired, monkeypatch, ["pairs", "show"]))
    assert "the words that differ in [brackets]" in shown
    assert "http(s)://HOST[:PORT]/v1" in "\n".join(help_lines(misfired, monkeypatch, ["score"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], "command must be one of demo, run, "),
        (["run"], "error: MODELS must be given (see misfired run --help)"),
        (["run", "m"], "error: -o / --out must be given (see"),
        (["run", "m", "--limt", "3"], "No such option: --limt"),
        (["run", "m", "-o", "x"], "either --bbq DIR or --suite FILE"),
        (["run", "m", "-o", "x", "--bbq", "b", "--limit", "0"], "limit must be at least 1, got 0"),
        (["run", "m", "-o", "x", "--bbq", "b", "--n-shots", "s"], "--n-shots must be a whole"),
        (
            ["run", "m", "-o", "x", "--bbq", "b", "--price", "[b]", "1"],
            "error: --price must be a number",
        ),
        (["doctor", "m", "--extra-body", "[1]"], "must be a JSON object, got '[1]'"),
        (["doctor", "m", "--extra-body", "{"], "must be JSON, got '{'"),
        (["doctor", "m", "--tensor-split", "3,x"], "must be numbers with commas between"),
        (["stats", "x", "--unit", "[red]"], "unit must be one of scenario, pair, got '[red]'"),
        (["stats", "x", "--method", "best"], "method must be one of percentile, "),
        (["stats", "x", "--table", "best"], "--table must be one of summary, contrasts, "),
        (["stats", "x", "--seed", "-1"], "seed must be in 0 to 18446744073709551615, got -1"),
        (["stats", "x", "--json", "--csv"], "output must have one format, got --json and --csv"),
        (["plan", "nope"], "error: command must be one of power, detect, size, zero, got 'nope'"),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_code_2(misfired, words, message):
    done = misfired(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_group_alone_shows_its_help(misfired):
    done = misfired("plan")
    assert done.code == 2
    assert "detect" in done.out


def test_every_command_can_be_loaded_as_an_app():
    assert all(load(name).info.help == about for name, (*_, about) in COMMANDS.items())


def test_the_options_page_is_made_from_the_fields():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python tools/options_page.py"
