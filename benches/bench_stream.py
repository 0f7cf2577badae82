"""How much memory a run over a very large suite takes, beside the suite itself.

A suite of many long prompts that share their beginning is written to a Parquet file, part by part, and
`misfired run` is started on it with a small random model. Its peak resident memory is compared with the
size of the prompts, and with the peak of a run over a hundredth of them.

    PYTHONPATH=tools python benches/bench_stream.py --vocab ggml-vocab-llama-bpe.gguf --gigabytes 2
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from invented import invented_pairs
from random_model import make_model

#: Characters of each prompt; nearly all are shared and in few tokens, so that decoding does not dominate.
N_CHARACTERS = 8_000
RULE = "=" * 64 + " "


def write_suite(file: Path, n_pairs: int) -> int:
    """Write an invented suite of `n_pairs` without holding it; returns bytes of its prompts."""
    filler = (RULE * N_CHARACTERS)[: N_CHARACTERS - 100]
    suite = pl.LazyFrame({"number": pl.int_range(n_pairs, eager=True)}).select(
        **invented_pairs("stream@1.0.0", pl.col("number"), filler)
    )
    suite.sink_parquet(file, row_group_size=4096)
    return n_pairs * 2 * (N_CHARACTERS - 40)


def peak_of(arguments: list[str]) -> tuple[float, float]:
    """Peak resident gigabytes and seconds of `misfired` with these arguments."""
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603  our own arguments
        [sys.executable, "-m", "misfired", *arguments], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"misfired ended with status {status}")
    return usage.ru_maxrss * 1024 / 1e9, time.perf_counter() - started


def main() -> None:
    """Measure a run over the whole suite and one over a hundredth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0, help="bytes of prompts / 1e9")
    parser.add_argument("--vocab", help="GGUF file whose tokenizer to use", required=True)
    options = parser.parse_args()
    n_pairs = round(options.gigabytes * 1e9 / (2 * N_CHARACTERS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(
            folder / "small.gguf",
            "llama",
            vocab=options.vocab,
            chat_template="{{ messages[0]['content'] }}<|eot_id|>",
            n_layer=1,
            n_embd=32,
            n_head=2,
            n_ff=32,
        )
        for n in (n_pairs // 100, n_pairs):
            n_bytes = write_suite(folder / "suite.parquet", n)
            command = ["run", model, "--suite", folder / "suite.parquet", "-o", folder / f"run{n}"]
            peak, seconds = peak_of(
                [*map(str, command), "--n-resamples", "100", "--n-threads", "1"]
            )
            figures = {"prompts": 2 * n, "prompts_gb": n_bytes / 1e9, "peak_gb": peak}
            print(json.dumps({**figures, "seconds": round(seconds, 1)}), flush=True)


if __name__ == "__main__":
    main()
