"""`misfired doctor`: what is installed, whether it works here, and what to change."""

import json
from typing import Annotated, cast

import typer

from misfired.cli import options
from misfired.scoring.backend import is_url
from misfired.scoring.llama.doctor import as_rows, examine
from misfired.scoring.options import ServerOptions
from misfired.scoring.server.examine import examine_server

_SIGNS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


def doctor(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A GGUF model to load and time for five seconds, or a server's address."
        ),
    ] = None,
    *,
    template: options.Template = None,
    mode: options.Mode = "exact",
    n_gpu_layers: options.GpuLayers = 0,
    split_mode: options.SplitMode = None,
    main_gpu: options.MainGpu = None,
    tensor_split: options.TensorSplit = None,
    cache_type_k: options.CacheTypeK = None,
    cache_type_v: options.CacheTypeV = None,
    flash_attention: options.FlashAttention = None,
    n_threads: options.Threads = None,
    server_model: options.ServerModel = None,
    api_key_env: options.ApiKeyEnv = None,
    extra_body: options.ExtraBody = {},  # noqa: B006  it is only read
    as_json: options.Json = False,
) -> None:
    """Check the installation, and a model if one is given.

    Exits with 1 if anything is broken.

    Of a server it is asked whether it answers, how fast, and whether it gives log-probabilities.

    Examples:
      misfired doctor model.gguf

      misfired doctor http://127.0.0.1:8000/v1 --server-model NAME
    """
    if is_url(model):
        asked = ServerOptions(
            server_model=server_model, api_key_env=api_key_env, extra_body=extra_body
        )
        findings = examine_server(str(model), asked)
    else:
        findings = examine(
            model,
            template=template,
            mode=mode,
            n_gpu_layers=n_gpu_layers,
            split_mode=split_mode,
            main_gpu=main_gpu,
            tensor_split=cast("tuple[float, ...] | None", tensor_split),
            cache_type_k=cache_type_k,
            cache_type_v=cache_type_v,
            flash_attention=flash_attention,
            n_threads=n_threads,
        )
    for finding, row in zip(findings, as_rows(findings), strict=True):
        if as_json:
            typer.echo(json.dumps(row))
            continue
        typer.echo(f"{_SIGNS[finding.status]} {finding.name}: {finding.value}")
        if finding.advice:
            typer.echo(f"        -> {finding.advice}")
    if any(finding.status == "problem" for finding in findings):
        raise typer.Exit(1)
