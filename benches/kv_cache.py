"""How far scores move with the K/V cache's type and flash attention: the table in design/scoring.md."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from misfired import _core
from misfired.scoring.llama.engine import ragged
from misfired.scoring.llama.model import Model
from misfired.scoring.options import KvCache

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from random_model import make_model

CACHES = [
    ("f32", "f32", "off"),
    ("f32", "f32", "on"),
    ("f16", "f16", "off"),
    ("f16", "f16", "on"),
    ("bf16", "bf16", "off"),
    ("q8_0", "f32", "off"),
    ("q8_0", "q8_0", "on"),
    ("q4_0", "q4_0", "on"),
]

WANTED = np.arange(100, 140, dtype=np.int32)


def prompts(n_vocab: int, n: int = 60) -> list[np.ndarray]:
    """Lengths 26 to 124, with a common beginning and beginnings that some share."""
    rng = np.random.default_rng(1)

    def draw(least: int, most: int) -> np.ndarray:
        return rng.integers(n_vocab // 4, n_vocab // 2, rng.integers(least, most)).astype(np.int32)

    header, families = draw(24, 25), [draw(1, 60) for _ in range(8)]
    return [
        np.concatenate([header, families[rng.integers(len(families))], draw(1, 40)])
        for _ in range(n)
    ]


def score(model: Model, ids: list[np.ndarray], cache: KvCache, packing: str) -> np.ndarray:
    """Log-probabilities [prompt, wanted]."""
    out = np.full((len(ids), len(WANTED)), np.nan)
    with model.context(1024, n_batch=256, n_threads=1, cache=cache) as context:
        wanted = ragged([WANTED] * len(ids))
        scorer = _core.Scorer(context.handle, ragged(ids), wanted, n_block=2000, packing=packing)
        for block in range(scorer.n_blocks):
            scorer.start(block)
            while (answered := scorer.step()) is not None:
                out[answered[0]] = answered[1].reshape(len(answered[0]), len(WANTED))
    return out


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for arch, quantisation in (("llama", "f32"), ("qwen2", "q8_0")):
            path = Path(folder) / f"{arch}.gguf"
            make_model(path, arch, n_embd=128, n_head=4, n_ff=256, quantisation=quantisation)
            print(f"{arch}, {quantisation} weights: cache, packed, solo, fresh, against f32")
            with Model(path) as model:
                report(model)


def report(model: Model) -> None:
    ids = prompts(model.tokenizer.n_vocab)
    reference = None
    for names in CACHES:
        cache = KvCache(*names)
        alone = np.concatenate([score(model, [row], cache, "fresh") for row in ids])
        reference = alone if reference is None else reference
        moved = [
            np.abs(score(model, ids, cache, packing) - alone).max()
            for packing in ("packed", "solo", "fresh")
        ]
        print(", ".join(names), *(f"{x:.0e}" for x in (*moved, np.abs(alone - reference).max())))


if __name__ == "__main__":
    main()
