"""Options that several commands share, so that a word means the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelFile = Annotated[Path, typer.Argument(help="A GGUF model file.", show_default=False)]
Bbq = Annotated[
    Path | None, typer.Option("--bbq", help="Folder with BBQ's .jsonl files; builds the pairs.")
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
    str, typer.Option(help="Comma-separated: none, cue, cue_both, neutral, neutral_both.")
]
Protocol = Annotated[
    str,
    typer.Option(
        help="How to ask and read: a name that `misfired protocols` lists, or a TOML file."
    ),
]
Template = Annotated[
    str | None,
    typer.Option(help="Chat template: 'plain' or a Jinja file. Default: the model's own."),
]
Mode = Annotated[str, typer.Option(help="exact, or fast (f16 cache, flash attention).")]
GpuLayers = Annotated[int, typer.Option("--n-gpu-layers", help="Layers to offload; -1: all.")]
Threads = Annotated[int | None, typer.Option("--n-threads", help="CPU threads. Default: all.")]
Ctx = Annotated[int | None, typer.Option("--n-ctx", help="Cells of the K/V cache.")]
Batch = Annotated[int | None, typer.Option("--n-batch", help="Tokens a batch.")]
Seed = Annotated[int, typer.Option(help="Same seed, same bits.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
