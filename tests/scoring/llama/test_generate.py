"""Batched greedy text equals greedy text one prompt at a time, whatever the neighbours."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from helpers import MakeModel, make_suite, prompts_of
from misfired.errors import ArgumentError
from misfired.runs.pipeline import score
from misfired.scoring.llama import engine
from misfired.scoring.llama.engine import TextEngine, answer_all
from misfired.scoring.llama.model import Model
from misfired.scoring.llama.session import open_context, prepare, template_for
from misfired.scoring.options import DecodingOptions
from misfired.scoring.protocol import GENERATE
from misfired.scoring.tokens import PromptTokenizer
from reference.plain_scorer import PlainScorer

pytestmark = pytest.mark.model

SHORT = replace(GENERATE, name="short", n_generate=12, n_extended=0)


def greedy(plain: PlainScorer, ids: list[int], n_generate: int, ends: set[int]) -> list[int]:
    """Greedy tokens by the definition: the whole sequence is decoded anew for each."""
    chosen: list[int] = []
    while len(chosen) < n_generate and not (chosen and chosen[-1] in ends):
        chosen.append(int(np.argmax(plain.logp([*ids, *chosen]))))
    return chosen


def write_all(model: Model, job, *, packing: str = "packed", noise: float = 0.0, **settings):
    with open_context(model, job, DecodingOptions(**settings)) as context:
        texts = TextEngine(context, job, packing=packing, noise=noise)
        return answer_all(texts), texts.n_rewritten


def job_of(model: Model, n: int = 20, protocol=SHORT):
    pairs = make_suite(n)
    texts = [*pairs["stereotyped"], *pairs["contrast"], pairs["stereotyped"][0]]
    tokenizer = PromptTokenizer(model.tokenizer, template_for(model, "plain"), protocol)
    return prepare(tokenizer, prompts_of(texts))


@pytest.mark.parametrize("arch", ["llama", "qwen2", "gemma3", "gpt2"])
def test_texts_equal_greedy_decoding_by_the_definition(
    arch: str, real_vocabulary_model: MakeModel
) -> None:
    path = real_vocabulary_model(arch)
    with Model(path) as model:
        job = job_of(model, 8)
        rows, _ = write_all(model, job, noise=1e-3)
        ends = {t for t in range(model.tokenizer.n_vocab) if model.tokenizer.ends_generation(t)}
        plain = PlainScorer(path)
        for row in job.prompts:
            tokens = greedy(plain, job.prompts[row].ids.tolist(), SHORT.n_generate, ends)
            kept = [t for t in tokens if t not in ends]
            text = b"".join(model.tokenizer.piece(t) for t in kept).decode(errors="replace")
            assert rows[row]["text"] == text
            assert rows[row]["n_generated"] == len(tokens)
            assert rows[row]["stop"] == ("end" if tokens[-1] in ends else "length")
        plain.close()


@pytest.mark.parametrize("n_batch", [8, 33, 256])
def test_neighbours_do_not_matter(n_batch: int, small_model: Path) -> None:
    with Model(small_model) as model:
        job = job_of(model)
        alone, _ = write_all(model, job, packing="solo")
        packed, _ = write_all(model, job, n_batch=n_batch, noise=1e-5)
    assert sorted(packed) == list(job.prompts)
    for row in job.prompts:
        assert packed[row]["text"] == alone[row]["text"]
        assert packed[row]["logp_text"] == pytest.approx(alone[row]["logp_text"], abs=1e-3)
    assert packed[0]["text"] == packed[max(job.prompts)]["text"], "equal prompts, equal texts"
    assert len({row["text"] for row in packed.values()}) > 10


def test_close_choices_are_made_again_alone(small_model: Path) -> None:
    with Model(small_model) as model:
        job = job_of(model)
        alone, _ = write_all(model, job, packing="solo")
        noise = float(np.median([row["least_gap"] for row in alone.values()])) / engine.CAUTION
        packed, n_rewritten = write_all(model, job, noise=noise)
    assert 5 < n_rewritten < len(job.prompts)
    for row, measured in packed.items():
        if alone[row]["least_gap"] < 0.9 * noise * engine.CAUTION:
            assert measured == alone[row], "to the bit"


@pytest.mark.parametrize("quantisation", ["f16", "q8_0"])
def test_rounding_of_weights_does_not_reach_the_text(
    quantisation: str, real_vocabulary_model: MakeModel, tmp_path: Path
) -> None:
    path = real_vocabulary_model("llama", quantisation, n_embd=256, n_ff=256)
    scores = score(path, make_suite(12), protocol=SHORT, template="plain")
    assert scores.manifest["batch_invariance"]["texts_differ"] == 0


@pytest.mark.parametrize("packing", ["packed", "solo"])
def test_undecided_texts_are_written_on(packing: str, small_model: Path) -> None:
    """A text that its budget cut off undecided is the longer text; a decided one stays."""

    def written(model: Model, **changed: int) -> dict:
        job = job_of(model, protocol=replace(SHORT, **changed))
        return write_all(model, job, packing=packing, noise=1e-5)[0]

    with Model(small_model) as model:
        short, longer = written(model), written(model, n_generate=30)
        both = written(model, n_extended=30)
    assert sorted(both) == sorted(short)
    for row, measured in both.items():
        cut = short[row]["stop"] == "length" and short[row]["outcome"] == "unparseable"
        assert measured["text"] == (longer if cut else short)[row]["text"]
    assert any(each["n_generated"] > SHORT.n_generate for each in both.values())


def test_stop_texts_end_and_are_cut(small_model: Path) -> None:
    with Model(small_model) as model:
        whole, _ = write_all(model, job_of(model))
        # Some of a random model's tokens are half a character, which no stop text can hold.
        stop = re.findall(r"[ -~]{3}", whole[0]["text"])[-1]
        cut, _ = write_all(model, job_of(model, protocol=replace(SHORT, stop=(stop,))))
    assert cut[0]["stop"] == "text"
    assert cut[0]["text"] == whole[0]["text"][: whole[0]["text"].index(stop)]
    assert cut[0]["n_generated"] <= whole[0]["n_generated"]
    for row, measured in cut.items():
        assert stop not in measured["text"]
        assert whole[row]["text"].startswith(measured["text"])


def test_a_model_that_ends_its_turn(small_model: Path) -> None:
    with Model(small_model) as model:
        rows, _ = write_all(model, job_of(model, 60, replace(SHORT, n_generate=60)))
    ended = [row for row in rows.values() if row["stop"] == "end"]
    assert ended
    assert all(row["n_generated"] <= 60 and "<|end" not in row["text"] for row in ended)


class _Killed(Exception):  # noqa: N818  stands for a signal
    pass


def test_an_interrupted_run_ends_as_an_undisturbed_one(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "N_BLOCK_TEXTS", 300)
    pairs = make_suite(24)
    whole = score(small_model, pairs, protocol=SHORT, out=tmp_path / "whole")
    for stop_at in (1, 9, 17, 30, 47):

        def kill(done: int, _total: int, stop_at: int = stop_at) -> None:
            if done >= stop_at:
                raise _Killed

        with pytest.raises(_Killed):
            score(small_model, pairs, protocol=SHORT, out=tmp_path / str(stop_at), progress=kill)
        resumed = score(small_model, pairs, protocol=SHORT, out=tmp_path / str(stop_at))
        assert_frame_equal(resumed.answers, whole.answers, check_exact=True)


def test_a_prompt_without_text_is_an_error_and_keeps_its_row(small_model: Path) -> None:
    pairs = make_suite(4).with_columns(cue=pl.lit(None, pl.String))
    answers = score(small_model, pairs, protocol=SHORT, priming=["cue"]).answers
    assert len(answers) == 12
    unasked = answers.filter(priming="cue")
    assert set(unasked["outcome"]) == {"error"}
    assert unasked["text"].is_null().all()
    assert answers.filter(priming="none")["text"].is_not_null().all()


def test_a_context_too_small_for_two_texts_is_named(small_model: Path) -> None:
    with pytest.raises(
        ArgumentError, match="n_ctx must be at least 768, for two texts of up to 256"
    ):
        score(small_model, make_suite(4), protocol=SHORT, n_ctx=256)
    with pytest.raises(ArgumentError, match=r"must have at most 2048 tokens, .* got 4\d\d\d"):
        score(small_model, make_suite(4), protocol=replace(SHORT, n_generate=4000))
