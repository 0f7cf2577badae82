"""What is installed, whether it works here, and what to change."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from misfired._core import Scorer
from misfired.errors import MisfiredError, TemplateError
from misfired.options import takes_options
from misfired.scoring.backend import Finding
from misfired.scoring.environment import GRAPHS, SPINNING, default_threads
from misfired.scoring.forms import AnswerTokens, Form
from misfired.scoring.llama.device import (
    Device,
    driver_version,
    found_devices,
    ggml_version,
    gpus,
    placed,
)
from misfired.scoring.llama.engine import Job, Packing, TokenisedPrompt, ragged, step
from misfired.scoring.llama.gguf import short
from misfired.scoring.llama.guard import begin
from misfired.scoring.llama.invariance import TOLERANCE, choose_packing
from misfired.scoring.llama.library import has_amx, load_library, versions
from misfired.scoring.llama.markers import complaint, describe, find_markers
from misfired.scoring.llama.memory import SPARE, free, needed
from misfired.scoring.llama.model import N_SEQUENCES, Context, Model
from misfired.scoring.llama.session import Session, batch_size, open_context
from misfired.scoring.model_file import find_model
from misfired.scoring.options import MODES, DecodingOptions, ScoringOptions

#: Seconds of decoding, not counting the last batch: as a rule, and if thorough.
SECONDS, THOROUGH_SECONDS = 1.0, 5.0
#: Tokens of a prompt, as those built from BBQ have with a chat template; those of the made-up prompts.
N_PROMPT = 136
#: Tokens of a batch where the time is short.
N_BATCH = 68
#: Prompts of the benchmark in its paper variant: a pair has one of each condition, and one with the cue.
N_BENCHMARK = 6084
#: Prompts of the run whose trial is measured if thorough: four of them are tried.
N_THOROUGH = 150
#: Vector instructions whose absence costs most on x86.
_WANTED_FEATURES = ("AVX2", "FMA", "F16C")
#: What ggml calls instructions and libraries that it computes with on a CPU.
_FEATURES = (
    "SSE",
    "AVX",
    "AMX",
    "FMA",
    "F16C",
    "BMI",
    "NEON",
    "ARM",
    "SVE",
    "DOTPROD",
    "MATMUL",
    "SME",
)

_PACKINGS = {
    "packed": "prompts share batches, at no cost",
    "stable": "prompts share batches of fixed shape",
    "solo": "each prompt gets batches of its own, and shares its beginning: up to a tenth slower",
    "fresh": "each prompt is decoded from its beginning: slower by all that prompts share",
}


def _found(name: str, value: str, advice: str = "") -> Finding:
    """Return a note if there is something to change."""
    return Finding(name, value, "note" if advice else "ok", advice)


@takes_options(ScoringOptions)
def examine(
    model: Path | str | None = None, *, thorough: bool = False, **keywords: Any
) -> Iterator[Finding]:
    """Look at the installation, and at a model if one is given; yield each finding as it is known.

    Args:
        model: A GGUF file to load and time.
        thorough: Also measure what neighbours change, look at the template's markers, and time longer.
        keywords: Devices, K/V cache, mode and threads, as `misfired.score` takes and checks them.
    """
    options = ScoringOptions.of(keywords)
    if model is not None:
        begin(model)
    is_broken = False
    for finding in (*_library(), *_hardware(), *_threads(options.n_threads)):
        is_broken |= finding.status == "problem"
        yield finding
    if model is None:
        return
    if is_broken:
        yield Finding("model", "not tried, because of the problem above", "note")
        return
    try:
        yield from _model(find_model(model), options, thorough=thorough)
    except MisfiredError as error:
        yield Finding("model", str(error), "problem")


def _library() -> Iterator[Finding]:
    made_by, slow = versions(), "a debug build is slow; build with maturin develop --release"
    build = made_by["build_profile"]
    yield _found(
        "misfired", f"{made_by['misfired']} ({build} build)", "" if build == "release" else slow
    )
    if has_amx():
        yield _found(
            "AMX",
            "this build of llama-cpp-python dies of quantised weights at its own defaults (SIGILL or "
            "SIGSEGV); misfired loads them in another way",
            "in code of your own: use_extra_bufts = False (docs/footguns.md)",
        )
    try:
        load_library()
        yield Finding(
            "library", f"llama-cpp-python {made_by['llama_cpp_python']}, ggml {ggml_version()}"
        )
    except MisfiredError as error:
        yield Finding("library", str(error), "problem", "install a supported llama-cpp-python")


def _hardware() -> Iterator[Finding]:
    on_gpu = gpus()
    for device in on_gpu:
        yield Finding("device", f"{device}, driver {driver_version() or 'unknown'}")
    if on_gpu:
        left, total = map(sum, zip(*(each.memory() for each in on_gpu), strict=True))
        yield Finding("GPU memory", f"{short(left)}B free of {short(total)}B")
        graphs = os.environ.get(GRAPHS) is not None
        advice = "" if graphs else f"with some models they crash: leave {GRAPHS} out"
        yield _found("CUDA graphs", "off" if graphs else "on", advice)
    for device in found_devices():
        if device.kind == "cpu":
            yield _cpu(device, n_gpus=len(on_gpu))
    if (memory := free()) is not None:
        yield Finding("memory", str(memory))


def _cpu(device: Device, *, n_gpus: int) -> Finding:
    """Return the CPU with the instructions that ggml uses on it, of all that the build names."""
    parts = [part.strip() for part in versions()["llama_cpp_system"].split("|")]
    # Each backend's name stands before its first feature; those of the CPU come last.
    start = next((n for n, part in enumerate(parts) if part.startswith("CPU :")), 0)
    named = [part.removeprefix("CPU :").strip() for part in parts[start:]]
    has = [part.split(" = ")[0] for part in named if part.endswith("= 1")]
    uses = [name for name in has if name.startswith(_FEATURES)]
    is_x86 = any(name.startswith(("AVX", "SSE")) for name in has)
    lacks = [name for name in _WANTED_FEATURES if is_x86 and name not in has]
    value = f"{device}: {' '.join(uses) or 'no vector instructions reported'}"
    if lacks:
        value += f" (without {', '.join(lacks)})"
        advice = (
            "if the CPU has them, build llama-cpp-python on it with CMAKE_ARGS=-DGGML_NATIVE=on"
        )
        return _found("device" if not n_gpus else "CPU", value, advice)
    return Finding("device" if not n_gpus else "CPU", value)


def _threads(n_threads: int | None) -> Iterator[Finding]:
    n_usable, n_cores = default_threads(), os.cpu_count() or 1
    chosen = n_threads or n_usable
    if chosen > n_usable:
        yield _found("threads", f"{chosen} on {n_usable} cores", f"--n-threads {n_usable}")
    else:
        yield Finding("threads", f"{chosen} (cores: {n_usable} usable of {n_cores})")
    named = {
        name: os.environ[name] for name in ("OMP_WAIT_POLICY", *SPINNING) if name in os.environ
    }
    spins = named.get("OMP_WAIT_POLICY", "").lower() == "active"
    advice = "leave OMP_WAIT_POLICY out: spinning threads slow down all other work" if spins else ""
    yield _found("spinning", ", ".join(f"{k}={v}" for k, v in named.items()), advice)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > n_usable / 2:
        n_free = max(1, n_usable - round(load))
        advice = f"free the cores, or use --n-threads {n_free}; the numbers stay the same"
        yield _found("load", f"{load:.1f} on {n_usable} cores", advice)


def _model(path: Path, options: ScoringOptions, *, thorough: bool) -> Iterator[Finding]:
    session, broken = _opened(path, options)
    with session:
        model = session.model
        yield Finding("model", model.description)
        n_threads = options.n_threads or default_threads()
        yield Finding("placed on", placed(model.devices, model.header, n_threads))
        if gpus() and not model.uses_gpu:
            yield _found("offload", "no layer, though there is a GPU", "--device gpu")
        if not model.uses_gpu:
            yield _memory(model, options)
        if model.n_ctx_train:
            yield _context(model)
        yield _template(session, broken)
        yield from _decoded(session, options, thorough=thorough)


def _opened(path: Path, options: ScoringOptions) -> tuple[Session, str | None]:
    """Return a session, and why its own template is none; texts are then put plainly."""
    options = replace(options, protocol="logit")
    try:
        return Session(path, options), None
    except TemplateError as error:
        if options.template is not None:
            raise
        return Session(path, replace(options, template="plain")), str(error)


def _memory(model: Model, options: ScoringOptions) -> Finding:
    """Say what a run of prompts of realistic length needs; more than there is would have been refused."""
    n_batch = batch_size(model, options)
    n_ctx = options.n_ctx or 4 * N_PROMPT + n_batch
    sizes = {"n_ctx": n_ctx, "n_batch": n_batch, "n_sequences": N_SEQUENCES}
    parts = {"weights": model.header.n_bytes, **needed(model.header, options.kv_cache, **sizes)}
    named = ", ".join(f"{name} {short(n_bytes)}B" for name, n_bytes in parts.items())
    return Finding("needed", f"about {short(sum(parts.values()) + SPARE)}B of memory: {named}")


def _context(model: Model) -> Finding:
    n = model.n_ctx_train
    advice = "" if n >= 1024 else "long prompts and demonstrations do not fit"
    return _found("context", f"trained for {n} tokens", advice)


def _template(session: Session, broken: str | None) -> Finding:
    name = "chat template"
    if broken is not None:
        plain = "run it with --template plain, or the GGUF of an instruct sibling"
        if session.model.chat_template is None:
            return _found(name, "none", f"a base model: {plain}")
        return Finding(name, broken.removeprefix("chat template (model): "), "problem", plain)
    markers = describe(find_markers(session.model, session.tokenizer))
    n_markers, said = len(markers["markers"]), complaint(markers)
    known = f"all {n_markers} markers known" if n_markers else "no marker"
    advice = "compare with --template plain: see docs/base_and_instruct.md" if said else ""
    return _found(name, f"{session.template.name}: {said or known}", advice)


def _decoded(session: Session, options: ScoringOptions, *, thorough: bool) -> Iterator[Finding]:
    """Time made-up prompts of realistic length; if thorough, measure first what neighbours change."""
    model = session.model
    n_prompt = min(N_PROMPT, model.n_ctx_train // 2 or N_PROMPT)
    job = _made_up_job(model, n_prompt)
    if thorough:
        with session.context(job) as context:
            chosen = choose_packing(context, job, options, N_THOROUGH).facts
            yield _invariance(model, chosen)
            yield _throughput(context, job, chosen["packing"], THOROUGH_SECONDS)
        return
    packing = expected_packing(model, options)
    said = "expected; every run measures it, and so does --thorough"
    yield Finding(f"mode {options.mode}", f"{_PACKINGS[packing]} ({said})")
    short_batches = replace(options, n_batch=options.n_batch or N_BATCH)
    with open_context(model, job, short_batches) as context:
        yield _throughput(context, job, packing, SECONDS)


def expected_packing(model: Model, options: DecodingOptions) -> Packing:
    """Return how prompts will probably be packed; a run tries it, and decides by what it finds.

    On a CPU, f32 weights under an f32 cache round nothing that neighbours could tip (design/scoring.md).
    """
    if not model.can_share_prefixes:
        return "fresh"
    if options.mode != "exact":
        return "packed"
    if model.uses_gpu or options.kv_cache.flash_attention != "off":
        return "fresh"
    rounds = set(model.header.types) > {"f32"} or options.kv_cache != MODES["exact"]
    return "solo" if rounds else "packed"


def _made_up_job(model: Model, n_prompt: int) -> Job:
    """Return prompts of random tokens with a common beginning, as those of a suite have."""
    n_vocab, rng = model.tokenizer.n_vocab, np.random.default_rng(0)
    ids = rng.integers(n_vocab // 8, n_vocab // 2, (64, n_prompt), dtype=np.int32)
    ids[:, : n_prompt // 4] = ids[0, : n_prompt // 4]
    forms = Form("yes", "yes", (n_vocab // 3,)), Form("no", "no", (n_vocab // 5,))
    answers = AnswerTokens(n_prompt, forms, [])
    prompts = (TokenisedPrompt("made up", "yes", tokens, answers, n_prompt) for tokens in ids)
    return Job(dict(enumerate(prompts)))


def _invariance(model: Model, chosen: dict[str, Any]) -> Finding:
    name, packing = "batch invariance", _PACKINGS[chosen["packing"]]
    if not model.can_share_prefixes:
        return Finding(name, f"a recurrent or hybrid model: {packing}")
    measured = ", ".join(f"{each} {value:.1e}" for each, value in chosen["differences"].items())
    value, advice = f"difference from a prompt alone: {measured or 'not measured'};", ""
    if chosen["packing"] != "packed":
        value += f" above {TOLERANCE:.0e} or not reliable, so"
        advice = "--mode fast packs them anyway, and writes the difference into the manifest"
    return _found(name, f"{value} {packing}", advice)


def _throughput(context: Context, job: Job, packing: Packing, seconds: float) -> Finding:
    prompts = list(job.prompts.values())
    ids, wanted = [each.ids for each in prompts], [np.zeros(1, np.int32)] * len(prompts)
    scorer = Scorer(context.handle, ragged(ids), ragged(wanted), n_block=1 << 30, packing=packing)
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        scorer.start(0)
        while elapsed < seconds and step(scorer, context) is not None:
            elapsed = time.perf_counter() - started
    rate, n_tokens = scorer.n_decoded_tokens / elapsed, prompts[0].n_tokens
    left = 1 if packing == "fresh" else 3 / 4
    minutes = N_BENCHMARK * n_tokens * left / rate / 60
    return Finding(
        "speed",
        f"{rate:,.0f} tokens/s in {elapsed:.1f} s; {N_BENCHMARK:,} prompts of {n_tokens} tokens "
        f"{'' if left == 1 else '(a quarter shared) '}take about {minutes:,.0f} minutes",
    )
