"""Greedy texts for real prompts against llama-cpp-python's own ways and a raw batched loop.

    python benches/bench_generate.py --bbq BBQ --vocab ggml-vocab-gpt-2.gguf
    python benches/bench_generate.py ... --size 500m --quantisation q4_K --n-prompts 16

All contenders use the same random llama, prompts, threads and budget; the first ones take turns in one
process, and the least time of each counts.

    exact        all prompts through `misfired`'s engine, tokenised already
    fast         the same in mode fast
    batched      llama.cpp's own batched throughput: groups of 8, 16 or 32 prompts (the best counts), read
                 in full batches, then a token of each text a batch, the largest logit by numpy
    completion   llama-cpp-python's create_completion, a call a prompt; a few are timed
    server       the same asked of llama-cpp-python's server on loopback, by 1, 4 or 16 clients
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

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
from misfired.scoring.protocol import GENERATE

GROUPS = (8, 16, 32)
N_BATCH = 512


def batched(raw: Raw, prompts: Sequence[Sequence[int]], n_group: int, n_generate: int) -> None:
    for start in range(0, len(prompts), n_group):
        group = prompts[start : start + n_group]
        raw.clear()
        tokens = [
            (token, at, sequence, at == len(ids) - 1)
            for sequence, ids in enumerate(group)
            for at, token in enumerate(ids)
        ]
        chosen: dict[int, int] = {}
        for first in range(0, len(tokens), raw.n_batch):
            batch = tokens[first : first + raw.n_batch]
            raw.decode(batch)
            for place, (_, _, sequence, is_read) in enumerate(batch):
                if is_read:
                    chosen[sequence] = int(raw.logits(place).argmax())
        for step in range(n_generate - 1):
            raw.decode([(chosen[s], len(ids) + step, s, True) for s, ids in enumerate(group)])
            chosen = {s: int(raw.logits(s).argmax()) for s in range(len(group))}


def bench(path: Path, prompts: list[str], *, n_generate: int, n_threads: int, repeats: int) -> dict:
    protocol = replace(GENERATE, n_generate=n_generate)
    with ExitStack() as stack:
        model = stack.enter_context(Model(path))
        job = job_of(model, protocol, prompts)
        rows = [prompt.ids.tolist() for prompt in job.prompts.values()]
        exact, packing = stack.enter_context(misfired_ready(model, job, "exact", n_threads))
        fast, _ = stack.enter_context(misfired_ready(model, job, "fast", n_threads))
        rewritten = exact()
        n_stream = -(-(max(map(len, rows)) + n_generate) // 256) * 256
        contenders: dict[str, Callable[[], object]] = {"exact": exact, "fast": fast}
        for n_group in GROUPS:
            if n_group > len(prompts):
                continue
            raw = Raw(
                model,
                n_ctx=n_stream * n_group,
                n_batch=N_BATCH,
                n_seq=n_group,
                n_threads=n_threads,
            )
            stack.callback(raw.close)
            contenders[f"batched {n_group}"] = lambda raw=raw, n_group=n_group: batched(
                raw, rows, n_group, n_generate
            )
        times = least_times(contenders, repeats)
    seconds = times["exact"]["seconds"]
    least = min(times[name]["seconds"] for name in times if name.startswith("batched"))
    return {
        "n_prompts": len(prompts),
        "n_tokens": sum(map(len, rows)),
        "n_generate": n_generate,
        "packing": packing,
        "n_rewritten": rewritten["n_rewritten"],
        "times": times,
        "prompts_a_second": len(prompts) / seconds,
        "new_tokens_a_second": len(prompts) * n_generate / seconds,
        "exact_by_batched": seconds / least,
        "fast_by_batched": times["fast"]["seconds"] / least,
    }


def main() -> None:
    chosen = options(__doc__, n_prompts=96, n_high_level=8, n_generate=32)
    path = model_file(chosen)
    prompts = prompts_of(chosen.bbq, chosen.n_prompts)
    result = bench(
        path,
        prompts,
        n_generate=chosen.n_generate,
        n_threads=chosen.n_threads,
        repeats=chosen.repeats,
    )
    if not chosen.no_high_level:
        texts = [f"{GENERATE.user_message(text)}\n\nAnswer:" for text in prompts]
        some = texts[:: max(1, len(texts) // chosen.n_high_level)]
        asked = {"max_tokens": chosen.n_generate}
        by_clients = served(path, some, chosen.n_threads, **asked)
        alone = completions(path, some, chosen.n_threads, **asked)
        ours = 1 / result["prompts_a_second"]
        result["high_level"] = {
            "n_timed": len(some),
            "seconds_a_prompt": {"completion": alone, "server": min(by_clients.values())},
            "server_by_clients": by_clients,
            "times_faster": {"completion": alone / ours, "server": min(by_clients.values()) / ours},
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
