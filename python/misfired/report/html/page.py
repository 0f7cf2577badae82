"""The page: what is said of each run, set into the template under a policy that forbids all else."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
from markupsafe import Markup

from misfired._core import __version__
from misfired.files import replacing
from misfired.report.figures import rates
from misfired.report.figures.chart import Chart
from misfired.report.figures.draw import DASH, said
from misfired.report.figures.select import Selected, charts_of_priming, charts_of_run
from misfired.report.html.explorer import Explorer
from misfired.report.html.facts import CITE, facts, manifest_text
from misfired.report.html.located import Located
from misfired.report.html.together import Together, together
from misfired.report.measured import Measured
from misfired.report.notes import WORDS
from misfired.report.run import note_sentences
from misfired.report.verdict import in_short, verdict_sentences

_TEMPLATES = Path(__file__).parent / "templates"
_NOTES = {
    True: "This page quotes stereotypes, some of them offensive, in order to measure how a model handles "
    "them. Prompts stay folded until you open them. They state nothing about real people.",
    False: "The benchmark behind these numbers quotes stereotypes in order to measure how a model handles "
    "them. Prompts and the names of groups are left out of this page.",
}


def write_report(
    runs: Sequence[Measured],
    out: Path,
    *,
    localised: Sequence[Located] = (),
    with_text: bool = True,
) -> None:
    """Write the report of runs as one HTML file; the same runs give the same bytes."""
    text = report_html(runs, localised=localised, with_text=with_text)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


def report_html(
    runs: Sequence[Measured], *, localised: Sequence[Located] = (), with_text: bool = True
) -> str:
    """Return the report of runs as a page; without text, no prompt and no name of a group is in it."""
    css, script = (_read(name) for name in ("report.css", "explorer.js"))
    policy = (
        f"default-src 'none'; style-src '{_hash(css)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    explorer = Explorer.of(runs, with_text=with_text)
    sections = [
        _run(run, at, many=len(runs) > 1, with_text=with_text) for at, run in enumerate(runs, 1)
    ]
    both = together(runs) if len(runs) > 1 else None
    n_misfires = sum(row[3] == 0 for row in explorer.rows)
    page = _environment().get_template("report.html.j2")
    return page.render(
        title=_title(runs),
        subtitle=_subtitle(runs),
        note=_NOTES[with_text],
        policy=policy,
        css=Markup(css),  # noqa: S704  a file of this package
        script=Markup(script),  # noqa: S704  a file of this package
        data=Markup(explorer.to_json()),  # noqa: S704  holds no `<`
        together=None if both is None else _together(both),
        runs=sections,
        localised=[_located(each, at) for at, each in enumerate(localised, 1)],
        contents=_contents(sections, localised, many=len(runs) > 1),
        names=explorer.runs,
        categories=explorer.categories,
        primings=[priming.name for priming in explorer.primings],
        outcomes=[(name, words) for name, (words, _) in rates.OUTCOMES.items()],
        first_outcome="misfire" if n_misfires else "",
        n_rows=f"{len(explorer.rows):,}",
        text=with_text,
        cite=CITE,
        version=__version__,
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """Return the hash of a style sheet or script, as a policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _title(runs: Sequence[Measured]) -> str:
    return (
        f"Misfired alignment: {runs[0].name}"
        if len(runs) == 1
        else f"Misfired alignment of {len(runs)} runs"
    )


def _subtitle(runs: Sequence[Measured]) -> str:
    settings = [run.manifest.settings for run in runs]
    suites = ", ".join(dict.fromkeys(each.suite for each in settings))
    protocols = ", ".join(dict.fromkeys(each.protocol.name for each in settings))
    pairs = ", ".join(dict.fromkeys(f"{run.outcomes['id'].n_unique():,}" for run in runs))
    return f"Suite {suites} · {pairs} pairs · protocol {protocols}"


def _contents(
    sections: Sequence[dict[str, Any]], localised: Sequence[Located], *, many: bool
) -> list[tuple[str, str]]:
    return [
        *([("together", "Side by side")] if many else []),
        *((each["id"], each["name"] if many else "Result") for each in sections),
        *((f"inside-{at}", "Inside the model") for at, _ in enumerate(localised, 1)),
        ("explorer", "Pairs"), ("provenance", "How it was made"), ("cite", "How to cite"),
    ]  # fmt: skip


def _run(run: Measured, at: int, *, many: bool, with_text: bool) -> dict[str, Any]:
    found = charts_of_run(run)
    primed = {name: charts_of_priming(run, name) for name in run.others}
    words, bad = in_short(run.verdict)
    kind = {True: "bad", False: "good", None: "unsure"}[bad]
    prefix = f"r{at}-" if many else ""
    return {
        "id": f"run-{at}",
        "name": run.name,
        "heading": run.name if many else "Result",
        "badge": {"words": words, "kind": kind},
        **_headline(run),
        "rests": [*verdict_sentences(run.verdict), *note_sentences(run.answers, run.manifest)],
        **_pictures(found, prefix),
        "primed": [
            {"name": name, **_pictures(own, f"{prefix}p{place}-")}
            for place, (name, own) in enumerate(primed.items(), 1)
        ],
        "facts": facts(run, with_text=with_text),
        "manifest": manifest_text(run, with_text=with_text),
    }


def _pictures(found: Selected, prefix: str = "") -> dict[str, Any]:
    return {
        "charts": [shown(chart, prefix) for chart in found.charts],
        "left_out": found.left_out,
    }


def _together(found: Together) -> dict[str, Any]:
    table = grid(found.table, "Runs side by side, lowest MAR first in the chart below")
    return {"table": table, "words": found.words, **_pictures(found.charts)}


def _located(found: Located, at: int) -> dict[str, Any]:
    told = {"id": f"inside-{at}", "heading": found.heading, "words": found.words}
    return told | _pictures(Selected(found.charts), f"l{at}-")


def _headline(run: Measured) -> dict[str, Any]:
    row = run.summary.filter(total=True, priming=run.priming, measure="mar").row(0, named=True)
    why = row["withheld"] or (row["reason"] if row["value"] is None else None)
    cells = {
        name: run.summary.filter(total=True, priming=run.priming, measure=name)["value"][0]
        for name in "ac"
    }
    misfires, base = int(cells["c"]), int(cells["a"] + cells["c"])
    primed = "" if run.priming == "none" else f" under the priming {run.priming}"
    sentence = (
        f"MAR, the misfired alignment rate{primed}: of {base:,} {'pair' if base == 1 else 'pairs'} whose contrast prompt was answered rightly, "
        f"{misfires:,} had the stereotyped prompt wrong, though both stories state the answer."
    )
    if why is not None:
        ends = f"No rate is given: {WORDS.get(why, why)}."
    elif row["low"] is None:
        ends = f"No interval: {WORDS.get(row['reason'], row['reason'])}."
    else:
        ends = f"MAR, {rates.level(run)} interval {said(row['low'])} to {said(row['high'])}"
    flags = [WORDS[flag] for flag in (row["flags"] or "").split(", ") if flag and why is None]
    if flags:
        sentence += f" Unsure: {'; '.join(flags)}."
    value = None if why is not None else row["value"]
    return {
        "big": said(value),
        "has_value": value is not None,
        "interval": ends,
        "sentence": sentence,
    }


def shown(chart: Chart, prefix: str = "") -> dict[str, Any]:
    """Return a chart as the template takes it."""
    return {
        "title": chart.title,
        "text": chart.text,
        "svg": Markup(chart.svg(prefix=prefix)),  # noqa: S704  written by an XML serialiser
        "table": grid(chart.table, chart.title, digits=chart.digits),
    }


def grid(frame: pl.DataFrame, caption: str, *, digits: int = 1) -> dict[str, Any]:
    """Return a table as the template takes it: words to the left, numbers to the right."""

    def cell(value: object) -> str:
        if value is None:
            return DASH
        if isinstance(value, float):
            return said(value, digits=digits)
        return (
            f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
        )

    return {
        "caption": caption,
        "header": frame.columns,
        "rows": [list(map(cell, row)) for row in frame.iter_rows()],
        "words": [not kind.is_numeric() for kind in frame.dtypes],
    }
