"""The manifest of a run: what it holds, the one place that builds it, and the one that reads it.

On disk, and as `Scores.manifest`, it is a mapping. Readers inside misfired use `Manifest`. The text
beside each field is its only description; `MANIFEST_KEYS` and the documentation are made from it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
import polars as pl

from misfired._core import __version__
from misfired.errors import DataError
from misfired.files import as_struct
from misfired.prompts.neutral import neutral_facts
from misfired.prompts.primings import Priming
from misfired.prompts.prompt_set import N_SHARD
from misfired.prompts.shots import Shot
from misfired.reading import kind_of, read_json
from misfired.runs.options import RunOptions
from misfired.runs.sections import Count, Free, Kept, Sha256, Time
from misfired.scoring.backend import Tallies
from misfired.scoring.options import KvCache, ScoringOptions
from misfired.scoring.protocol import Protocol
from misfired.stats.outcomes import OUTCOMES
from misfired.suites.twins import checks_reading

#: Name of the file in a run folder, and its format; another is refused.
MANIFEST, FORMAT = "manifest.json", 1

#: Pairs that are written or hashed at a time; bounds the memory that a large suite takes.
N_ROWS = 4096


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the manifest's sections. None: the run's backend has no such key."""


class TemplateSettings(_Section, frozen=True):
    """The chat template."""

    name: Annotated[str, "`model`, `plain`, or the file that the template came from."]
    sha256: Annotated[Sha256, "SHA-256 of its source."]
    date: Annotated[str, "The date that it is told."]


class _Shots(_Section, frozen=True):
    seed: Annotated[int, "Seed of the draw."]
    hold_out: Annotated[str, "What is excluded: each demonstration's `scenario`, or its `pair`."]
    demonstrations: Annotated[tuple[Shot, ...], "The demonstrations, in the order shown."]


class _Statistics(_Section, frozen=True):
    n_resamples: Annotated[Count, "Bootstrap resamples."]
    unit: Annotated[str, "What is resampled: `scenario` or `pair`."]
    confidence_level: Annotated[float, msgspec.Meta(gt=0, lt=1), "Confidence level of intervals."]


class Settings(_Section, frozen=True, kw_only=True):
    """What decides the numbers. A folder made with other settings is refused."""

    suite: Annotated[str, "Suite and version."]
    suite_sha256: Annotated[Sha256, "SHA-256 of the measured pairs."]
    n_pairs: Annotated[Count, "Pairs measured, twins included."]
    n_shard: Annotated[Count, "Pairs that are planned and scored together."]
    n_block: Annotated[Count | None, "Scenarios between looks of a run that may end early."] = None
    primings: Annotated[tuple[Priming, ...], "Every field of each priming that is set."]
    protocol: Annotated[Protocol, "Every field of the protocol."]
    shots: Annotated[_Shots | None, "Few-shot demonstrations; null: none."]
    reading_check: Annotated[
        Count,
        "Twins among them that only check the reading: a false question about each story of a pair.",
    ] = 0
    seed: Annotated[int, "Seed of everything but the few-shot draw."]
    model_sha256: Annotated[Sha256 | None, "SHA-256 of the model file."] = None
    template: Annotated[TemplateSettings | None, "Chat template."] = None
    mode: Annotated[str | None, "`exact`, `stable` or `fast`."] = None
    n_ctx: Annotated[int | None, "Cells of the K/V cache; null: as many as needed."] = None
    n_batch: Annotated[int | None, "Tokens a batch; null: by device and work."] = None
    kv_cache: Annotated[KvCache | None, "`type_k`, `type_v` and `flash_attention`."] = None
    intervention: Annotated[Free | None, "Heads ablated (`ablate`), `direction` added."] = None
    devices: Annotated[Free | None, "Where the layers are computed."] = None
    llama_cpp_python: Annotated[str | None, "Version of llama-cpp-python."] = None
    server: Annotated[Free | None, "Server, for a run of one."] = None
    annotator: Annotated[Free | None, "The person who answered, instead of a model."] = None
    misfired: Annotated[str, "Version of misfired."]
    statistics: Annotated[_Statistics | None, "Options of the intervals."] = None


class _ModelFacts(_Section, frozen=True):
    path: Annotated[str, "File, or address of the server."]
    description: Annotated[
        str, "Its own name, size and types of tensors, or the name at the server."
    ]
    metadata: Annotated[dict[str, str] | None, "Metadata of the GGUF file."] = None


class BatchInvariance(_Section, frozen=True):
    """A sample scored again, each prompt alone."""

    n_checked: Annotated[Count, "Prompts scored again; for `solo` on top of what all share."]
    max_difference: Annotated[float, "Largest difference of a log-probability or decision."]
    label_flips: Annotated[Count, "Answers of the sample that flip."]
    n_within: Annotated[Count, "Prompts, of all, that lie within `noise` of a flip."]
    noise: Annotated[
        float | None, "Largest difference of a decision; in `stable` and `fast` twice that."
    ] = None
    bound: Annotated[float | None, "In `exact`, the largest difference allowed."] = None
    share_off: Annotated[
        float | None, "In `exact`, at 95 %, the largest share of prompts that may exceed it."
    ] = None
    mar_range: Annotated[
        dict[str, tuple[float, float] | None] | None,
        "In `stable` and `fast`, by priming: lowest and highest MAR if all of `n_within` flipped.",
    ] = None
    n_rescored: Annotated[Count, "Answers scored again alone since one of the sample was off."] = 0
    n_tokens: Annotated[Count | None, "Tokens of the check."] = None
    texts_differ: Annotated[int | None, "Texts of the sample that differ."] = None


class _Usage(_Section, frozen=True):
    n_prompt_tokens: Annotated[Count, "Tokens of prompts."]
    n_generated: Annotated[Count, "Tokens generated."]
    n_answers_without_usage: Annotated[Count, "Answers whose tokens the server did not count."]
    price: Annotated[tuple[float, float] | None, "Price of a million tokens of both kinds."]
    cost: Annotated[float | None, "Cost at that price."]
    n_reasoning: Annotated[
        Count | None,
        "Tokens of reasoning among those generated; null: the server does not count them.",
    ] = None


class CoveredFile(_Section, frozen=True):
    """A file of the folder as it was written; another is refused."""

    sha256: Sha256
    n_rows: Count


class Manifest(_Section, frozen=True, kw_only=True):
    """The manifest of a complete run."""

    format: Annotated[int, f"Format of this file: {FORMAT}."]
    status: Annotated[
        Literal["running", "complete"],
        "`running` or `complete`; a running one holds settings only.",
    ]
    settings: Annotated[Settings, "What decides the numbers; a folder of others is refused."]
    versions: Annotated[Free, "Software that a number depends on."]
    model: Annotated[_ModelFacts, "The model."]
    n_threads: Annotated[Count | None, "CPU threads."] = None
    computed_on: Annotated[Free | None, "Devices, driver, build."] = None
    example_prompt: Annotated[str | None, "One prompt as the model gets it."] = None
    answer_tokens: Annotated[Free | None, "Answer forms as tokens."] = None
    template_markers: Annotated[Free | None, "Markers of the chat template."] = None
    packing: Annotated[Free | None, "How prompts share batches, and why."] = None
    intervention_effect: Annotated[Free | None, "What an intervention changes."] = None
    batch_invariance: Annotated[BatchInvariance | None, "A sample scored again, alone."] = None
    fingerprints: Annotated[dict[str, Count] | None, "Answers by the server's fingerprint."] = None
    cache: Annotated[Free | None, "The server's identity; only with a cache."] = None
    example_request: Annotated[Free | None, "Body of one request."] = None
    patience: Annotated[Free | None, "How long the run waited for the server."] = None
    usage: Annotated[_Usage | None, "Tokens and cost."] = None
    tokens: Annotated[dict[str, Count] | None, "Tokens of the prompts, counted."] = None
    until: Annotated[Free | None, "When the run was to end early, and what it saw."] = None
    consent: Annotated[Free | None, "What a person agreed to."] = None
    held_out: Annotated[tuple[str, ...], "Ids of pairs excluded because of demonstrations."]
    neutral: Annotated[Free | None, "How well neutral sentences match."] = None
    outcomes: Annotated[dict[str, Count], "Prompts by outcome."]
    files: Annotated[
        dict[str, CoveredFile] | None,
        "Answers and tables by file: SHA-256 (`sha256`), rows (`n_rows`); null: by an older version.",
    ] = None
    times: Annotated[dict[str, Time], "Times, and counts that depend on interruptions."]

    @classmethod
    def of(cls, content: Mapping[str, Any], source: object = "manifest") -> Manifest:
        """Return a mapping, such as `Scores.manifest`, as a manifest; an error names source and key."""
        as_struct(content, Kept, source)
        return as_struct(content, cls, source)


#: Keys of the sections that are kept as they come.
_MORE_KEYS = {
    "settings.devices.device": "`cpu` or `gpu`.",
    "settings.devices.n_gpu_layers": "Layers on the GPU; -1 is all.",
    "settings.devices.precision": "`highest`: cuBLAS computes in f32.",
    "settings.devices.split_mode": "How the model is divided; null: llama.cpp's choice.",
    "settings.devices.main_gpu": "Device of a model that is not divided.",
    "settings.devices.tensor_split": "Shares of the devices.",
    "settings.server.url": "Address.",
    "settings.server.model": "Name of the model at the server.",
    "settings.server.path": "Path of the requests below the address.",
    "settings.server.extra_body": "More fields of each request.",
    "settings.annotator.name": "Name, which says nothing of the person.",
    "settings.annotator.study_sha256": "SHA-256 of `study.json`, which the pre-registration names.",
    "settings.annotator.made": "When the study was made, in seconds since 1970.",
    "versions.misfired": "Version of misfired.",
    "versions.study": "Version of misfired that made the study.",
    "versions.build_profile": "Build profile of its compiled core.",
    "versions.llama_cpp_python": "Version of llama-cpp-python.",
    "versions.llama_cpp_system": "What llama.cpp says of its build and of the processor.",
    "computed_on.devices": "Devices that compute.",
    "computed_on.ggml": "Version, commit and backends of ggml.",
    "computed_on.driver": "Version of NVIDIA's driver; null: not used, or unknown.",
    "computed_on.environment": "Variables that decide how a GPU computes; null: not set.",
    "answer_tokens.scored": "For each answer, token ids and their texts.",
    "answer_tokens.dropped_forms": "Forms left out: their first token does not tell them apart.",
    "answer_tokens.partial_forms": "Forms of several tokens, read by their first.",
    "template_markers.n_spelled_out": "Markers spelled out in ordinary tokens.",
    "template_markers.n_untrained": "Markers with embeddings that look untrained.",
    "template_markers.markers": "Each marker: text, tokens, and how it was judged.",
    "packing.packing": "`packed`, `stable`, `solo` or `fresh`.",
    "packing.n_tried": "Prompts that were tried first.",
    "packing.n_tokens": "Tokens of the trial that were decoded twice.",
    "packing.differences": "Largest difference to alone, by packing tried.",
    "intervention_effect.n_tried": "Prompts scored with and without it.",
    "intervention_effect.n_changed": "Prompts for which anything differs.",
    "intervention_effect.max_change": "Largest change of a log-probability; null for texts.",
    "cache.model": "Model, as the server names it.",
    "cache.system_fingerprint": "Its configuration; null: the server does not say.",
    "patience.concurrency": "Requests in flight at once.",
    "patience.timeout": "Seconds within which an answer must be complete.",
    "patience.n_attempts": "Most attempts for each prompt.",
    "consent.text_sha256": "SHA-256 of the consent text.",
    "consent.at": "When, in seconds since 1970.",
    "neutral.n_matched": "Cues with a neutral sentence.",
    "neutral.n_unmatched": "Cues without one.",
    "neutral.largest_difference": "Largest difference of their lengths in tokens.",
    "until.rule": "The options of the rule; for `until_decided` the SHA-256 of the base's outcomes.",
    "until.of.suite_sha256": "SHA-256 of all pairs that could have been asked.",
    "until.of.n_pairs": "Their number.",
    "until.of.n_scenarios": "Their scenarios.",
    "until.ended": "`narrow`, `different` or `alike`; null: the rule was not met.",
    "until.looks": "For each look: scenarios, pairs, value, interval and its level, and `ended`.",
    "tokens.in_prompts": "Tokens of all prompts.",
    "tokens.joined_to_the_answer": "Prompts whose last token an answer form would change.",
    "tokens.distinct": "Tokens left to decode once prompts share prefixes; not with a cache.",
    "times.started": "Start, in seconds since 1970.",
    "times.seconds": "Duration of the last session.",
    "times.n_resumed_from": "Answers that an interrupted session had recorded.",
    "times.n_decoded_tokens": "Tokens decoded by the last session.",
    "times.n_from_cache": "Answers taken from the cache.",
    "times.n_requests": "Requests to the server, repeated ones included.",
    "times.n_faults: KIND": "Failed requests, by kind.",
}


def _described(section: type[msgspec.Struct], before: str = "") -> Iterator[tuple[str, str]]:
    for name, hint in get_type_hints(section, include_extras=True).items():
        kind, *_, text = get_args(hint)
        yield before + name, text
        for part in (kind, *get_args(kind)):
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                yield from _described(part, f"{before}{name}.")


#: Every key of the manifest, with dots between sections, and its description.
MANIFEST_KEYS: dict[str, str] = dict(_described(Manifest)) | _MORE_KEYS


def pairs_sha256(pairs: pl.DataFrame) -> str:
    """Return the SHA-256 of pairs as JSON Lines, in hexadecimal."""
    digest = hashlib.sha256()
    for some in pairs.iter_slices(N_ROWS):
        digest.update(some.write_ndjson().encode())
    return digest.hexdigest()


def pairs_settings(pairs: pl.DataFrame) -> dict[str, Any]:
    """Return the settings that change when more pairs are asked."""
    n_checks = len(pairs.filter(checks_reading(pairs)))
    of_pairs = {"suite_sha256": pairs_sha256(pairs), "n_pairs": len(pairs)}
    return of_pairs | {"reading_check": n_checks}


def run_settings(
    pairs: pl.DataFrame,
    options: ScoringOptions,
    shots: Sequence[Shot],
    own: Mapping[str, Any],
    *,
    n_block: int | None = None,
) -> dict[str, Any]:
    """Return the section `settings`, with the backend's `own`; `pairs` are those that are measured."""
    drawn = {"seed": options.shots_seed, "hold_out": options.hold_out}
    settings = {
        "suite": ", ".join(pairs["suite"].unique().sort().to_list()),
        **pairs_settings(pairs),
        "n_shard": N_SHARD,
        "n_block": n_block,
        "primings": [priming.to_json() for priming in options.primings],
        "protocol": options.resolved_protocol.to_json(),
        "shots": {**drawn, "demonstrations": list(map(asdict, shots))} if shots else None,
        "seed": options.seed,
        **own,
        "misfired": __version__,
    }
    if isinstance(options, RunOptions):
        settings["statistics"] = options.statistics
    return settings


def build_manifest(
    settings: Mapping[str, Any],
    pairs: pl.DataFrame,
    answers: pl.DataFrame,
    *,
    facts: Mapping[str, Any],
    counts: Tallies,
    held_out: pl.Series,
    started: float,
    n_resumed_from: int,
) -> dict[str, Any]:
    """Return the manifest of a complete run.

    `facts` and `counts` are the sections that the backend tells and counts, `held_out` the ids of pairs
    excluded because of demonstrations; this session `started` in seconds since 1970.

    Raises:
        DataError: The backend tells a key that is not described here.
    """
    found = dict(answers["outcome"].value_counts().iter_rows())
    times = {"started": started, "seconds": time.time() - started, "n_resumed_from": n_resumed_from}
    manifest = {
        "format": FORMAT,
        "status": "complete",
        "settings": settings,
        **facts,
        **counts,
        "held_out": held_out.to_list(),
        **neutral_facts(pairs),
        "outcomes": {outcome: int(found.get(outcome, 0)) for outcome in OUTCOMES},
        "times": times | counts.get("times", {}),
    }
    Manifest.of(manifest)
    return manifest


def load_manifest(folder: Path, *, complete: bool = False) -> dict[str, Any]:
    """Return the manifest of a run folder as a mapping; with `complete`, refuse an interrupted run.

    Raises:
        DataError: There is none, it is not JSON, or it has a format that this version does not know.
    """
    file = folder / MANIFEST
    if folder.exists() and not file.exists():
        runs = sorted(each.parent.name for each in folder.glob(f"*/{MANIFEST}"))
        got = f"a folder of runs: {', '.join(runs)}" if runs else kind_of(folder)
        raise DataError(f"{folder}: must be a run folder, with {MANIFEST}, got {got}")
    manifest = read_json(file)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DataError(f"{file}: not a manifest of format {FORMAT}")
    if manifest.get("status") == "complete":
        Manifest.of(manifest, file)
    elif manifest.get("status") != "running" or not isinstance(manifest.get("settings"), dict):
        raise DataError(f"{file}: must have status running or complete, and settings")
    elif complete:
        raise DataError(f"{folder}: this run is not complete; run its command again to resume")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a complete run; errors are those of `load_manifest` and `Manifest.of`."""
    return Manifest.of(load_manifest(folder, complete=True), folder / MANIFEST)
