"""What the scoring and generation benches share: models, prompts, and the contenders beside `misfired`."""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
from llama_cpp import llama_cpp as capi

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import misfired
from misfired.scoring.llama.engine import Job, engine_for
from misfired.scoring.llama.invariance import choose_packing
from misfired.scoring.llama.library import CACHE_TYPES, FLASH_ATTENTION, captured_errors
from misfired.scoring.llama.model import Context, Model
from misfired.scoring.llama.session import open_context, prepare, template_for
from misfired.scoring.options import MODES, DecodingOptions
from misfired.scoring.protocol import Protocol
from misfired.scoring.tokens import PromptTokenizer
from misfired.suites.organism import build_organism_suite
from plain_llama import open_llama, server_command
from random_model import make_model

#: Llama models with random weights; vocabularies of 50,257 words make 25 and 64 million of them.
SHAPES = {
    "50m": {"n_embd": 512, "n_layer": 8, "n_head": 8, "n_ff": 1536},
    "500m": {"n_embd": 1280, "n_layer": 24, "n_head": 20, "n_ff": 3840},
}
CONCURRENCY = (1, 4, 16)


def options(description: str, **defaults: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--vocab", type=Path, required=True, help="ggml-vocab-gpt-2.gguf")
    add("--bbq", type=Path, help="BBQ's data folder; without it the organism's suite is asked")
    add("--size", choices=[*SHAPES], default="50m")
    add("--quantisation", choices=["f32", "f16", "q8_0", "q4_K"], default="f32")
    add("--folder", type=Path, default=Path(), help="where the models are kept")
    add("--no-high-level", action="store_true", help="leave llama-cpp-python's own ways out")
    for name, value in {"n-threads": 2, "repeats": 3, **defaults}.items():
        add(f"--{name.replace('_', '-')}", type=int, default=value)
    return parser.parse_args()


def model_file(chosen: argparse.Namespace) -> Path:
    path = chosen.folder / f"bench-{chosen.size}-{chosen.quantisation}.gguf"
    if not path.exists():
        shape = SHAPES[chosen.size]
        kind = chosen.quantisation
        make_model(path, "llama", vocab=chosen.vocab, quantisation=kind, tied=True, **shape)
    return path


def prompts_of(bbq: Path | None, n: int) -> list[str]:
    pairs = build_organism_suite() if bbq is None else misfired.build_pairs(bbq)
    chosen = pairs[[place * len(pairs) // (n // 2) for place in range(n // 2)]]
    return [text for row in chosen.to_dicts() for text in (row["stereotyped"], row["contrast"])]


def job_of(model: Model, protocol: Protocol, prompts: Sequence[str]) -> Job:
    tokenizer = PromptTokenizer(model.tokenizer, template_for(model, "plain"), protocol)
    return prepare(tokenizer, prompt_rows(prompts))


def prompt_rows(prompts: Sequence[str]) -> pl.DataFrame:
    """Rows as `misfired.build_prompts` gives them, without the columns that scoring does not read."""
    return pl.DataFrame({"id": prompts, "text": prompts}).with_columns(
        priming=pl.lit("none"),
        condition=pl.lit("stereotyped"),
        expected=pl.lit("yes"),
        system=pl.lit(None, pl.String),
    )


@contextlib.contextmanager
def misfired_ready(
    model: Model, job: Job, mode: str, n_threads: int
) -> Iterator[tuple[Callable[[], dict[str, int]], dict[str, object]]]:
    """Everything before the first token is done, the choice of packing too."""
    settings = DecodingOptions(mode=mode, n_threads=n_threads)
    with open_context(model, job, settings) as context:
        packing = choose_packing(context, job, settings).facts
        yield lambda: _answer_all(context, job, packing), packing


def _answer_all(context: Context, job: Job, packing: dict[str, object]) -> dict[str, int]:
    noise = packing["differences"].get("packed", 0.0)
    engine = engine_for(context, job, packing=packing["packing"], noise=noise)
    n_answers = sum(
        len(batch) for block in range(engine.scorer.n_blocks) for batch in engine.run_block(block)
    )
    assert n_answers == len(job.prompts)
    return {
        "n_distinct_tokens": engine.scorer.n_distinct_tokens,
        "n_rewritten": getattr(engine, "n_rewritten", 0),
    }


class Raw:
    """llama.cpp's C API and nothing else."""

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int,
        n_batch: int,
        n_threads: int,
        n_seq: int = 1,
        mode: str = "fast",
    ) -> None:
        """With the K/V cache and attention of a mode; those of `fast` are llama.cpp's defaults."""
        params = capi.llama_context_default_params()
        cache = MODES[mode]
        params.type_k, params.type_v = CACHE_TYPES[cache.type_k], CACHE_TYPES[cache.type_v]
        params.flash_attn_type = FLASH_ATTENTION[cache.flash_attention]
        params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, n_batch, n_batch
        params.n_seq_max = n_seq
        params.n_threads = params.n_threads_batch = n_threads
        self.context = capi.llama_init_from_model(model.pointer, params)
        self.batch = capi.llama_batch_init(n_batch, 0, 1)
        self.n_batch, self.n_vocab = n_batch, model.tokenizer.n_vocab

    def clear(self) -> None:
        capi.llama_memory_clear(capi.llama_get_memory(self.context), False)

    def decode(self, tokens: Sequence[tuple[int, int, int, bool]]) -> None:
        """Tokens as (id, position, sequence, whether its logits are read)."""
        batch = self.batch
        batch.n_tokens = len(tokens)
        for place, (token, position, sequence, is_read) in enumerate(tokens):
            batch.token[place], batch.pos[place] = token, position
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
            batch.logits[place] = is_read
        assert capi.llama_decode(self.context, batch) == 0

    def logits(self, place: int) -> np.ndarray:
        row = capi.llama_get_logits_ith(self.context, place)
        return np.ctypeslib.as_array(row, (self.n_vocab,))

    def close(self) -> None:
        capi.llama_batch_free(self.batch)
        capi.llama_free(self.context)


def least_times(
    contenders: dict[str, Callable[[], object]], repeats: int
) -> dict[str, dict[str, object]]:
    """Least and all seconds of each contender, which take turns."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, work in contenders.items():
            start = time.perf_counter()
            work()
            times[name].append(round(time.perf_counter() - start, 3))
    return {name: {"seconds": min(values), "all": values} for name, values in times.items()}


def completions(
    path: Path, texts: Sequence[str], n_threads: int, *, n_ctx: int = 1024, **asked: object
) -> float:
    """Seconds a prompt of llama-cpp-python's `create_completion`, one call after the other."""
    captured_errors()
    llm = open_llama(
        path,
        n_ctx=n_ctx,
        n_threads=n_threads,
        n_threads_batch=n_threads,
        logits_all="logprobs" in asked,
    )
    start = time.perf_counter()
    for text in texts:
        llm.create_completion(text, temperature=0.0, **asked)
    seconds = (time.perf_counter() - start) / len(texts)
    llm.close()
    return seconds


def served(
    path: Path, texts: Sequence[str], n_threads: int, *, n_ctx: int = 1024, **asked: object
) -> dict[int, float]:
    """Seconds a prompt of llama-cpp-python's server on loopback, by the number of clients."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    threads = f"--n_threads {n_threads} --n_threads_batch {n_threads}"
    more = f"--n_ctx {n_ctx} --verbose false --logits_all {'logprobs' in asked}"
    command = server_command(path, port, *threads.split(), *more.split())

    def ask(text: str) -> None:
        body = json.dumps({"prompt": text, "temperature": 0.0, **asked}).encode()
        request = urllib.request.Request(  # noqa: S310  loopback
            f"{url}/completions", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as reply:  # noqa: S310
            assert json.load(reply)["choices"]

    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            _wait_for(server, f"{url}/models")
            ask(texts[0])
            seconds = {}
            for n_clients in CONCURRENCY:
                start = time.perf_counter()
                with ThreadPoolExecutor(n_clients) as clients:
                    list(clients.map(ask, texts))
                seconds[n_clients] = (time.perf_counter() - start) / len(texts)
        finally:
            server.terminate()
    return seconds


def _wait_for(server: subprocess.Popen[bytes], url: str) -> None:
    for _ in range(300):
        if server.poll() is not None:
            raise SystemExit(
                f"llama-cpp-python's server ended at once (pip install 'llama-cpp-python[server]'?): {url}"
            )
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):  # noqa: S310
            return
        time.sleep(0.2)
    raise TimeoutError(f"{url} does not answer")
