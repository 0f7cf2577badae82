"""Batched scoring equals scoring one prompt at a time through the plain C API."""

import random
from pathlib import Path

import numpy as np
import pytest

from helpers import ARCHITECTURES
from misfired import _core
from misfired.scoring.llama.model import N_SEQUENCES, Model
from misfired.scoring.options import MODES
from reference.plain_scorer import PlainScorer

pytestmark = pytest.mark.model

#: What mode `exact` promises with f32 weights on a CPU.
EXACT = 1e-5

#: The logits are the same; summing their exponentials in another order moves the last digit.
SAME_LOGITS = 1e-12


def in_ci(*values: str) -> object:
    """Return a case that CI runs: another architecture of what `pytest` tests once."""
    return pytest.param(*values, marks=pytest.mark.ci)


def mixed_sequences(n_vocab: int, n: int = 150, seed: int = 1) -> list[list[int]]:
    """Lengths 1 to 300, with prefixes shared by all, by some and by none, and some equal ones."""
    rng = random.Random(seed)
    low, high = n_vocab // 4, n_vocab // 2

    def draw(k: int) -> list[int]:
        return [rng.randrange(low, high) for _ in range(k)]

    header, families = draw(24), [draw(rng.randint(1, 60)) for _ in range(8)]
    shared = [header + rng.choice(families) + draw(rng.randint(0, 40)) for _ in range(n - 20)]
    unshared = [draw(rng.choice([1, 2, 17, 130, 300])) for _ in range(15)]
    return [*shared, *unshared, *shared[:5]]


def score_all(
    model: Model,
    sequences: list[list[int]],
    wanted: list[int],
    n_batch: int = 256,
    packing: str = "packed",
) -> np.ndarray:
    """Log-probabilities [n_sequences, n_wanted] in one job."""

    def ragged(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        return np.concatenate(rows).astype(np.int32), offsets.astype(np.int64)

    out = np.full((len(sequences), len(wanted)), np.nan)
    with model.context(1024, n_batch=n_batch, n_threads=2) as context:
        scorer = _core.Scorer(
            context.handle,
            ragged(sequences),
            ragged([wanted] * len(sequences)),
            n_block=2000,
            packing=packing,
        )
        for block in range(scorer.n_blocks):
            scorer.start(block)
            while (answered := scorer.step()) is not None:
                places, logps, _, _ = answered
                out[places] = logps.reshape(len(places), len(wanted))
        if scorer.n_blocks == 1 and packing == "packed":
            assert scorer.n_decoded_tokens == scorer.n_distinct_tokens
    return out


def largest_difference(
    path: Path, n_batch: int = 256, n: int = 150, packing: str = "packed"
) -> float:
    with Model(path) as model:
        sequences = mixed_sequences(model.tokenizer.n_vocab, n)
        assert len(sequences) > N_SEQUENCES
        wanted = list(range(100, 140))
        packed = score_all(model, sequences, wanted, n_batch, packing)
    plain = PlainScorer(path)
    alone = np.array([plain.logp(ids)[wanted] for ids in sequences])
    plain.close()
    assert np.ptp(alone, axis=0).min() > 0.1, "the prompts must matter"
    return float(np.abs(packed - alone).max())


@pytest.mark.parametrize("arch", ["llama", *map(in_ci, ["mistral", "qwen2", "qwen3", "phi3"])])
def test_every_logp_of_packed_prompts(arch: str, real_vocabulary_model) -> None:
    assert largest_difference(real_vocabulary_model(arch)) < EXACT


@pytest.mark.parametrize(
    ("arch", "quantisation"),
    [
        *(("llama", "f32"), ("gpt2", "f32"), ("llama", "q4_K"), ("qwen2", "q8_0")),
        *(in_ci(arch, "f32") for arch in ARCHITECTURES if arch not in {"llama", "gpt2"}),
        *(in_ci(arch, "q4_K") for arch in ("gemma2", "gpt2")),
        in_ci("qwen2", "f16"),
    ],
)
def test_solo_prompts_have_the_bits_of_a_prompt_alone(
    arch: str, quantisation: str, real_vocabulary_model
) -> None:
    path = real_vocabulary_model(arch, quantisation, n_embd=256, n_ff=256)
    # A q4_K row of some shapes goes through a kernel of its own when it is the last of a batch.
    limit = EXACT if quantisation == "q4_K" else SAME_LOGITS
    assert largest_difference(path, n=70, packing="solo") < limit


def test_prompts_of_a_recurrent_model(recurrent_model: Path) -> None:
    assert largest_difference(recurrent_model, n=70, packing="fresh") < EXACT


def test_solo_prompts_that_differ_in_their_last_tokens(real_vocabulary_model) -> None:
    """Fewer than eight rows of quantised weights go through kernels of their own in such a shape."""
    path = real_vocabulary_model("llama", "q4_K", n_layer=8, n_head=8, n_embd=512, n_ff=1280)
    rng = random.Random(0)
    stem = [rng.randrange(1000, 2000) for _ in range(60)]
    sequences = [[*stem[:n], rng.randrange(1000, 2000)] for n in range(48, 60) for _ in range(2)]
    with Model(path) as model:
        solo = score_all(model, sequences, list(range(40)), packing="solo")
    plain = PlainScorer(path)
    alone = np.array([plain.logp(ids)[:40] for ids in sequences])
    plain.close()
    assert np.abs(solo - alone).max() < SAME_LOGITS


@pytest.mark.parametrize("n_batch", [4, 7, 64, 512])
def test_the_batch_size_does_not_matter(n_batch: int, small_model) -> None:
    assert largest_difference(small_model, n_batch, n=90) < EXACT


def test_the_same_job_gives_the_same_bits(small_model) -> None:
    with Model(small_model) as model:
        sequences = mixed_sequences(model.tokenizer.n_vocab, 90)
        first, second = (score_all(model, sequences, [5, 6]) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.isfinite(first).all()


def test_equal_sequences_get_equal_bits(small_model) -> None:
    with Model(small_model) as model:
        ids = [10, 11, 12, 13]
        scores = score_all(model, [ids, [10, 11, 14], ids], [5, 6])
    assert np.array_equal(scores[0], scores[2])
    assert not np.array_equal(scores[0], scores[1])


def test_fast_mode_answers_everything(small_model) -> None:
    with Model(small_model) as model:
        sequences = mixed_sequences(model.tokenizer.n_vocab, 90)
        exact = score_all(model, sequences, [5, 6])
        with model.context(1024, n_batch=256, cache=MODES["fast"]) as context:
            assert context.n_ctx == 1024
    assert np.isfinite(exact).all()
