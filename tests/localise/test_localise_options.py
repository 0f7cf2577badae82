"""Options and the registry of probes, which load nothing heavy."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

from misfired.localise import PROBES, LocaliseOptions, probes
from misfired.localise.probes._common import ProbeKind, get_probe


def test_options_load_no_llama_cpp() -> None:
    modules = "misfired.localise.options, misfired.localise.result, misfired.report.figures"
    heavy = "{'llama_cpp', 'matplotlib', 'urllib3', 'jinja2'}"
    code = f"import sys, {modules}; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_file_of_a_probe_is_registered() -> None:
    files = {each.name for each in pkgutil.iter_modules(probes.__path__)}
    assert files - {"_common"} == set(PROBES)


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_makes_rows_and_a_table(name: str) -> None:
    kind = get_probe(name)
    assert isinstance(kind, ProbeKind)
    assert (kind.sweep is None) != (kind.sweep_all is None)
    assert kind.tables or kind.figures


def test_methods_follow_the_positions() -> None:
    assert LocaliseOptions().head_methods == ("zero", "mean", "resample", "patch")
    assert LocaliseOptions(positions="all").head_methods == ("zero",)
    assert LocaliseOptions(methods=["mean"]).head_methods == ("mean",)
