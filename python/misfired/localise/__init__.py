"""Where inside a model the evidence is overruled: lens, patching, heads, attention, substitution.

Names are loaded when they are first used, so that options can be read without llama.cpp.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from misfired.localise.probes import PROBES

if TYPE_CHECKING:
    from misfired.localise.average import Averages, averages
    from misfired.localise.cases import Prompt
    from misfired.localise.held import Held, Interventions
    from misfired.localise.options import LocaliseOptions
    from misfired.localise.probe import SITES, Probe
    from misfired.localise.result import Localisation
    from misfired.localise.study import localise

_MODULES = {
    "SITES": "probe", "Averages": "average", "Held": "held", "Interventions": "held",
    "Localisation": "result", "LocaliseOptions": "options", "Probe": "probe", "Prompt": "cases",
    "averages": "average", "localise": "study",
}  # fmt: skip

__all__ = [
    "PROBES", "SITES", "Averages", "Held", "Interventions", "Localisation", "LocaliseOptions",
    "Probe", "Prompt", "averages", "localise",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'misfired.localise' has no attribute {name!r}")
    return getattr(import_module(f"misfired.localise.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
