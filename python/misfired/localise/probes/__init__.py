"""The probes, a file each; a new one is a file here and its name in `PROBES`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from misfired.localise.probes._common import ProbeKind

#: Every probe in running order; each is a module of this package.
PROBES = ("lens", "patch", "heads", "attention", "substitution")


def get_probe(name: str) -> ProbeKind:
    """Return a probe by its name; only this loads what probes a model."""
    kind: ProbeKind = import_module(f"{__name__}.{name}").PROBE
    return kind
