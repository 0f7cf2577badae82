"""Scoring 400 real prompts against what a user would pick instead and against the physical limit.

    python benches/bench_scoring.py --bbq BBQ/data --vocab ggml-vocab-gpt-2.gguf

All contenders use the same random f32 llama of 51 million parameters (d 512, 8 layers, 50k words), the
same prompts and the same threads, take turns in one process, and the least time of each counts.

    misfired     all prompts through `misfired`'s engine, tokenised already (mode exact)
    completion   llama-cpp-python's create_completion(logprobs=10), a call a prompt
    echo         echo=True for each prompt and answer, as common harnesses do; timed on a few, scaled
    loop         a careful loop through the C API: one prompt a call, logits of its last token only
    limit        as many tokens as the prompts' distinct prefixes, decoded in full batches of 512
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as capi

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import misfired
from misfired.scoring.engine import Engine, Settings, open_context, prepare
from misfired.scoring.library import captured_errors
from misfired.scoring.model import Model
from misfired.scoring.protocol import LOGIT
from misfired.scoring.selfcheck import choose_packing
from misfired.scoring.template import template_for
from misfired.scoring.tokens import PromptTokenizer
from random_model import make_model

BATCH = 512
N_ECHO = 4


def prompts_of(bbq: Path, n: int) -> list[str]:
    pairs = misfired.build_pairs(bbq)
    chosen = pairs[[place * len(pairs) // (n // 2) for place in range(n // 2)]]
    return [text for row in chosen.to_dicts() for text in (row["stereotyped"], row["contrast"])]


class Plain:
    """A context for one sequence, driven through the C API."""

    def __init__(self, model: Model, n_ctx: int, n_threads: int) -> None:
        params = capi.llama_context_default_params()
        params.n_ctx = params.n_batch = n_ctx
        params.n_ubatch = BATCH
        params.flash_attn_type = 0
        params.n_threads = params.n_threads_batch = n_threads
        self.context = capi.llama_init_from_model(model._pointer, params)
        self.n_vocab = model.tokenizer.n_vocab

    def last_logits(self, ids: Sequence[int]) -> np.ndarray:
        capi.llama_memory_clear(capi.llama_get_memory(self.context), False)
        tokens = (ctypes.c_int32 * len(ids))(*ids)
        assert capi.llama_decode(self.context, capi.llama_batch_get_one(tokens, len(ids))) == 0
        row = capi.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(row, (self.n_vocab,))

    def close(self) -> None:
        capi.llama_free(self.context)


def time_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bench(path: Path, prompts: list[str], *, prefix: str, n_threads: int, repeats: int) -> dict:
    with Model(path) as model:
        tokenizer = PromptTokenizer(model.tokenizer, template_for(model, "plain"), LOGIT)
        texts = [prefix + prompt for prompt in prompts]
        job = prepare(tokenizer, prompts, texts, ["yes"] * len(texts))
        ids = [row.tolist() for row in job.ids]
        n_tokens = sum(map(len, ids))
        settings = Settings(n_threads=n_threads)
        longest = -(-max(map(len, ids)) // 256) * 256
        plain = Plain(model, max(BATCH, longest), n_threads)
        with open_context(model, job, settings) as context:
            packing = choose_packing(model, context, job, "exact")
            n_distinct = Engine(model, context, job).scorer.n_distinct_tokens

            def ours() -> None:
                engine = Engine(model, context, job, packing=packing["packing"])
                for block in range(engine.scorer.n_blocks):
                    for _ in engine.run_block(block):
                        pass

            def loop() -> None:
                for row in ids:
                    logits = plain.last_logits(row).astype(np.float64)
                    np.logaddexp.reduce(logits)

            flat = [token for row in ids for token in row][:n_distinct]

            def limit() -> None:
                for start in range(0, n_distinct, BATCH):
                    plain.last_logits(flat[start : start + BATCH])

            contenders: dict[str, Callable[[], None]] = {
                "misfired": ours,
                "loop": loop,
                "limit": limit,
            }
            times: dict[str, list[float]] = {name: [] for name in contenders}
            for _ in range(repeats):
                for name, work in contenders.items():
                    times[name].append(time_of(work))
        plain.close()
    best = {name: min(values) for name, values in times.items()}
    return {
        "n_prompts": len(prompts),
        "n_tokens": n_tokens,
        "n_distinct_tokens": n_distinct,
        "packing": packing,
        "seconds": best,
        "all_seconds": times,
        "ratios": {name: seconds / best["misfired"] for name, seconds in best.items()},
    }


def high_level(
    path: Path, prompts: list[str], n_threads: int, n_completion: int
) -> dict[str, float]:
    """Seconds a prompt of the two ways through llama-cpp-python's high-level API."""
    with captured_errors():
        llm = llama_cpp.Llama(
            str(path),
            n_ctx=1024,
            n_threads=n_threads,
            n_threads_batch=n_threads,
            logits_all=True,
            verbose=False,
        )
    asked = [f"{LOGIT.user_message(prompt)}\n\nAnswer:" for prompt in prompts]

    def completion() -> None:
        for text in asked[:n_completion]:
            llm.create_completion(text, max_tokens=1, logprobs=10, temperature=0.0)

    def echo() -> None:
        for text in asked[:N_ECHO]:
            for answer in (" yes", " no"):
                llm.create_completion(
                    text + answer, max_tokens=1, logprobs=10, echo=True, temperature=0.0
                )

    seconds = {"completion": time_of(completion) / n_completion, "echo": time_of(echo) / N_ECHO}
    llm.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--bbq", type=Path, required=True)
    parser.add_argument("--vocab", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("bench-50m.gguf"))
    parser.add_argument("--quantisation", default="f32")
    parser.add_argument("--n-prompts", type=int, default=400)
    parser.add_argument("--n-threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-high-level", action="store_true")
    options = parser.parse_args()
    if not options.model.exists():
        shape = {"n_embd": 512, "n_layer": 8, "n_head": 8, "n_ff": 1536, "tied": True}
        make_model(
            options.model, "llama", vocab=options.vocab, quantisation=options.quantisation, **shape
        )
    prompts = prompts_of(options.bbq, options.n_prompts)
    shots = (" ".join(prompts[::40]) + "\n\n") * 4
    with Model(options.model) as model:
        while len(model.tokenizer.encode(shots, parse_special=False)) > 600:
            shots = shots[: int(len(shots) * 0.98)]
    same = {"n_threads": options.n_threads, "repeats": options.repeats}
    result = {"plain": bench(options.model, prompts, prefix="", **same)}
    result["prefix of 600 tokens"] = bench(options.model, prompts[:100], prefix=shots, **same)
    if not options.no_high_level:
        ours = result["plain"]["seconds"]["misfired"] / len(prompts)
        a_prompt = high_level(options.model, prompts, options.n_threads, min(60, len(prompts)))
        result["high level"] = {
            "seconds a prompt": a_prompt,
            "ratios": {name: seconds / ours for name, seconds in a_prompt.items()},
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
