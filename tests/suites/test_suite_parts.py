"""A file read in parts is the frame of the file read whole, to the type, and fails where that fails."""

import io
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
from misfired.suites import parts

UNFIT = (pl.exceptions.PolarsError, OverflowError, TypeError)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(parts, "N_PART", 1)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("parts") / "file"


def of(read) -> pl.DataFrame | None:
    """The frame, or None where there is none."""
    try:
        return read()
    except UNFIT:
        return None


def assert_same(found: pl.DataFrame | None, expected: pl.DataFrame | None) -> None:
    if found is None or expected is None:
        assert found is expected
    else:
        assert_frame_equal(found, expected, check_exact=True)


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


@settings(max_examples=150)
@given(ROWS)
@example([{"x": 1}, {"x": 2.5}, {"y": "a"}])
@example([{"x": None}, {"x": 1}, {"x": "a"}, {"x": True}])
@example([{"x": [1]}, {"x": []}, {"x": ["a"]}, {"z": {"p": 1}}, {"z": {"q": 1}}])
@example([{"x": 2**130}, {"x": 0.5}])
@example([{"x": [1]}, {"x": 1}])
def test_rows_of_any_types(file: Path, rows: list[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        row["id"] = str(number)
    file.write_text("\n".join(map(json.dumps, rows)))
    whole = of(lambda: pl.DataFrame(rows, infer_schema_length=None, strict=True))
    assert_same(of(lambda: parts.read_jsonl(file, lambda line, _: json.loads(line))), whole)


PIECES = st.sampled_from(
    [b"a", b"b", b",", b'"', b"\n", b"\r\n", b'""', b" ", b"\xc3\xa9", b"\n\n", b"\xef\xbb\xbf"]
)
QUOTED = st.sampled_from([b"a", b"", b'""', b'"x\ny"', b'"a"', b'"a""b\n"', b"z"])
TABLES = st.lists(st.lists(QUOTED, min_size=2, max_size=2).map(b",".join), max_size=8)


@settings(max_examples=150)
@given(st.lists(PIECES, max_size=25).map(b"".join) | TABLES.map(b"\n".join))
@example(b"")
@example(b"\n\na,b\n\n1,2\n\n3,4")
@example(b'a,b\n1,2"\n"x\ny",3\n4,5\n')
@example(b'"a\nb",c\r\n1,2\r\n3,4\r\n')
def test_csv_of_any_shape(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    whole = of(lambda: pl.read_csv(io.BytesIO(content), infer_schema=False))
    assert_same(of(lambda: parts.read_csv(file)), whole)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize("n_part", [1, 1000, 1 << 22])
def test_a_suite_in_parts(suffix: str, n_part: int, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(parts, "N_PART", n_part)
    suite = make_suite(24).with_columns(
        cue=pl.when(pl.col("category") == "Religion").then("cue"),
        late=pl.when(pl.col("id") == "pair_23").then(pl.lit("told\nin two lines")),
    )
    write_suite(suite, tmp_path / f"suite{suffix}")
    assert_frame_equal(read_suite(tmp_path / f"suite{suffix}"), suite)


def test_a_bad_line_of_a_later_part_is_named(tmp_path) -> None:
    file = tmp_path / "suite.jsonl"
    make_suite(8).write_ndjson(file)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:6]) + b"\n\n" + b'{"id": \n')
    with pytest.raises(DataError, match=r"suite.jsonl, line 9: broken JSON at column 8"):
        read_suite(file)


def test_types_that_do_not_go_together_are_one_line(tmp_path) -> None:
    file = tmp_path / "suite.jsonl"
    rows = make_suite(8).to_dicts()
    for last in ([2], 2**130):
        rows[0]["level"], rows[7]["level"] = 1, last
        file.write_text("\n".join(map(json.dumps, rows)))
        with pytest.raises(DataError, match=r"suite.jsonl: cannot be read: \S") as caught:
            read_suite(file)
        assert "\n" not in str(caught.value)
