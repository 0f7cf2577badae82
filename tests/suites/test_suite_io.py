"""Suites as files: round trips, refusals with row and column, nothing half-written."""

import json

import polars as pl
import pytest

from misfired import ArgumentError, DataError, read_suite, write_suite
from misfired.suites import validate_suite
from misfired.suites.card import suite_counts

PAIR = {
    "id": "tea_1",
    "suite": "drinks@1.0.0",
    "category": "Tea",
    "scenario": "tea",
    "stereotyped_group": "cats",
    "contrast_group": "dogs",
    "cue": None,
    "stereotyped": "The cat drank tea.\nDid the cat drink “tea”?",
    "contrast": "The dog drank tea. Did the dog drink tea?",
    "expected_stereotyped": "yes",
    "expected_contrast": "no",
    "strength": 3,
}
PAIRS = [PAIR, {**PAIR, "id": "tea_2", "cue": "Cats are fine."}, {**PAIR, "id": "tea_3"}]


@pytest.fixture
def suite():
    return pl.DataFrame(PAIRS)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".ndjson", ".JSONL"])
def test_round_trip(suite, tmp_path, suffix):
    file = tmp_path / f"suite{suffix}"
    write_suite(suite, file)
    assert read_suite(file).equals(suite)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_a_suite_without_cues_stays_text(suite, tmp_path, suffix):
    file = tmp_path / f"suite{suffix}"
    write_suite(suite.with_columns(cue=None), file)
    assert read_suite(file).schema["cue"] == pl.String()


def test_schema_columns_come_first(suite):
    shuffled = suite.select(reversed(suite.columns))
    assert validate_suite(shuffled).columns == suite.columns


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "tea_1"}, "row 2: id must be unique, not the id of an earlier row, got 'tea_1'"),
        ({"id": " "}, "row 2: id must not be blank, got ' '"),
        ({"suite": "drinks"}, "row 2: suite must be name@version, got 'drinks'"),
        ({"scenario": None}, "row 2: scenario must be text, got None"),
        ({"cue": ""}, "row 2: cue must not be blank, got ''"),
        ({"stereotyped": ""}, "row 2: stereotyped must not be blank, got ''"),
        (
            {"contrast": PAIR["stereotyped"]},
            "row 2: contrast must be other than the stereotyped prompt, got ",
        ),
        (
            {"expected_contrast": "Yes"},
            "row 2: expected_contrast must be one of yes, no, got 'Yes'",
        ),
        (
            {"expected_stereotyped": "maybe"},
            "row 2: expected_stereotyped must be one of yes, no, got 'maybe'",
        ),
        (
            {"contrast": "x" * 10_000_000},
            "row 2: contrast must be at most 1000000 characters, got '"
            + "x" * 59
            + "... (10000002",
        ),
    ],
)
def test_a_bad_row_is_named_with_its_column(tmp_path, change, message):
    file = tmp_path / "suite.parquet"
    frame = pl.DataFrame([PAIRS[0], {**PAIRS[1], **change}, PAIRS[2]])
    frame.write_parquet(file)
    with pytest.raises(DataError) as caught:
        read_suite(file)
    assert str(caught.value).startswith(f"{file}, row 2: ")
    assert message in str(caught.value)
    with pytest.raises(DataError, match="frame, row 2: "):
        write_suite(frame, tmp_path / "new.parquet")
    assert not (tmp_path / "new.parquet").exists()


def test_columns_missing_mistyped_and_no_rows(suite):
    with pytest.raises(DataError, match="frame: column scenario is missing"):
        validate_suite(suite.drop("scenario"))
    with pytest.raises(DataError, match="frame: column contrast must be String, got Int32"):
        validate_suite(suite.with_columns(contrast=pl.lit(1)))
    with pytest.raises(DataError, match="f: must have at least 1 row, got 0"):
        validate_suite(suite.clear(), source="f")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id": ', "line 2: broken JSON at column"),
        (b'{"id": "caf\xe9"}', "line 2: id: byte 12 is not UTF-8"),
        (b'{"id": "a", "cue": "caf\xc3\xa9 caf\xe9"}', "line 2: cue: byte 30 is not UTF-8"),
        (b'{"id": "caf\xe9', "line 2: byte 12 is not UTF-8"),
        (b"[1, 2]", r"line 2: must be an object, got \[1, 2\]"),
        (json.dumps({**PAIR, "contrast": 5}).encode(), "line 2: contrast must be text, got 5"),
        (b'{"id": "a"}', "line 2: field suite is missing"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    file = tmp_path / "suite.jsonl"
    file.write_bytes(json.dumps(PAIR).encode() + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=f"suite.jsonl, {message}"):
        read_suite(file)


def test_lines_end_at_line_feeds_only(tmp_path):
    # U+2028 and a form feed are data inside JSON text; str.splitlines would cut there.
    file = tmp_path / "suite.jsonl"
    pair = {**PAIR, "contrast": "a\u2028b\x0cc"}
    file.write_text(json.dumps(pair, ensure_ascii=False) + "\r\n\n", encoding="utf-8", newline="")
    assert read_suite(file)["contrast"].to_list() == ["a\u2028b\x0cc"]


def test_files_that_are_not_suites(tmp_path):
    with pytest.raises(
        ArgumentError, match=r"pairs.txt: suffix must be one of .parquet, .*, got '.txt'"
    ):
        read_suite(tmp_path / "pairs.txt")
    with pytest.raises(DataError, match=r"pairs.parquet: No such file"):
        read_suite(tmp_path / "pairs.parquet")
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=r"pairs.parquet: not a Parquet file, or a damaged one"):
        read_suite(tmp_path / "pairs.parquet")
    (tmp_path / "pairs.jsonl").write_text("")
    with pytest.raises(DataError, match=r"pairs.jsonl: must have at least 1 row, got 0"):
        read_suite(tmp_path / "pairs.jsonl")


def test_a_failed_write_leaves_the_old_file_and_no_other(suite, tmp_path, monkeypatch):
    file = tmp_path / "suite.parquet"
    write_suite(suite, file)

    def fail(_frame, opened):
        opened.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(OSError, match="No space left"):
        write_suite(suite.head(1), file)
    monkeypatch.undo()
    assert len(read_suite(file)) == 3
    assert list(tmp_path.iterdir()) == [file]


def test_a_missing_folder_is_named(suite, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write_suite(suite, tmp_path / "nowhere" / "suite.parquet")
    assert caught.value.filename == str(tmp_path / "nowhere" / "suite.parquet")


def test_csv_round_trip_is_text(suite, tmp_path):
    file = tmp_path / "suite.csv"
    write_suite(suite, file)
    assert read_suite(file).equals(suite.with_columns(pl.col("strength").cast(pl.String)))
    assert read_suite(file)["stereotyped"][0] == PAIR["stereotyped"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,suite\n1,x@1\n", "suite.csv: column category is missing"),
        ("id,suite\n1,café\n".encode("latin-1"), "suite.csv, line 2: suite: byte 6 is not UTF-8"),
        (b'id,suite\n"a\n\xc3\xa9",x@1\n2,\xe9\n', "suite.csv, line 4: suite: byte 3 is not UTF-8"),
        (b"id,suite\n1,x@1,3\n", "suite.csv, row 1: 3 fields, the header has 2"),
        (b"", "suite.csv: must have a header, got nothing"),
    ],
)
def test_bad_csv_files_are_refused_with_their_place(tmp_path, content, message):
    file = tmp_path / "suite.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_suite(file)


def test_a_bad_csv_row_is_named_with_its_column(suite, tmp_path):
    file = tmp_path / "suite.csv"
    suite.with_columns(expected_contrast=pl.lit("perhaps")).write_csv(file)
    with pytest.raises(
        DataError,
        match=r"suite.csv, row 1: expected_contrast must be one of yes, no, got 'perhaps'",
    ):
        read_suite(file)
    with pytest.raises(
        DataError, match=r"column tags must fit the cells of a CSV file, got List\(String\)"
    ):
        write_suite(suite.with_columns(tags=pl.lit(["a"])), tmp_path / "new.csv")
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize("twin_of", ["1", 1, 1.0])
def test_a_twin_names_its_pair_as_text(tmp_path, twin_of):
    twin = {**PAIR, "id": "2", "twin_of": twin_of, "expected_stereotyped": "no"}
    rows = [{**PAIR, "id": "1", "twin_of": None}, twin]
    (tmp_path / "it.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pl.DataFrame(rows).write_parquet(tmp_path / "it.parquet")
    for name in ("it.jsonl", "it.parquet"):
        assert read_suite(tmp_path / name)["twin_of"].to_list() == [None, "1"]


@pytest.mark.parametrize(
    ("twins", "message"),
    [
        ({"b": "nobody"}, "row 2: twin_of must be the id of a pair that is no twin, got 'nobody'"),
        ({"b": "b"}, "row 2: twin_of must be the id of a pair that is no twin, got 'b'"),
        ({"b": "a", "c": "b"}, "row 3: twin_of must be the id of a pair that is no twin, got 'b'"),
        (
            {"b": "a", "c": "a"},
            "row 3: expected_stereotyped must be other than its pair's, or expected_contrast, got",
        ),
    ],
)
def test_a_twin_asks_the_opposite_of_a_pair(twins, message):
    rows = [{**PAIR, "id": name, "twin_of": twins.get(name)} for name in "abc"]
    rows[1]["expected_contrast"] = "yes"
    with pytest.raises(DataError, match=message):
        validate_suite(pl.DataFrame(rows))


@pytest.mark.parametrize("nothing", ["", " "])
def test_an_empty_twin_of_is_no_twin(suite, tmp_path, nothing):
    suite.with_columns(twin_of=pl.lit(nothing), cue=pl.lit("Be fair.")).write_csv(
        tmp_path / "it.csv", quote_style="always"
    )
    assert suite_counts(read_suite(tmp_path / "it.csv"))["twins"] == 0


def test_categories_of_pandas_are_text_and_numbers_are_no_sentences(suite, tmp_path):
    typed = suite.with_columns(pl.col("category", "scenario").cast(pl.Categorical))
    typed.write_parquet(tmp_path / "it.parquet")
    assert read_suite(tmp_path / "it.parquet").equals(suite)
    with pytest.raises(DataError, match="frame: column neutral must be String, got Int32"):
        validate_suite(suite.with_columns(neutral=pl.lit(3)))
