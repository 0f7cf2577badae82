"""A real server on loopback, llama-cpp-python's, gives what the same model gives in this process.

Its rounding: it decodes a prompt in batches of another shape (what a prompt shares with the one before
is not decoded again), which moves log-probabilities by 1e-6 with f32 weights and by up to 3e-4 with f16.
"""

import subprocess
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from helpers import make_suite
from loopback_server import free_port, serving
from misfired import score
from misfired.scoring.protocol import BARE, GENERATE, LOGIT
from misfired.scoring.server.request import N_TOP
from misfired.suites.organism import build_organism_suite, models
from plain_llama import server_command

pytest.importorskip("fastapi", reason="needs llama-cpp-python[server], part of the test extra")
pytestmark = pytest.mark.model

LABELS = ("answer", "outcome", "reason")

#: Server and package compute the same sums in f32, in another order. A rounding moves a sum by 2**-24 of it; a
#: logit of the organisms (at most 30) is reached through about 500 sums (6 layers, 7 products of 12 partial
#: sums each): 2**-24 * 30 * 500 = 9e-4, whatever the CPU's vector width.
SAME_SUMS = 1e-3

#: The server's default punishes tokens that the prompt has, which greedy decoding does not.
GREEDY = {"repeat_penalty": 1.0}

#: Only forms that are one token of the built-in vocabulary: a server does not list the others.
SINGLE = replace(
    LOGIT,
    name="single",
    answers={"yes": ("Yes", "yes", " Yes", " yes"), "no": ("No", "no", " No", " no")},
)


@contextmanager
def llama_server(model: Path, log: Path) -> Iterator[str]:
    port = free_port()
    options = "--model_alias m --n_ctx 2048 --n_threads 1 --logits_all True --type_k 0 --type_v 0"
    command = server_command(model, port, *options.split())
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        _wait_for(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/models", timeout=5).close()  # noqa: S310
            return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, f"the server ended: {log.read_text()[-2000:]}"
            time.sleep(0.1)
    pytest.fail("the server did not start within two minutes")


@pytest.fixture(scope="module")
def organism_url(tmp_path_factory) -> Iterator[str]:
    with llama_server(models()["instruct"], tmp_path_factory.mktemp("server") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def random_url(small_model, tmp_path_factory) -> Iterator[str]:
    with llama_server(small_model, tmp_path_factory.mktemp("server") / "log") as url:
        yield url


def largest_difference(left: pl.DataFrame, right: pl.DataFrame, *names: str) -> float:
    return max(float((left[name] - right[name]).abs().max()) for name in names)


def test_log_probabilities_of_the_organism(organism_url) -> None:
    suite = build_organism_suite().gather_every(8)
    there = score(organism_url, suite, protocol=BARE, priming=["none", "cue"]).answers
    here = score(models()["instruct"], suite, protocol=BARE, priming=["none", "cue"]).answers
    assert there.select(LABELS).equals(here.select(LABELS))
    assert {"yes", "no"} <= set(there["answer"])
    assert there["logit_diff"].null_count() == 0
    assert largest_difference(there, here, "logp_yes", "logp_no", "logit_diff") <= SAME_SUMS
    assert largest_difference(there, here, "mass") <= 1e-5
    assert there["n_prompt_tokens"].equals(here["n_prompt_tokens"]), (
        "the same tokens, as far as told"
    )


def test_texts_of_the_organism(organism_url) -> None:
    # Two tokens: after its answer the organism may write special tokens, which a server does not show.
    protocol = replace(GENERATE, name="bare", instruction="", n_generate=2, n_extended=0)
    suite = build_organism_suite().gather_every(8)
    there = score(organism_url, suite, protocol=protocol, extra_body=GREEDY).answers
    here = score(models()["instruct"], suite, protocol=protocol).answers
    assert there.select(LABELS).equals(here.select(LABELS))
    assert {"correct", "wrong"} <= set(there["outcome"])
    shown = pl.col("text").str.replace_all(r"<\|\w+\|>", "")
    assert there.select(shown).equals(here.select(shown))


@pytest.mark.ci
@pytest.mark.parametrize("reading", ["texts", "log-probabilities"])
def test_faults_on_the_way_to_it_change_nothing(reading, organism_url) -> None:
    texts = reading == "texts"
    asked = {
        "protocol": replace(GENERATE, name="bare", instruction="", n_generate=2, n_extended=0)
        if texts
        else BARE,
        "extra_body": GREEDY,
    }
    faults = ("reset", "limited_until", "broken", "slow", "malformed", "empty", "no_choice", None)

    def plan(prompt: str, n_before: int) -> str | None:
        fault = faults[zlib.crc32(prompt.encode()) % len(faults)] if n_before == 0 else None
        return None if fault == "empty" and not texts else fault

    suite = build_organism_suite().gather_every(16)
    calm = score(organism_url, suite, **asked).answers
    with serving(plan, upstream=organism_url) as server:
        disturbed = score(server.url, suite, server_model="m", timeout=4, **asked)
        assert len(server.seen) == calm.height, "every prompt, and no other"
    assert disturbed.answers.select(LABELS).equals(calm.select(LABELS))
    if texts:
        assert disturbed.answers.equals(calm)
    else:
        assert largest_difference(disturbed.answers, calm, "logp_yes", "logp_no") <= SAME_SUMS
    counted = {name for name in disturbed.manifest["times"] if name.startswith("n_faults: ")}
    kinds = {"connection lost", "HTTP 429", "HTTP 500", "timed out", "bad answer"}
    # On a busy machine others may come late, too.
    assert counted >= {f"n_faults: {kind}" for kind in kinds | ({"empty text"} if texts else set())}


@pytest.mark.parametrize("n_shots", [0, 2])
@pytest.mark.parametrize("template", [None, "plain"])
def test_numbers_of_a_random_model(template, n_shots, random_url, small_model) -> None:
    pairs = make_suite(16)
    asked = {"protocol": SINGLE, "template": template, "n_shots": n_shots}
    everything = {"logprobs" if template else "top_logprobs": 2000}
    there = score(random_url, pairs, extra_body=everything, **asked).answers
    here = score(small_model, pairs, **asked).answers
    assert there.select(LABELS).equals(here.select(LABELS))
    assert set(there["answer"]) <= {"yes", "no"}
    numbers = ("logp_yes", "logp_no", "logit_diff", "mass", "top_logp")
    assert largest_difference(there, here, *numbers) <= 1e-5
    # Tokens that spell nothing by themselves have one text, and the server keeps one of them.
    assert there["unseen"].min() < 0.3


def test_bounds_hold_where_the_list_is_short(random_url, small_model) -> None:
    pairs = make_suite(24)
    here = score(small_model, pairs, protocol=SINGLE).answers
    kinds = set()
    for n_top in (N_TOP, 100, 300):
        body = {"top_logprobs": n_top}
        there = score(random_url, pairs, protocol=SINGLE, extra_body=body).answers
        for told, known in zip(there.to_dicts(), here.to_dicts(), strict=True):
            kinds.add((told["answer"] is None, told["logit_diff"] is None))
            if told["answer"] is None:
                assert told["outcome"] == "unparseable"
                assert max(known["logp_yes"], known["logp_no"]) < told["logp_bound"] + 1.5
                continue
            assert told["answer"] == known["answer"]
            for side in ("logp_yes", "logp_no"):
                if told[side] is None:
                    continue
                assert told[side] <= known[side] + 1e-5
            if told["logit_diff"] is not None:
                assert told["logit_diff"] == pytest.approx(known["logit_diff"], abs=1e-5)
            assert told["mass"] - 1e-6 <= known["mass"] <= told["mass"] + told["unseen"] + 1e-6
    assert kinds == {(True, True), (False, True), (False, False)}
