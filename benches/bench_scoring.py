"""Scoring real prompts against what a user would pick instead, and against the physical limit.

    python benches/bench_scoring.py --bbq BBQ --vocab ggml-vocab-gpt-2.gguf
    python benches/bench_scoring.py ... --size 500m --quantisation q4_K --n-prompts 24

All contenders use the same random llama, prompts and threads; the first six take turns in one process,
and the least time of each counts.

    exact        all prompts through `misfired`'s engine, tokenised already
    fast         the same in mode fast
    limit        as many tokens as the prompts' distinct prefixes have, and as many rows of logits as
                 there are prompts, decoded in full batches of 64, 128, 256 or 512 (the best counts; 64 is
                 about what a prompt alone in its batch has) with the K/V cache and the attention of
                 `exact`
    flash        the same with those of `fast`, which are llama.cpp's defaults
    loop         a careful loop through the C API: one prompt a call, logits of its last token only
    completion   llama-cpp-python's create_completion(logprobs=10), a call a prompt; a few are timed
    server       the same asked of llama-cpp-python's server on loopback, by 1, 4 or 16 clients
    echo         echo=True for each prompt and answer, as common harnesses do; timed on four
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from contenders import (
    Raw,
    completions,
    job_of,
    least_times,
    misfired_ready,
    model_file,
    options,
    prompts_of,
    served,
)
from misfired.scoring.llama.model import Model
from misfired.scoring.protocol import LOGIT

BATCHES = {"exact": (64, 128, 256, 512), "fast": (256, 512)}
NAMES = {"exact": "limit", "fast": "flash"}
N_ECHO = 4


def limit(raw: Raw, tokens: Sequence[int], n_outputs: int) -> Callable[[], None]:
    """Decode the tokens in full batches, each from an empty cache; read rows spread evenly."""
    n_batch = raw.n_batch
    read = set(np.linspace(0, len(tokens) - 1, n_outputs).astype(int).tolist())

    def work() -> None:
        for start in range(0, len(tokens), n_batch):
            raw.clear()
            ids = tokens[start : start + n_batch]
            raw.decode([(token, at, 0, start + at in read) for at, token in enumerate(ids)])

    return work


def loop(raw: Raw, prompts: Sequence[Sequence[int]]) -> Callable[[], None]:
    def work() -> None:
        for ids in prompts:
            raw.clear()
            for start in range(0, len(ids), raw.n_batch):
                chunk = ids[start : start + raw.n_batch]
                last = len(ids) - 1 - start
                raw.decode([(token, start + at, 0, at == last) for at, token in enumerate(chunk)])
            np.logaddexp.reduce(raw.logits(len(chunk) - 1).astype(np.float64))

    return work


def bench(path: Path, prompts: list[str], *, n_threads: int, repeats: int) -> dict:
    with ExitStack() as stack:
        model = stack.enter_context(Model(path))
        job = job_of(model, LOGIT, prompts)
        rows = [prompt.ids.tolist() for prompt in job.prompts.values()]
        exact, packing = stack.enter_context(misfired_ready(model, job, "exact", n_threads))
        fast, _ = stack.enter_context(misfired_ready(model, job, "fast", n_threads))
        n_distinct = exact()["n_distinct_tokens"]
        longest = -(-max(map(len, rows)) // 256) * 256
        flat = [token for row in rows for token in row][:n_distinct]
        contenders: dict[str, Callable[[], object]] = {"exact": exact, "fast": fast}
        for mode, batches in BATCHES.items():
            for n in batches:
                raw = Raw(model, n_ctx=n, n_batch=n, n_threads=n_threads, mode=mode)
                stack.callback(raw.close)
                contenders[f"{NAMES[mode]} {n}"] = limit(raw, flat, len(rows))
        alone = Raw(model, n_ctx=longest, n_batch=512, n_threads=n_threads)
        stack.callback(alone.close)
        contenders["loop"] = loop(alone, rows)
        times = least_times(contenders, repeats)
    seconds = times["exact"]["seconds"]

    def least(name: str) -> float:
        return min(found["seconds"] for key, found in times.items() if key.startswith(name))

    return {
        "n_prompts": len(prompts),
        "n_tokens": sum(map(len, rows)),
        "n_distinct_tokens": n_distinct,
        "packing": packing,
        "times": times,
        "prompts_a_second": len(prompts) / seconds,
        "tokens_a_second": sum(map(len, rows)) / seconds,
        "exact_by_limit": seconds / least("limit"),
        "exact_by_flash": seconds / least("flash"),
        "fast_by_flash": least("fast") / least("flash"),
        "fast_by_exact": times["fast"]["seconds"] / seconds,
        "times_faster_than_loop": times["loop"]["seconds"] / seconds,
    }


def high_level(path: Path, texts: list[str], n_threads: int, ours: float) -> dict[str, object]:
    """How many times the seconds a prompt of `ours` the ways of llama-cpp-python take."""
    asked = {"max_tokens": 1, "logprobs": 10}
    by_clients = served(path, texts, n_threads, **asked)
    seconds = {
        "completion": completions(path, texts, n_threads, **asked),
        "server": min(by_clients.values()),
        "echo": 2
        * completions(
            path, [f"{text} yes" for text in texts[:N_ECHO]], n_threads, echo=True, **asked
        ),
    }
    return {
        "n_timed": len(texts),
        "seconds_a_prompt": seconds,
        "server_by_clients": by_clients,
        "times_faster": {name: value / ours for name, value in seconds.items()},
    }


def main() -> None:
    chosen = options(__doc__, n_prompts=400, n_high_level=40, n_prefix=0)
    path = model_file(chosen)
    prompts = prompts_of(chosen.bbq, chosen.n_prompts)
    if chosen.n_prefix:
        shots = (" ".join(prompts) + "\n\n") * (1 + chosen.n_prefix // 1000)
        with Model(path) as model:
            while len(model.tokenizer.encode(shots, parse_special=False)) > chosen.n_prefix:
                shots = shots[: int(len(shots) * 0.98)]
        prompts = [shots + prompt for prompt in prompts]
    result = bench(path, prompts, n_threads=chosen.n_threads, repeats=chosen.repeats)
    if not chosen.no_high_level:
        texts = [f"{LOGIT.user_message(text)}\n\nAnswer:" for text in prompts]
        some = texts[:: max(1, len(texts) // chosen.n_high_level)]
        ours = 1 / result["prompts_a_second"]
        result["high_level"] = high_level(path, some, chosen.n_threads, ours)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
