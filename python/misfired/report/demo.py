"""The demo's report: what was measured beside what was planted."""

from pathlib import Path

from misfired.demo import Demo
from misfired.report.run import invariance
from misfired.report.table import Table, interval, number, paragraph, text, whole
from misfired.report.verdict import verdict_sentences
from misfired.runs.manifest import Manifest
from misfired.runs.pipeline import Run


def demo_report(demo: Demo, out: Path) -> str:
    """Return the report of both organisms; `out` is the folder of the runs."""
    planted = "; ".join(
        f"{row['priming']} {row['n_planted_failed']} of {row['n_planted']} "
        f"(and {row['n_other_failed']} not planted)"
        for row in demo.rows.filter(model="instruct").iter_rows(named=True)
    )
    checks = {
        name: Manifest.of(run.scores.manifest).batch_invariance for name, run in demo.runs.items()
    }
    return "\n".join(
        [
            text(_measured(demo)),
            "",
            *(paragraph(_verdict(name, run)) for name, run in demo.runs.items()),
            paragraph(f"Planted cells that misfire: {planted}."),
            *(paragraph(f"{invariance(c, f', {name}')}.") for name, c in checks.items() if c),
            "",
            text(_lens(demo)),
            paragraph(_head(demo)),
            paragraph(whole(out, "Runs: ")),
        ]
    )


def _verdict(name: str, run: Run) -> str:
    """Say whether a model reads, and whether it misfires."""
    reads, *_, misfires = verdict_sentences(run.analyses.verdict)
    return f"{name}, unprimed: {reads} {misfires}"


def _measured(demo: Demo) -> Table:
    header = (
        "model", "priming", "n", "MAR", "95 % interval", "designed", "acc. st", "acc. co", "acc. no",
    )  # fmt: skip
    rates = ("designed", "accuracy_stereotyped", "accuracy_contrast", "accuracy_no")
    rows = []
    for row in demo.rows.iter_rows(named=True):
        mar = (row["model"], row["priming"], row["n_pairs"], number(row["mar"]), interval(row))
        rows.append((*mar, *(number(row[name]) for name in rates)))
    return Table(header, rows, n_words=2)


def _lens(demo: Demo) -> Table:
    layers = demo.lens["layer"].unique().sort().to_list()
    curves = demo.lens.sort("layer", maintain_order=True).group_by(
        "model", "condition", maintain_order=True
    )
    rows = [(*names, *map(number, curve["margin"])) for names, curve in curves]
    header = ("model", "prompt", *(f"layer {layer}" for layer in layers))
    return Table(header, rows, "Lead of the right answer, read after each layer", n_words=2)


def _head(demo: Demo) -> str:
    first, second = demo.heads.head(2).to_dicts()
    planted = demo.heads.filter("planted").row(0, named=True)
    return (
        f"Head found: layer {first['layer']} head {first['head']} (specificity "
        f"{first['specificity']:.1f}; the next {second['specificity']:.1f}). "
        f"Planted: layer {planted['layer']} head {planted['head']}."
    )
