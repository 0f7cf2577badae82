"""What is installed, whether it works here, and what to change."""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as capi
from llama_cpp._ggml import libggml

from misfired import _core
from misfired.errors import MisfiredError
from misfired.options import takes_options
from misfired.scoring.forms import AnswerTokens, Form
from misfired.scoring.llama.engine import Job
from misfired.scoring.llama.guard import open_model
from misfired.scoring.llama.invariance import TOLERANCE, choose_packing
from misfired.scoring.llama.library import devices, load_library, versions
from misfired.scoring.llama.markers import complaint, describe, find_markers
from misfired.scoring.llama.model import Context, Model, default_threads
from misfired.scoring.llama.session import batch_size, template_for
from misfired.scoring.options import Devices, ScoringOptions
from misfired.scoring.protocol import LOGIT
from misfired.scoring.tokens import PromptTokenizer

#: Seconds that the throughput test takes, but for its last batch.
SECONDS = 5.0

#: Vector instructions whose absence costs most on x86.
_WANTED_FEATURES = ("AVX2", "FMA", "F16C")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What.
        value: What was found.
        status: `ok`, `note` or `problem`.
        advice: What to change; empty if nothing.
    """

    name: str
    value: str
    status: str = "ok"
    advice: str = ""


@takes_options(ScoringOptions)
def examine(model: Path | str | None = None, **keywords: Any) -> list[Finding]:
    """Look at the installation, and at a model if one is given.

    Args:
        model: A GGUF file to load, time for about five seconds and check for batch invariance.
        keywords: Devices, K/V cache, mode and threads, as `misfired.score` takes them.

    Raises:
        ArgumentError: An option is outside its limits.
    """
    options = ScoringOptions.of(keywords)
    findings = [*_installation(), *_threads(options.n_threads)]
    if model is None:
        return findings
    if any(finding.status == "problem" for finding in findings):
        return [*findings, Finding("model", "not tried, for the problem above", "note")]
    try:
        return [*findings, *_model(Path(model), options)]
    except MisfiredError as error:
        return [*findings, Finding("model", str(error), "problem")]


def _installation() -> list[Finding]:
    made_by = versions()
    findings = [
        Finding("misfired", f"{made_by['misfired']} ({made_by['build_profile']} build)"),
        Finding("llama-cpp-python", made_by["llama_cpp_python"]),
        Finding("ggml", _ggml_version()),
    ]
    if made_by["build_profile"] != "release":
        findings[0] = Finding(
            "misfired",
            findings[0].value,
            "note",
            "a debug build is slow; build with maturin develop --release",
        )
    try:
        load_library()
        findings.append(Finding("libllama", f"{capi._lib._name}: layout and functions as expected"))
    except MisfiredError as error:
        findings.append(
            Finding("libllama", str(error), "problem", "install a supported llama-cpp-python")
        )
    findings.append(Finding("devices", "; ".join(devices())))
    findings.append(_features(made_by["llama_cpp_system"]))
    return findings


def _ggml_version() -> str:
    """Version and commit of the tensor library under llama.cpp, and its backends."""
    ggml: Any = libggml
    ggml.ggml_backend_reg_count.restype = ctypes.c_size_t
    ggml.ggml_backend_reg_get.restype = ctypes.c_void_p
    ggml.ggml_backend_reg_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_reg_name.argtypes = [ctypes.c_void_p]
    for function in (ggml.ggml_backend_reg_name, ggml.ggml_version, ggml.ggml_commit):
        function.restype = ctypes.c_char_p
    names = [
        ggml.ggml_backend_reg_name(ggml.ggml_backend_reg_get(index)).decode(errors="replace")
        for index in range(ggml.ggml_backend_reg_count())
    ]
    version, commit = ggml.ggml_version().decode(), ggml.ggml_commit().decode()
    return f"{version} ({commit}), backends {', '.join(names)}"


def _features(system: str) -> Finding:
    has = [part.split("=")[0].split()[-1] for part in system.split("|") if "= 1" in part]
    x86 = any(name.startswith(("AVX", "SSE")) for name in has)
    missing = [name for name in _WANTED_FEATURES if name not in has] if x86 else []
    if not missing:
        return Finding("CPU features", " ".join(has) or "none reported")
    return Finding(
        "CPU features",
        f"{' '.join(has)} (without {', '.join(missing)})",
        "note",
        "if this CPU has them, build llama-cpp-python on it with CMAKE_ARGS=-DGGML_NATIVE=on",
    )


def _threads(n_threads: int | None) -> list[Finding]:
    n_usable, n_cores = default_threads(), os.cpu_count() or 1
    chosen = n_threads or n_usable
    findings = []
    if chosen > n_usable:
        findings.append(
            Finding("threads", f"{chosen} on {n_usable} cores", "note", f"--n-threads {n_usable}")
        )
    else:
        findings.append(Finding("threads", f"{chosen} (cores: {n_usable} usable of {n_cores})"))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > n_usable / 2:
        findings.append(
            Finding(
                "load",
                f"{load:.1f} on {n_usable} cores",
                "note",
                "other programs compete; times will be long, and the numbers the same",
            )
        )
    return findings


def _model(path: Path, options: ScoringOptions) -> list[Finding]:
    with open_model(path, options.part(Devices)) as model:
        findings = [
            Finding("model", f"{path}: {model.description}"),
            _template(model, options.template),
            *_offload(options.n_gpu_layers),
        ]
        n_batch = batch_size(model, options)
        n_prompt = min(200, max(model.n_ctx_train - n_batch, 16)) if model.n_ctx_train else 200
        job = _made_up_job(model, n_prompt)
        n_ctx = -(-(n_prompt + n_batch) // 256) * 256
        with model.context(
            n_ctx, n_batch=n_batch, cache=options.kv_cache, n_threads=options.n_threads
        ) as context:
            chosen = choose_packing(model, context, job, options)
            findings.append(_invariance(model, chosen))
            findings.append(_throughput(context, job, chosen["packing"]))
    return findings


def _offload(n_gpu_layers: int) -> list[Finding]:
    """Whether layers are offloaded where they can be, and only there."""
    can_offload = bool(capi.llama_supports_gpu_offload())
    if n_gpu_layers and not can_offload:
        advice = "build llama-cpp-python with a GPU backend, or leave --n-gpu-layers out"
        return [Finding("offload", "this build has no GPU backend", "note", advice)]
    if can_offload and not n_gpu_layers:
        return [Finding("offload", "no layer, though there is a GPU", "note", "--n-gpu-layers -1")]
    return []


def _template(model: Model, choice: str | None) -> Finding:
    """Whether there is a template, and whether the model knows its markers."""
    if model.chat_template is None and choice is None:
        advice = "a base model: run it with --template plain, or the GGUF of an instruct sibling"
        return Finding("chat template", "none", "note", advice)
    template = template_for(model, choice)
    markers = describe(find_markers(model, PromptTokenizer(model.tokenizer, template, LOGIT)))
    said = complaint(markers)
    if said is None:
        known = (
            f"all {len(markers['markers'])} markers known" if markers["markers"] else "no marker"
        )
        return Finding("chat template", f"{template.name}: {known}")
    advice = "compare with --template plain: see docs/base_and_instruct.md"
    return Finding("chat template", f"{template.name}: {said}", "note", advice)


def _made_up_job(model: Model, n_prompt: int) -> Job:
    """Prompts of random tokens with a common beginning, as those of a suite have."""
    rng = np.random.default_rng(0)
    n_vocab = model.tokenizer.n_vocab
    ids = rng.integers(n_vocab // 8, n_vocab // 2, (64, n_prompt), dtype=np.int32)
    ids[:, : n_prompt // 4] = ids[0, : n_prompt // 4]
    forms = tuple(
        Form(name, name, (int(token),))
        for name, token in zip(("yes", "no"), (n_vocab // 3, n_vocab // 5), strict=True)
    )
    answers = AnswerTokens(n_prompt, forms, [])
    names = [f"made up {number}" for number in range(len(ids))]
    return Job(names, ["yes"] * len(ids), list(ids), [answers] * len(ids), [n_prompt] * len(ids))


def _invariance(model: Model, chosen: dict[str, Any]) -> Finding:
    """What was measured, and what `exact` makes of it."""
    measured = ", ".join(f"{name} {value:.1e}" for name, value in chosen["differences"].items())
    value = f"difference from a prompt alone: {measured or 'not measured'}"
    if not model.can_share_prefixes:
        return Finding(
            "batch invariance",
            "a recurrent or hybrid model: each prompt is decoded by itself, and shares no prefix",
        )
    if chosen["packing"] == "packed":
        return Finding("batch invariance", f"{value}; prompts are packed together")
    what = {
        "solo": "each prompt gets batches of its own",
        "fresh": "each prompt is decoded by itself, and shares no prefix",
    }
    return Finding(
        "batch invariance",
        f"{value}; above {TOLERANCE:.0e} or not to be relied on, so that {what[chosen['packing']]}",
        "note",
        "--mode fast packs them anyway, and writes the difference into the manifest",
    )


def _throughput(context: Context, job: Job, packing: str) -> Finding:
    ids = np.concatenate([row for row in job.ids if row is not None]).astype(np.int32)
    offsets = np.arange(len(job.ids) + 1, dtype=np.int64) * job.n_prompt_tokens[0]
    wanted = np.zeros(len(job.ids), np.int32), np.arange(len(job.ids) + 1, dtype=np.int64)
    scorer = _core.Scorer(context.handle, (ids, offsets), wanted, n_block=1 << 30, packing=packing)
    started = time.perf_counter()
    n_prompts = n_before = 0
    while (elapsed := time.perf_counter() - started) < SECONDS:
        scorer.start(0)
        n_before = n_before or scorer.n_decoded_tokens
        while (answered := scorer.step()) is not None:
            n_prompts += len(answered[0])
            elapsed = time.perf_counter() - started
            if elapsed > SECONDS:
                break
    rate = scorer.n_decoded_tokens / elapsed
    return Finding(
        "throughput",
        f"{rate:,.0f} tokens/s, {n_prompts / elapsed:,.1f} prompts/s of {job.n_prompt_tokens[0]} "
        f"tokens (a quarter shared), {packing}, in {elapsed:.1f} s",
    )


def as_rows(findings: list[Finding]) -> list[dict[str, Any]]:
    """Findings as plain rows."""
    return [vars(finding) for finding in findings]
