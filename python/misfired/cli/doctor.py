"""`misfired doctor`: what is installed, whether it works here, and what to change."""

import json
from typing import Any

from typer import Argument, Exit, echo

from misfired.cli.options import Json, takes
from misfired.scoring.backend import is_url
from misfired.scoring.options import ScoringOptions, ServerOptions

_SIGNS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}

_TAKEN = (
    "template", "mode", "device", "n_gpu_layers", "precision", "split_mode", "main_gpu", "tensor_split", "cache_type_k",
    "cache_type_v", "flash_attention", "n_threads", "server_model", "api_key_env", "extra_body",
)  # fmt: skip


@takes(ScoringOptions, only=_TAKEN)
def doctor(
    model: str | None = Argument(
        None,
        metavar="MODEL",
        help="A GGUF model to load and time for five seconds, or a server's address.",
    ),
    *,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Check the installation, and a model if one is given.

    Exits with 1 if anything is broken. For a server it reports whether it answers, how fast, and
    whether it gives log-probabilities.

    Examples:
      misfired doctor
      misfired doctor model.gguf
      misfired doctor http://127.0.0.1:8000/v1 --server-model NAME
    """
    from misfired.scoring.llama.doctor import examine
    from misfired.scoring.server.examine import examine_server

    if is_url(model):
        server = ScoringOptions.of(options).part(ServerOptions)
        findings = examine_server(str(model), server)
    else:
        findings = examine(model, **options)
    for each in findings:
        advice = f"\n        -> {each.advice}" if each.advice else ""
        line = f"{_SIGNS[each.status]} {each.name}: {each.value}{advice}"
        echo(json.dumps(vars(each)) if as_json else line)
    if any(finding.status == "problem" for finding in findings):
        raise Exit(1)
