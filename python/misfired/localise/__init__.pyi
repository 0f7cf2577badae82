from .average import Averages, averages
from .cases import Prompt
from .held import Held, Interventions
from .options import LocaliseOptions
from .probe import SITES, Probe
from .probes import PROBES
from .result import Localisation
from .study import localise

__all__ = [
    "PROBES", "SITES", "Averages", "Held", "Interventions", "Localisation", "LocaliseOptions",
    "Probe", "Prompt", "averages", "localise",
]  # fmt: skip
