"""Several models and suites: one run for each."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from misfired.background import in_order
from misfired.errors import ArgumentError, MisfiredError
from misfired.options import takes_options
from misfired.runs.asking import Progress
from misfired.runs.names import run_names
from misfired.runs.options import RunOptions
from misfired.runs.pipeline import Run, run


@takes_options(RunOptions)
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
        progress: Returns the callback of the run whose name it is given.
        options: As for `misfired.run`.

    Returns:
        For each run folder, relative to `out`, the run or the error that ended it.

    Raises:
        ArgumentError: There is no model, a model is named twice, or two templates have one name.
    """
    if not models:
        raise ArgumentError("no model was named")
    named = suites if isinstance(suites, Mapping) else {"": suites}
    for name in named:
        if name and (Path(name).name != name or name == ".."):
            raise ArgumentError(f"names of suites must be names of folders, got {name!r}")
    by_suffix = {f"-{Path(each).stem}": {"template": each} for each in templates} or {"": {}}
    if len(by_suffix) < len(templates):
        raise ArgumentError(f"two of the templates have one name: {', '.join(templates)}")
    every = [
        (f"{name}{suffix}/{suite}".rstrip("/"), (model, pairs, template))
        for name, model in zip(run_names(models), models, strict=True)
        for suffix, template in by_suffix.items()
        for suite, pairs in named.items()
    ]
    jobs = dict(every)
    if len(jobs) < len(every):
        name = next(name for name, n in Counter(name for name, _ in every).items() if n > 1)
        raise ArgumentError(f"models and templates must give names that differ, got {name!r} twice")

    def work(name: str) -> Run | MisfiredError:
        model, pairs, template = jobs[name]
        tell = None if progress is None else progress(name)
        own = options | template
        try:
            return run(model, pairs, out=Path(out) / name, ray=ray, progress=tell, **own)
        except MisfiredError as error:
            return error

    if ray is None:
        return {name: work(name) for name in jobs}
    return dict(zip(jobs, in_order(work, list(jobs), len(jobs)), strict=True))
