"""`misfired doctor`: what is installed, whether it works here, and what to change."""

import json
from collections.abc import Iterable
from typing import Any

from typer import Argument, Exit, Option

from misfired.cli.options import Json, takes
from misfired.cli.output import echo, echo_data
from misfired.scoring.backend import Finding, is_url
from misfired.scoring.environment import before_loading
from misfired.scoring.options import ScoringOptions, ServerOptions
from misfired.text import LONGEST_MESSAGE, shown

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
        help="A GGUF model to load and time, or a server's address.",
    ),
    *,
    thorough: bool = Option(
        False, "--thorough", help="Also measure what neighbours change, and time longer."
    ),
    as_json: Json = False,
    **options: Any,
) -> None:
    """Check the installation, and a model if one is given.

    Takes about five seconds; each line is printed as it is known. Exits with 1 if anything is broken. For a server it reports whether it answers, how fast, and
    whether it gives log-probabilities.

    Examples:
      misfired doctor
      misfired doctor model.gguf
      misfired doctor http://127.0.0.1:8000/v1 --server-model NAME
    """
    findings: Iterable[Finding]
    if is_url(model):
        from misfired.scoring.server.examine import examine_server

        findings = examine_server(str(model), ScoringOptions.of(options).part(ServerOptions))
    else:
        before_loading(options["precision"])
        from misfired.scoring.llama.doctor import examine

        findings = examine(model, thorough=thorough, **options)
    broken = False
    for each in findings:
        broken |= each.status == "problem"
        if as_json:
            echo_data(json.dumps(vars(each)))
            continue
        line = f"{_SIGNS[each.status]} {each.name}: {each.value}"
        advice = [f"        -> {each.advice}"] if each.advice else []
        echo("\n".join(shown(each, LONGEST_MESSAGE) for each in (line, *advice)))
    if broken:
        raise Exit(1)
