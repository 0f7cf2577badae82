"""`misfired demo`: the whole way on models that ship with the package."""

import json
from pathlib import Path
from typing import Any

from typer import Option

from misfired.cli.options import Json, takes
from misfired.cli.output import echo, echo_data
from misfired.cli.progress import progress_shown
from misfired.scoring.options import Devices
from misfired.stats.options import ResamplingOptions, check_threads


@takes(ResamplingOptions, Devices, only=["n_resamples", "seed", "device"])
def demo(
    *,
    out: Path = Option(
        Path("misfired-demo"), "-o", "--out", help="Folder for the runs. Created if missing."
    ),
    n_threads: int = Option(1, help="CPU threads."),
    as_json: Json = False,
    **options: Any,
) -> None:
    """Measure two shipped models, one with a planted misfire.

    Both know a closed grammar about invented peoples. `instruct` is `base` with one attention head
    made to misfire, so that the findings can be compared with what was planted. Needs no network.

    Examples:
      misfired demo
      misfired demo -o runs/demo --json
    """
    from misfired.demo import demo as run_demo
    from misfired.report.demo import demo_report

    check_threads("n_threads", n_threads)
    with progress_shown() as shown:
        result = run_demo(out, n_threads=n_threads, progress=shown, **options)
    if not as_json:
        echo(demo_report(result, out))
        return
    checks = {name: one.scores.manifest["batch_invariance"] for name, one in result.runs.items()}
    tables = {name: getattr(result, name).to_dicts() for name in ("rows", "lens", "heads")}
    echo_data(json.dumps({**tables, "batch_invariance": checks}))
