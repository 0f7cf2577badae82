"""Options that several commands share, so that a word means the same everywhere."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from misfired.errors import ArgumentError
from misfired.prompts.primings import PRIMINGS


def _json_object(text: str | dict[str, Any]) -> dict[str, Any]:
    """A JSON object; an option's default comes as it is."""
    try:
        value = json.loads(text) if isinstance(text, str) else text
    except ValueError as error:
        raise typer.BadParameter(f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{text!r} is no JSON object")
    return value


ModelName = Annotated[
    str,
    typer.Argument(
        help="A GGUF model file, or a server's address: http(s)://HOST[:PORT]/v1.",
        show_default=False,
    ),
]


def _shares(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(word) for word in split_words(text))
    except ValueError:
        raise ArgumentError(
            f"tensor_split is {text!r}, numbers with commas between needed"
        ) from None


ModelFile = Annotated[Path, typer.Argument(help="A GGUF model file.", show_default=False)]
Models = Annotated[
    list[str],
    typer.Argument(
        help="GGUF model files, one after the other, or a server's address: http(s)://HOST[:PORT]/v1.",
        show_default=False,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", help="Address of a Ray cluster that does the work; local: start one."),
]
Bbq = Annotated[
    Path | None, typer.Option("--bbq", help="Folder with BBQ's .jsonl files; builds the pairs.")
]
Variant = Annotated[
    str | None,
    typer.Option(
        help="Which rules make the pairs from BBQ: paper, strict; for `run` also paper,strict, "
        "which sets both side by side. Default: paper."
    ),
]
Suite = Annotated[
    Path | None,
    typer.Option("--suite", help="Pairs that are built already (.parquet, .jsonl, .csv)."),
]
Category = Annotated[
    list[str] | None, typer.Option("--category", help="Only this category; may be repeated.")
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="At most so many pairs, spread evenly over the suite.")
]
Priming = Annotated[
    str | None,
    typer.Option(
        help=f"Comma-separated: {', '.join(PRIMINGS)}, or TOML files of one's own. "
        "Default: none, and cue where the suite has one."
    ),
]
Protocol = Annotated[
    str,
    typer.Option(
        help="How to ask and read: a name that `misfired protocols` lists, or a TOML file."
    ),
]
Template = Annotated[
    str | None,
    typer.Option(
        help="Chat template: 'plain', a Jinja file, or a GGUF file that has one. Default: the model's "
        "own. `run` takes several, with commas between."
    ),
]
Mode = Annotated[str, typer.Option(help="exact, or fast (f16 cache, flash attention).")]
GpuLayers = Annotated[int, typer.Option("--n-gpu-layers", help="Layers to offload; -1: all.")]
SplitMode = Annotated[
    str | None, typer.Option(help="Divide a model among devices by layer or row; none: do not.")
]
MainGpu = Annotated[int | None, typer.Option(help="The device of a model that is not divided.")]
TensorSplit = Annotated[
    str | None,
    typer.Option(help="Shares of the devices, such as 3,1.", metavar="SHARES", callback=_shares),
]
CacheTypeK = Annotated[
    str | None, typer.Option("--cache-type-k", help="Of keys: f32, f16, bf16, q8_0, ...")
]
CacheTypeV = Annotated[
    str | None, typer.Option("--cache-type-v", help="Of values. Default: f32, in mode fast f16.")
]
FlashAttention = Annotated[
    str | None, typer.Option(help="on, off or auto. Default: off, in mode fast auto.")
]
Threads = Annotated[int | None, typer.Option("--n-threads", help="CPU threads. Default: all.")]
Ctx = Annotated[int | None, typer.Option("--n-ctx", help="Cells of the K/V cache.")]
Batch = Annotated[int | None, typer.Option("--n-batch", help="Tokens a batch.")]
Shots = Annotated[
    int, typer.Option("--n-shots", help="Demonstrations before every prompt, drawn from the suite.")
]
ShotsSeed = Annotated[int, typer.Option("--shots-seed", help="Chooses the demonstrations.")]
HoldOut = Annotated[
    str,
    typer.Option(help="What is not measured once a demonstration came from it: scenario, or pair."),
]
InterventionFile = Annotated[
    Path | None,
    typer.Option(help="Heads to ablate or a direction to add meanwhile: a TOML file."),
]
Cache = Annotated[
    Path | None, typer.Option(help="A folder that keeps answers across runs; may be shared.")
]
Seed = Annotated[int, typer.Option(help="Same seed, same bits.")]
ServerModel = Annotated[
    str | None, typer.Option(help="Server: the model's name. Default: its only model.")
]
ApiKeyEnv = Annotated[
    str | None, typer.Option(help="Server: environment variable that holds the API key.")
]
Concurrency = Annotated[int, typer.Option(help="Server: requests under way at once.")]
Timeout = Annotated[float, typer.Option(help="Server: seconds in which an answer must be there.")]
Attempts = Annotated[int, typer.Option(help="Server: how often a prompt is asked at most.")]
Price = Annotated[
    tuple[float, float] | None,
    typer.Option(help="Server: price of a million prompt tokens, and of a million generated."),
]
ExtraBody = Annotated[
    dict[str, Any],
    typer.Option(
        parser=_json_object,
        metavar="JSON",
        help="Server: more fields of each request, as JSON; null takes one away.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in the place of its `**asking`, every option that says how a model is asked."""
    *own, _ = _parameters(command)

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        command(**given)

    # typer reads signature and annotations, and would follow `__wrapped__` past both.
    del wrapper.__wrapped__
    parameters = [*own, *_parameters(_asking)]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapper


def _parameters(command: Callable[..., None]) -> list[inspect.Parameter]:
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    return [each.replace(annotation=hints[name]) for name, each in signature.parameters.items()]


def _asking(
    *,
    priming: Priming = None,
    protocol: Protocol = "logit",
    template: Template = None,
    mode: Mode = "exact",
    seed: Seed = 0,
    n_gpu_layers: GpuLayers = 0,
    split_mode: SplitMode = None,
    main_gpu: MainGpu = None,
    tensor_split: TensorSplit = None,
    cache_type_k: CacheTypeK = None,
    cache_type_v: CacheTypeV = None,
    flash_attention: FlashAttention = None,
    n_threads: Threads = None,
    n_ctx: Ctx = None,
    n_batch: Batch = None,
    intervention: InterventionFile = None,
    n_shots: Shots = 0,
    shots_seed: ShotsSeed = 0,
    hold_out: HoldOut = "scenario",
    cache: Cache = None,
    server_model: ServerModel = None,
    api_key_env: ApiKeyEnv = None,
    concurrency: Concurrency = 8,
    timeout: Timeout = 120.0,
    n_attempts: Attempts = 6,
    price: Price = None,
    extra_body: ExtraBody = {},  # noqa: B006  it is only read
) -> None:
    """The options of `misfired.scoring.options.AskingOptions`, as the command line spells them."""


def split_words(text: str) -> list[str]:
    """Words of a comma-separated option.

    Example:
        >>> split_words("none, cue")
        ['none', 'cue']
    """
    return [word.strip() for word in text.split(",") if word.strip()]
