"""Every command prints on every stream, and nothing in a name, text or reply acts on the screen."""

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import unicodedata
from contextlib import suppress

import polars as pl
import pytest

from helpers import make_suite
from misfired import cli, run
from misfired.suites import write_suite
from misfired.suites.organism import build_organism_suite, models

#: Clears a screen, sets its title, turns text round, hides, ends lines, looks like markup.
HOSTILE = "Tée 茶\x1b[2J\x1b]0;x\x07\x9b31m\u202e\u200b\u2028a\nb [bold]x[/hot] 'overall'"

#: Commands by name; FILES are replaced.
COMMANDS = {
    "stats": "stats RUN",
    "stats, one table": "stats RUN --table expected",
    "stats, tests": "stats RUN --table tests",
    "stats, LaTeX": "stats RUN --latex",
    "stats, tests in LaTeX": "stats RUN --table tests --latex",
    "stats, JSON": "stats RUN --json",
    "stats, CSV": "stats RUN --csv",
    "compare": "compare RUN OTHER",
    "compare, JSON": "compare RUN OTHER --json",
    "leaderboard": "leaderboard RUN OTHER",
    "leaderboard, CSV": "leaderboard RUN OTHER --csv",
    "run": "run MODEL --suite SUITE --protocol logit-bare --priming none -o RUN",
    "run, JSON": "run MODEL --suite SUITE --protocol logit-bare --priming none -o RUN --json",
    "explain": "score MODEL --suite SUITE --protocol logit-bare --priming none --explain",
    "show": "pairs show SUITE",
    "show, JSON": "pairs show SUITE --json",
    "check": "pairs check SUITE",
    "validate": "suite validate SUITE",
    "describe": "suite describe SUITE",
    "describe, JSON": "suite describe SUITE --json",
    "protocols": "protocols",
    "protocols, JSON": "protocols --json",
    "plan": "plan zero --n 40",
    "agreement": "agreement RATINGS --n-resamples 100",
    "no run": "stats RUN/none",
    "no id": "pairs show SUITE --id HOSTILE",
    "no command": "HOSTILE",
    "no option": "stats --HOSTILE",
    "help": "stats --help",
}


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A run, its folder, its suite and its model with a hostile name."""
    folder = tmp_path_factory.mktemp("hostile") / HOSTILE.replace("/", "-")
    folder.mkdir()
    model = folder / "modèle.gguf"
    shutil.copy(models()["instruct"], model)
    suite = build_organism_suite(organism="instruct").head(40)
    named = (
        pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit(HOSTILE)).otherwise(pl.lit("overall"))
    )
    words = [
        pl.lit(HOSTILE).alias(name) for name in ("stereotyped_group", "contrast_group", "suite")
    ]
    texts = [pl.col(name) + f" {HOSTILE}?" for name in ("stereotyped", "contrast")]
    suite = suite.with_columns(category=named, id=pl.col("id") + HOSTILE, suite=pl.lit("s@1"))
    suite = suite.with_columns(*words[:2], *texts, cue=pl.lit(HOSTILE))
    write_suite(suite, folder / "suite.parquet")
    for name in ("run", "other"):
        run(model, suite, out=folder / name, protocol="logit-bare", priming=["none"], n_threads=1)
    pl.DataFrame({HOSTILE: ["a", HOSTILE, "a"], "ann": ["a", HOSTILE, "b"]}).write_parquet(
        folder / "ratings.parquet"
    )
    return {
        "RUN": folder / "run", "OTHER": folder / "other", "SUITE": folder / "suite.parquet",
        "MODEL": model, "RATINGS": folder / "ratings.parquet", "HOSTILE": HOSTILE,
    }  # fmt: skip


def run_on(stream, arguments, monkeypatch):
    """Run `misfired`, with stdout and stderr on streams of one kind; return code and both texts."""
    out, err = (stream(io.BytesIO()) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "argv", ["misfired", *arguments])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        monkeypatch.undo()
    texts = []
    for each in (out, err):
        each.flush()
        texts.append(each.buffer.getvalue().decode(each.encoding))
    return code, *texts


def arguments_of(command, files):
    words = COMMANDS[command].split()
    for name, file in files.items():
        words = [word.replace(name, str(file)) for word in words]
    return words


@pytest.mark.model
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_acts_and_everything_fits(command, encoding, files, monkeypatch):
    stream = lambda raw: Terminal(raw, encoding=encoding)  # noqa: E731
    code, out, err = run_on(stream, arguments_of(command, files), monkeypatch)
    assert code == (2 if command.startswith("no ") else 0), err
    assert out if code == 0 else err.startswith("error: ")
    assert "Traceback" not in err
    own = "\x1b" if command == "help" or "run" in command else ""  # of rich, on a terminal
    for mark in out + err:
        assert unicodedata.category(mark) not in {"Cc", "Cf", "Zl"} or mark in "\n\r" + own


@pytest.mark.model
@pytest.mark.parametrize("command", [name for name in COMMANDS if "JSON" in name or "CSV" in name])
def test_data_stay_as_they_are_in_a_pipe(command, files, monkeypatch):
    found = {}
    for encoding in ("utf-8", "ascii"):
        stream = lambda raw, e=encoding: io.TextIOWrapper(raw, encoding=e, newline="")  # noqa: E731
        code, found[encoding], _ = run_on(stream, arguments_of(command, files), monkeypatch)
        assert code == 0
    if "CSV" in command:
        frame = pl.read_csv(found["utf-8"].encode())
        names = set(frame.get_column("slice" if "slice" in frame.columns else "run"))
        assert HOSTILE in names or str(files["RUN"]) in names
        return
    one, other = found["utf-8"], found["ascii"]
    try:
        assert json.loads(one) == json.loads(other)
    except json.JSONDecodeError:
        assert list(map(json.loads, one.splitlines())) == list(map(json.loads, other.splitlines()))


def outcomes_file(folder):
    rows = {"id": ["p", "q"], "category": "Zoë 茶", "scenario": ["s", "t"], "priming": "none"}
    file = folder / "Zoë.parquet"
    pl.DataFrame(rows | {"stereotyped": [True, False], "contrast": True}).write_parquet(file)
    return file


def shell(command, folder, **environment):
    """Run a line of a shell, where `M` is the command and `F` a file of outcomes."""
    program = f'M="{sys.executable} -m misfired"; F="{outcomes_file(folder)}"; {command}'
    return subprocess.run(
        ["/bin/bash", "-c", program], capture_output=True, env=os.environ | environment, check=False
    )


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("$M stats $F >&-", 0, ""),
        ("$M stats $F >/dev/full", 1, "error: standard output: No space left on device\n"),
        ("$M stats --help >/dev/full", 1, "error: No space left on device\n"),
        ("$M stats nowhere 2>/dev/full", 2, ""),
        ("$M stats $F --csv | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}", 0, ""),
        ("$M stats $F | true; exit ${PIPESTATUS[0]}", 1, ""),
    ],
)
def test_a_stream_that_fails_ends_in_at_most_one_line(command, code, said, tmp_path):
    done = shell(command, tmp_path)
    assert (done.returncode, done.stderr.decode()) == (code, said)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii:strict"])
def test_a_pipe_of_another_encoding_gets_replacements(encoding, tmp_path):
    done = shell("$M stats $F", tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding.partition(":")[0])
    name = "Zo\\xeb" if "ascii" in encoding else "Zoë"
    assert f"{name} \\u8336" in text
    lines = text.splitlines()
    (header,) = (i for i, line in enumerate(lines) if line.startswith("slice"))
    assert len({len(line) for line in lines[header : header + 3]}) == 1


@pytest.mark.ci
def test_a_run_outlives_the_readers_of_its_lines(small_model, tmp_path):
    write_suite(make_suite(8), tmp_path / "suite.parquet")
    line = f'$M run "{small_model}" --suite "{tmp_path}/suite.parquet" --template plain -o "{tmp_path}/out"'
    done = shell(f"{line} --n-resamples 100 2>&1 | true", tmp_path)
    assert done.returncode == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["status"] == "complete"


def test_a_narrow_terminal_shows_rows_as_lists(tmp_path, misfired, monkeypatch):
    file = outcomes_file(tmp_path)
    for columns in (40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        out = misfired("stats", file).out
        assert max(map(len, out.replace(str(file), "").splitlines())) <= columns
        assert ("  acc. st    50.0\n" in out) == (columns == 40)


_WORD = "\x1b[31mred\x1b]0;t\x07\u202e\u200b\x9b1m".encode()
_LONG = b"x" * 100_000


def reply(status: bytes, body: bytes = b"", more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, more, len(body), body)


def said(text: str) -> bytes:
    return json.dumps(text).encode()


_HOSTILE = _WORD.decode() + "y" * 100_000
#: What a server sends, whatever it is asked.
REPLIES = {
    "reason": reply(b"400 " + _WORD),
    "body": reply(b"401 no", b'{"error": {"message": %s}}' % said(_HOSTILE)),
    "error in a reply": reply(b"200 OK", b'{"error": %s}' % said(_HOSTILE)),
    "names": reply(
        b"200 OK", b'{"data": [{"id": %s}, {"id": %s}]}' % (said(_HOSTILE), said("\x1b[2J"))
    ),
    "place": reply(b"302 Found", more=b"Location: http://127.0.0.1:1/" + _WORD + b"\r\n"),
    "no HTTP": _WORD + b"\r\n\r\n",
    "header": reply(b"500 no", more=b"Retry-After: 0" + _WORD + b"\r\n"),
    "text": reply(
        b"200 OK",
        b'{"id": %s, "model": %s, "system_fingerprint": %s, "choices": [{"finish_reason": %s, '
        b'"index": 0, "message": {"role": "assistant", "content": %s}}]}'
        % tuple(map(said, [_HOSTILE] * 5)),
    ),
}


@pytest.fixture
def hostile_server():
    """A server on loopback that sends `answer` to every request."""
    listener = socket.create_server(("127.0.0.1", 0))
    given = {"answer": b""}

    def answer(client):
        with client, suppress(OSError):
            client.settimeout(5)
            while b"\r\n\r\n" not in client.recv(1 << 16):
                pass
            client.sendall(given["answer"])
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 16):
                pass

    def serve():
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    given["url"] = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    yield given
    listener.close()


@pytest.mark.parametrize("sent", REPLIES)
def test_what_a_server_says_does_not_act(sent, hostile_server, tmp_path, monkeypatch):
    write_suite(
        make_suite(4).drop("cue").with_columns(cue=pl.lit(None, pl.String)), tmp_path / "s.parquet"
    )
    hostile_server["answer"] = REPLIES[sent]
    where = [
        hostile_server["url"],
        "--suite",
        str(tmp_path / "s.parquet"),
        "-o",
        str(tmp_path / "o"),
    ]
    more = ["--protocol", "generate", "--n-attempts", "1"]
    stream = lambda raw: Terminal(raw, encoding="utf-8")  # noqa: E731
    for arguments in (
        ["run", *where, *more],
        ["run", *where, *more, "--server-model", "m"],
        ["doctor", hostile_server["url"]],
        ["doctor", hostile_server["url"], "--server-model", "m"],
    ):
        _, out, err = run_on(stream, arguments, monkeypatch)
        assert "No such option" not in err
        assert len(out) + len(err) < 20_000
        bars = "run" in arguments  # Of rich: it colours, hides the cursor and clears its own lines.
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out + err) if bars else out + err
        assert "\x1b[31mred" not in out + err
        for mark in text:
            assert unicodedata.category(mark) not in {"Cc", "Cf", "Zl"} or mark in "\n\r"
