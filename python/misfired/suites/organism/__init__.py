"""A suite with a known answer: a closed grammar and tiny models whose misfire is planted."""

from misfired.suites.organism.models import build_record, card, content_sha256, models
from misfired.suites.organism.pairs import ORGANISMS, PRIMINGS, SUITE, build_organism_suite

__all__ = [
    "ORGANISMS",
    "PRIMINGS",
    "SUITE",
    "build_organism_suite",
    "build_record",
    "card",
    "content_sha256",
    "models",
]
