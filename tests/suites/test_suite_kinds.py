"""What a JSONL or CSV file holds is what its frame holds: nothing is silently turned into a text."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from helpers import make_suite
from misfired import DataError, read_suite, write_suite

ROW = make_suite(1).row(0, named=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kinds") / "file.jsonl"


CELLS = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, -3, 2**40, 2**63, 2**70, 2**130, 0.5, 1e300, "", "a", "1"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from("pq"), inner, min_size=1, max_size=2)
    ),
    max_leaves=3,
)
ROWS = st.lists(st.dictionaries(st.sampled_from("xyz"), CELLS, max_size=3), min_size=1, max_size=5)


def is_same(found: Any, written: Any) -> bool:
    """True if a cell is what was written; what a row lacks is null."""
    if isinstance(written, dict):
        return all(is_same(cell, written.get(name)) for name, cell in found.items())
    if isinstance(written, list):
        return all(is_same(a, b) for a, b in zip(found, written, strict=True))
    if isinstance(written, (bool, str)) or written is None:
        return type(found) is type(written) and found == written
    return not isinstance(found, (bool, str)) and found == pytest.approx(written)


@settings(max_examples=150)
@given(ROWS)
@example([{"x": 1}, {"x": 2.5}, {"y": "a"}])
@example([{"x": None}, {"x": 1}, {"x": "a"}, {"x": True}])
@example([{"x": [1]}, {"x": []}, {"x": ["a"]}, {"z": {"p": 1}}, {"z": {"q": 1}}])
@example([{"x": 2**130}, {"x": 0.5}])
@example([{"x": [1]}, {"x": 1}])
@example([{"x": [0, 2**63]}])
@example([{"x": {"p": 2**63}}, {"x": {"p": 0}}])
@example([{"x": {"p": [2**64, 1]}}])
@example([{"x": [5]}, {"x": ["5"]}])
def test_rows_of_any_types(file: Path, rows: list[dict[str, Any]]) -> None:
    rows = [ROW | row | {"id": str(number)} for number, row in enumerate(rows)]
    file.write_text("\n".join(map(json.dumps, rows)))
    try:
        found = read_suite(file)
    except DataError:
        return
    for frame_row, row in zip(found.to_dicts(), rows, strict=True):
        assert is_same(frame_row, row)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_suite_that_was_written(suffix: str, tmp_path) -> None:
    suite = make_suite(24).with_columns(
        cue=pl.when(pl.col("category") == "Religion").then("cue"),
        late=pl.when(pl.col("id") == "pair_23").then(pl.lit("told\nin two lines")),
    )
    write_suite(suite, tmp_path / f"suite{suffix}")
    assert_frame_equal(read_suite(tmp_path / f"suite{suffix}"), suite)


def test_a_bad_line_after_blank_ones_is_named(tmp_path) -> None:
    file = tmp_path / "suite.jsonl"
    make_suite(8).write_ndjson(file)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:6]) + b"\n\n" + b'{"id": \n')
    with pytest.raises(DataError, match=r"suite.jsonl, line 9: broken JSON at column 8"):
        read_suite(file)


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (1, [2], r"line 8: level must be a number, got \[2\]"),
        ("one", 2, r"line 8: level must be text, got 2"),
        (1, True, r"line 8: level must be a number, got True"),
        ([1], [2, "3"], r"line 8: level.\[\] must be a number, got '3'"),
        ({"a": "1"}, {"a": 1}, r"line 8: level.a must be text, got 1"),
        (
            1,
            2**130,
            r"line 8: level must fit into 64 bits, got 1361129467683753853853498429727072845824",
        ),
    ],
)
def test_types_that_do_not_go_together_are_one_line(tmp_path, first, last, message) -> None:
    file = tmp_path / "suite.jsonl"
    rows = make_suite(8).to_dicts()
    rows[0]["level"], rows[7]["level"] = first, last
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=f"suite.jsonl(: |, ){message}") as caught:
        read_suite(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (r'"a", "cue": "b"', "line 1: field cue must be given once"),
        (r'"\ud83d"', "line 1: cue: holds half a character"),
    ],
)
def test_cells_that_polars_would_read_as_others(tmp_path, cell: str, message: str) -> None:
    file = tmp_path / "suite.jsonl"
    file.write_text(json.dumps(ROW | {"cue": "HERE"}).replace('"HERE"', cell))
    with pytest.raises(DataError, match=message):
        read_suite(file)
