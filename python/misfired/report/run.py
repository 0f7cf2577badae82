"""Reports of a run, as text and as JSON."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from misfired.report.ending import ending_lines
from misfired.report.stats import analyses_tables, summary_tables
from misfired.report.table import paragraph, text, whole
from misfired.report.verdict import does_not_read, verdict_sentences
from misfired.runs.manifest import BatchInvariance, Manifest
from misfired.runs.pipeline import Run, Scores
from misfired.scoring.llama.markers import complaint
from misfired.scoring.options import MODES
from misfired.text import shown

#: Below this mean mass the model mostly wants to say neither yes nor no.
LOW_MASS = 0.5


def run_report(run: Run, out: Path | None = None) -> str:
    """Return header, tables per priming, and notes on how to read them; `out` is the run's folder."""
    manifest = Manifest.of(run.scores.manifest)
    how, statistics = "percent", manifest.settings.statistics
    if statistics is not None:
        level = f"{100 * statistics.confidence_level:g}"
        how = f"percent; {level} % intervals by {statistics.unit}, methods in summary.json"
    meaning = f"MAR: contrast answered right, stereotyped wrong, of contrast right ({how})."
    found = run.analyses.verdict
    before = does_not_read(found)
    tables = [*summary_tables(run.summary, before), *analyses_tables(run.analyses, before)]
    worth = "\n".join(map(paragraph, verdict_sentences(found)))
    header, notes = _header(run.scores, manifest, out), _notes(run.scores, manifest)
    parts = ["\n".join(header), worth, *map(text, tables), "\n".join([paragraph(meaning), *notes])]
    return "\n\n".join(parts)


def scores_report(scores: Scores, out: Path) -> str:
    """Return what was scored, and the next command."""
    manifest = Manifest.of(scores.manifest)
    header, notes = _header(scores, manifest, out), _notes(scores, manifest)
    return "\n".join([*header, *notes, paragraph(f"next: misfired {whole(out, 'stats ')}")])


def run_json(run: Run, out: Path) -> dict[str, Any]:
    """Return a run for JSON: outcomes, summary, and the tables of `analyses.json`."""
    rows = [*run.summary.to_dicts(), *run.analyses.evidence.to_dicts()]
    found = {"summary": rows, "verdict": run.analyses.verdict.to_dict()}
    return scores_json(run.scores, out) | found | run.analyses.to_json()


def scores_json(scores: Scores, out: Path) -> dict[str, Any]:
    """Return the outcomes of scoring for JSON, and for a server its tokens and fingerprints."""
    told = ("outcomes", "until", "usage", "fingerprints")
    return {"run": str(out)} | {k: scores.manifest[k] for k in told if k in scores.manifest}


def _header(scores: Scores, manifest: Manifest, out: Path | None) -> Iterator[str]:
    settings, model = manifest.settings, manifest.model
    yield paragraph(f"{whole(model.path, 'model  ')} ({shown(model.description)})")
    mode = "" if settings.mode is None else f", mode {settings.mode}"
    yield paragraph(
        f"{whole(settings.suite, 'suite  ')}, {_pairs_and_twins(scores, settings.n_pairs)}, "
        f"{len(scores.answers):,} prompts, protocol {shown(settings.protocol.name)}{mode}"
    )
    cache = settings.kv_cache
    if cache is not None and settings.mode is not None and cache != MODES[settings.mode]:
        yield f"cache  K {cache.type_k}, V {cache.type_v}, flash attention {cache.flash_attention}"
    if out is not None:
        yield paragraph(whole(out, "run    "))
    yield from map(paragraph, ending_lines(manifest))


def _pairs_and_twins(scores: Scores, n: int) -> str:
    answers, n_twins = scores.answers, 0
    if "twin_of" in answers.columns:
        n_twins = answers.filter(pl.col("twin_of").is_not_null())["id"].n_unique()
    return f"{n - n_twins:,} pairs" + (f" and {n_twins:,} twins" if n_twins else "")


def _notes(scores: Scores, manifest: Manifest) -> Iterator[str]:
    yield from map(paragraph, note_sentences(scores.answers, manifest))


def note_sentences(answers: pl.DataFrame, manifest: Manifest) -> Iterator[str]:
    """Yield what a reader of a run must know beside its verdict: what was unscored, cached, flipped."""
    yield from _sentences(answers, manifest)
    if manifest.settings.server is not None:
        yield from _server_sentences(manifest)
    if (check := manifest.batch_invariance) is not None:
        yield (
            f"{invariance(check)}, and {check.label_flips} of their answers flip; of all answers "
            f"{check.n_within} lie that close to the boundary." + _what_it_says(check)
        )


def invariance(check: BatchInvariance, of: str = "") -> str:
    """Return what scoring a sample again, each prompt alone, has changed."""
    compared = "1 prompt scored alone differs"
    if check.n_checked != 1:
        compared = f"{check.n_checked} prompts scored alone differ"
    alone = f"{compared} by at most {check.max_difference:.1e}"
    return f"Batch invariance{of}: {alone}"


def _what_it_says(check: BatchInvariance) -> str:
    if check.share_off is not None and check.bound is not None:
        rescored = (
            f" {check.n_rescored:,} answers were scored again alone, since one was off before."
            if check.n_rescored
            else ""
        )
        share = f"{100 * check.share_off:.1f} %"
        return (
            f" At 95 %, at most {share} of all can differ by more than {check.bound:.0e}.{rescored}"
        )
    ranges = (check.mar_range or {}).items()
    told = (f"{name} {pair[0]:.2f} to {pair[1]:.2f} %" for name, pair in ranges if pair is not None)
    listed = "; ".join(told)
    return f" If all of those flipped, MAR would lie within: {listed}." if listed else ""


def _sentences(answers: pl.DataFrame, manifest: Manifest) -> Iterator[str]:
    shots, changed = manifest.settings.shots, manifest.settings.intervention
    if shots is not None:
        yield (
            f"Demonstrations: {len(shots.demonstrations)} before every prompt; "
            f"{len(manifest.held_out):,} pairs are excluded for them (by {shots.hold_out})."
        )
    if n_checks := manifest.settings.reading_check:
        yield (
            f"Reading check: a false question about each story of {n_checks} pairs, asked besides; "
            "MAR leaves it out."
        )
    if changed is not None:
        yield f"Intervention: {_intervention_words(changed)}."
    if manifest.template_markers is not None:
        yield from filter(None, [complaint(dict(manifest.template_markers))])
    unscored = {k: n for k, n in manifest.outcomes.items() if n and k not in {"correct", "wrong"}}
    if listed := ", ".join(f"{n} {outcome}" for outcome, n in unscored.items()):
        yield f"Unscored prompts: {listed} (reasons in answers.parquet)."
    if n_from_cache := manifest.times.get("n_from_cache"):
        yield f"From the cache: {n_from_cache:,} of {len(answers):,} answers."
    mass = answers["mass"].mean() if "mass" in answers.columns else None
    if isinstance(mass, float):
        listed = " or ".join(manifest.settings.protocol.answers)
        yield f"Mean probability on a {listed} form: {mass:.3f}." + (
            " Low: the model wants to say something else." if mass < LOW_MASS else ""
        )


def _intervention_words(changed: Mapping[str, Any]) -> str:
    """Return an intervention, as the manifest has it, in words."""
    heads = ", ".join("{layer}.{head} ({method})".format(**each) for each in changed["ablate"])
    words = [f"heads {heads}"] if heads else []
    if (direction := changed["direction"]) is not None:
        layers = "after layers {} to {}".format(*direction["layers"])
        words.append(f"direction of strength {direction['strength']:g} {layers}")
    return ", ".join(words)


def _server_sentences(manifest: Manifest) -> Iterator[str]:
    usage, times = manifest.usage, manifest.times
    if usage is not None:
        cost = "" if usage.cost is None else f", cost {usage.cost:.4f}"
        thought = "" if usage.n_reasoning is None else f" ({usage.n_reasoning:,} of reasoning)"
        yield (
            f"Tokens: {usage.n_prompt_tokens:,} of prompts, {usage.n_generated:,} generated{thought}{cost}; "
            f"{times['n_requests']:,} requests."
        )
    counts = ((name.partition("n_faults: ")[2], n) for name, n in times.items())
    if faults := ", ".join(f"{n} {shown(kind)}" for kind, n in counts if kind):
        yield f"Faults: {faults}."
    if manifest.outcomes["error"]:
        yield "Errors are not kept: the same command retries those prompts."
    if manifest.cache is not None and manifest.cache["system_fingerprint"] is None:
        yield (
            "WARNING: the server gives no system_fingerprint. The cache cannot tell if the model "
            "behind the address has changed."
        )
    if len(names := manifest.fingerprints or {}) > 1:
        listed = ", ".join(f"{shown(name)} ({n:,} answers)" for name, n in names.items())
        yield f"WARNING: the server changed during this run. It called itself {listed}."
