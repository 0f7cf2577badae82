"""Run reports for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from misfired.demo import Demo
from misfired.report.design import design_tables
from misfired.report.tables import interval, number, summary_tables
from misfired.runs.pipeline import Run, Scores
from misfired.scoring.llama.markers import complaint
from misfired.scoring.options import MODES, KvCache

#: Below this mean mass most of what the model wants to say is neither yes nor no.
LOW_MASS = 0.5


def run_report(run: Run, out: Path | None = None) -> list[RenderableType]:
    """Header, tables per priming, and what to keep in mind when reading them."""
    settings = run.scores.manifest["settings"]
    statistics = settings.get("statistics")
    how = "percent"
    if statistics:
        level = f"{100 * statistics['confidence_level']:g}"
        how = f"percent; {level} % intervals by {statistics['unit']}, methods in summary.json"
    return [
        *_header(run.scores, out),
        "",
        *summary_tables(run.summary),
        *design_tables(run.scores.answers, **(statistics or {}), rng=settings["seed"]),
        "",
        escape(f"MAR: contrast answered right, stereotyped wrong, of contrast right ({how})."),
        *_notes(run.scores),
    ]


def scores_report(scores: Scores, out: Path | None = None) -> list[RenderableType]:
    """What was scored, and where to go next."""
    return [*_header(scores, out), *_notes(scores), f"next: misfired stats {escape(str(out))}"]


def _header(scores: Scores, out: Path | None) -> Iterator[str]:
    manifest = scores.manifest
    settings = manifest["settings"]
    yield escape(f"model  {manifest['model']['path']} ({manifest['model']['description']})")
    mode = f", mode {settings['mode']}" if "mode" in settings else ""
    yield escape(
        f"suite  {settings['suite']}, {settings['n_pairs']:,} pairs, "
        f"{len(scores.answers):,} prompts, protocol {settings['protocol']['name']}{mode}"
    )
    cache = settings.get("kv_cache")
    if cache is not None and KvCache(**cache) != MODES[settings["mode"]]:
        yield (
            f"cache  K {cache['type_k']}, V {cache['type_v']}, "
            f"flash attention {cache['flash_attention']}"
        )
    if out is not None:
        yield escape(f"run    {out}")


def intervention_line(changed: dict[str, Any]) -> str:
    """An intervention of a manifest in words."""
    heads = ", ".join(
        f"{each['layer']}.{each['head']} ({each['method']})" for each in changed["ablate"]
    )
    words = [f"heads {heads}"] if heads else []
    direction = changed["direction"]
    if direction is not None:
        first, last = direction["layers"]
        words.append(
            f"direction of strength {direction['strength']:g} after layers {first} to {last}"
        )
    return ", ".join(words)


def _notes(scores: Scores) -> Iterator[str]:
    shots = scores.manifest["settings"]["shots"]
    if shots is not None:
        yield (
            f"Demonstrations: {len(shots['demonstrations'])} before every prompt; for their sake "
            f"{len(scores.manifest['held_out']):,} pairs are not measured (by {shots['hold_out']})."
        )
    changed = scores.manifest["settings"].get("intervention")
    if changed is not None:
        yield f"Intervention: {escape(intervention_line(changed))}."
    markers = scores.manifest.get("template_markers")
    if markers is not None and (said := complaint(markers)):
        yield escape(said)
    tally = scores.manifest["outcomes"]
    unscored = {k: n for k, n in tally.items() if n and k not in {"correct", "wrong"}}
    if unscored:
        listed = ", ".join(f"{n} {outcome}" for outcome, n in unscored.items())
        yield f"Unscored prompts: {listed} (reasons in answers.parquet)."
    n_from_cache = scores.manifest["times"].get("n_from_cache")
    if n_from_cache:
        yield f"From the cache: {n_from_cache:,} of {len(scores.answers):,} answers."
    mass = scores.answers["mass"].mean() if "mass" in scores.answers.columns else None
    if isinstance(mass, float):
        yield f"Mean probability on a yes or no form: {mass:.3f}." + (
            " Low: the model wants to say something else." if mass < LOW_MASS else ""
        )
    if "server" in scores.manifest["settings"]:
        yield from _server_notes(scores.manifest)
        return
    check = scores.manifest["batch_invariance"]
    yield (
        f"Batch invariance: {check['n_checked']} prompts scored alone differ by at most "
        f"{check['max_difference']:.1e}; {check['label_flips']} answers flip, "
        f"{check['n_within']} of all lie that close to the boundary."
    )


def _server_notes(manifest: dict[str, Any]) -> Iterator[str]:
    usage, times = manifest["usage"], manifest["times"]
    cost = "" if usage["cost"] is None else f", cost {usage['cost']:.4f}"
    yield (
        f"Tokens: {usage['n_prompt_tokens']:,} of prompts, {usage['n_generated']:,} generated{cost}; "
        f"{times['n_requests']:,} requests."
    )
    faults = [f"{n} {kind}" for kind, n in times.items() if kind.startswith("n_faults: ")]
    if faults:
        yield escape(f"Faults on the way: {', '.join(faults)}.".replace("n_faults: ", ""))
    if manifest["outcomes"]["error"]:
        yield "Errors are not kept: the same command asks those prompts again."
    if "cache" in manifest and manifest["cache"]["system_fingerprint"] is None:
        yield (
            "WARNING: the server gives no system_fingerprint. The cache cannot tell what stands behind the "
            "address now from what stood there before."
        )
    names = manifest["fingerprints"]
    if len(names) > 1:
        listed = ", ".join(f"{name} ({n:,} answers)" for name, n in names.items())
        yield escape(f"WARNING: the server changed during this run. It called itself {listed}.")


def demo_report(demo: Demo, out: Path) -> list[RenderableType]:
    """Measured beside designed, for both organisms."""
    table = Table(box=None, pad_edge=False)
    for header in ("model", "priming"):
        table.add_column(header)
    for header in ("n", "MAR", "95 % interval", "designed", "acc. st", "acc. co", "acc. no"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in demo.rows.iter_rows(named=True):
        rates = (row[f"accuracy_{side}"] for side in ("stereotyped", "contrast", "no"))
        table.add_row(
            row["model"],
            row["priming"],
            str(row["n_pairs"]),
            number(row["mar"]),
            interval(row),
            number(row["designed"]),
            *(number(rate) for rate in rates),
        )
    cells = [
        f"{row['priming']} {row['n_planted_failed']} of {row['n_planted']} "
        f"(and {row['n_other_failed']} not planted)"
        for row in demo.rows.iter_rows(named=True)
        if row["model"] == "instruct"
    ]
    lines: list[RenderableType] = [table, "", f"Planted cells that misfire: {'; '.join(cells)}."]
    for name, run in demo.runs.items():
        check = run.scores.manifest["batch_invariance"]
        lines.append(
            f"Batch invariance, {name}: {check['n_checked']} prompts scored alone differ by at most "
            f"{check['max_difference']:.1e}."
        )
    return [*lines, "", *_localised(demo), escape(f"Runs: {out}")]


def _localised(demo: Demo) -> Iterator[RenderableType]:
    """The layer profile, and the head that was found beside the one that was planted."""
    table = Table(box=None, pad_edge=False, title="Lead of the right answer, read after each layer")
    table.title_justify = "left"
    table.add_column("model")
    table.add_column("prompt")
    layers = demo.lens["layer"].unique().sort().to_list()
    for layer in layers:
        table.add_column(f"layer {layer}", justify="right")
    for (model, condition), rows in demo.lens.group_by("model", "condition", maintain_order=True):
        table.add_row(
            str(model), str(condition), *(number(value) for value in rows.sort("layer")["margin"])
        )
    yield table
    first, second = demo.heads.head(2).to_dicts()
    planted = demo.heads.filter("planted").row(0, named=True)
    yield (
        f"Head found: layer {first['layer']} head {first['head']} (specificity "
        f"{first['specificity']:.1f}; the next {second['specificity']:.1f}). "
        f"Planted: layer {planted['layer']} head {planted['head']}."
    )


def explanation_lines(shown: list[dict[str, Any]]) -> Iterator[str]:
    """How each prompt of a pair is put to the model and read, as plain lines."""
    for prompt in shown:
        yield f"{prompt['name']}: {prompt['n_prompt_tokens']} tokens"
        yield "the prompt:"
        yield from (f"  | {line}" for line in prompt["rendered"].split("\n"))
        yield "its first and last tokens (id, text):"
        for place, token, text in prompt["tokens"]:
            mark = (
                "  <- the answer is read after this token" if place == prompt["scored_at"] else ""
            )
            yield f"  {place:5d} {token:7d} {text!r}{mark}"
        yield "answer forms (id, text, log-probability):"
        for answer, forms in prompt["forms"].items():
            for token, text, logp in forms:
                yield f"  {answer:>5} {token:7d} {text!r:10} {logp:9.4f}"
        if prompt["dropped_forms"]:
            yield f"  left out, not told apart by their first token: {prompt['dropped_forms']}"
        answer = prompt["answer"]
        yield (
            f"answer {answer['answer']} (expected {prompt['expected']}: {answer['outcome']}), "
            f"logit_diff {answer['logit_diff']:.4f}, mass {answer['mass']:.4f}, "
            f"top token {answer['top_token']!r}"
        )
        yield ""
