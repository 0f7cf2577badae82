"""What a server answered is kept under all that decided it, and nothing that may pass is."""

import subprocess
import sys
from dataclasses import replace

import pytest
from polars.testing import assert_frame_equal

from helpers import make_suite
from loopback_server import KEY, serving
from misfired import score, write_suite
from misfired.errors import ServerError
from misfired.scoring.cache import FILE
from misfired.scoring.protocol import GENERATE
from misfired.scoring.server import client
from misfired.scoring.server.request import TRIAL

PAIRS = make_suite(12)
N_PROMPTS = 2 * len(PAIRS)


@pytest.fixture(params=["generate", "logit"])
def protocol(request):
    return request.param


def times(scores) -> dict:
    return scores.manifest["times"]


def test_a_second_run_asks_one_question_and_gives_the_same(protocol, tmp_path) -> None:
    options = {"protocol": protocol, "priming": ["cue"]}
    with serving() as server:
        plain = score(server.url, PAIRS, **options)
        first = score(server.url, PAIRS, cache=tmp_path, **options)
        server.seen.clear()
        again = score(server.url, PAIRS, cache=tmp_path, **options)
        assert len(server.seen) == sum(server.seen.values()) == 1
        assert TRIAL in next(iter(server.seen))
    n_prompts = len(plain.answers)
    assert_frame_equal(first.answers, plain.answers, check_exact=True)
    assert_frame_equal(again.answers, plain.answers, check_exact=True)
    assert [times(scores)["n_from_cache"] for scores in (first, again)] == [0, n_prompts]
    assert [times(scores)["n_requests"] for scores in (first, again)] == [n_prompts + 1, 1]
    assert first.manifest["settings"] == plain.manifest["settings"], "a cache is no setting"
    assert again.manifest["fingerprints"] == {"small fp_1": n_prompts}
    assert again.manifest["cache"] == {"model": "small", "system_fingerprint": "fp_1"}
    assert again.manifest["usage"] == plain.manifest["usage"]


@pytest.mark.parametrize(
    "change",
    [
        {"server_model": "large"},
        {"extra_body": {"max_tokens": 7}},
        {"extra_body": {"temperature": 1}},
        {"seed": 1},
        {"protocol": replace(GENERATE, instruction="Yes or no?")},
        {"protocol": "logit"},
        {"template": "plain"},
        {"n_shots": 1, "hold_out": "pair"},
    ],
)
def test_what_changes_a_request_is_part_of_the_key(change, tmp_path) -> None:
    options = {"protocol": "generate", "server_model": "small", "cache": tmp_path}
    with serving() as server:
        score(server.url, PAIRS, **options)
        other = score(server.url, PAIRS, **options | change)
        alone = score(server.url, PAIRS, **options | change | {"cache": None})
    assert times(other)["n_from_cache"] == 0
    assert_frame_equal(other.answers, alone.answers, check_exact=True)


def test_address_and_fingerprint_are_part_of_the_key(tmp_path) -> None:
    options = {"protocol": "generate", "cache": tmp_path}
    with serving() as server, serving() as elsewhere:
        score(server.url, PAIRS, **options)
        assert times(score(elsewhere.url, PAIRS, **options))["n_from_cache"] == 0
        server.fingerprint = "fp_2"
        changed = score(server.url, PAIRS, **options)
        assert times(changed)["n_from_cache"] == 0
        assert changed.manifest["fingerprints"] == {"small fp_2": N_PROMPTS}
        for fingerprint in ("fp_1", "fp_2"):
            server.fingerprint = fingerprint
            known = score(server.url, PAIRS, **options)
            assert times(known)["n_from_cache"] == N_PROMPTS
            assert known.manifest["fingerprints"] == {f"small {fingerprint}": N_PROMPTS}


def test_an_answer_is_kept_under_the_fingerprint_that_came_with_it(tmp_path) -> None:
    options = {"protocol": "generate", "cache": tmp_path, "concurrency": 1}

    def change(_prompt: str, _n: int) -> None:
        if len(server.seen) > 11:
            server.fingerprint = "fp_2"

    with serving(change) as server:
        mixed = score(server.url, PAIRS, **options)
        assert mixed.manifest["fingerprints"] == {"small fp_1": 10, "small fp_2": N_PROMPTS - 10}
        later = score(server.url, PAIRS, **options)
    assert times(later)["n_from_cache"] == N_PROMPTS - 10
    assert later.manifest["fingerprints"] == {"small fp_2": N_PROMPTS}


def test_primings_share_what_is_the_same_prompt_and_nothing_else(tmp_path) -> None:
    options = {"protocol": "generate", "cache": tmp_path}
    # The first asks the unprimed prompts, too; the second has the stereotyped ones of the first.
    n_known = {"cue": N_PROMPTS, "cue_both": len(PAIRS), "fairness_system": 0}
    with serving() as server:
        score(server.url, PAIRS, **options)
        for priming, n in n_known.items():
            primed = score(server.url, PAIRS, priming=[priming], **options)
            alone = score(server.url, PAIRS, priming=[priming], protocol="generate")
            assert times(primed)["n_from_cache"] == n
            assert n < len(primed.answers)
            assert_frame_equal(primed.answers, alone.answers, check_exact=True)


def test_what_is_expected_is_part_of_the_key(tmp_path) -> None:
    options = {"protocol": "generate", "cache": tmp_path}
    with serving() as server:
        score(server.url, PAIRS, **options)
        turned = PAIRS.with_columns(
            expected_contrast=PAIRS["expected_contrast"].replace("yes", "no")
        )
        other = score(server.url, turned, **options)
        alone = score(server.url, turned, protocol="generate")
    assert times(other)["n_from_cache"] == len(PAIRS)
    assert_frame_equal(other.answers, alone.answers, check_exact=True)


@pytest.mark.parametrize(
    ("fault", "n_kept"),
    [
        ("reset", 0),
        ("limited", 0),
        ("broken", 0),
        ("slow", 0),
        ("malformed", 0),
        ("no_choice", 0),
        ("too_long", 0),
        ("empty", 0),
        ("block", 0),
        ("block_prompt", 0),
        ("refusal", 2),
    ],
)
def test_what_may_pass_is_not_kept(fault, n_kept, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(client, "LONGEST_RETRY_AFTER", 0.05)
    prompts = {
        GENERATE.user_message(PAIRS["stereotyped"][5]),
        GENERATE.user_message(PAIRS["contrast"][7]),
    }
    options = {"protocol": "generate", "cache": tmp_path}
    ill = True
    with serving(lambda prompt, _: fault if ill and prompt in prompts else None) as server:
        hurt = score(server.url, PAIRS, n_attempts=1, timeout=1.5, **options).answers
        ill = False
        well = score(server.url, PAIRS, protocol="generate").answers
        server.seen.clear()
        after = score(server.url, PAIRS, **options)
        asked = {prompt for prompt in server.seen if TRIAL not in prompt}
    assert len(asked & prompts) == len(asked) == 2 - n_kept
    assert times(after)["n_from_cache"] == N_PROMPTS - 2 + n_kept
    assert_frame_equal(after.answers, hurt if n_kept else well)


def test_a_server_without_a_fingerprint(tmp_path, misfired) -> None:
    write_suite(PAIRS, tmp_path / "suite.parquet")
    with serving() as server:
        server.fingerprint = None
        for _ in range(2):
            scores = score(server.url, PAIRS, protocol="generate", cache=tmp_path)
        shown = misfired(
            *("score", server.url, "--suite", tmp_path / "suite.parquet", "-o", tmp_path / "run"),
            *("--protocol", "generate", "--priming", "none", "--cache", tmp_path),
        )
    assert times(scores)["n_from_cache"] == N_PROMPTS
    assert scores.manifest["cache"] == {"model": "small", "system_fingerprint": None}
    said = " ".join(shown.out.split())
    assert f"From the cache: {N_PROMPTS} of {N_PROMPTS} answers." in said
    assert "WARNING: the server gives no system_fingerprint." in said


def test_the_key_is_not_in_the_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    with serving(lambda prompt, _: "raw" if TRIAL not in prompt else None) as server:
        message = f'{{"role": "assistant", "content": "Yes. {KEY}"}}'
        server.raw = f'{{"choices": [{{"message": {message}, "finish_reason": "stop"}}]}}'.encode()
        score(server.url, PAIRS, protocol="generate", cache=tmp_path, api_key_env="THE_KEY")
        assert all(headers["Authorization"] == f"Bearer {KEY}" for headers, _ in server.received)
    content = (tmp_path / FILE).read_bytes()
    assert b"[API key]" in content
    assert KEY[3:].encode() not in content


def test_a_server_that_does_not_tell_what_it_is_ends_the_run(tmp_path) -> None:
    with serving(lambda *_: "broken") as server:
        with pytest.raises(ServerError, match=r"asked for its fingerprint, .*: HTTP 500"):
            score(server.url, PAIRS, protocol="generate", cache=tmp_path, n_attempts=1)
        assert sum(server.seen.values()) == 1


def test_a_server_that_dies_leaves_what_it_answered(tmp_path) -> None:
    alive = 10
    with serving(lambda *_: None if len(server.seen) <= alive else "broken") as server:
        options = {"protocol": "generate", "cache": tmp_path, "concurrency": 1}
        with pytest.raises(ServerError, match="10 prompts in a row failed"):
            score(server.url, PAIRS, n_attempts=1, **options)
        alive = 10**6
        after = score(server.url, PAIRS, **options)
    assert times(after)["n_from_cache"] == 9


def test_an_interrupted_run_leaves_what_was_answered(tmp_path) -> None:
    def stop(n_done: int, _: int) -> None:
        if n_done == 7:
            raise KeyboardInterrupt

    options = {"protocol": "generate", "cache": tmp_path, "concurrency": 1}
    with serving() as server:
        with pytest.raises(KeyboardInterrupt):
            score(server.url, PAIRS, progress=stop, **options)
        after = score(server.url, PAIRS, **options)
    assert times(after)["n_from_cache"] == 7


KILLED = """
import os, signal, sys
from misfired import read_suite, score
url, suite, out, cache, n_kept = sys.argv[1:]
def die(n_done, _):
    if n_done >= int(n_kept):
        os.kill(os.getpid(), signal.SIGKILL)
score(url, read_suite(suite), out=out, cache=cache or None, protocol="generate", progress=die)
"""


@pytest.mark.parametrize("with_cache", [True, False])
def test_what_a_killed_run_recorded_reaches_the_cache(with_cache, tmp_path) -> None:
    cache, out = tmp_path / "cache", tmp_path / "hurt"
    write_suite(PAIRS, tmp_path / "suite.parquet")
    with serving() as server:
        given = [server.url, tmp_path / "suite.parquet", out, cache if with_cache else "", 9]
        killed = [sys.executable, "-c", KILLED, *map(str, given)]
        assert subprocess.run(killed, check=False).returncode == -9
        server.fingerprint = "fp_2"
        hurt = score(server.url, PAIRS, out=out, cache=cache, protocol="generate")
        assert hurt.manifest["fingerprints"] == {"small fp_1": 9, "small fp_2": N_PROMPTS - 9}
        for fingerprint, n_kept in {"fp_1": 9, "fp_2": N_PROMPTS - 9}.items():
            server.fingerprint = fingerprint
            again = score(server.url, PAIRS, cache=cache, protocol="generate")
            assert times(again)["n_from_cache"] == n_kept
        columns = [name for name in hurt.answers.columns if name != "fingerprint"]
        assert_frame_equal(hurt.answers.select(columns), again.answers.select(columns))
