"""`misfired localise`: where in a model the evidence is overruled."""

from pathlib import Path
from typing import Any

from typer import Argument, Option

from misfired.cli.options import Json, takes
from misfired.cli.output import echo, echo_data
from misfired.cli.progress import progress_shown
from misfired.localise.options import LocaliseOptions


@takes(LocaliseOptions)
def localise(
    model: Path = Argument(metavar="MODEL", help="A GGUF model file."),
    *,
    run: Path = Option(help="Folder of a finished run of this model."),
    out: Path = Option(
        ..., "-o", "--out", help="Folder for tables and figures; replaces a localisation there."
    ),
    base: Path | None = Option(None, help="A base model to compare with (lens and heads)."),
    figures: bool = Option(True, help="Draw figures."),
    as_json: Json = False,
    **options: Any,
) -> None:
    """Find layers and heads that overrule the evidence.

    Studies failures (stereotyped prompt wrong, contrast right) and as many controls (both right) of the
    same categories. Writes tables (Parquet), figures (SVG, PNG) and manifest.json.

    Examples:
      misfired localise model.gguf --run runs/model -o found
      misfired localise model.gguf --run runs/model --base base.gguf -o found
      misfired localise m.gguf --run runs/m --probe lens --n-pairs 50 -o quick
    """
    from misfired.localise.result import check_folder
    from misfired.scoring.llama.guard import begin

    check_folder(out)
    begin(model)
    from misfired.localise import localise as localise_run
    from misfired.report.figures import write_figures
    from misfired.report.localise import localisation_json, localisation_report
    from misfired.report.table import json_text

    with progress_shown() as shown:
        found = localise_run(model, run, base=base, progress=shown(""), **options)
    found.write(out)
    if figures:
        write_figures(found.tables, out)
    if as_json:
        echo_data(json_text(localisation_json(found, out)))
    else:
        echo(localisation_report(found, out))
