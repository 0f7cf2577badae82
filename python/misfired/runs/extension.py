"""When a run folder can be extended: its answers are a part of what is asked now."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from misfired.errors import RunFolderError
from misfired.runs.manifest import pairs_sha256
from misfired.runs.plan import Plan
from misfired.tables import read_table

#: Settings that change when a run is extended.
_GROWING = {"suite_sha256", "n_pairs", "n_block", "reading_check"}


def is_extension(
    folder: Path,
    manifest: Mapping[str, Any],
    settings: Mapping[str, Any],
    plan: Plan | None,
    file: Path,
) -> bool:
    """True if a folder must be extended; False if its run is complete, or resumes as it began.

    Args:
        folder: The folder, for messages.
        manifest: What it holds.
        settings: Those of the run that is asked now, as read from JSON.
        plan: What is asked now; None: nothing but what the folder was made with.
        file: The pairs of the folder.

    Raises:
        RunFolderError: It was made with other settings, or its pairs are no part of those asked.
    """
    own, until = manifest["settings"], manifest.get("until")
    whole = {} if until is None else {key: until["of"][key] for key in ("suite_sha256", "n_pairs")}
    asked = own | whole
    differ = {key for key in {*asked, *settings} if asked.get(key) != settings.get(key)}
    if differ - _GROWING or (differ and plan is None):
        raise _other_settings(folder, own, settings)
    if manifest.get("status") == "complete":
        ended_early = asked.get("suite_sha256") != own.get("suite_sha256")
        rule = None if until is None else until["rule"]
        same_rule = not ended_early or (plan is not None and rule == plan.stated)
        if "suite_sha256" not in differ and same_rule:
            return False
    elif not differ:
        return False
    if settings.get("mode") == "fast" and ("n_block" in differ or settings.get("n_block") is None):
        raise RunFolderError(
            f"{folder}: mode must be exact to extend a run, got fast: its answers depend on what is "
            "asked together"
        )
    if plan is not None and file.exists() and not _is_part(read_table(file), own, plan.pairs):
        raise _other_settings(folder, own, settings)
    return True


def check_order(folder: Path, known: set[str], plan: Plan | None) -> None:
    """Refuse a folder that holds answers out of the order in which a run that may end early asks.

    `known` are the ids of pairs with answers. All pairs of every block before the last begun must be there.
    """
    if plan is None or plan.rule is None or not known:
        return
    begun = max(n for n, ids in enumerate(plan.blocks) if not known.isdisjoint(ids.to_list()))
    if not all(known.issuperset(ids.to_list()) for ids in plan.blocks[:begun]):
        raise RunFolderError(
            f"{folder}: holds answers that a run which may end early asks later; name another folder, "
            "or ask all pairs"
        )


def _is_part(held: pl.DataFrame, own: Mapping[str, Any], pairs: pl.DataFrame) -> bool:
    """True if the pairs of a folder are among others, with equal columns."""
    if "id" not in held.columns or pairs_sha256(held) != own.get("suite_sha256"):
        return False
    among = pairs.filter(pl.col("id").is_in(held["id"].to_list()))
    return bool(pairs_sha256(among) == own["suite_sha256"])


def _other_settings(folder: Path, old: Any, new: Any) -> RunFolderError:
    return RunFolderError(
        f"{folder}: made with other settings: {'; '.join(_differences(old, new))}. "
        "Name another folder, or use the same settings."
    )


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        shown = (json.dumps(value, ensure_ascii=False) for value in (old, new))
        was, now = (text if len(text) <= 40 else text[:37] + "..." for text in shown)
        yield f"{name} was {was}, is {now}"
