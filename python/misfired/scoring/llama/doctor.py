"""What is installed, whether it works here, and what to change."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as capi

from misfired._core import Scorer
from misfired.errors import MisfiredError
from misfired.options import takes_options
from misfired.scoring.backend import Finding
from misfired.scoring.environment import default_threads
from misfired.scoring.forms import AnswerTokens, Form
from misfired.scoring.llama.device import found_devices, ggml_version
from misfired.scoring.llama.engine import Job, TokenisedPrompt, ragged, step
from misfired.scoring.llama.invariance import TOLERANCE, choose_packing
from misfired.scoring.llama.library import load_library, versions
from misfired.scoring.llama.markers import complaint, describe, find_markers
from misfired.scoring.llama.model import Context, Model, open_model
from misfired.scoring.llama.session import Session, batch_size
from misfired.scoring.model_file import find_model
from misfired.scoring.options import ScoringOptions

#: Seconds that the throughput test takes, not counting its last batch.
SECONDS = 5.0
#: Vector instructions whose absence costs most on x86.
_WANTED_FEATURES = ("AVX2", "FMA", "F16C")

_PACKINGS = {
    "packed": "prompts are packed together",
    "solo": "each prompt gets batches of its own",
    "fresh": "each prompt is decoded by itself, and shares no prefix",
}


def _found(name: str, value: str, advice: str = "") -> Finding:
    """Return a note if there is something to change."""
    return Finding(name, value, "note" if advice else "ok", advice)


@takes_options(ScoringOptions)
def examine(model: Path | str | None = None, **keywords: Any) -> list[Finding]:
    """Look at the installation, and at a model if one is given.

    Args:
        model: A GGUF file to load, time for about five seconds and check for batch invariance.
        keywords: Devices, K/V cache, mode and threads, as `misfired.score` takes and checks them.
    """
    options = ScoringOptions.of(keywords)
    findings = [*_installation(), *_threads(options.n_threads)]
    if model is None:
        return findings
    if any(finding.status == "problem" for finding in findings):
        return [*findings, Finding("model", "not tried, because of the problem above", "note")]
    try:
        return [*findings, *_model(find_model(model), options)]
    except MisfiredError as error:
        return [*findings, Finding("model", str(error), "problem")]


def _installation() -> list[Finding]:
    made_by, slow = versions(), "a debug build is slow; build with maturin develop --release"
    build = made_by["build_profile"]
    misfired = f"{made_by['misfired']} ({build} build)"
    try:
        load_library()
        library = Finding("libllama", f"{capi._lib._name}: layout and functions as expected")
    except MisfiredError as error:
        advice = "install a supported llama-cpp-python"
        library = Finding("libllama", str(error), "problem", advice)
    system = made_by["llama_cpp_system"].split("|")
    has = [part.split("=")[0].split()[-1] for part in system if "= 1" in part]
    x86 = any(name.startswith(("AVX", "SSE")) for name in has)
    lacks = [name for name in _WANTED_FEATURES if x86 and name not in has]
    features, rebuild = " ".join(has) or "none reported", ""
    if lacks:
        features += f" (without {', '.join(lacks)})"
        rebuild = (
            "if this CPU has them, build llama-cpp-python on it with CMAKE_ARGS=-DGGML_NATIVE=on"
        )
    return [
        _found("misfired", misfired, slow if build != "release" else ""),
        Finding("llama-cpp-python", made_by["llama_cpp_python"]),
        Finding("ggml", ggml_version()),
        library,
        Finding("devices", "; ".join(map(str, found_devices()))),
        _found("CPU features", features, rebuild),
    ]


def _threads(n_threads: int | None) -> Iterator[Finding]:
    n_usable, n_cores = default_threads(), os.cpu_count() or 1
    chosen = n_threads or n_usable
    if chosen > n_usable:
        yield _found("threads", f"{chosen} on {n_usable} cores", f"--n-threads {n_usable}")
    else:
        yield Finding("threads", f"{chosen} (cores: {n_usable} usable of {n_cores})")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > n_usable / 2:
        advice = "other programs compete; times will be long, and the numbers the same"
        yield _found("load", f"{load:.1f} on {n_usable} cores", advice)


def _model(path: Path, options: ScoringOptions) -> Iterator[Finding]:
    has_template = options.template is not None
    if not has_template:
        with open_model(path, vocab_only=True) as model:
            has_template = model.chat_template is not None
    asked = options if has_template else replace(options, template="plain")
    with Session(path, replace(asked, protocol="logit")) as session:
        model = session.model
        yield Finding("model", f"{path}: {model.description}")
        if has_template:
            yield _template(session)
        else:
            advice = "run it with --template plain, or the GGUF of an instruct sibling"
            yield _found("chat template", "none", f"a base model: {advice}")
        can_offload = bool(capi.llama_supports_gpu_offload())
        if options.n_gpu_layers and not can_offload:
            advice = "build llama-cpp-python with a GPU backend, or leave --n-gpu-layers out"
            yield _found("offload", "this build has no GPU backend", advice)
        elif can_offload and not options.n_gpu_layers:
            yield _found("offload", "no layer, though there is a GPU", "--n-gpu-layers -1")
        n_batch = batch_size(model, options)
        n_prompt = min(200, max(model.n_ctx_train - n_batch, 16)) if model.n_ctx_train else 200
        job = _made_up_job(model, n_prompt)
        with session.context(job) as context:
            chosen = choose_packing(context, job, options)
            yield _invariance(model, chosen)
            yield _throughput(context, job, chosen["packing"])


def _template(session: Session) -> Finding:
    markers = describe(find_markers(session.model, session.tokenizer))
    n_markers, said = len(markers["markers"]), complaint(markers)
    known = f"all {n_markers} markers known" if n_markers else "no marker"
    advice = "compare with --template plain: see docs/base_and_instruct.md" if said else ""
    return _found("chat template", f"{session.template.name}: {said or known}", advice)


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


def _throughput(context: Context, job: Job, packing: str) -> Finding:
    prompts = list(job.prompts.values())
    ids, wanted = [each.ids for each in prompts], [np.zeros(1, np.int32)] * len(prompts)
    scorer = Scorer(context.handle, ragged(ids), ragged(wanted), n_block=1 << 30, packing=packing)
    started, n_prompts = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < SECONDS:
        scorer.start(0)
        while elapsed < SECONDS and (answered := step(scorer, context)) is not None:
            n_prompts += len(answered[0])
            elapsed = time.perf_counter() - started
    return Finding(
        "throughput",
        f"{scorer.n_decoded_tokens / elapsed:,.0f} tokens/s, {n_prompts / elapsed:,.1f} prompts/s of "
        f"{prompts[0].n_tokens} tokens (a quarter shared), {packing}, in {elapsed:.1f} s",
    )
