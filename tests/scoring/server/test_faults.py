"""Whatever happens between the server and the run: no prompt lost, none doubled, none made wrong."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from helpers import final_files, make_suite
from loopback_server import KEY, Loopback, free_port, serving, text_for
from misfired import errors, run, score, write_suite
from misfired.runs.folder import ANSWERS, JOURNAL, SUMMARY
from misfired.runs.manifest import MANIFEST
from misfired.scoring.protocol import GENERATE
from misfired.scoring.server import client

PAIRS = make_suite(12)

#: Seconds; far more than an answer takes on a busy machine where none is late on purpose.
PATIENCE = {"slow": 1.5, "dripping": 1.5}


@pytest.fixture(params=["generate", "logit"])
def protocol(request):
    return request.param


def on_first(fault):
    """The fault for every third prompt, on its first attempt only."""
    return lambda prompt, n_before: fault if n_before == 0 and hash_of(prompt) % 3 == 0 else None


def hash_of(prompt: str) -> int:
    return sum(prompt.encode())


def undisturbed(protocol: str, **options) -> pl.DataFrame:
    with serving() as server:
        return score(server.url, PAIRS, protocol=protocol, **options).answers


RETRIED = {
    "reset": "connection lost",
    "limited": "HTTP 429",
    "broken": "HTTP 500",
    "slow": "timed out",
    "dripping": "timed out",
    "malformed": "bad answer",
    "no_choice": "bad answer",
}


@pytest.mark.parametrize("fault", RETRIED)
def test_a_fault_that_passes_leaves_no_trace_in_the_table(fault: str, protocol: str) -> None:
    calm = undisturbed(protocol)
    with serving(on_first(fault)) as server:
        disturbed = score(
            server.url, PAIRS, protocol=protocol, timeout=PATIENCE.get(fault, 60), concurrency=4
        )
        n_disturbed = sum(n > 1 for n in server.seen.values())
        assert sum(server.seen.values()) == len(calm) + n_disturbed, (
            "asked again once, no other twice"
        )
    assert n_disturbed >= 5
    assert_frame_equal(disturbed.answers, calm, check_exact=True)
    times = disturbed.manifest["times"]
    assert times[f"n_faults: {RETRIED[fault]}"] == n_disturbed
    assert times["n_requests"] == len(calm) + n_disturbed


def test_an_empty_text_that_passes_leaves_no_trace() -> None:
    with serving(on_first("empty")) as server:
        disturbed = score(server.url, PAIRS, protocol="generate")
    assert_frame_equal(disturbed.answers, undisturbed("generate"))
    assert disturbed.manifest["times"]["n_faults: empty text"] >= 5


def test_a_server_that_starts_later(protocol: str, monkeypatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT", 0.2)
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "LONGEST_WAIT", 0.3)
        started = []
        timer = threading.Timer(0.7, lambda: started.append(Loopback(port=port)))
        timer.start()
        url = f"http://127.0.0.1:{port}/v1"
        answers = score(url, PAIRS, protocol=protocol, server_model="small", n_attempts=40)
        timer.join()
        started[0].close()
    assert_frame_equal(answers.answers, undisturbed(protocol))
    assert answers.manifest["times"]["n_faults: no connection"] > 0


def test_retry_after_is_honoured_as_seconds_and_as_a_date() -> None:
    for fault, least in (("limited", 1.0), ("limited_until", 0.9)):
        asked: dict[str, list[float]] = {}

        def plan(prompt: str, n_before: int, fault: str = fault, asked=asked) -> str | None:
            asked.setdefault(prompt, []).append(time.monotonic())
            return fault if n_before == 0 else None

        with serving(plan) as server:
            score(server.url, make_suite(2), protocol="generate")
        assert asked
        assert all(again - first >= least for first, again in asked.values())


def test_a_long_retry_after_is_cut(monkeypatch) -> None:
    monkeypatch.setattr(client, "LONGEST_RETRY_AFTER", 0.05)
    started = time.monotonic()
    with serving(lambda _, n: "limited" if n == 0 else None) as server:
        score(server.url, make_suite(2), protocol="generate")
    assert time.monotonic() - started < 0.9


LASTING = {
    "reset": ("error", "connection lost: Connection reset by peer"),
    "limited": ("error", "HTTP 429: too many requests"),
    "broken": ("error", "HTTP 500: no memory; you sent Bearer [API key]"),
    "slow": ("error", "timed out: no answer within 1.5 s"),
    "malformed": ("error", "bad answer: not JSON"),
    "no_choice": ("error", "bad answer: no choices.0"),
    "too_long": ("error", "HTTP 400: the prompt is too long"),
    "empty": ("unparseable", "empty"),
    "block": ("abstained", "blocked"),
    "block_prompt": ("abstained", "blocked"),
    "refusal": ("abstained", "refused"),
}


@pytest.mark.parametrize("fault", LASTING)
def test_a_fault_that_lasts_is_reported_and_never_wrong(fault: str, monkeypatch) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    monkeypatch.setattr(client, "LONGEST_RETRY_AFTER", 0.05)
    calm = undisturbed("generate")
    prompts = (
        GENERATE.user_message(PAIRS["stereotyped"][5]),
        GENERATE.user_message(PAIRS["contrast"][7]),
    )
    with serving(lambda prompt, _: fault if prompt in prompts else None) as server:
        result = score(
            server.url,
            PAIRS,
            protocol="generate",
            timeout=PATIENCE.get(fault, 60),
            n_attempts=3,
            api_key_env="THE_KEY",
        )
        asked = {server.seen[prompt] for prompt in prompts}
        assert all(n == 1 for prompt, n in server.seen.items() if prompt not in prompts)
    outcome, reason = LASTING[fault]
    hit = ((pl.col("id") == "pair_5") & (pl.col("condition") == "stereotyped")) | (
        (pl.col("id") == "pair_7") & (pl.col("condition") == "contrast")
    )
    rows = result.answers.filter(hit)
    assert rows["outcome"].to_list() == [outcome] * 2
    assert all(text.startswith(reason) for text in rows["reason"])
    assert rows["answer"].null_count() == 2
    assert_frame_equal(result.answers.filter(~hit), calm.filter(~hit))
    assert result.manifest["outcomes"][outcome] >= 2
    assert asked == {
        1 if outcome == "abstained" or fault == "too_long" else 2 if fault == "empty" else 3
    }


def test_errors_are_asked_again_and_nothing_else(tmp_path, protocol: str) -> None:
    options = {"protocol": protocol, "n_attempts": 2, "n_resamples": 200}
    ill = True

    def plan(prompt: str, _: int) -> str | None:
        return "broken" if ill and hash_of(prompt) % 3 == 0 else None

    with serving(plan) as server:
        first = run(server.url, PAIRS, out=tmp_path / "run", **options)
        n_errors = first.scores.manifest["outcomes"]["error"]
        assert n_errors >= 5
        assert json.loads((tmp_path / "run" / MANIFEST).read_text())["status"] == "complete"
        ill = False
        server.seen.clear()
        second = run(server.url, PAIRS, out=tmp_path / "run", **options)
        assert sum(server.seen.values()) == n_errors
        assert {hash_of(prompt) % 3 for prompt in server.seen} == {0}
        third = run(server.url, PAIRS, out=tmp_path / "run", **options)
        assert sum(server.seen.values()) == n_errors, "a run without errors is only read"
        calm = run(server.url, PAIRS, out=tmp_path / "calm", **options)
    assert second.scores.manifest["outcomes"]["error"] == 0
    assert third.summary.equals(second.summary)
    assert calm.scores.answers.equals(second.scores.answers)
    assert final_files(tmp_path / "run") == final_files(tmp_path / "calm")


def test_killed_while_errors_are_asked_again(tmp_path) -> None:
    options = {"protocol": "generate", "n_attempts": 1, "concurrency": 1}
    ill = True
    with serving(lambda p, _: "broken" if ill and hash_of(p) % 3 == 0 else None) as server:
        before = score(server.url, PAIRS, out=tmp_path, **options)
        n_errors = before.manifest["outcomes"]["error"]
        ill = False

        def kill(done: int, _total: int) -> None:
            if done >= len(before.answers) - n_errors + 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            score(server.url, PAIRS, out=tmp_path, progress=kill, **options)
        assert (tmp_path / JOURNAL).exists()
        server.seen.clear()
        after = score(server.url, PAIRS, out=tmp_path, **options)
        assert sum(server.seen.values()) <= n_errors - 3 + 1, (
            "what was in flight may be asked twice"
        )
    assert_frame_equal(after.answers, undisturbed("generate"))
    assert not (tmp_path / JOURNAL).exists()


@pytest.mark.ci
def test_killed_in_the_middle_it_goes_on(tmp_path) -> None:
    suite = tmp_path / "suite.parquet"
    write_suite(make_suite(30), suite)
    with serving(lambda _, n: "malformed" if n == 0 else None) as server:

        def command(folder: str) -> list[str]:
            options = f"--suite {suite} -o {tmp_path / folder} --protocol generate --concurrency 4"
            return [sys.executable, "-m", "misfired", "run", server.url, *options.split()]

        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        kills = 0
        for n_lines in (3, 30, 70):
            process = subprocess.Popen(command("hurt"), **quiet)
            journal = tmp_path / "hurt" / JOURNAL
            while process.poll() is None:
                if journal.exists() and journal.read_bytes().count(b"\n") >= n_lines:
                    process.kill()
                    process.wait()
                    kills += 1
                time.sleep(0.002)
        subprocess.run(command("hurt"), check=True, **quiet)
        seen = Counter(server.seen)
        subprocess.run(command("calm"), check=True, **quiet)
    assert kills == 3
    assert sum(seen.values()) <= 2 * len(seen) + kills * 4, "only what was in flight is asked again"
    hurt, calm = final_files(tmp_path / "hurt"), final_files(tmp_path / "calm")
    assert hurt == calm


def test_a_server_that_dies_ends_the_run_and_keeps_what_was_answered(tmp_path) -> None:
    alive = 9

    def plan(prompt: str, _: int) -> str | None:
        return None if len(server.seen) <= alive else "broken"

    with serving(plan) as server:
        with pytest.raises(
            errors.ServerError, match="10 prompts in a row failed, the last with HTTP 500"
        ):
            score(server.url, PAIRS, protocol="generate", out=tmp_path, n_attempts=1, concurrency=1)
        assert (tmp_path / JOURNAL).read_bytes().count(b"\n") >= alive
        alive = 10**6
        server.seen.clear()
        after = score(server.url, PAIRS, protocol="generate", out=tmp_path, concurrency=1)
    assert sum(server.seen.values()) == len(after.answers) - 9
    assert_frame_equal(after.answers, undisturbed("generate"))


def test_a_wrong_key_ends_the_run_at_once(monkeypatch) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    with serving(lambda *_: "unauthorised") as server:
        with pytest.raises(errors.ServerError, match=r"HTTP 401: wrong key: Bearer \[API key\]"):
            score(server.url, PAIRS, protocol="generate", api_key_env="THE_KEY", concurrency=2)
        assert sum(server.seen.values()) <= 4


def test_bad_requests_end_the_run_before_the_first_answer_only() -> None:
    with (
        serving(lambda *_: "too_long") as server,
        pytest.raises(
            errors.ServerError, match="10 prompts in a row failed, the last with HTTP 400"
        ),
    ):
        score(server.url, PAIRS, protocol="generate")
    with serving(lambda p, _: "too_long" if "Norvik" in p else None) as server:
        answers = score(server.url, PAIRS, protocol="generate", concurrency=1).answers
    assert answers.filter(outcome="error").height >= 10


def test_the_key_is_written_nowhere(tmp_path, monkeypatch, misfired) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    suite = tmp_path / "suite.parquet"
    write_suite(PAIRS, suite)
    with serving(lambda p, _: "broken" if hash_of(p) % 3 == 0 else None) as server:
        result = misfired(
            *(
                "run",
                server.url,
                "--suite",
                suite,
                "-o",
                tmp_path / "run",
                "--protocol",
                "generate",
            ),
            *("--api-key-env", "THE_KEY", "--n-attempts", "2", "--n-resamples", "100"),
        )
        assert all(headers["Authorization"] == f"Bearer {KEY}" for headers, _ in server.received)
    assert result.code == 0
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {MANIFEST, ANSWERS, SUMMARY} <= {path.name for path in files}
    secrets = (KEY, KEY[3:])
    for secret in secrets:
        assert secret not in result.out + result.err
        assert all(secret.encode() not in path.read_bytes() for path in files)
    parquet = pl.read_parquet(tmp_path / "run" / ANSWERS)
    assert "[API key]" in parquet.filter(outcome="error")["reason"][0]
    assert not any(KEY in str(value) for row in parquet.iter_rows() for value in row)


def test_no_more_requests_at_once_than_allowed() -> None:
    def plan(_prompt: str, _n: int) -> None:
        time.sleep(0.02)

    with serving(plan) as server:
        score(server.url, PAIRS, protocol="generate", concurrency=3)
        assert server.most_at_once == 3


def test_a_change_of_fingerprint_is_counted_and_said(tmp_path, misfired) -> None:
    suite = tmp_path / "suite.parquet"
    write_suite(PAIRS, suite)

    def plan(_prompt: str, _n: int) -> None:
        if len(server.seen) > 10:
            server.fingerprint = "fp_2"

    with serving(plan) as server:
        shown = misfired(
            *("score", server.url, "--suite", suite, "-o", tmp_path / "run"),
            *("--protocol", "generate", "--concurrency", "1", "--priming", "none"),
        )
    manifest = json.loads((tmp_path / "run" / MANIFEST).read_text())
    assert manifest["fingerprints"] == {"small fp_1": 10, "small fp_2": 14}
    assert "WARNING: the server changed during this run" in " ".join(shown.out.split())


def test_tokens_and_cost() -> None:
    with serving() as server:
        scores = score(server.url, PAIRS, protocol="generate", price=(2.0, 10.0))
    prompts = [
        GENERATE.user_message(text) for side in ("stereotyped", "contrast") for text in PAIRS[side]
    ]
    n_prompt = sum(len(prompt.split()) for prompt in prompts)
    n_generated = sum(len(text_for(prompt).split()) for prompt in prompts)
    assert scores.manifest["usage"] == {
        "n_prompt_tokens": n_prompt,
        "n_generated": n_generated,
        "n_answers_without_usage": 0,
        "n_reasoning": None,
        "price": (2.0, 10.0),
        "cost": pytest.approx((2 * n_prompt + 10 * n_generated) / 1e6),
    }


def test_a_prompt_without_text_is_not_asked_and_not_asked_again(tmp_path) -> None:
    pairs = PAIRS.with_columns(cue=pl.lit(None, pl.String))
    with serving() as server:
        for _ in range(2):
            scores = score(
                server.url, pairs, priming=["cue"], protocol="generate", out=tmp_path / "run"
            )
        assert sum(server.seen.values()) == 24
    assert scores.answers.filter(priming="cue")["outcome"].to_list() == ["error"] * 12


def test_short_texts_are_read_as_in_process() -> None:
    with serving() as server:
        rows = score(server.url, PAIRS, protocol=replace(GENERATE, name="short")).answers
    read = {
        "Yes.": "yes",
        "No.": "no",
        "Yes, it did.": "yes",
        "It cannot be determined.": None,
        "Perhaps so": None,
    }
    for row in rows.iter_rows(named=True):
        assert row["answer"] == read[row["text"]]
        assert row["outcome"] == {"yes": "correct", "no": "wrong"}.get(
            row["answer"], "abstained" if "cannot" in row["text"] else "unparseable"
        )
