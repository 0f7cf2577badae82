"""How many tokens a batch suits a GPU: measured there, since cards and models differ."""

import functools
import time

import numpy as np

from misfired._core import Scorer
from misfired.scoring.llama.engine import CELLS, ragged
from misfired.scoring.llama.model import Context, Model
from misfired.scoring.options import KvCache

#: Batches that are tried; what a context of the largest takes is small beside a model's weights.
SIZES = (512, 1024, 2048, 4096)
#: Tokens of the prompts that are made up, and the gain for which a batch is doubled.
N_PROMPT, GAIN = 64, 1.03


@functools.lru_cache(maxsize=8)
def best_batch(model: Model, cache: KvCache) -> int:
    """Return the smallest batch that a larger one does not beat by `GAIN`; takes about 0.2 s.

    The choice depends on times, so it is made only where a mode promises no bits (`fast`).
    """
    sizes = [n for n in SIZES if not 0 < model.n_ctx_train < n] or [SIZES[0]]
    rates = {}
    for n_batch in sizes:
        with model.context(2 * n_batch + CELLS, n_batch=n_batch, cache=cache) as context:
            # The first batch of a shape finds its kernels and its memory.
            _seconds(context, n_batch)
            rates[n_batch] = n_batch / _seconds(context, n_batch)
    best = sizes[0]
    for n_batch in sizes[1:]:
        if rates[n_batch] > GAIN * rates[best]:
            best = n_batch
    return best


def _seconds(context: Context, n_tokens: int) -> float:
    """Return what one full batch takes, the log-probabilities of its prompts included."""
    rng, n_vocab = np.random.default_rng(0), context.model.tokenizer.n_vocab
    rows = list(rng.integers(0, n_vocab, (n_tokens // N_PROMPT, N_PROMPT), dtype=np.int32))
    wanted = ragged([np.zeros(1, np.int32)] * len(rows))
    scorer = Scorer(context.handle, ragged(rows), wanted, n_block=1 << 30, packing="packed")
    scorer.start(0)
    started = time.perf_counter()
    while scorer.step() is not None:
        pass
    return time.perf_counter() - started
