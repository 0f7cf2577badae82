"""The door for files: opened as named, decoded, parsed, or refused in one line that names the place."""

import codecs
import io
import itertools
import json
import os
import random
import re
import stat
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import misfired
from helpers import make_suite
from misfired import read_suite, write_suite
from misfired.errors import DataError
from misfired.files import file_sha256, make_folder, read_toml, replacing
from misfired.reading import parse_json, read_bytes, read_json, read_text
from misfired.tables import EVERY, read_csv, read_jsonl, read_table

PATTERNS = ["a[12]", "a*", "a?", "a{1,2}", "[!a]", "~", "file:a", "a=1", "a%20b", "ü\u202e"]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
@pytest.mark.parametrize("name", PATTERNS)
def test_a_name_is_no_pattern(tmp_path: Path, name: str, suffix: str) -> None:
    for number, other in enumerate(["a1", "a2", "ab"]):
        write_suite(make_suite(4 + number), tmp_path / f"{other}{suffix}")
    folder = tmp_path / name
    folder.mkdir()
    write_suite(make_suite(24), folder / f"{name}{suffix}")
    assert len(read_suite(folder / f"{name}{suffix}")) == 24
    assert len(read_table(folder / f"{name}{suffix}")) == 24
    with pytest.raises(DataError, match="No such file"):
        read_suite(tmp_path / f"{name}{suffix}")


KINDS = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize(
    "read", [read_bytes, read_text, read_json, read_toml, file_sha256, read_csv]
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_at_once(tmp_path, kind, read) -> None:
    KINDS[kind](tmp_path / "it")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "it")
    assert str(caught.value) == f"{tmp_path / 'it'}: must be a file, got {kind}"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_never_replaced(tmp_path, kind) -> None:
    KINDS[kind](tmp_path / "it.csv")
    with pytest.raises(DataError, match=f"must be a file, got {kind}"):
        write_suite(make_suite(), tmp_path / "it.csv")
    assert [each.name for each in tmp_path.iterdir()] == ["it.csv"]


def test_a_path_with_nul_and_a_link_to_nowhere(tmp_path) -> None:
    with pytest.raises(DataError, match=r"'a\\x00b': a path must not hold NUL"):
        read_bytes("a\0b")
    with pytest.raises(DataError, match=r"a path must not hold NUL"):
        write_suite(make_suite(), tmp_path / "a\0b.csv")
    with pytest.raises(DataError, match=r"a path must not hold NUL"):
        make_folder(tmp_path / "a\0b")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"link: No such file or directory$"):
        read_bytes(tmp_path / "link")


ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_one_text_in_any_encoding(tmp_path, encoding, end, suffix) -> None:
    suite = make_suite().with_columns(cue=pl.lit("Be “fair”."))
    sample = tmp_path / f"sample{suffix}"
    write_suite(suite, sample)
    text = sample.read_text(encoding="utf-8").replace("\n", end)
    (tmp_path / f"it{suffix}").write_bytes(ENCODINGS[encoding] + text.encode(encoding))
    assert read_suite(tmp_path / f"it{suffix}").equals(suite)
    (tmp_path / "it.toml").write_bytes(ENCODINGS[encoding] + f'a = "ü"{end}'.encode(encoding))
    assert end == "\r" or read_toml(tmp_path / "it.toml") == {"a": "ü"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\ntw\xe9\n", "line 2: byte 3 is not UTF-8; save the file as UTF-8"),
        (b"\xff\xfea\0\n\0\0\xd8", "line 2: byte 1 is not UTF-16; save"),
        ("one\ntwo".encode("utf-16-le"), "line 1: must be text, got NUL; save the file as UTF-8"),
        (b"\0" * 99, "line 1: must be text, got NUL"),
    ],
)
def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path, content, message) -> None:
    (tmp_path / "it").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_text(tmp_path / "it")
    assert str(caught.value).startswith(f"{tmp_path / 'it'}, {message}")


DEEP = "[" * 100_000 + "]" * 100_000
LONG = "7" * 5_000


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (r'"\ud800"', "note: holds half a character"),
        (r'["x", {"y": "\udfff"}]', "note: holds half a character"),
        (LONG, "note must fit into 64 bits, got a number of 5000 digits"),
        (f'{{"a": [-{LONG}]}}', "note.a.[] must fit into 64 bits, got a number of 5000 digits"),
        (DEEP, "must nest at most 64 levels deep, got more"),
        ('{"a":' * 100 + "1" + "}" * 100, "must nest at most 64 levels deep, got more"),
        ("1e400", "note must be a finite number, got inf"),
        ("NaN", "not JSON: NaN; write null for what is missing"),
        ("-Infinity", "not JSON: -Infinity; write null"),
        ('"a', "broken JSON at column "),
        ('"a\tb"', "broken JSON at column "),
        ("1 2", "broken JSON at column "),
        ('1, "note": 2', "field note must be given once"),
    ],
)
@pytest.mark.parametrize("read", [read_suite, read_table])
def test_a_broken_line_is_named(tmp_path, read, cell, message) -> None:
    lines = [json.dumps({**row, "note": None}) for row in make_suite(4).to_dicts()]
    lines[2] = lines[2].replace('"note": null', f'"note": {cell}')
    file = tmp_path / "it.jsonl"
    file.write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}, line 3: {message}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,2,3", "row 2: 3 fields, the header has 2"),
        ("1", "row 2: 1 field, the header has 2"),
        ('"1,2', "row 2: id: the quote that opens the cell is never closed"),
        ('1,"2"x', "row 2: name: text follows the quote that closes the cell (line 3)"),
        ('1,2" tall', "row 2: name: a quote stands inside the cell; write a cell with quotes as"),
        ('"a\r\nb"c,2', "row 2: id: text follows the quote that closes the cell (line 4)"),
    ],
)
def test_a_broken_row_is_named(tmp_path, row, message) -> None:
    file = tmp_path / "it.csv"
    file.write_bytes(f"id,name\nx,y\n{row}\n".encode())
    with pytest.raises(DataError) as caught:
        read_table(file)
    assert str(caught.value).startswith(f"{file}, {message}")
    assert "Schema" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("id,id", "a column must be named once, got 'id' in columns 1 and 2"),
        ("id;name", "cells must stand between commas, got ';'"),
        ("id\tname", "cells must stand between commas"),
    ],
)
def test_a_header_that_would_be_read_as_another(tmp_path, header, message) -> None:
    (tmp_path / "it.csv").write_text(f"{header}\n")
    with pytest.raises(DataError, match=f"it.csv, header: {message}"):
        read_table(tmp_path / "it.csv")


def test_sound_csv_files_are_read_as_polars_reads_them(tmp_path) -> None:
    rng = random.Random(3)
    cells = [
        None,
        "",
        "x",
        "a,b",
        'say "so"',
        "two\nlines",
        "two\r\nlines",
        " ",
        "ü",
        "0",
        "\u2028",
    ]
    for _ in range(100):
        names = ["a", "b", "c"][: rng.randint(2, 3)]
        rows = [[rng.choice(cells) for _ in names] for _ in range(rng.randint(1, 5))]
        frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
        frame.write_csv(tmp_path / "it.csv")
        content = (tmp_path / "it.csv").read_bytes()
        assert read_csv(tmp_path / "it.csv").equals(frame)
        assert pl.read_csv(io.BytesIO(content), infer_schema=False).equals(frame)
    (tmp_path / "it.csv").write_text('a,b\nThe "big" cat,2\n\n3,4')
    assert read_csv(tmp_path / "it.csv").rows() == [('The "big" cat', "2"), ("3", "4")]


@pytest.mark.parametrize("text", ["a,b|1,|||3,4", "a,b|1,|||3,4|"])
def test_line_ends_may_be_of_one_kind_or_mixed(tmp_path, text) -> None:
    for ends in itertools.product(["\n", "\r\n", "\r"], repeat=text.count("|")):
        mixed = "".join(map("".join, zip(text.split("|"), [*ends, ""], strict=True)))
        (tmp_path / "it.csv").write_bytes(mixed.encode())
        assert read_csv(tmp_path / "it.csv").rows() == [("1", None), ("3", "4")], ends


def test_labels_of_any_file_are_the_same_text(tmp_path) -> None:
    frame = pl.DataFrame({"a": ["1", "007", None, "true"]})
    (tmp_path / "it.csv").write_text("a\n1.0\n007\nNaN\ntrue\n")
    rows = ['{"a": 1}', '{"a": "007"}', '{"a": null}', '{"a": true}']
    (tmp_path / "it.jsonl").write_text("\n".join(rows))
    for name in ("it.csv", "it.jsonl"):
        assert read_table(tmp_path / name, labels=EVERY).equals(frame)
    typed = pl.DataFrame({"a": pl.Series([1.0, None, float("nan"), 2.5])})
    typed.write_parquet(tmp_path / "it.parquet")
    found = read_table(tmp_path / "it.parquet", labels=EVERY)["a"]
    assert found.to_list() == ["1", None, None, "2.5"]
    category = typed.select(a=pl.Series(["x", "y", "x", None], dtype=pl.Categorical))
    category.write_parquet(tmp_path / "it.parquet")
    assert read_table(tmp_path / "it.parquet", labels=EVERY)["a"].dtype == pl.String()


def test_a_damaged_parquet_file_is_one_line(tmp_path, capfd) -> None:
    write_suite(make_suite(), tmp_path / "good.parquet")
    content = (tmp_path / "good.parquet").read_bytes()
    rng = random.Random(0)
    refused = []
    for _ in range(300):
        damaged = bytearray(content)
        at = rng.randrange(len(damaged))
        damaged[at : at + rng.randint(0, 5)] = rng.randbytes(rng.randint(0, 4))
        (tmp_path / "it.parquet").write_bytes(damaged)
        try:
            read_suite(tmp_path / "it.parquet")
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(str(tmp_path / "it.parquet") in each and "\n" not in each for each in refused)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"a = {LONG}", "a number has too many digits"),
        (f"a = {DEEP}", "must nest at most 64 levels deep"),
        ("a" + ".b" * 300 + " = 1", "must nest at most 64 levels deep"),
        ("a = [1.0, {b = nan}]", r"a\[1\].b must be a finite number"),
        ("a = 1e999", "a must be a finite number"),
    ],
)
def test_toml_that_is_too_much(tmp_path, text, message) -> None:
    (tmp_path / "it.toml").write_text(text)
    with pytest.raises(DataError, match=f"it.toml: {message}"):
        read_toml(tmp_path / "it.toml")


def test_json_of_our_own_may_hold_what_floats_hold() -> None:
    assert parse_json("[-Infinity]", allow_nan=True) == [float("-inf")]


FULL = """
import resource, signal, sys
import polars as pl
from misfired.files import replacing
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
frame = pl.DataFrame({"a": range(10_000)})
try:
    with replacing(sys.argv[1]) as temporary, temporary.open("wb") as opened:
        getattr(frame, sys.argv[2])(opened if sys.argv[3] == "opened" else temporary)
except OSError as error:
    print(error.filename, error.strerror)
"""


@pytest.mark.parametrize("how", ["opened", "named"])
@pytest.mark.parametrize("write", ["write_parquet", "write_csv", "write_ndjson"])
def test_a_disk_that_is_full(tmp_path, write, how) -> None:
    file = tmp_path / "it"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(file), write, how],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{file} File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_another_failure_of_polars_names_the_file(tmp_path) -> None:
    with pytest.raises(OSError, match="Input/output error") as caught, replacing(tmp_path / "it"):
        raise pl.exceptions.ComputeError("what polars says")
    assert caught.value.filename == str(tmp_path / "it")


def test_a_folder_cannot_be_made_where_a_file_is(tmp_path) -> None:
    (tmp_path / "it").write_text("x")
    with pytest.raises(DataError, match=r"it: must be a folder, got a file"):
        make_folder(tmp_path / "it")
    assert make_folder(tmp_path / "a" / "b").is_dir()


#: Modules that read files of the package itself, or of the system; and the door.
OWN = {
    *("reading.py", "tables.py", "suites/organism/__init__.py", "annotate/pages.py"),
    *("report/html/page.py", "scoring/llama/doctor.py", "cli/interrupt.py"),
    *("scoring/environment.py", "scoring/llama/memory.py"),
}
READS = re.compile(
    r"\bpl\.(read|scan)_\w+\(|\.read_(text|bytes)\(|\bnp\.load\(Path|\bjson\.load\(|tomllib"
)


def test_nothing_else_reads_files() -> None:
    package = Path(misfired.__file__).parent
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if READS.search(re.sub(r">>> .*", "", path.read_text(encoding="utf-8")))
    }
    assert found <= OWN


@pytest.mark.parametrize(
    ("read", "most"),
    [(read_text, 2**28), (read_toml, 2**28), (read_csv, 2**31), (read_jsonl, 2**31)],
)
def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path, read, most) -> None:
    with (tmp_path / "it").open("wb") as file:
        file.truncate(most + 1)
    with pytest.raises(DataError, match=f"it: must have at most {most:,} bytes, got {most + 1:,}"):
        read(tmp_path / "it")


def test_a_file_that_does_not_fit_into_memory(tmp_path) -> None:
    with (tmp_path / "it").open("wb") as file:
        file.truncate(2**43)
    with pytest.raises(DataError, match="it: its 8,796,093,022,208 bytes do not fit into memory"):
        read_bytes(tmp_path / "it")
