"""Localisation sweeps against a plain loop, through the same callback, side by side in one run.

    python benches/bench_localise.py [--pairs 50] [--json]

A random llama of 16 layers and 16 heads (about 50M parameters). The loop decodes the whole prompt once
for each intervention, as one would without a plan. Both see the same prompts; the order alternates, the
least time of `--rounds` counts. The loop's cost does not depend on the pair, so that for many pairs it is
measured on a few interventions of each and multiplied.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from misfired._core import ProbeRequest
from misfired.localise import Probe, Prompt
from misfired.localise.cases import Case
from misfired.localise.held import Chunk, chunks
from misfired.localise.probes.heads import heads
from misfired.localise.probes.patch import patch
from misfired.scoring.llama.model import Model
from random_model import make_model

N_LAYER, N_HEAD = 16, 16
N_TOKENS = 80


def make_cases(n: int, n_vocab: int) -> list[Case]:
    rng = np.random.default_rng(0)
    cases = []
    for i in range(n):
        ids = rng.integers(5, n_vocab, N_TOKENS).astype(np.int32)
        other = ids.copy()
        other[[10, 20, 60]] = rng.integers(5, n_vocab, 3)
        prompts = tuple(Prompt(one, (5, 6), (7, 8), "yes", range(60, 61)) for one in (ids, other))
        cases.append(Case(f"p{i}", "A", f"s{i}", "failure", prompts, None))
    return cases


def layer_sweep(probe: Probe, cases: list[Case]) -> None:
    for chunk in chunks(probe, cases):
        patch(chunk, sites=["residual"], targets=["last"], directions=["denoising"])


def head_sweep(probe: Probe, cases: list[Case]) -> None:
    """Each head zeroed at the last token of the stereotyped and of the contrast prompt."""
    for chunk in chunks(probe, cases):
        heads(chunk, methods=["zero"])


def loop(
    probe: Probe, prompt: Prompt, site: str, places: list[tuple[int, slice, np.ndarray]]
) -> None:
    """One full pass for each intervention."""
    for layer, columns, values in places:
        request = ProbeRequest()
        job = request.add(prompt.ids, prompt.wanted)
        last = len(prompt.ids) - 1
        request.write(job, site, layer, last, values, column=columns.start)
        probe.run(request)


def layer_loop(probe: Probe, case: Case, rows: np.ndarray) -> None:
    """The contrast run, then a pass for each layer."""
    request = ProbeRequest()
    job = request.add(case.prompts[1].ids, case.prompts[1].wanted)
    for layer in range(N_LAYER):
        request.read(job, "residual", layer, N_TOKENS - 1)
    probe.run(request)
    width = probe.widths["residual"]
    loop(
        probe,
        case.prompts[0],
        "residual",
        [(layer, slice(0, width), rows[layer]) for layer in range(N_LAYER)],
    )


def head_loop(probe: Probe, case: Case, layers: list[int]) -> None:
    """All heads of some layers, in both prompts."""
    zeros = np.zeros(probe.head_width, np.float32)
    for prompt in case.prompts:
        places = [(layer, probe.head_columns(h), zeros) for layer in layers for h in range(N_HEAD)]
        loop(probe, prompt, "attention", places)


def prefill(probe: Probe, prompt: Prompt) -> None:
    request = ProbeRequest()
    request.add(prompt.ids, prompt.wanted)
    probe.run(request)


def timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(probe: Probe, cases: list[Case], rounds: int) -> dict[str, float]:
    one, n = cases[:1], len(cases)
    rows = Chunk(probe, one).last["residual"][1]
    some = [0, N_LAYER - 1]
    contenders: dict[str, tuple[Callable[[], None], float]] = {
        "prefill of one prompt": (lambda: prefill(probe, one[0].prompts[0]), 1),
        "layer sweep, 1 pair": (lambda: layer_sweep(probe, one), 1),
        "layer loop, 1 pair": (lambda: layer_loop(probe, one[0], rows), 1),
        "head sweep, 1 pair": (lambda: head_sweep(probe, one), 1),
        "head loop, 1 pair": (lambda: head_loop(probe, one[0], some), N_LAYER / len(some)),
        f"layer sweep, {n} pairs": (lambda: layer_sweep(probe, cases), 1),
        f"layer loop, {n} pairs": (lambda: layer_loop(probe, cases[-1], rows), n),
        f"head sweep, {n} pairs": (lambda: head_sweep(probe, cases), 1),
        f"head loop, {n} pairs": (lambda: head_loop(probe, cases[-1], some[:1]), n * N_LAYER),
    }
    best = dict.fromkeys(contenders, float("inf"))
    for number in range(rounds):
        names = list(contenders)[:: 1 if number % 2 == 0 else -1]
        for name in names:
            work, factor = contenders[name]
            best[name] = min(best[name], factor * timed(work))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bench.gguf"
        make_model(
            path, "llama", n_layer=N_LAYER, n_embd=512, n_head=N_HEAD, n_head_kv=N_HEAD, n_ff=1408
        )
        with (
            Model(path) as model,
            Probe(model, longest=N_TOKENS, n_threads=options.threads) as probe,
        ):
            cases = make_cases(options.pairs, model.tokenizer.n_vocab)
            best = measure(probe, cases, options.rounds)
    if options.json:
        print(json.dumps(best))
        return
    for name, seconds in best.items():
        print(f"{name:28} {seconds:10.3f} s")
    bare = best["prefill of one prompt"]
    for sweep in ("layer", "head"):
        for n in ("1 pair", f"{options.pairs} pairs"):
            ours, theirs = best[f"{sweep} sweep, {n}"], best[f"{sweep} loop, {n}"]
            each = ours / (1 if n == "1 pair" else options.pairs)
            print(
                f"{sweep} sweep, {n}: {theirs / ours:.1f} times faster, {each / bare:.1f} prefills a pair"
            )


if __name__ == "__main__":
    main()
