"""Several models and suites: one run for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from misfired.errors import ArgumentError, MisfiredError
from misfired.options import takes_options
from misfired.runs.pipeline import Progress, Run, run
from misfired.scoring.backend import is_url
from misfired.scoring.options import ScoringOptions
from misfired.stats.options import ResamplingOptions


def run_names(models: Sequence[Path | str]) -> list[str]:
    """Return a folder name for each model: its file name, after its folder's where two are equal.

    The name of a server is its host and port.

    Example:
        >>> run_names(["a/base.gguf", "b/base.gguf", "b/chat.gguf", "http://127.0.0.1:8000/v1"])
        ['a-base', 'b-base', 'chat', '127.0.0.1-8000']

    Raises:
        ArgumentError: A model is named twice.
    """
    paths = [_named_path(model) for model in models]
    stems = Counter(path.stem for path in paths)
    names = [p.stem if stems[p.stem] == 1 else f"{p.parent.name}-{p.stem}" for p in paths]
    twice = [name for name, n_times in Counter(names).items() if n_times > 1]
    if twice:
        raise ArgumentError(f"model {twice[0]!r} is named twice")
    return names


def _named_path(model: Path | str) -> Path:
    if is_url(model):
        # With a suffix, since `stem` would cut the last part of the host.
        return Path(urlsplit(str(model)).netloc.replace(":", "-") + ".server")
    return Path(model).resolve()


@takes_options(ScoringOptions, ResamplingOptions)
def run_many(
    models: Sequence[Path | str],
    suites: pl.DataFrame | Mapping[str, pl.DataFrame],
    *,
    out: Path | str,
    templates: Sequence[str] = (),
    ray: str | None = None,
    progress: Callable[[str], Progress] | None = None,
    **options: Any,
) -> dict[str, Run | MisfiredError]:
    """Run `misfired.run` for every model on every suite, each in a folder of its own.

    One model is in memory at a time; a Ray cluster works on the shards of all runs together.
    A failed run does not stop the others.

    Args:
        models: GGUF files, or addresses of servers.
        suites: Pairs, or several by name.
        out: Folder of the run folders: `<model>`, or `<model>/<suite>` where suites have names.
        templates: Chat templates; every model is asked through each, and run folders are called
            `<model>-<template>`. They replace the option `template`.
        ray: Address of a Ray cluster, or `local`.
        progress: Returns the callback of the run that it is given the name of.
        options: As for `misfired.run`.

    Returns:
        For each run folder, relative to `out`, the run or the error that ended it.

    Raises:
        ArgumentError: There is no model, a model is named twice, or two templates have one name.
    """
    if not models:
        raise ArgumentError("no model was named")
    named = suites if isinstance(suites, Mapping) else {"": suites}
    asked: dict[str, str | None] = {f"-{Path(each).stem}": each for each in templates} or {
        "": options.get("template")
    }
    if len(asked) < len(templates):
        raise ArgumentError(f"two of the templates have one name: {', '.join(templates)}")
    jobs = {
        f"{name}{suffix}/{suite}".rstrip("/"): (model, pairs, template)
        for name, model in zip(run_names(models), models, strict=True)
        for suffix, template in asked.items()
        for suite, pairs in named.items()
    }

    def work(name: str) -> Run | MisfiredError:
        model, pairs, template = jobs[name]
        own = {**options, "template": template}
        tell = None if progress is None else progress(name)
        try:
            return run(model, pairs, out=Path(out) / name, ray=ray, progress=tell, **own)
        except MisfiredError as error:
            return error

    if ray is None:
        return {name: work(name) for name in jobs}
    with ThreadPoolExecutor(len(jobs)) as pool:
        return dict(zip(jobs, pool.map(work, jobs), strict=True))
