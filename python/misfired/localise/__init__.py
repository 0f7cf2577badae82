"""Where inside a model the evidence is overruled: lens, patching, heads, attention, substitution."""

from misfired.localise.ablation import ablation_test, choose_heads, split_scenarios
from misfired.localise.averages import Averages, averages
from misfired.localise.cases import Case, Prompt, align, build_cases, choose_cases
from misfired.localise.check import check_probe
from misfired.localise.held import Held, Interventions
from misfired.localise.probe import SITES, Job, Probe, Request
from misfired.localise.study import PROBES, Localisation, localise
from misfired.localise.sweeps import Chunk, attention, heads, lens, patch, substitution

__all__ = [
    "PROBES",
    "SITES",
    "Averages",
    "Case",
    "Chunk",
    "Held",
    "Interventions",
    "Job",
    "Localisation",
    "Probe",
    "Prompt",
    "Request",
    "ablation_test",
    "align",
    "attention",
    "averages",
    "build_cases",
    "check_probe",
    "choose_cases",
    "choose_heads",
    "heads",
    "lens",
    "localise",
    "patch",
    "split_scenarios",
    "substitution",
]
