"""`misfired demo`: the whole way on models that ship with the package."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from misfired.cli import options
from misfired.cli.progress import progress_bar
from misfired.demo import demo as run_demo
from misfired.report.demo import demo_report
from misfired.runs.pipeline import Progress


def demo(
    *,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for the runs; made, or gone on with.")
    ] = Path("misfired-demo"),
    n_resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 10_000,
    seed: options.Seed = 0,
    n_threads: Annotated[int, typer.Option("--n-threads", min=1, help="CPU threads.")] = 1,
    as_json: options.Json = False,
) -> None:
    """Measure two shipped models, one with a planted misfire.

    Needs no network.

    Both know a closed grammar about invented peoples. `instruct` is `base` with one attention head
    made to misfire, so that what misfired finds can be held against what was planted.

    Examples:
      misfired demo

      misfired demo -o runs/demo --json
    """
    with ExitStack() as stack:

        def bar(model: str) -> Progress:
            return stack.enter_context(progress_bar(f"organism-{model}"))

        result = run_demo(
            out, n_resamples=n_resamples, seed=seed, n_threads=n_threads, progress=bar
        )
    if as_json:
        checks = {
            name: one.scores.manifest["batch_invariance"] for name, one in result.runs.items()
        }
        tables = {name: getattr(result, name).to_dicts() for name in ("rows", "lens", "heads")}
        typer.echo(json.dumps({**tables, "batch_invariance": checks}))
    else:
        typer.echo(demo_report(result, out))
