"""How the numbers of a run were made, and what to cite, for a page that may be shown in public."""

import json
from datetime import datetime, timezone
from pathlib import PurePath
from typing import Any

import msgspec

from misfired._core import __version__
from misfired.report.measured import Measured

#: Keys of a manifest that hold prompts, sentences of primings, or where files lie.
_WITH_TEXT = {"example_prompt", "example_request", "demonstrations", "text", "held_out"}

CITE = {
    "words": "Cite the paper that defines the measure, and this program. Pairs of VETO are built from BBQ "
    "(Parrish et al. 2022, CC BY 4.0), which its authors ask to cite too.",
    "bibtex": f"""\
@article{{deng2026wrong,
  title  = {{The Wrong Kind of Right: Quantifying and Localizing Misfired Alignment in LLMs}},
  author = {{Deng and others}},
  year   = {{2026}},
  note   = {{arXiv:2606.18656}}
}}
@inproceedings{{parrish2022bbq,
  title     = {{BBQ: A Hand-Built Bias Benchmark for Question Answering}},
  author    = {{Parrish, Alicia and others}},
  booktitle = {{Findings of the Association for Computational Linguistics: ACL 2022}},
  year      = {{2022}}
}}
@software{{misfired,
  title   = {{misfired}},
  author  = {{The misfired authors}},
  version = {{{__version__}}}
}}""",
}


def facts(run: Measured, *, with_text: bool) -> list[tuple[str, str]]:
    """Return what made the numbers, as names and values."""
    manifest, settings = run.manifest, run.manifest.settings
    model = manifest.model.path if with_text else PurePath(manifest.model.path).name
    told: dict[str, Any] = {
        "Model": f"{model} ({manifest.model.description})",
        "SHA-256 of the model": settings.model_sha256,
        "Suite": f"{settings.suite}, {settings.n_pairs:,} pairs asked, twins included",
        "SHA-256 of the pairs": settings.suite_sha256,
        "Primings": ", ".join(priming.name for priming in settings.primings),
        "Protocol": f"{settings.protocol.name}, version {settings.protocol.version}",
        "Mode": settings.mode,
        "Chat template": settings.template
        and f"{settings.template.name}, SHA-256 {settings.template.sha256}",
        "Demonstrations": settings.shots
        and f"{len(settings.shots.demonstrations)} before every prompt",
        "Statistics": settings.statistics
        and f"{100 * settings.statistics.confidence_level:g} % intervals, {settings.statistics.n_resamples:,} resamples by {settings.statistics.unit}, seed {settings.seed}",
        "Versions": ", ".join(
            f"{name} {value}"
            for name, value in manifest.versions.items()
            if name != "llama_cpp_system"
        ),
        "Outcomes": ", ".join(f"{n:,} {name}" for name, n in manifest.outcomes.items()),
        "Started": _when(manifest.times.get("started")),
        "Duration": f"{manifest.times['seconds']:,.0f} s" if "seconds" in manifest.times else None,
    }
    if with_text:
        told["Run folder"] = str(run.path)
    return [(name, str(value)) for name, value in told.items() if value]


def manifest_text(run: Measured, *, with_text: bool) -> str:
    """Return the manifest as JSON, without prompts and the model's own metadata."""
    content = msgspec.to_builtins(run.manifest)
    content["model"].pop("metadata", None)
    kept = {key: value for key, value in content.items() if value is not None}
    if not with_text:
        kept = _without_text(kept)
        kept["model"]["path"] = PurePath(run.manifest.model.path).name
    return json.dumps(kept, indent=2, ensure_ascii=False)


def _without_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_text(inner) for key, inner in value.items() if key not in _WITH_TEXT}
    return [_without_text(inner) for inner in value] if isinstance(value, list | tuple) else value


def _when(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{datetime.fromtimestamp(seconds, tz=timezone.utc):%Y-%m-%d %H:%M} UTC"
