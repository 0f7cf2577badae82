"""One table in every format, within 80 columns."""

import polars as pl
from rich.cells import cell_len

from misfired.report.table import (
    Table,
    csv,
    facts,
    interval,
    json_lines,
    latex,
    number,
    p_value,
    paragraph,
    text,
    text_table,
    whole,
)

WIDE = Table(
    ("name", "what", "n"), [("short", "word " * 30, 1), ("x" * 90, "-", 22)], "a title", n_words=2
)


def test_a_wide_table_is_folded_into_80_columns() -> None:
    lines = text(WIDE).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "a title"
    assert lines[1].split() == ["name", "what", "n"]
    assert lines[2].endswith("  1")
    assert "".join(lines).count("x") == 90


def test_numbers_are_aligned_to_the_right_without_being_told() -> None:
    assert text(Table(("a", "n"), [("x", 1), ("long", 100)])).splitlines() == [
        "a       n",
        "x       1",
        "long  100",
    ]
    assert text(Table(("a", "b"), [])) == "a  b"


def test_latex_escapes_cells_and_marks_a_missing_number() -> None:
    lines = latex(Table(("slice", "acc. st."), [("R&D_1 #2 5%", "-")], n_words=1)).splitlines()
    assert lines[2] == "slice & acc.\\ st. \\\\"
    assert lines[4] == "R\\&D\\_1 \\#2 5\\% & -- \\\\"


def test_rows_keep_every_digit() -> None:
    frame = pl.DataFrame({"name": ["a"], "value": [0.1 + 0.2]})
    assert csv(frame).splitlines() == ["name,value", "a,0.30000000000000004"]
    assert json_lines(frame) == '{"name": "a", "value": 0.30000000000000004}'


def test_paragraphs_and_facts_are_folded_but_paths_stay_whole() -> None:
    path = "runs/" + "x" * 90
    assert path in paragraph(f"run    {path}").splitlines()
    lines = facts([("title", "word " * 30), ("other", "")]).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line[:5].strip() for line in lines] == ["title", "", "", "other"]


def test_each_format_of_a_small_table() -> None:
    assert text_table(("head", "layer"), [("a", 10), ("b", 2)]).splitlines() == [
        "head  layer",
        "a        10",
        "b         2",
    ]
    assert latex(Table(("slice", "n"), [("Disability_status", 3)], n_words=1)).splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"slice & $n$ \\",
        r"\midrule",
        r"Disability\_status & 3 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert facts([("suite", "veto-strict@1.0.0")]) == "suite               veto-strict@1.0.0"


def test_numbers_intervals_and_p_values() -> None:
    assert (number(4.74), number(3.0, "+"), number(None)) == ("4.7", "+3.0", "-")
    assert interval({"low": 3.14, "high": 6.0}) == "[3.1, 6.0]"
    assert (p_value(0.03141), p_value(None)) == ("0.031", "-")


def test_letters_of_two_columns_count_as_two() -> None:
    lines = text(Table(("slice", "n"), [("茶" * 3, 1), ("Tea", 22)], n_words=1)).splitlines()
    assert lines == ["slice    n", "茶茶茶   1", "Tea     22"]
    folded = text(Table(("slice", "n"), [("茶" * 60, 1)], n_words=1)).splitlines()
    assert max(map(cell_len, folded)) <= 80
    assert "".join(folded).count("茶") == 60


def test_cells_titles_and_notes_may_hold_anything() -> None:
    hostile = "a\nb\x1b[31m\u202e[/bold]"
    table = Table(("slice",), [(hostile,), ("x" * 100_000,)], hostile, notes=[hostile])
    shown = text(table)
    assert "a\\nb\\x1b[31m\\u202e[/bold]" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert len(shown) < 1000
    assert len(latex(table).splitlines()) == 10


def test_the_path_of_a_model_stays_beside_its_title_and_whole() -> None:
    path = f"/models/{'deep folder/' * 9}model.gguf"
    lines = paragraph(f"{whole(path, 'model  ')} (llama, 1.2B parameters)").splitlines()
    assert lines == [f"model  {path}", "(llama, 1.2B parameters)"]


def test_a_narrow_screen_shows_lists_of_cells() -> None:
    header, row = (
        ("slice", "priming", "MAR", "interval of it"),
        ("Age", "none", "4.7", "[1.0, 9.9]"),
    )
    table = Table(header, [row], n_words=2)
    lines = text(table, 30).splitlines()
    assert lines == ["Age, none", "  MAR             4.7", "  interval of it  [1.0, 9.9]"]
    words = text(Table(("a", "b"), [("x " * 9, "y " * 30)], n_words=2), 20).splitlines()
    assert max(map(len, words)) <= 20
    assert "".join(words).count("y") == 30
