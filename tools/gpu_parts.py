"""What `gpu_check.py` checks, part by part: its models, and a line of the report for each claim."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path[:0] = [str(Path(__file__).parents[1] / "benches"), str(Path(__file__).parent)]

#: Parts beside organisms and texts, those that say most first.
PARTS = (
    ("exact", "f16"),
    ("exact", "q4_K"),
    ("speed", "q4_K"),
    ("speed", "f16"),
    ("exact", "f32"),
    ("exact", "q8_0"),
)
#: Shapes of real models: a small llama, and one of 1.24 billion parameters.
SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"n_embd": 256, "n_layer": 2, "n_head": 4, "n_head_kv": 2, "n_ff": 512},
    "50m": {"n_embd": 512, "n_layer": 8, "n_head": 8, "n_head_kv": 4, "n_ff": 1536},
    "1b": {"n_embd": 2048, "n_layer": 16, "n_head": 32, "n_head_kv": 8, "n_ff": 8192},
}
N_VOCAB = {"tiny": 2000, "50m": 50_257, "1b": 128_256}
#: Most that a mode may take, in times of the limit.
ALLOWED = {"fast": 1.25, "stable": 1.5, "exact": 3.5}
#: Batches of the limit: streams and tokens of each.
BATCHES = ((16, 64), (16, 96), (32, 64))


class Report:
    """Lines of (check, found, allowed, whether it holds), written as they come."""

    def __init__(self, file: Path) -> None:
        self.file, self.started, self.error = file, time.perf_counter(), ""
        self.lines: list[tuple[str, str, str, bool | None]] = []

    def at_most(self, what: str, found: float, allowed: float) -> None:
        """Add a check that holds if a number is not above another."""
        self.add(what, f"{found:.3g}", f"at most {allowed:g}", found <= allowed)

    def told(self, what: str, found: object) -> None:
        """Add a line that checks nothing."""
        self.add(what, str(found), "", None)

    def add(self, what: str, found: str, allowed: str, holds: bool | None) -> None:
        """Add a line, and write all."""
        print(f"{what}: {found} {allowed}", flush=True)
        self.lines.append((what, found, allowed, holds))
        self.write()

    def write(self) -> None:
        """Write what is known as JSON."""
        seconds = time.perf_counter() - self.started
        known = {"seconds": seconds, "error": self.error, "lines": self.lines}
        self.file.write_text(json.dumps(known), encoding="utf-8")


# --- models ---------------------------------------------------------------------------------------


def make(folder: Path, name: str, kind: str) -> Path:
    """Write a random llama, unless it is there, or another process is at it."""
    from filelock import FileLock  # noqa: PLC0415

    path = folder / f"{name}-{kind}.gguf"
    with FileLock(path.with_suffix(".lock")):
        return path if path.exists() else made(folder, path, name, kind)


def made(folder: Path, path: Path, name: str, kind: str) -> Path:
    """Write a random llama."""
    import random_model  # noqa: PLC0415  only the part that makes models needs gguf

    if kind in {"q8_0", "q4_K"}:
        return quantised(make(folder, name, "f16"), path, kind)
    block = np.random.default_rng(0).standard_normal(1 << 24, dtype=np.float32)

    def values(tensor: random_model.Tensor, _seed: int) -> np.ndarray:
        # Stretches of one block of numbers, ten times faster than drawing each.
        start = zlib.crc32(tensor.name.encode()) % (len(block) // 2)
        drawn = np.resize(block[start:], int(np.prod(tensor.shape))).reshape(tensor.shape)
        drawn *= np.float32(tensor.deviation)
        drawn += np.float32(tensor.mean)
        return drawn

    random_model.Tensor.values = values  # type: ignore[method-assign]
    shape: dict[str, Any] = {**SHAPES[name], "n_vocab": N_VOCAB[name]}
    return random_model.make_model(path, "llama", quantisation=kind, tied=True, **shape)


def _silence() -> Any:
    import llama_cpp  # noqa: PLC0415

    return llama_cpp.llama_log_callback(lambda *_: None)


def quantised(source: Path, path: Path, kind: str) -> Path:
    """Have llama.cpp quantise a model, with all cores."""
    import llama_cpp  # noqa: PLC0415

    from random_model import FILE_TYPES  # noqa: PLC0415

    log = _silence()
    llama_cpp.llama_log_set(log, None)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = int(FILE_TYPES[kind]), os.cpu_count() or 1
    unfinished = path.with_suffix(f".{os.getpid()}")
    if llama_cpp.llama_model_quantize(bytes(source), bytes(unfinished), params):
        raise RuntimeError(f"{path}: llama.cpp could not quantise it")
    return unfinished.replace(path)


# --- parts ----------------------------------------------------------------------------------------


def scored(session: Any, job: Any, mode: str, seed: int = 0) -> tuple[dict, float, Any]:
    """Return answers, the least seconds of two rounds, and the engines' scorer."""
    from misfired.scoring.llama.invariance import choose_packing  # noqa: PLC0415
    from misfired.scoring.llama.lanes import open_engines, run_blocks  # noqa: PLC0415
    from misfired.scoring.llama.session import open_context  # noqa: PLC0415
    from misfired.scoring.options import DecodingOptions  # noqa: PLC0415

    options = DecodingOptions(mode=mode)
    times = []

    def another() -> Any:
        return open_context(session.model, job, options)

    with another() as context:
        trial = choose_packing(context, job, options)
        for _ in range(2):
            with open_engines(context, another, job, trial.packing, seed=seed) as engines:
                started = time.perf_counter()
                blocks = range(engines[0].scorer.n_blocks)
                rows = dict(itertools.chain.from_iterable(run_blocks(engines, blocks)))
                times.append(time.perf_counter() - started)
        assert sorted(rows) == sorted(job.prompts)
        return rows, min(times), (engines[0].scorer, trial.packing, context.n_batch)


def apart(left: dict, right: dict) -> tuple[float, int]:
    """Return the largest difference of a log-probability, and how many answers differ."""
    columns = ("logp_yes", "logp_no", "logit_diff", "top_logp")
    largest = max(abs(left[row][name] - right[row][name]) for row in right for name in columns)
    return largest, sum(left[row]["answer"] != right[row]["answer"] for row in right)


def opened(path: Path, device: str, n: int, **options: Any) -> tuple[Any, Any]:
    """Return a model set up to be asked, and a job of `n` prompts of the organism's suite."""
    from misfired.scoring.llama.session import Session  # noqa: PLC0415
    from misfired.scoring.options import ScoringOptions  # noqa: PLC0415
    from misfired.suites.organism import build_organism_suite  # noqa: PLC0415

    session = Session(path, ScoringOptions(device=device, template="plain", **options))
    suite = build_organism_suite().head(-(-n // 2)).to_dicts()
    sides = ("stereotyped", "contrast")
    texts = [f"{row['cue'] or ''} {row[side]}".strip() for row in suite for side in sides][:n]
    ask = {"id": texts, "text": texts, "priming": "none", "condition": "stereotyped"}
    rows = pl.DataFrame(
        {**ask, "expected": "yes", "system": pl.Series([None] * n, dtype=pl.String)}
    )
    return session, session.prepare(rows)


def check_exact(report: Report, path: Path, device: str, n: int) -> None:
    """A prompt in a run of mode exact scores as it does alone; how far the other modes are off."""
    from misfired.scoring.llama.engine import alone  # noqa: PLC0415
    from misfired.scoring.llama.invariance import TOLERANCE  # noqa: PLC0415
    from misfired.scoring.llama.session import open_context  # noqa: PLC0415
    from misfired.scoring.options import DecodingOptions  # noqa: PLC0415

    session, job = opened(path, device, n)
    with session:
        exact, _, (_, packing, _) = scored(session, job, "exact")
        some = job.only(list(job.prompts)[:: max(1, n // 60)])
        with open_context(session.model, some, DecodingOptions()) as context:
            single = dict(zip(some.prompts, alone(context, some), strict=True))
        report.at_most(
            f"{path.stem}: exact ({packing}) against {len(single)} alone",
            apart(exact, single)[0],
            TOLERANCE,
        )
        for mode in ("stable", "fast"):
            first, *_ = scored(session, job, mode)
            again, *_ = scored(session, job, mode)
            largest, flips = apart(first, exact)
            report.told(f"{path.stem}: {mode} against exact", f"{largest:.2g}, {flips} of {n} flip")
            if mode == "stable":
                report.at_most(f"{path.stem}: stable twice", apart(first, again)[0], 0.0)
                other, *_ = scored(session, job, mode, seed=1)
                report.told(f"{path.stem}: stable, other seed", f"{apart(first, other)[0]:.2g}")


def limits(session: Any, tokens: list[int]) -> dict[str, float]:
    """Return tokens a second in full batches through the C API, the best shape for each cache."""
    from contenders import Raw  # noqa: PLC0415

    best: dict[str, float] = {}
    for mode in ("fast", "exact"):
        for n_streams, each in BATCHES:
            n = n_streams * each
            raw = Raw(session.model, n_ctx=n, n_batch=n, n_threads=4, n_seq=n_streams, mode=mode)
            batch = [
                (tokens[(stream * each + place) % len(tokens)], place, stream, place == each - 1)
                for stream in range(n_streams)
                for place in range(each)
            ]
            times = []
            for _ in range(4):
                started = time.perf_counter()
                raw.clear()
                raw.decode(batch)
                raw.logits(n - 1)
                times.append(time.perf_counter() - started)
            raw.close()
            best[mode] = max(best.get(mode, 0.0), n / min(times[1:]))
    return best


def check_speed(report: Report, path: Path, device: str, n: int) -> None:
    """Each mode against the limit: as many tokens as all distinct prefixes have, in full batches."""
    session, job = opened(path, device, n)
    with session:
        ids = [token for prompt in job.prompts.values() for token in prompt.ids.tolist()]
        limit = limits(session, ids)
        answers = {}
        for mode in ("fast", "stable", "exact"):
            answers[mode], seconds, (scorer, packing, n_batch) = scored(session, job, mode)
            if mode == "fast":
                n_distinct = scorer.n_distinct_tokens
                report.told(f"{path.stem}: tokens, distinct", f"{len(ids)}, {n_distinct}")
                for cache, rate in limit.items():
                    report.told(f"{path.stem}: limit, cache of {cache}", f"{rate:,.0f} tokens/s")
            what = f"{path.stem}: {mode} ({packing}, batch {n_batch}) in {seconds:.2f} s, by limit"
            report.at_most(what, seconds * limit["fast"] / n_distinct, ALLOWED[mode])
        for mode in ("fast", "stable"):
            largest, flips = apart(answers[mode], answers["exact"])
            report.told(f"{path.stem}: {mode} against exact", f"{largest:.2g}, {flips} of {n} flip")


def check_texts(report: Report, path: Path, device: str, n: int) -> None:
    """Texts of 32 tokens: how many tokens a second in both modes, and how many were written again alone."""
    from misfired.scoring.llama.engine import TextEngine, answer_all  # noqa: PLC0415
    from misfired.scoring.llama.invariance import choose_packing  # noqa: PLC0415
    from misfired.scoring.llama.session import open_context  # noqa: PLC0415
    from misfired.scoring.options import DecodingOptions  # noqa: PLC0415

    session, job = opened(path, device, n, protocol="generate")
    # No text of random weights decides, so that each would be written on to the end.
    job = replace(job, protocol=job.protocol.with_budget(32))
    with session:
        for mode in ("fast", "exact"):
            options = DecodingOptions(mode=mode)
            with open_context(session.model, job, options) as context:
                trial = choose_packing(context, job, options)
                started = time.perf_counter()
                texts = TextEngine(context, job, packing=trial.packing, noise=trial.noise)
                rows = answer_all(texts)
                seconds = time.perf_counter() - started
            n_new = sum(row["n_generated"] for row in rows.values())
            found = f"{n_new / seconds:,.0f} new tokens/s, {texts.n_rewritten} of {n} written again"
            report.told(f"{path.stem}: texts in {mode}, {context.n_sequences - 1} at once", found)


def check_organisms(report: Report, folder: Path, device: str) -> None:
    """MAR is within one answer of the CPU's, and the planted head comes first."""
    from misfired.localise import localise  # noqa: PLC0415
    from misfired.runs.pipeline import run  # noqa: PLC0415
    from misfired.suites.organism import build_organism_suite, card, models  # noqa: PLC0415

    model, suite = models()["instruct"], build_organism_suite()
    asked = suite.filter(pl.col("expected_stereotyped") == "yes")
    n_threads = min(8, os.cpu_count() or 1)
    rates = {}
    for each in (device, "cpu"):
        started, out = time.perf_counter(), folder / f"organism-{each}"
        options = {"protocol": "logit-bare", "n_resamples": 10, "n_threads": n_threads}
        found = run(model, asked, out=out, priming=["cue"], device=each, **options)
        report.told(f"organisms: run on {each}", f"{time.perf_counter() - started:.1f} s")
        both = found.outcomes.filter(pl.col("contrast"))
        rates[each] = {
            name: int((~part["stereotyped"]).sum())
            for (name,), part in both.group_by("priming", maintain_order=True)
        }
    for name, n_failed in rates[device].items():
        what = f"organisms: failures under {name} ({n_failed}), apart from the CPU's"
        report.at_most(what, abs(n_failed - rates["cpu"][name]), 1)
    started = time.perf_counter()
    heads = localise(
        model,
        folder / f"organism-{device}",
        probes=["heads"],
        methods=["resample"],
        n_pairs=24,
        n_resamples=100,
        n_random=1,
        device=device,
    ).tables["head_map"]
    report.told("organisms: localise", f"{time.perf_counter() - started:.1f} s")
    first, planted = heads.sort("rank").row(0, named=True), card()["organisms"]["instruct"]
    place = {name: first[name] for name in ("layer", "head")}
    holds = place == planted["planted_head"]
    report.add(f"organisms: first head {place}", str(holds), "the planted one", holds)


def parts(
    small: str, large: str, n: int
) -> Iterator[tuple[str, Callable[[Report, Path, str], None]]]:
    """Name each part, and what runs it on a report, the folder of the models and a device."""
    for what, kind in PARTS:
        check, name, n_asked = (
            (check_speed, large, n) if what == "speed" else (check_exact, small, n // 6)
        )
        yield (
            f"{what}-{kind}",
            lambda report, folder, device, check=check, name=name, kind=kind, n_asked=n_asked: (
                check(report, make(folder, name, kind), device, n_asked)
            ),
        )
    yield "organisms", check_organisms
    yield (
        "texts",
        lambda report, folder, device: check_texts(
            report, make(folder, large, "q4_K"), device, n // 6
        ),
    )
