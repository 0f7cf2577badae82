"""Where a run ended early, in words."""

from collections.abc import Mapping
from typing import Any

from misfired.runs.manifest import Manifest

_WHY = {
    "narrow": "the interval is narrow enough",
    "different": "the runs differ in MAR",
    "alike": "the runs differ by less than {points:g} points",
    None: "the rule was not met",
}


def ending_lines(manifest: Manifest) -> list[str]:
    """Return what a run that may end early asked, saw, and can still ask; nothing for another run."""
    until = manifest.until
    if until is None:
        return []
    rule, of, looks = until["rule"], until["of"], until["looks"]
    flag = "until" if "until" in rule else "until_decided"
    points, n_pairs = rule[flag], manifest.settings.n_pairs
    asked = f"{n_pairs:,} of {of['n_pairs']:,} pairs of {of['n_scenarios']:,} scenarios"
    why = _WHY[until["ended"]].format(points=points)
    lines = [f"asked  {asked}: {why} (--{flag.replace('_', '-')} {points:g})"]
    if looks and looks[-1]["low"] is not None:
        lines.append("look   " + _interval(looks[-1], len(looks), compared=flag != "until"))
    if n_pairs < of["n_pairs"]:
        lines.append("next   the same command without that option asks the rest")
    return lines


def _interval(look: Mapping[str, Any], n_looks: int, *, compared: bool) -> str:
    what = "MAR minus that of the other run" if compared else "MAR"
    numbers = "{value:.1f} ({low:.1f} to {high:.1f})".format(**look)
    level = f"{100 * look['confidence_level']:.4g} % interval"
    jointly = "; those of all looks hold jointly" if compared else ""
    return f"{what} {numbers} at look {n_looks}, after {look['n_scenarios']} scenarios ({level}{jointly})"
